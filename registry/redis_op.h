/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the Redis store. An operation is one call of a script or command and whoever waits for it. Its life:
 *
 *   op_new() - the caller adds words to op->call.text - op_start() - take(): keep what the reply says - give(): hand it on
 *
 * `acked` operations go to the connection of their own and count once conf.wait_replicas replicas have them. An operation whose
 * waiter left runs to its end: what it read still fills the table.
 */
#pragma once

#include "base/wait.h"
#include "registry/redis_link.h"
#include "registry/registry.h"

struct redis_store;
struct redis_shard;
struct redis_watch;
struct redis_conn { /* a data connection to one shard's primary, and where what it reads is tracked */
	struct redis_store *store;
	struct redis *link;
	struct redis_shard *shard;
	struct redis_watch *watch; /* the shard's */
	struct redis_call arm;     /* CLIENT TRACKING each time the invalidation link is a new one */
	uint64_t connections;      /* so far */
	uint64_t server;           /* while up: which process the primary is (reply_run_id); else 0 */
	uint64_t asked, armed;     /* client id of the invalidation link: asked for, and confirmed; 0: none */
	bool asking;               /* the next command follows ASKING: nothing may come between them */
};
void conn_open(struct redis_conn *, struct redis_store *, struct redis_shard *);
void conn_close(struct redis_conn *);
/* Before a read that the table may keep: directs tracking to the present link, and asks that the next command be tracked.
 * Gives the id that the reply counts for, 0: it must not be kept. */
uint64_t conn_track(struct redis_conn *);
bool conn_tracked(const struct redis_conn *, uint64_t id); /* at the reply */

struct redis_op {
	struct op op;
	struct redis_call call;
	struct redis_conn *conn; /* from op_start() on: the one to the shard of its key */
	bool acked;
	int (*take)(struct redis_op *, const struct redisReply *); /* not an error reply; 0 or -ERR_X */
	/* Only after success. `asked`: somebody waits, write the out-parameters. May be NULL. */
	void (*give)(struct redis_op *, bool asked);
	void (*fail)(struct redis_op *); /* nobody knows whether it happened. May be NULL */
};
/* `size` bytes, zeroed; the struct begins with struct redis_op. Freed by the end of the operation, or by op_start(). */
void *op_new(struct redis_store *, size_t size, bool acked);
void op_script(struct redis_op *, enum script, size_t keys, size_t args); /* then keys and args with command_*() */
/* WAIT, or -ERR_STORE_UNAVAILABLE. w NULL: tell only. The first key of the command decides which shard it goes to. */
int op_start(struct redis_op *, uint64_t due_ms, struct wait *w);
/* The same for a command without a key: to the shard of this number (registry/redis_shards.h). */
int op_start_at(struct redis_op *, size_t shard, uint64_t due_ms, struct wait *w);

/* A key: the prefix and up to three pieces. */
void key_room(struct buf *to, const struct redis_store *, struct str room);
enum node_key { KEY_NODE, KEY_CHARGES, KEY_NODE_ROOMS };
void key_node(struct buf *to, const struct redis_store *, const char *node, enum node_key);
void command_room(struct buf *to, const struct redis_store *, struct str room); /* the key as a word */
void command_node(struct buf *to, const struct redis_store *, const char *node, enum node_key);
void command_key(struct buf *to, const struct redis_store *, const char *name); /* prefix + name */
void command_read_room(struct buf *to, const struct redis_store *, struct str room); /* the whole command, for reply_room() */
