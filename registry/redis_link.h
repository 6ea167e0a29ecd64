/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to one Redis on one loop, made again whenever it is lost, to wherever its place then says. Calls are
 * answered once: with the reply, or with NULL when none came by due_ms or with the connection: then nobody knows whether
 * the command ran. Commands are sent at most once, but a script that the store has forgotten is sent again with its text.
 *
 * A store's connection is up only when the server is a primary, and one that keeps what is written: a replica and one that
 * evicts are refused while greeting, and left when they become that.
 *
 * Everything may be called from within its callbacks, also redis_free().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/str.h"
#include "registry/redis_place.h"
#include "registry/scripts.h"

struct redis;
struct redisReply;

#define REDIS_SEEDS_MAX 16

enum redis_kind { REDIS_ONE, REDIS_SENTINEL, REDIS_CLUSTER };
struct redis_credentials { /* without a password nothing is said */
	char user[128], password[256]; /* user "": the default one */
};
struct redis_target {
	enum redis_kind kind;
	size_t nseeds;
	struct redis_endpoint seeds[REDIS_SEEDS_MAX]; /* the server; the Sentinels; nodes of the cluster */
	struct redis_credentials data, sentinel; /* of the data servers; of the Sentinels themselves */
	char master[128];
	uint64_t db;
	uint64_t timeout_ms; /* of connecting with all that belongs to it, and of the ping */
};
/* redis://[[user]:password@]host:port[/db] | redis+sentinel://[[user]:password@]host:port,…/master-name[/db] |
 * redis+cluster://[[user]:password@]host:port,…; timeout_ms and the Sentinels' credentials are the caller's. False with `why` for
 * people. */
bool redis_target_parse(const char *url, struct redis_target *out, const char **why);

enum redis_use {
	USE_STORE,   /* logs in, and asks what kind of server this is */
	USE_NODE,    /* logs in: any node of a cluster */
	USE_SENTINEL /* logs in as the Sentinels want it, and asks only that it answers */
};
struct redis_how { /* all of it outlives the connection */
	const struct redis_target *target;
	struct redis_place *place;
	struct redis_login *login;
	enum redis_use use;
};

struct redis_call;
struct redis_events {
	void (*up)(void *arg);   /* greeted: calls are taken */
	void (*down)(void *arg); /* was up; what is pending gets its NULL after this */
	void (*refused)(void *arg); /* an attempt to connect failed; redis_why_down() */
	/* What a subscription brings, and the answers to SUBSCRIBE. */
	void (*message)(void *arg, const struct redisReply *);
	/* Optional, for calls that are `routed`: an error came. True: the call was parked, or taken elsewhere. */
	bool (*failed)(void *arg, struct redis_call *, const struct redisReply *);
	void (*again)(void *arg, struct redis_call *); /* a parked call is due: redis_resend() or redis_take() it */
};
struct redis *redis_new(struct loop *, const struct redis_how *, const struct redis_events *, void *arg);
void redis_free(struct redis *); /* what is pending gets NULL */
bool redis_up(const struct redis *);
const char *redis_why_down(const struct redis *); /* for people; "" if nothing is known */
bool redis_unfit(const struct redis *);           /* why it is down: this server loses what is written */
const struct redis_endpoint *redis_at(const struct redis *); /* where it goes, or went last */
/* While up: which server process this is (reply_run_id). 0: not a store's. */
uint64_t redis_server(const struct redis *);
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
	bool routed, acked;      /* registry/redis_shards.h sent it, and to which kind of connection */
	bool parked;             /* waits to be sent again */
	unsigned hops;           /* how often it was sent elsewhere */
	void (*before)(struct redis_call *); /* optional: right before each sending; may call redis_tell() */
	void (*done)(struct redis_call *, const struct redisReply *); /* once; may free the call */
};
/* 0, or -ERR_STORE_UNAVAILABLE: `done` will not be called and the text is freed. */
int redis_send(struct redis *, struct redis_call *);
void redis_cancel(struct redis_call *);              /* `done` will not be called; the command may still run */
void redis_tell(struct redis *, struct buf *text);   /* nobody wants the answer; frees the text */
void redis_subscribe(struct redis *, const char *channel); /* also again, to hear whether the link lives */
/* An answered call is kept, to be sent again a little later; its deadline goes on. */
void redis_park(struct redis_call *);
void redis_take(struct redis_call *);   /* as it is, text and all: for another connection */
void redis_resend(struct redis_call *); /* on the same connection */
