/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this router shows nodes, and what it believes of them, by the keys of auth.grant_keys. Nothing is stored: whoever has the keys
 * computes the same. Without keys nothing is shown and all is believed; without auth.demand_grants they are shown, and all is believed.
 */
#pragma once

#include <stdbool.h>

#include "base/wire/grant.h"

struct json_out;
struct request;
struct router;
struct room;
struct sfu_proof;
struct sfu_room;

bool grants_on(const struct router *);       /* there are keys */
void grants_name(const struct router *, char out[static GRANTS_MAX]); /* which keys, so that routers see whether theirs are the same */
bool grants_demanded(const struct router *); /* … and whoever has no grant is refused */
/* Of each call to a node; the arg is the router. Fits struct sfu_conf. */
void grants_prove(void *router, const struct sfu_room *, struct sfu_proof *out);
/* X-Usher-Grant of a participant's request: by each key, as the node may have been given any. In the arena; empty: none. */
struct str grants_of_request(struct request *, struct str name, const struct room *);
enum grant_worth {
	GRANT_WRONG, /* none, or no key's */
	GRANT_OLD,   /* of another key than the one that signs */
	GRANT_RIGHT
};
enum grant_worth grants_judge(const struct router *, const struct granted_room *, const char *grant); /* NULL: none */
void grants_write_call_key(const struct router *, const char *node, const char *incarnation, struct json_out *); /* to a node's answer */
