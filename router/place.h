/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: which node gets a new room. Runs on the keeper, so that one process never races with itself; other routers'
 * charges arrive by the store's announcements. Filters first, wishes next, then the least effective load (score + charges +
 * slow start), ties at random. Pure: no waiting, no clock of its own.
 */
#pragma once

#include "health/fleet.h"

struct place;
struct place_conf {
	double max_load, room_cost; /* room_cost < 0: learned, starts at 0.01 */
	uint64_t ramp_ms, slow_start_ms, opens_per_node, explained;
	double max_ejected;
	size_t ordered_from; /* the order of a fleet of so many nodes is kept from one choice to the next (place_order.c) */
};
#define PLACE_ORDERED_FROM 64 /* with fewer, to look at all costs hardly more, and finds the best */
#define TRIED_MAX 8 /* more would only wait longer for the same refusal */
struct place_wish {
	struct str room;
	const char *pool;     /* NULL or "": default */
	const char *region;   /* a wish; NULL: none */
	const char *require_region, *require_pool;
	const struct json_pair *require; size_t nrequire;
	const struct json_pair *prefer; size_t nprefer;
	const char *colocate_node; /* NULL: none */
	uint64_t expected_participants;
	bool exclusive;
	const char *tried[TRIED_MAX]; size_t ntried; /* nodes that have just refused or failed: asked in vain */
};
struct placed {
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	uint64_t registration, rooms_max;
	double cost;
};
struct place *place_new(struct fleet *, const struct place_conf *);
void place_free(struct place *);
/* 0 and the node (one open is counted as under way at it until place_opened()), or -ERR_NO_NODES, -ERR_ALL_DRAINING,
 * -ERR_REGION_UNAVAILABLE, -ERR_BREAKER_OPEN, -ERR_NO_CAPACITY, and *wait_helps when time may mend it (opens under way,
 * a store that was not read yet). Keeps the explanation. */
int place_choose(struct place *, const struct place_wish *, uint64_t now_ms, struct placed *out, bool *wait_helps, uint64_t *retry_ms);
void place_opened(struct place *, const char *node, uint64_t now_ms); /* the open that choose counted has ended, either way */
double place_room_cost(const struct place *, const char *pool); /* present estimate, for an average node of the pool; any thread */
/* The same without doing it; and the kept explanation of a room's last placement, as JSON. False: not kept (any more). */
int place_simulate(struct place *, const struct place_wish *, uint64_t now_ms, struct buf *json);
bool place_explain(const struct place *, struct str room, struct buf *json);
