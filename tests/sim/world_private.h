/* SPDX-License-Identifier: Apache-2.0 */
/* Private to world.c, rooms.c, measure.c. */
#pragma once

#include "tests/sim/world.h"

#define WHEEL_SLOTS ((size_t)1 << 15) /* 55 minutes */
#define PEOPLE_SERVED 1000.0          /* by a node */
#define BLOCK 1024                    /* rooms allocated at once */
#define LARGE_TIMES 4                 /* people of a large room, over a usual one … */
#define LARGE_SHARE (1.0 / (LARGE_TIMES + 1)) /* … of all rooms: as many people in either kind */

/* rooms.c */
void rooms_at_first(struct world *);
void rooms_tick(struct world *);
void room_start(struct world *, uint64_t now_ms);
void room_move(struct world *, struct room *, uint64_t now_ms);
/* measure.c */
void measure(struct world *); /* once a second */
void *make(size_t n, size_t size); /* zeroed; never fails */
