/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to one Redis on one loop, made again whenever it is lost. Calls are answered once: with the reply, or
 * with NULL when none came by due_ms or with the connection: then nobody knows whether the command ran. Commands are sent
 * at most once, but a script that the store has forgotten is sent again with its text.
 *
 * Everything may be called from within its callbacks, also redis_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/str.h"
#include "registry/scripts.h"

struct redis;
struct redisReply;

struct redis_target {
	char host[256], password[256];
	uint16_t port;
	uint64_t db;
	uint64_t timeout_ms; /* of connecting with all that belongs to it, and of the ping */
};
/* redis://[:password@]host:port[/db]; timeout_ms is the caller's. False with `why` for people. */
bool redis_target_parse(const char *url, struct redis_target *out, const char **why);

struct redis_events {
	void (*up)(void *arg);   /* greeted: calls are taken */
	void (*down)(void *arg); /* was up; what is pending gets its NULL after this */
	void (*refused)(void *arg); /* an attempt to connect failed; redis_why_down() */
	/* What a subscription brings, and the answers to SUBSCRIBE. */
	void (*message)(void *arg, const struct redisReply *);
};
struct redis *redis_new(struct loop *, const struct redis_target *, const struct redis_events *, void *arg);
void redis_free(struct redis *); /* what is pending gets NULL */
bool redis_up(const struct redis *);
const char *redis_why_down(const struct redis *); /* for people; "" if nothing is known */
void redis_drop(struct redis *, const char *why); /* gives this connection up; a new one is made */

struct redis_slot;
struct redis_call { /* embedded in what waits for the answer */
	struct redis_call *next, *prev;
	struct redis *link;
	struct redis_slot *slot; /* its place among what hiredis waits for; NULL: not sent yet */
	struct timer timer;
	struct buf text;         /* by registry/redis_command.h; freed by the link */
	uint64_t due_ms, sent_ms, heard_before;
	enum script script;      /* SCRIPT_COUNT: the text calls no script */
	bool evaled;
	bool patient;            /* may wait for the first connection; others are refused until it is there */
	void (*before)(struct redis_call *); /* optional: right before each sending; may call redis_tell() */
	void (*done)(struct redis_call *, const struct redisReply *); /* once; may free the call */
};
/* 0, or -ERR_STORE_UNAVAILABLE: `done` will not be called and the text is freed. */
int redis_send(struct redis *, struct redis_call *);
void redis_cancel(struct redis_call *);              /* `done` will not be called; the command may still run */
void redis_tell(struct redis *, struct buf *text);   /* nobody wants the answer; frees the text */
void redis_subscribe(struct redis *, const char *channel); /* also again, to hear whether the link lives */
