/* SPDX-License-Identifier: Apache-2.0 */
/* What a join wishes: the body shared by join and placement/simulate. */
#pragma once

#include "base/json.h"
#include "router/place.h"

struct request;
struct join_body {
	const char *participant, *region, *pool, *colocate_with;
	uint64_t expected_participants;
	struct json_list require, prefer; /* of struct json_pair */
	bool exclusive;
	int mode;
};
enum { MODE_PROXY, MODE_DIRECT };
extern const struct json_shape join_shape;

struct place_wish *wish_read(struct request *, const struct join_body *);
/* A placed room's node against a join's own conditions: the member that it breaks, or NULL. */
const char *wish_broken(const struct place_wish *, const struct node *);
const char *node_label(const struct node *, const char *key); /* "": it has none of that name */
