/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens, for operators: node_lost, room_moved, … Each router tells what it saw or did itself. The keeper numbers events
 * and keeps the last EVENTS_KEPT; whoever follows them (GET /v1/events) gets those and then each new one, on a worker.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct ask;
struct events;
struct router;
struct worker;

/* clang-format off */
#define EVENT_TABLE(X) \
	X(NODE_JOINED, "node_joined") X(NODE_LATE, "node_late") X(NODE_LOST, "node_lost") X(NODE_BACK, "node_back") \
	X(NODE_TAKEN, "node_taken") X(NODE_UNREACHABLE, "node_unreachable") X(DRAIN_STARTED, "drain_started") \
	X(DRAIN_DONE, "drain_done") X(DRAIN_EXPIRED, "drain_expired") X(ROOM_MOVED, "room_moved") X(ROOM_RESTORED, "room_restored") \
	X(ROOM_REOPENED, "room_reopened") X(ROOM_TAKEN, "room_taken") X(ROOMS_FOREIGN, "rooms_foreign") \
	X(OWNER_CONFLICT, "owner_conflict") X(STORE_LOST, "store_lost") X(STORE_REBUILDING, "store_rebuilding") \
	X(STORE_WHOLE, "store_whole") X(BREAKER_OPEN, "breaker_open") X(BREAKER_CLOSED, "breaker_closed") \
	X(CONFIG_DIFFERS, "config_differs")
/* clang-format on */
enum event_type {
#define X(id, name) EVENT_##id,
	EVENT_TABLE(X)
#undef X
		EVENT_TYPES
};
extern const char *const event_words[];

#define EVENTS_KEPT 1024
struct event {
	enum event_type type;
	const char *node;   /* NULL: of none */
	struct str room;    /* empty: of none */
	uint64_t epoch;     /* 0: of none */
	const char *detail; /* words for people; NULL */
};
struct events *events_new(struct router *);
void events_free(struct events *);
void events_emit(struct router *, const struct event *); /* any thread; logs and counts it, too */

/* -- for the streams ------------------------------------------------------------------------------------------------------ */
/* On the keeper: what was kept after this id, as the stream's text; an id that is not of this process: all that is kept. */
void events_since(struct events *, struct str last_id, struct buf *out);
/* A worker follows from now on, once for each stream. Keeper. */
void events_follow(struct events *, unsigned worker, int by);
/* On the worker: text for all its streams. */
void event_streams_take(struct worker *, struct str text);
void event_streams_end(struct worker *); /* at a stop */
