/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other routers of this store: each announces itself every heartbeat, with its breakers that are not closed, and reads the
 * others. The keeper publishes what it read; workers read it without a lock, for one callback.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct agree_difference;
struct router;
struct peers;
struct json_out;

struct peer_breaker {
	const char *node, *class, *state;
	uint64_t failures, retry_ms;
};
struct peer_drain { /* what it has moved from a draining node, since this drain began */
	const char *node;
	uint64_t since_ms, moved, failed;
};
struct peer {
	const char *id, *url, *version;
	uint64_t started_ms, rooms, tunnels, heard_age_ms;
	int64_t clock_ahead_ms; /* of the store's, when it announced itself */
	size_t nbreakers;
	struct peer_breaker *breakers;
	size_t ndrains;
	struct peer_drain *drains;
	size_t ndifferences; /* of settings that all routers should share */
	struct agree_difference *differences;
};
struct peers_view {
	size_t count;
	int64_t clock_off_ms; /* how far our wall clock is ahead of most routers' and the store's; 0: fine, or nobody to say */
	struct peer *peers; /* ourselves among them once announced */
};

struct peers *peers_new(struct router *);
void peers_start(struct peers *);
void peers_leave(struct peers *); /* tell-only */
void peers_free(struct peers *);
const struct peers_view *peers_view(const struct peers *);      /* any thread */
void peers_write_urls(const struct peers *, struct json_out *); /* "routers":[…]; never empty: at least ourselves */
