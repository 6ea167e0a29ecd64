/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invalidation links: for each primary one connection a process, on the keeper's loop, that hears which records changed
 * (Redis client tracking) and which nodes were charged. Data connections direct their tracking to the one of their server.
 * Together they tell the table how far it can be trusted: only as far as the worst of them hears.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct redis_how;
struct redis_watch;
struct redis_watches;
struct table;

struct redis_watch_conf {
	const char *prefix; /* outlives the watches */
	struct table *table;
	uint64_t trust_ms;
	void (*charged)(void *arg, const char *node, uint64_t number, double cost);
	void (*store_changed)(void *arg, bool up);
	void (*unfit)(void *arg, const char *why); /* registry/registry.h */
	void *arg;
};
struct redis_watches *redis_watches_new(struct loop *keeper, const struct redis_watch_conf *);
void redis_watches_free(struct redis_watches *); /* with all watches; no store is left */
/* Stays to the end, also while its place is nowhere: then it counts for nothing. */
struct redis_watch *redis_watch_new(struct redis_watches *, const struct redis_how *);
void redis_watch_moved(struct redis_watch *);                      /* its place has changed */
void redis_watches_unfit(struct redis_watches *, const char *why); /* this store must not be used: says so, see registry.h */

/* -- any thread --------------------------------------------------------------------------------------------------------------- */
bool redis_watches_up(const struct redis_watches *); /* each primary that there is answers */
/* The client that tracking goes to; changes with each connection. 0: there is none now. */
uint64_t redis_watch_id(const struct redis_watch *);
/* Which server process that client is known to (reply_run_id); a name may lead to several. */
uint64_t redis_watch_server(const struct redis_watch *);
/* The server refuses tracking: what is read may be kept all the same, for a while (TRUST_AGE). */
bool redis_watch_blind(const struct redis_watch *);
/* A data connection ended, and with it the server's memory of what it had read. */
void redis_watch_forgot(struct redis_watch *);
