/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON Web Tokens (RFC 7519) in their compact form, by the rules of RFC 8725: the key decides the algorithm, `kid` is only a name
 * to find it by, keys and URLs within the token are ignored, `crit` is refused as nothing critical is understood, and nothing of a
 * claim is believed before the signature is right. Nothing here waits.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sign.h"
#include "base/str.h"

#define JWT_MAX 4096 /* bytes of a token */

struct arena;
struct jwt_rules {
	struct sign_key *const *keys;
	size_t nkeys;
	const char *audience; /* must be in `aud`; "": a token that names an audience is for somebody else */
	const char *issuer;   /* must be `iss`; "": any */
	uint64_t now_ms, skew_ms; /* skew: how far `nbf` and `iat` may lie ahead; `exp` is kept to the second */
};
struct jwt { /* in the arena; NULL: absent */
	const char *subject, *scope, *room, *node;
	const char *method, *target; /* of the one request that it is for: "PUT", and path and query as they stand in it */
	uint64_t expires_ms;
};
/* False: *why says it in static words, and names no content. */
bool jwt_read(struct str token, const struct jwt_rules *, struct arena *, struct jwt *out, const char **why);
bool jwt_looks_so(struct str token); /* three parts with dots between */
/* Appends header.payload.signature. False: the key cannot sign. */
bool jwt_make(const struct sign_key *, struct str claims, struct buf *out);
