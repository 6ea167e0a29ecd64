/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the registry: what its two stores have in common. The public functions (rooms.h, nodes.h) keep what is the
 * same for both: the table of rooms, its trust, the floor of epochs, how often a use is written. What only a store can
 * do goes through `store_ops`, one function for each, with the contract of its public namesake: NEXT or -ERR_X at once, or
 * WAIT and a wake later, never before it has returned. `w` NULL in none of them; those that return nothing wait for nobody.
 *
 * What every store does with a room's record, whichever way it comes (found, ours after a change, the winner's):
 *  - registry_met_epoch() with its epoch, so that the floor of our claims lies above all that we ever saw. A claim takes
 *    max(record's + 1, floor + 1, clock in ms), the floor at most a day ahead of the clock, all below EPOCH_MAX.
 *  - tell the table: a store elsewhere notes table_stamp() before it asks and calls table_learn() with the reply, so that
 *    a change announced in between is not overwritten; where the keeper itself is the store, table_put().
 *  - a write whose outcome is unknown: table_distrust().
 * And table_changed(), table_changed_all(), table_alive() as the store announces changes, or has ceased to.
 */
#pragma once

#include <stdatomic.h>

#include "registry/nodes.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "registry/table.h"

#define FLOOR_AHEAD_MS UINT64_C(86400000) /* a floor further ahead of the store's clock is somebody's mistake: cut there */
#define ROUTER_SILENT_MS 10000            /* routers not heard for so long are forgotten */

struct store_ops;
struct store { /* one for each loop that asks; the first member of what the store's kind makes */
	struct registry *registry;
	struct loop *loop;
	const struct store_ops *ops;
};

struct store_ops {
	void (*free)(struct store *);
	bool (*up)(const struct store *);
	uint64_t (*connections)(const struct store *); /* NULL: there is but one */

	int (*find)(struct store *, struct str name, uint64_t due_ms, struct room *out, struct wait *w); /* never the table */
	int (*claim)(struct store *, struct str name, const struct claim *, uint64_t due_ms, struct claimed *out, struct wait *w);
	int (*confirm)(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
	int (*publish)(struct store *, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms, struct claimed *out,
	               struct wait *w);
	int (*move)(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
	int (*restore)(struct store *, const struct restoring *, uint64_t due_ms, struct restored *out, struct wait *w);
	int (*shut)(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
	int (*forget)(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w);
	int (*list)(struct store *, const struct rooms_query *, struct arena *, uint64_t due_ms, struct rooms_page *out,
	            struct wait *w);
	void (*touch)(struct store *, struct str name, const struct room *); /* asked at most once a second and room */

	int (*register_node)(struct store *, const char *node, const struct registration_request *, uint64_t due_ms,
	                     struct registered *out, struct wait *w);
	int (*renew)(struct store *, const char *node, const struct renewal *, uint64_t due_ms, struct renewed *out,
	             struct wait *w);
	int (*leave)(struct store *, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *w);
	int (*lose)(struct store *, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
	            struct wait *w);
	int (*holds)(struct store *, const char *node, const char *incarnation, uint64_t due_ms, bool *holds, struct wait *w); /* nor lost */
	int (*set_wish)(struct store *, const char *node, enum node_wish, struct str drain, uint64_t due_ms, struct wait *w);
	void (*listed)(struct store *, const char *node, uint64_t registration, uint64_t generation);
	int (*reset_breakers)(struct store *, const char *node, uint64_t due_ms, struct wait *w);
	int (*reserve)(struct store *, const char *node, const struct reserve *, uint64_t due_ms, struct reserved *out,
	               struct wait *w);
	void (*release)(struct store *, const char *node, struct str room, const struct reserved *, double cost);
	void (*index)(struct store *, const char *node, struct str room, uint64_t epoch);
	void (*unindex)(struct store *, const char *node, struct str room, uint64_t epoch);
	void (*report_rooms)(struct store *, const char *node, const struct room_report *, size_t n);
	int (*room)(struct store *, const char *node, struct str room, uint64_t due_ms, struct room_report *out, struct wait *w);
	int (*nodes_all)(struct store *, struct arena *, uint64_t due_ms, struct nodes_all *out, struct wait *w);
	int (*nodes_scan)(struct store *, const char *cursor, struct arena *, uint64_t due_ms, struct nodes_page *out,
	                  struct wait *w); /* NULL, as the next: the list of nodes is the records themselves */
	void (*relist)(struct store *, const char *node);

	int (*mark_look)(struct store *, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w);
	int (*mark_read)(struct store *, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w); /* of its shard */
	int (*marks_read)(struct store *, uint64_t due_ms, struct store_mark *out, struct wait *w);
	int (*mark_doubt)(struct store *, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w);
	int (*mark_whole)(struct store *, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w);

	int (*use_once)(struct store *, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w);
	int (*announce)(struct store *, const char *id, struct str info, uint64_t due_ms, struct wait *w);
	int (*leave_router)(struct store *, const char *id, uint64_t due_ms, struct wait *w);
	int (*routers_all)(struct store *, struct arena *, uint64_t due_ms, struct routers_all *out, struct wait *w);
};

/* -- one a process ---------------------------------------------------------------------------------------------------------- */
struct registry_kind {
	const char *name; /* registry_kind() */
	bool (*reads)(const char *url, const char **why); /* NULL: every URL of this scheme */
	void *(*open)(struct registry *, const char **why); /* NULL with `why`: not a URL of ours */
	void (*close)(void *own);
	bool (*up)(const void *own); /* any thread */
	struct store *(*store_new)(struct registry *, struct loop *);
};
extern const struct registry_kind registry_memory, registry_redis;

struct registry {
	const struct registry_kind *kind;
	void *own; /* the kind's: struct memory, struct redis_shared */
	struct loop *keeper;
	struct retire *retire;
	struct registry_conf conf; /* with strings of its own */
	struct table *table;
	_Atomic uint64_t floor;
	_Atomic uint64_t generation; /* of the mark that is trusted, */
	_Atomic bool whole;          /* and what it says */
};
