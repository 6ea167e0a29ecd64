/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the adapter of hiredis: redis.c (the connection), redis_greet.c, redis_call.c, redis_socket.c, redis_read.c. */
#pragma once

#include <stdbool.h>

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

#include "base/wait.h"
#include "registry/redis_link.h"

enum link_state { LINK_DOWN, LINK_RESOLVING, LINK_CONNECTING, LINK_GREETING, LINK_UP };

struct redis {
	struct loop *loop;
	struct redis_how how;
	const struct redis_events *events;
	void *arg;
	enum link_state state;
	struct redisAsyncContext *context;
	struct redis_endpoint at; /* where it goes, as of: */
	uint64_t version;
	struct addresses addresses;
	struct wait resolving;
	struct timer retry, limit, ping, again;
	struct redis_call *first, *last; /* in order of sending */
	size_t pending;
	struct redis_call alive; /* the ping */
	uint64_t heard;          /* replies so far */
	uint64_t attempts, server, made_ms;
	unsigned failures;
	bool tried;     /* the first attempt has ended */
	bool unfit;     /* the last attempt found a server that must not be used */
	bool subscribed;
	bool *gone;     /* set while callbacks of the owner run */
	char why[160];
};

/* Until hiredis frees the context. False: the descriptor cannot be watched. */
bool redis_socket_attach(struct loop *, struct redisAsyncContext *);
bool redis_socket_unread(const struct redisAsyncContext *); /* NULL: no */

void redis_lost(struct redis *, const char *why);    /* hiredis ends the context, or has ended it */
void redis_abandon(struct redis *, const char *why); /* we end it */
void redis_leave(struct redis *, const char *why);   /* as all others at this place must */

const struct redis_credentials *redis_as(const struct redis *); /* NULL: it does not log in */
void redis_greet(struct redis *);   /* connected; ends in redis_greeted(), redis_lost() or redis_abandon() */
void redis_greeted(struct redis *);

void calls_send_queued(struct redis *);
void calls_forget_slots(struct redis *); /* before the context goes: its slots will find nobody */
void call_done(struct redis_call *, const struct redisReply *);
