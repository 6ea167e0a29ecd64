/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One room on its way from a live node to another (protocol.md, "Move"). Keeper. At most MOVINGS_MAX at once, kept by the mover.
 */
#pragma once

#include "base/arena.h"
#include "base/loop.h"
#include "base/wait.h"
#include "health/sfu.h"
#include "registry/nodes.h"
#include "registry/rooms.h"
#include "router/place.h"

#define MOVINGS_MAX 64

enum moving_end {
	MOVING_DONE,   /* open on another node */
	MOVING_STAYED, /* nothing was changed: it is where it was */
	MOVING_TAKEN,  /* somebody else has changed the room, and goes on with it */
	MOVING_HALF    /* it must leave, and will: the node has not let go of it yet, or no node takes it */
};
struct moving {
	struct moving *next;
	struct router *router;
	struct sfu *sfu;
	/* Set by the mover: */
	struct str name;                                /* in the arena */
	struct room from;
	char target[NODE_MAX + 1];                      /* "": whichever placement chooses */
	uint64_t participants;
	bool (*wanted)(const struct moving *);          /* NULL: yes. Asked until the room is `moving` */
	void (*leaves)(struct moving *);                /* it is `moving` now: it will leave. Before that it may end as STAYED */
	void (*ended)(struct moving *, enum moving_end, int err); /* err: -ERR_X of STAYED or HALF. Frees it */
	void *arg;                                      /* of the mover */
	/* Its own: */
	struct wait wait;
	struct timer timer;
	struct arena arena;
	struct place_wish wish;
	struct placed placed;
	bool left, reserved, returns;
	int err;
	enum owner_seen owner; /* of the node that is to let go, where it is missed */
	uint64_t retry_ms, epoch, registration, until_ms, missed_since; /* epoch, registration: of the record as we left it */
	struct reserved reservation;
	struct claimed claim;
	struct room_report held;
	struct sfu_answer answer;
	void (*then)(struct moving *, int err);
};

struct moving *moving_new(struct router *, struct sfu *, struct str name, const struct room *from);
void moving_begin(struct moving *); /* may end before it returns */
void moving_free(struct moving *);  /* wherever it is: another router goes on */
