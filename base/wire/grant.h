/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What shows that a router gave a node a room: 16 bytes of HMAC-SHA256 over room, node, incarnation and epoch, by a key that routers
 * alone have, in base64url. A node sees the grants of its own rooms and can make none. The call key shows a node that a call is its
 * routers' own. Both are computed, never stored; where routers have two keys they say both, separated by commas.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/str.h"

#define GRANT_BYTES 16
#define GRANT_LEN 22                                        /* characters */
#define GRANT_MAX (GRANT_LEN + 1)                           /* with the NUL */
#define GRANTS_MAX (SECRET_KEYS_MAX * (GRANT_LEN + 1))      /* one by each key, commas between, and the NUL */

struct granted_room {
	struct str room;
	const char *node, *incarnation;
	uint64_t epoch;
};
void grant_write(struct str key, const struct granted_room *, char out[static GRANT_MAX]);
void grant_write_all(const struct secret_keys *, const struct granted_room *, char out[static GRANTS_MAX]);
bool grant_valid(struct str); /* is it written as one? */
/* By which key: its index; -1: by none of them. */
int grant_signer(const struct secret_keys *, const struct granted_room *, struct str grant);

/* Which keys these are, to be compared in the open: makes nobody able to sign. */
void keys_name(const struct secret_keys *, char out[static GRANTS_MAX]);

void call_key_write(struct str key, const char *node, const char *incarnation, char out[static GRANT_MAX]);
void call_key_write_all(const struct secret_keys *, const char *node, const char *incarnation, char out[static GRANTS_MAX]);

/* What a node was given last, one by each key of the router that gave it; zeroed: none. */
struct known_grants {
	char texts[SECRET_KEYS_MAX][GRANT_MAX];
};
bool known_grants_replace(struct known_grants *, struct str given); /* false: one is malformed, too many, or what is known already */
bool known_grants_match(const struct known_grants *, struct str said); /* is one of those that are said among them? In constant time */
