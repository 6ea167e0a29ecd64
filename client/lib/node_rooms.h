/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rooms a node tells its routers about. Each change has a number, and rooms are kept in the order of their last change:
 * what a router that knows everything up to number N has yet to hear is the young end of the list. Rooms that ended are
 * remembered until heard, at most CLOSED_MAX; past that, routers behind `overflow` need the full list.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/wire/digest.h"
#include "base/wire/grant.h"
#include "client/lib/room_map.h"

#define CLOSED_MAX 4096

struct held_room {
	struct room_link link;
	struct held_room *older, *newer;
	uint64_t epoch, participants, change;
	char grant[GRANT_MAX]; /* "": none */
	char name[]; /* with a NUL */
};
struct closed_room {
	struct closed_room *next;
	uint64_t epoch, change;
	struct str name;
	char bytes[];
};
struct node_rooms { /* zero-initialized: empty */
	struct room_map map;
	struct held_room *oldest, *newest;
	struct closed_room *closed, **closed_end;
	size_t nclosed;
	uint64_t change, overflow, max_epoch;
	struct digest digest;
};
/* False: not a room name or an epoch. A higher epoch replaces, a lower one is ignored. */
bool node_rooms_set(struct node_rooms *, struct str name, uint64_t epoch, uint64_t participants);
bool node_rooms_grant(struct node_rooms *, struct str name, uint64_t epoch, struct str grant); /* false: not held at that epoch, or malformed */
void node_rooms_remove(struct node_rooms *, struct str name, uint64_t epoch); /* that epoch and older */
void node_rooms_clear(struct node_rooms *);                                  /* forgets all, also what closed */
void node_rooms_refresh(struct node_rooms *, size_t n);                      /* the n oldest count as changed */
size_t node_rooms_changed(const struct node_rooms *, uint64_t since, size_t enough); /* how many; counts to `enough` */
void node_rooms_heard(struct node_rooms *, uint64_t upto); /* every router knows what closed up to here */
