/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds which room. One registry a process, over one of two stores: `memory:` (inside this process) or a Redis.
 * Each loop that asks has a `struct store` of its own: workers and the keeper (the main loop, which alone writes the
 * process's table of rooms). Store functions take the loop time (ms) by which an answer must be there: one budget for
 * all store work of a request. An answer that did not come in time is -ERR_STORE_UNAVAILABLE: for a write that means
 * "unknown", and every script may be repeated.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct registry;
struct retire;
struct store;
struct table;
struct wait;

struct registry_conf {
	const char *url;    /* memory: | redis:// | redis+sentinel:// | redis+cluster:// (registry/redis_link.h) */
	const char *sentinel_user, *sentinel_password; /* of the Sentinels themselves; NULL or "": none. Only while it is made */
	const char *prefix; /* of every key */
	const char *router; /* this router's id, for records */
	uint64_t timeout_ms, wait_replicas, wait_ms;
	uint64_t table_max, trust_ms;
	/* On the keeper's loop: another router (or this one) charged a node; so that all routers see it at once. */
	void (*charged)(void *arg, const char *node, uint64_t number, double cost);
	/* On the keeper's loop: the store was lost or came back. */
	void (*store_changed)(void *arg, bool up);
	/* On the keeper's loop, within seconds of the making and before the store was ever up: this store must not be used, as it
	 * would lose what it is told. Found later, that is logged as `store_unfit`, and the store counts as down. */
	void (*unfit)(void *arg, const char *why);
	void *arg;
};
bool registry_url_valid(const char *url, const char **why);
/* Checks the URL; connects later. NULL with `why` for people. */
struct registry *registry_new(struct loop *keeper, struct retire *, const struct registry_conf *, const char **why);
void registry_free(struct registry *); /* all stores are freed already */
const char *registry_kind(const struct registry *); /* "memory" | "redis" */
bool registry_up(const struct registry *);          /* the keeper's connection answers; any thread */
struct table *registry_table(struct registry *);

struct store *store_new(struct registry *, struct loop *); /* on that loop's thread, or before it runs */
void store_free(struct store *);                           /* on that loop's thread: pending calls get -ERR_STORE_UNAVAILABLE */
bool store_up(const struct store *);                       /* this handle's connection answers */
uint64_t store_connections(const struct store *);          /* how often it was made; after each it may be another server */
/* -- is the store's data all there? (protocol: data loss) ------------------------------------------------------------------ */
struct store_mark {
	uint64_t generation; /* of the data: another one after each loss */
	bool whole;          /* else it is being rebuilt from what nodes report: rooms that are not there may exist */
	uint64_t since_ms;   /* the store's clock: when this generation began */
};
/* Reads the mark. A new generation begins where another server process wrote it, or where there is none: whole at once if the
 * asker knows of no node that ever was there (`knows_nodes`). */
int registry_look_at_mark(struct store *, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *);
/* Reads the mark of the store's part that holds this room: after a record that was read on this loop, so that it says whether that
 * record may be from before a loss. */
int registry_read_mark(struct store *, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *);
/* The same of all parts: what says that a node is gone, or a room another's, may have been lost by any of them. */
int registry_read_marks(struct store *, uint64_t due_ms, struct store_mark *out, struct wait *);
bool registry_mark_counts(const struct registry *, const struct store_mark *); /* whole, and the one that is trusted */
int registry_call_whole(struct store *, uint64_t generation, uint64_t due_ms, bool *done, struct wait *);
/* A generation that began whole and is younger than young_ms was begun too lightly: somebody is from before it. */
int registry_doubt(struct store *, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *);
/* Keeper: what marks that are read from now on are compared with. */
void registry_trust_mark(struct registry *, const struct store_mark *);
uint64_t registry_generation(const struct registry *); /* any thread */
bool registry_whole(const struct registry *);          /* what it said of its data; any thread */
/* Is this the first use of a name (at most 64 bytes) at any router? Known for lives_ms from then on. After -ERR_X nobody knows. */
int registry_use_once(struct store *, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *);
/* The highest epoch this process ever met; claims pass it as the floor (protocol: records and numbers). Any thread. */
void registry_met_epoch(struct registry *, uint64_t epoch);
uint64_t registry_floor(const struct registry *);
