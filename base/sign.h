/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures by keys that each have one algorithm and no other (RFC 8725, 3.1): made from JSON Web Keys (RFC 7517), public ones to
 * verify and private ones to sign. A key is read-only once made, and may be used by any thread.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum sign_alg { SIGN_HS256, SIGN_RS256, SIGN_ES256, SIGN_EDDSA, SIGN_ALGS };
extern const char *const sign_alg_words[]; /* as in `alg`; NULL-terminated */

struct json_shape;
struct jwk { /* the members that usher reads; the others are ignored */
	const char *kty, *kid, *crv, *k, *n, *e, *x, *y, *d;
	int alg;
};
extern const struct json_shape jwk_shape;

struct sign_key;
struct sign_key *sign_key_new(const struct jwk *, const char **why); /* NULL: why, in static words */
void sign_key_free(struct sign_key *);
const char *sign_key_kid(const struct sign_key *); /* "" without one */
enum sign_alg sign_key_alg(const struct sign_key *);

#define SIGN_MAX 512 /* bytes of a signature: RSA of 4096 bits */
bool sign_verify(const struct sign_key *, struct str text, struct str signature);
size_t sign_make(const struct sign_key *, struct str text, unsigned char out[static SIGN_MAX]); /* 0: no private part, or RSA */
/* A new key as a JSON Web Key, with its private part; RSA is not made. */
bool sign_generate(enum sign_alg, const char *kid, struct buf *secret, struct buf *open);
