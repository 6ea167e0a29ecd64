/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resolve-or-assign, shared by join, route and signal: the steps from a name to an open room with a live owner (protocol.md,
 * "Assign"). A verb puts `struct resolve` first in its state, fills it in its first step, and lists RESOLVE_STEPS before its
 * own answer step.
 */
#pragma once

#include "health/sfu.h"
#include "registry/rooms.h"
#include "router/keeper.h"
#include "router/peer_room.h"
#include "router/request.h"

struct placing; /* what only a placement needs */
struct resolve {
	struct str name;
	struct room room;        /* the answer: open, with an owner that lives as far as we know */
	bool may_place;          /* else an unplaced room is -ERR_NOT_FOUND */
	bool created;            /* this request placed it */
	bool fresh;              /* ask the store, not the table */
	bool wants_hints;        /* the answer hands them out: lost ones are asked of the node again */
	struct place_wish *wish; /* NULL: none; in the arena */
	int (*answer)(struct request *);
	uint64_t missed_since; /* see fleet_misses(); of the record at this epoch, under this registration: */
	uint64_t missed_epoch, missed_registration;
	struct peer_room peer;   /* what another router says; */
	bool asked_peers;        /* asked once */
	enum owner_seen owner;   /* read before it is given up */
	struct store_mark mark;  /* read before an opening room is helped */
	struct placing *placing;
};

int find_room(struct request *);
int found_room(struct request *);
int no_room(struct request *, int err);
int ask_routers(struct request *);
int asked_routers(struct request *);
int confirm_loss(struct request *);
int confirmed_loss(struct request *);
int choose_node(struct request *);
int chosen_node(struct request *);
int reserve_node(struct request *);
int reserved_node(struct request *);
int claim_room(struct request *);
int claimed_room(struct request *);
int confirm_claim(struct request *);
int confirmed_claim(struct request *);
int confirm_whole(struct request *);
int confirmed_whole(struct request *);
int open_room(struct request *);
int opened_room(struct request *);
int publish_room(struct request *);
int published_room(struct request *);
int unpublished_room(struct request *, int err);

#define RESOLVE_STEPS                                                                                                  \
	{ "find-room", find_room, found_room, no_room, true },                                                            \
	{ "ask-routers", ask_routers, asked_routers, NULL, false },                                                    \
	{ "confirm-loss", confirm_loss, confirmed_loss, NULL, true },                                                  \
	{ "choose-node", choose_node, chosen_node, NULL, false },                                                      \
	{ "reserve-node", reserve_node, reserved_node, NULL, true },                                                   \
	{ "claim-room", claim_room, claimed_room, NULL, true },                                                        \
	{ "confirm-claim", confirm_claim, confirmed_claim, NULL, true },                                              \
	{ "confirm-whole", confirm_whole, confirmed_whole, NULL, true },                                              \
	{ "open-room", open_room, opened_room, NULL, false },                                                          \
	{ "publish-room", publish_room, published_room, unpublished_room, true }

/* First step of a verb. Sets rq->leave: whatever becomes of the request, nothing it holds stays held. */
void resolve_begin(struct request *, bool may_place, int (*answer)(struct request *));
void resolve_leave(struct request *);
/* The node refused what the record says: distrust it and resolve anew. */
int resolve_anew(struct request *);
/* Before a call to an SFU, and before another one of the same request: false: too many are asked again already (retries.h). */
void resolve_first_call(struct request *);
bool resolve_may_retry(struct request *, const char *what);
const struct node *resolve_node(struct request *); /* the owner; NULL: it has left meanwhile. Good for this callback */
