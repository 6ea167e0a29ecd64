/* SPDX-License-Identifier: Apache-2.0 */
/* One report of a node, between heartbeat.c (load, lease, answer) and reconcile.c (its rooms against the store's). */
#pragma once

#include "health/load.h"
#include "registry/nodes.h"
#include "registry/rooms.h"
#include "router/request.h"

struct reported_room {
	const char *room, *grant; /* grant NULL: none */
	uint64_t epoch, participants; /* epoch 0: not opened by usher */
	bool has_participants;
};
struct heartbeat_body {
	const char *incarnation, *rooms_digest;
	uint64_t registration, seq, seen, max_epoch;
	int state;
	struct load load;
	struct node_info node; /* of a node that knows the store to be away: who it is */
	bool unbroken, has_unbroken;
	bool has_node, has_rooms, has_changed;
	struct json_list routers;                /* of const char *: those that the node asks */
	struct json_list rooms, changed, closed; /* of struct reported_room */
	struct json_list rooms_part;             /* of uint64_t */
};
struct heartbeat {
	struct renewed renewed;
	struct str load, routers;
	bool degraded, unchecked, doubted;
	bool waits;          /* its rooms are in the store, and it lets nobody into them before that is whole */
	uint64_t generation; /* of the store's data, when the rooms were looked up */
	/* reconcile.c: */
	struct str *names;            /* of the reported rooms, */
	struct room *records;         /* and what the store says of each */
	struct restoring *lost;       /* those that it does not know, or not as new */
	struct reported_room **lost_as; /* … as reported */
	struct restored *restored;
	size_t nlost, nrenewed;
	size_t foreign, ungranted;    /* that usher did not place; that nobody can show it did */
	struct reported_room **conflicts; /* with records of others at lower epochs */
	size_t nconflicts;
	struct store_mark mark;
	struct rooms_page page;       /* of the node's index */
	char cursor[sizeof(((struct rooms_page *)0)->next)];
	struct claimed *closed;       /* what became of each that the node closed */
	size_t nevict;
	struct reported_room *evict;
};

const struct json_list *heartbeat_list(const struct heartbeat_body *); /* the full list, or what has changed */
bool heartbeat_tells_rooms(const struct heartbeat_body *);             /* at all: some nodes never do */
bool heartbeat_ends_list(const struct heartbeat_body *);               /* a full list, or its last part */

/* Steps. */
int check_rooms(struct request *), checked_rooms(struct request *), unchecked_rooms(struct request *, int err);
int confirm_conflicts(struct request *), confirmed_conflicts(struct request *);
int restore_rooms(struct request *), restored_rooms(struct request *), unrestored_rooms(struct request *, int err);
int find_ghosts(struct request *), found_ghosts(struct request *), unfound_ghosts(struct request *, int err);
int forget_closed(struct request *), forgot_closed(struct request *), unforgotten(struct request *, int err);
/* Without the store: what the node reports is known from then on, so that its rooms can be reached. */
void take_hearsay(struct request *);
