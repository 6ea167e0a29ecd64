/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the mover: mover.c (the moves under way, and who asks for one) and drains.c (which rooms of which nodes, and when). */
#pragma once

#include "base/arena.h"
#include "base/loop.h"
#include "base/wait.h"
#include "registry/rooms.h"
#include "router/drain.h"
#include "router/moving.h"

#define MET_MAX 1024

struct mover;
struct drain { /* one draining node, since one moment */
	struct drain *next;
	struct mover *mover;
	char node[NODE_MAX + 1];
	uint64_t since_ms, seen_version;
	struct drain_wish wish;
	uint64_t moved, failed;
	uint64_t next_ms;      /* loop time of the next move */
	bool told_done, told_expired;
	/* The walk over its rooms: */
	struct wait wait;
	struct arena arena;
	struct rooms_page page;
	size_t row;
	char cursor[96];
	bool listing;
	uint64_t walk_ms;
};
struct met { /* a room seen `moving` */
	uint64_t hash, epoch, since_ms, seen_ms;
};
struct mover {
	struct router *router;
	struct sfu *sfu;
	struct timer timer;
	struct drain *drains;
	size_t ndrains;
	struct moving *movings;
	size_t nmovings;
	uint64_t version; /* of the fleet's view that the drains were read from */
	struct met met[MET_MAX];
};

/* mover.c */
size_t mover_routers(const struct mover *, size_t *rank); /* how many there are, and which of them, by name, this one is */
bool mover_is_ours(const struct mover *, struct str name);
bool mover_met(struct mover *, struct str name, uint64_t epoch); /* it has been met `moving` for long enough */
bool mover_has_place(const struct mover *);
struct moving *mover_find(const struct mover *, struct str name);
struct moving *mover_make(struct mover *, struct str name, const struct room *, int64_t participants); /* moving_begin() it */

/* drains.c */
struct drain *drains_find(const struct mover *, const char *node);
void drains_tick(struct mover *); /* often: reads the fleet, begins moves */
void drains_end(struct mover *);  /* at a stop */
