/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers ask the keeper. A new room is placed by one request of a process at a time: the first to ask gets the room's
 * slot and a node, the others wait for it and then look again, so that a thousand first joins charge and open one room.
 */
#pragma once

#include "base/str.h"
#include "router/place.h"

struct keeper;
struct router;
struct wait;
struct worker;

struct keeper *keeper_new(struct router *);
void keeper_free(struct keeper *);

enum choose_how {
	CHOOSE_FIRST, /* take the room's slot and choose a node */
	CHOOSE_HELP,  /* take the slot only: the node is already chosen, by whoever claimed the room */
	CHOOSE_AGAIN  /* the slot is ours: another node; the former open has ended */
};
struct choice {
	bool look_again;    /* another request of this process has just placed this room, or given up */
	bool holds;         /* the slot is ours until keeper_done() */
	int err;            /* -ERR_X of place_choose() */
	bool wait_helps;
	uint64_t retry_ms;
	struct placed placed;
};
/* From a worker's loop. WAIT. The wish's strings need not outlive the call. */
int keeper_choose(struct worker *, const struct place_wish *, enum choose_how, struct choice *out, struct wait *);
void keeper_done(struct worker *, struct str room); /* gives the slot back; tell-only */
void keeper_refresh(struct router *);               /* read the fleet anew; any thread; tell-only */
/* A room's kept explanation (wish NULL), or what would be chosen now. WAIT, then 0 or -ERR_X; json is the asker's to free. */
int keeper_explain(struct worker *, struct str room, const struct place_wish *, struct buf *json, struct wait *);
