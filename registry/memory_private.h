/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the embedded store (`memory:`): its records live on the keeper's loop and are touched there alone. Every
 * operation is a call: it holds copies of what was asked, `run` answers it on the keeper, `give` hands the answer on where it
 * was asked. From the keeper itself that is one function call; from another loop the call travels as a struct ask.
 *
 * What each operation does is what its script in registry/lua/ does; one test suite runs against both.
 */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/ask.h"
#include "registry/memory_map.h"
#include "registry/store_private.h"

struct memory { /* one a process */
	struct registry *registry;
	struct loop *keeper;
	struct map rooms, nodes, routers, tombs, used;
	size_t tomb_slot, used_slot; /* where the next look for old ones begins */
	bool closed;
	_Atomic size_t refs; /* the registry, and each call under way */
};
struct memory_store {
	struct store base;
	struct memory *memory;
	struct memory_call *pending; /* sent to the keeper; somebody may wait */
	bool closing;
};

struct memory_call {
	struct ask ask;
	struct timer due;
	struct memory *memory;
	struct memory_store *store; /* at home: NULL once that is freed */
	struct memory_call *next, **link; /* among the store's pending */
	struct arena arena;         /* what is asked and answered, as long as the call */
	int (*run)(struct memory *, struct memory_call *);
	void (*give)(struct memory_call *); /* somebody waits and it went well: write the out-parameters. May be NULL */
};
/* `size` bytes, zeroed; the struct begins with struct memory_call. */
void *call_new(struct store *, size_t size, int (*run)(struct memory *, struct memory_call *), void (*give)(struct memory_call *));
struct str call_keep(struct memory_call *, struct str);
const char *call_keep_z(struct memory_call *, const char *); /* NULL becomes "" */
int call_start(struct memory_call *, uint64_t due_ms, struct wait *);
void call_tell(struct memory_call *); /* nobody waits */

/* -- records --------------------------------------------------------------------------------------------------------------- */

struct memory_entry { /* of a node's index of rooms */
	struct map_item item;
	uint64_t epoch; /* 0 while the room is only reserved: */
	uint64_t reservations, reserved_ms;
	int64_t participants;
	uint64_t uses;
	char name[];
};
struct memory_node {
	struct map_item item;
	struct node_record record; /* but info, load, drain, routers, charges, rooms, exclusive: below */
	struct str info, load;     /* malloc'd; .at NULL: "{}" */
	struct str drain, routers; /* malloc'd; .at NULL: "" */
	char *exclusive;           /* the room that has the node for itself; NULL: none */
	size_t exclusive_len;
	struct charge charges[CHARGES_MAX]; /* oldest first */
	size_t ncharges;
	struct map rooms;
};
struct memory_node *memory_node_find(struct memory *, const char *id);
bool memory_room_read(struct memory *, struct str name, struct room *out); /* false: no record; the state says so too */
struct memory_entry *memory_entry_find(const struct memory_node *, struct str room);
void memory_entry_index(struct memory_entry *, uint64_t epoch); /* held at this epoch, unless a higher one is known */
void memory_entry_drop(struct memory_node *, struct memory_entry *);
bool memory_entry_is_stale(const struct memory_entry *, uint64_t up_to_epoch); /* by the rule of nodes_unindex() */
void memory_places_clear(struct memory_node *); /* charges, index, exclusiveness: another process begins */

void memory_rooms_free(struct memory *);
void memory_nodes_free(struct memory *);
void memory_routers_free(struct memory *);
void memory_once_free(struct memory *);

/* -- operations: as in struct store_ops -------------------------------------------------------------------------------------- */
int memory_find(struct store *, struct str name, uint64_t due_ms, struct room *out, struct wait *w);
int memory_claim(struct store *, struct str name, const struct claim *, uint64_t due_ms, struct claimed *out, struct wait *w);
int memory_confirm(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
int memory_publish(struct store *, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms, struct claimed *out,
                   struct wait *w);
int memory_move(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
int memory_restore(struct store *, const struct restoring *, uint64_t due_ms, struct restored *out, struct wait *w);
int memory_shut(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
int memory_forget(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
int memory_list(struct store *, const struct rooms_query *, struct arena *, uint64_t due_ms, struct rooms_page *out,
                struct wait *w);

int memory_register(struct store *, const char *node, const struct registration_request *, uint64_t due_ms,
                    struct registered *out, struct wait *w);
int memory_renew(struct store *, const char *node, const struct renewal *, uint64_t due_ms, struct renewed *out,
                 struct wait *w);
int memory_leave(struct store *, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *w);
int memory_holds(struct store *, const char *node, const char *incarnation, uint64_t due_ms, bool *holds, struct wait *);
int memory_lose(struct store *, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
                struct wait *w);
int memory_set_wish(struct store *, const char *node, enum node_wish, struct str drain, uint64_t due_ms, struct wait *w);
void memory_listed(struct store *, const char *node, uint64_t registration, uint64_t generation);
int memory_reset_breakers(struct store *, const char *node, uint64_t due_ms, struct wait *w);

int memory_reserve(struct store *, const char *node, const struct reserve *, uint64_t due_ms, struct reserved *out,
                   struct wait *w);
void memory_release(struct store *, const char *node, struct str room, const struct reserved *, double cost);
void memory_index(struct store *, const char *node, struct str room, uint64_t epoch);
void memory_unindex(struct store *, const char *node, struct str room, uint64_t epoch);
void memory_report_rooms(struct store *, const char *node, const struct room_report *, size_t n);
void memory_touch(struct store *, struct str name, const struct room *);
int memory_room(struct store *, const char *node, struct str room, uint64_t due_ms, struct room_report *out, struct wait *w);

int memory_nodes_all(struct store *, struct arena *, uint64_t due_ms, struct nodes_all *out, struct wait *w);
int memory_use_once(struct store *, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w);
int memory_announce(struct store *, const char *id, struct str info, uint64_t due_ms, struct wait *w);
int memory_leave_router(struct store *, const char *id, uint64_t due_ms, struct wait *w);
int memory_routers_all(struct store *, struct arena *, uint64_t due_ms, struct routers_all *out, struct wait *w);
