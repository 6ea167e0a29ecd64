/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the Redis store: what its files know of each other. `struct redis_shared` is one a process, and constant after
 * its making but for what the keeper publishes (registry/redis_shards.h); `struct redis_store` is one a loop.
 */
#pragma once

#include "registry/nodes.h"
#include "registry/redis_op.h"
#include "registry/redis_shards.h"
#include "registry/rooms.h"

struct redis_cluster;
struct redis_sentinels;
struct redis_watches;

struct redis_shared {
	struct registry *registry;
	struct table *table;
	struct loop *keeper;
	struct retire *retire;
	struct redis_target target;
	struct redis_login *login;
	struct redis_shards shards;
	struct redis_marks *marks;
	struct redis_watches *watches;
	struct redis_sentinels *sentinels; /* who finds the primaries, by the URL: these, */
	struct redis_cluster *cluster;     /* this, or nobody */
	char *prefix, *router;
	uint64_t wait_replicas, wait_ms;
};
struct redis_store {
	struct loop *loop;
	const struct redis_shared *shared;
	uint64_t error_logged_ms;
	struct redis_shard_conns *shards[REDIS_SHARDS_MAX]; /* by the shard's number */
	size_t nshards;
	struct timer look;         /* for new shards */
	struct redis_conn nowhere; /* of an operation before it is started */
};

/* Everything is copied. NULL with `why` for people: not a URL of ours. */
struct redis_shared *redis_shared_new(struct registry *, const char **why);
void redis_shared_free(struct redis_shared *); /* all stores are freed already */
bool redis_shared_up(const struct redis_shared *); /* any thread */
struct redis_store *redis_store_new(const struct redis_shared *, struct loop *);
void redis_store_free(struct redis_store *);
bool redis_store_up(const struct redis_store *);
uint64_t redis_store_connections(const struct redis_store *);

int redis_rooms_find(struct redis_store *, struct str name, uint64_t due_ms, struct room *out, struct wait *);
int redis_rooms_claim(struct redis_store *, struct str name, const struct claim *, uint64_t due_ms, struct claimed *out,
                      struct wait *);
int redis_rooms_confirm(struct redis_store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out,
                        struct wait *);
int redis_rooms_publish(struct redis_store *, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                        struct claimed *out, struct wait *);
int redis_rooms_move(struct redis_store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
int redis_rooms_restore(struct redis_store *, const struct restoring *, uint64_t due_ms, struct restored *out, struct wait *);
int redis_rooms_shut(struct redis_store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
int redis_rooms_forget(struct redis_store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
int redis_rooms_list(struct redis_store *, const struct rooms_query *, struct arena *, uint64_t due_ms, struct rooms_page *out,
                     struct wait *);
void redis_rooms_touch(struct redis_store *, struct str name, const struct room *);

int redis_nodes_register(struct redis_store *, const char *node, const struct registration_request *, uint64_t due_ms,
                         struct registered *out, struct wait *);
int redis_nodes_renew(struct redis_store *, const char *node, const struct renewal *, uint64_t due_ms, struct renewed *out,
                      struct wait *);
int redis_nodes_leave(struct redis_store *, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *);
int redis_nodes_lose(struct redis_store *, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
                     struct wait *);
int redis_nodes_set_wish(struct redis_store *, const char *node, enum node_wish, struct str drain, uint64_t due_ms, struct wait *);
void redis_nodes_listed(struct redis_store *, const char *node, uint64_t registration, uint64_t generation);
int redis_nodes_reset_breakers(struct redis_store *, const char *node, uint64_t due_ms, struct wait *);
int redis_nodes_reserve(struct redis_store *, const char *node, const struct reserve *, uint64_t due_ms, struct reserved *out,
                        struct wait *);
void redis_nodes_release(struct redis_store *, const char *node, struct str room, const struct reserved *, double cost);
void redis_nodes_index(struct redis_store *, const char *node, struct str room, uint64_t epoch);
void redis_nodes_report_rooms(struct redis_store *, const char *node, const struct room_report *, size_t n);
int redis_nodes_room(struct redis_store *, const char *node, struct str room, uint64_t due_ms, struct room_report *out,
                     struct wait *);
void redis_nodes_unindex(struct redis_store *, const char *node, struct str room, uint64_t epoch);
int redis_nodes_all(struct redis_store *, struct arena *, uint64_t due_ms, struct nodes_all *out, struct wait *);
int redis_nodes_scan(struct redis_store *, const char *cursor, struct arena *, uint64_t due_ms, struct nodes_page *out, struct wait *);
int redis_nodes_holds(struct redis_store *, const char *node, const char *incarnation, uint64_t due_ms, bool *holds, struct wait *);
void redis_nodes_relist(struct redis_store *, const char *node);
int redis_mark_look(struct redis_store *, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *);
int redis_mark_read(struct redis_store *, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *);
int redis_marks_read(struct redis_store *, uint64_t due_ms, struct store_mark *out, struct wait *);
int redis_mark_doubt(struct redis_store *, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *);
int redis_mark_whole(struct redis_store *, uint64_t generation, uint64_t due_ms, bool *done, struct wait *);
int redis_use_once(struct redis_store *, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *);
int redis_routers_announce(struct redis_store *, const char *id, struct str info, uint64_t due_ms, struct wait *);
int redis_routers_leave(struct redis_store *, const char *id, uint64_t due_ms, struct wait *);
int redis_routers_all(struct redis_store *, struct arena *, uint64_t due_ms, struct routers_all *out, struct wait *);
