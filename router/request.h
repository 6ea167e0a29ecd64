/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request engine: a verb is a table of named steps, run top to bottom. A step answers now or waits for one thing; the
 * engine gives each step its name in the log, its duration in the metrics, the deadline, cancellation when the client leaves,
 * and a fault point for tests. A request lives on one worker's loop, inside its exchange.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/httpd.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/wait.h"

struct request;
struct route;
struct worker;

struct step {
	const char *name;
	int (*run)(struct request *);              /* NEXT, WAIT (then `rq->wait` is attached), DONE or -ERR_X */
	int (*judge)(struct request *);            /* optional: what `run` asked for is here, at once or after the wait */
	int (*rescue)(struct request *, int err);  /* optional: `run`, its wait or `judge` ended with -ERR_X */
	bool store;                                /* its wait is charged to the request's one store budget */
};
#define STEPS_END { NULL, NULL, NULL, NULL, false }

struct request {
	struct worker *worker;
	struct exchange *x;
	const struct route *route, *matched; /* matched: before it has started */
	int refusal;         /* ERR_X found in the head; answered when the exchange is ready */
	const struct step *steps, *at;
	struct wait wait;
	struct op pause; /* what a parked request waits for */
	struct timer pause_timer, deadline;
	const struct step *resume;
	struct str names[2]; /* decoded {room} and {node} of the path, NUL-terminated: see NAME_ROOM */
	struct str rest;     /* raw remainder after a pattern's '*' */
	const char *id;      /* X-Request-Id */
	unsigned may;        /* scopes of its credential; all with auth.mode none */
	const char *who;     /* whose credential, for the log; "": nobody said */
	const char *only_room; /* that it is bound to, or rooms by prefix*; "": any */
	struct str credential; /* stands for the token itself; empty: none */
	struct {
		bool bound;      /* the token is for this request and no other */
		struct str name; /* stands for the token; empty: it may be used again */
		uint64_t ends_ms;
		bool first;
	} once; /* router/once.h */
	int let_in_by;       /* enum ticket_kind; 0: no ticket */
	const char *detail;  /* of an error: names the fault */
	uint64_t retry_ms;   /* of an error: when trying again can help */
	uint64_t hold_ms;    /* of `refusal`: for how long the answer is held back */
	uint64_t started_ms, waited_from_ms, store_left_ms, park_until_ms;
	uint64_t started_ns;
	unsigned jumps;
	bool parked;
	bool calls_node;     /* has called an SFU: another call is a retry */
	bool in_begin;       /* running inside `begin`: the body has not come yet and can still be streamed */
	bool body_here;      /* `ready` has come */
	bool awaits_body;    /* the pause ends with `ready` */
	void *state;         /* the verb's own struct, zeroed, in the exchange's arena */
	void *body;          /* parsed, when the route has a shape */
	void (*leave)(struct request *); /* optional: last call, whatever happened */
	int status;
	int refused;         /* ERR_X, if the answer is a refusal */
};
enum { NAME_ROOM, NAME_NODE };

void request_start(struct request *, const struct route *);
void request_gone(struct request *); /* the exchange is over; nothing of the request may run any more */

/* -- for steps ---------------------------------------------------------------------------------------------------------- */
struct arena *request_arena(struct request *);
uint64_t request_now(const struct request *);
uint64_t request_store_due(const struct request *); /* the loop time by which the store must have answered */
/* Goes on with another step by its run function: forward, or back (bounded: then -ERR_CONTENTION). */
int request_go(struct request *, int (*run)(struct request *));
/* Only time is missing: waits a little and goes on with `run`; at the end of server.park_ms gives `err` instead. */
int request_park(struct request *, int (*run)(struct request *), int err);
int request_await_body(struct request *);  /* WAIT until the exchange is ready */
void request_body_here(struct request *);  /* from `ready` */
void request_stream(struct request *);     /* handed to a forward, which has deadlines of its own */
void request_unstream(struct request *);   /* given back: a whole deadline begins */
int request_fail(struct request *, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4))); /* -err, with detail */
/* The answer. DONE. */
int request_json(struct request *, int status, struct buf *json); /* takes the buffer's bytes into the arena, frees it */
int request_empty(struct request *, int status);
void request_refuse(struct request *, int err); /* problem+json */
void request_hold(struct request *); /* the same with `refusal`, when `hold_ms` is over */
/* The decoded value of a query parameter, NUL-terminated; NULL: absent. False: malformed. */
bool request_param(struct request *, const char *name, struct str *value);
