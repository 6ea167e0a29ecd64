/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes by their records, not by the set of all nodes. That set is written beside the scripts (redis_nodes.c) and lies at a
 * shard of its own, so a failover may forget what it was told last: a node that heartbeats enters itself again, one that died
 * would never be judged, nor be seen by anybody. One step of SCAN at a time; in a cluster shard by shard, as in redis_list.c.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

#define STEP_COUNT 1000

struct scan_op {
	struct redis_op base;
	struct arena *arena; /* the waiter's: only while it waits */
	struct nodes_page *out;
	unsigned slot;
	const struct redisReply *reply; /* only within take and give */
};

/* The record's key is that of nobody with the id before its last byte, and none of the two that go on behind the brace. */
static struct str id_of(struct str nobodys, struct str key)
{
	size_t skip = nobodys.len - 1;

	if (!key.at || key.len <= nobodys.len || memcmp(key.at, nobodys.at, skip) != 0 || key.at[key.len - 1] != '}')
		return (struct str){ NULL, 0 };
	return (struct str){ key.at + skip, key.len - nobodys.len };
}

static void cursor_write(struct scan_op *op, uint64_t at)
{
	const struct redis_shared *shared = op->base.conn->store->shared;
	unsigned slot = op->slot;

	op->out->next[0] = '\0';
	if (!at && (shared->target.kind != REDIS_CLUSTER || redis_shard_from(shared, op->slot + 1, &slot) == REDIS_NO_SHARD))
		return;
	snprintf(op->out->next, sizeof op->out->next, "%u@%" PRIu64, slot, at);
}

static int scan_take(struct redis_op *base, const struct redisReply *reply)
{
	container_of(base, struct scan_op, base)->reply = reply;
	return reply_is_list(reply_at(reply, 1)) ? 0 : -ERR_STORE_UNAVAILABLE;
}

static void scan_give(struct redis_op *base, bool asked)
{
	struct scan_op *op = container_of(base, struct scan_op, base);
	const struct redisReply *keys = reply_at(op->reply, 1);
	size_t count = reply_count(keys);
	struct buf nobodys = { 0 };

	if (!asked)
		return;
	key_node(&nobodys, base->conn->store, "", KEY_NODE);
	*op->out = (struct nodes_page){ .ids = arena_alloc(op->arena, (count + 1) * sizeof *op->out->ids) };
	for (size_t i = 0; i < count; i++) {
		struct str id = id_of((struct str){ nobodys.at, nobodys.len }, reply_str(reply_at(keys, i)));

		if (id.at && node_valid(id.at, id.len))
			op->out->ids[op->out->count++] = arena_copy(op->arena, id.at, id.len);
	}
	buf_free(&nobodys);
	cursor_write(op, reply_u64(reply_at(op->reply, 0)));
}

/* "slot@cursor"; empty is the start. */
static bool cursor_read(const char *text, unsigned *slot, uint64_t *at)
{
	struct str rest = str_of(text), first;
	uint64_t n = 0;

	*slot = 0;
	*at = 0;
	if (!rest.len)
		return true;
	if (!str_cut(&rest, '@', &first) || !parse_u64(first, &n) || n >= REDIS_SLOTS || !parse_u64(rest, at))
		return false;
	*slot = (unsigned)n;
	return true;
}

int redis_nodes_scan(struct redis_store *store, const char *cursor, struct arena *arena, uint64_t due_ms, struct nodes_page *out,
                     struct wait *w)
{
	struct buf pattern = { 0 };
	struct scan_op *op;
	struct buf *text;
	unsigned slot;
	uint64_t at;

	if (!cursor_read(cursor, &slot, &at))
		return -ERR_BAD_REQUEST;
	size_t shard = redis_shard_from(store->shared, slot, &slot);
	if (shard == REDIS_NO_SHARD)
		return -ERR_STORE_UNAVAILABLE;
	op = op_new(store, sizeof *op, false);
	op->arena = arena;
	op->out = out;
	op->slot = slot;
	op->base.take = scan_take;
	op->base.give = scan_give;
	key_node(&pattern, store, "*", KEY_NODE); /* wider where the prefix is a pattern itself */
	text = &op->base.call.text;
	command_start(text, 8);
	command_z(text, "SCAN");
	command_u64(text, at);
	command_z(text, "MATCH");
	command_str(text, (struct str){ pattern.at, pattern.len });
	command_z(text, "COUNT");
	command_u64(text, STEP_COUNT);
	command_z(text, "TYPE");
	command_z(text, "hash");
	buf_free(&pattern);
	return op_start_at(&op->base, shard, due_ms, w);
}
