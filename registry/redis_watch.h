/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invalidation link: one connection a process, on the keeper's loop, that hears which records changed (Redis client
 * tracking) and which nodes were charged. Data connections direct their tracking to it. It tells the table how far the
 * table can be trusted.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct redis_target;
struct redis_watch;
struct table;

struct redis_watch_conf {
	const struct redis_target *target;
	const char *prefix; /* outlives the watch */
	struct table *table;
	uint64_t trust_ms;
	void (*charged)(void *arg, const char *node, uint64_t number, double cost);
	void (*store_changed)(void *arg, bool up);
	void *arg;
};
struct redis_watch *redis_watch_new(struct loop *keeper, const struct redis_watch_conf *);
void redis_watch_free(struct redis_watch *); /* no store is left */

/* -- any thread --------------------------------------------------------------------------------------------------------------- */
bool redis_watch_up(const struct redis_watch *);
/* The client that tracking goes to; changes with each connection. 0: there is none now. */
uint64_t redis_watch_id(const struct redis_watch *);
/* Which server process that client is known to (reply_run_id); a name may lead to several. */
uint64_t redis_watch_server(const struct redis_watch *);
/* The server refuses tracking: what is read may be kept all the same, for a while (TRUST_AGE). */
bool redis_watch_blind(const struct redis_watch *);
/* A data connection ended, and with it the server's memory of what it had read. */
void redis_watch_forgot(struct redis_watch *);
