/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of the store's data: one key, beside it who wrote it. It is looked at by the keeper, and read by whoever was told that
 * a room has no record: after that reading, on the same connection, so that a loss between the two cannot go unnoticed.
 */
#include <string.h>

#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

#define MARK "mark"

struct mark_op {
	struct redis_op base;
	struct store_mark got, *out;
	bool flag, *done;
};

static int mark_take(struct redis_op *base, const struct redisReply *reply)
{
	struct mark_op *op = container_of(base, struct mark_op, base);

	if (reply_count(reply) != 3)
		return -ERR_STORE_UNAVAILABLE;
	op->got = (struct store_mark){ reply_u64(reply_at(reply, 0)), str_is(reply_str(reply_at(reply, 1)), "whole"),
		                       reply_u64(reply_at(reply, 2)) };
	return 0;
}

static void mark_give(struct redis_op *base, bool asked)
{
	struct mark_op *op = container_of(base, struct mark_op, base);

	if (asked && op->out)
		*op->out = op->got;
	if (asked && op->done)
		*op->done = op->flag;
}

static struct mark_op *mark_new(struct redis_store *store, struct store_mark *out)
{
	struct mark_op *op = op_new(store, sizeof *op, false);

	op->out = out;
	op->base.take = mark_take;
	op->base.give = mark_give;
	return op;
}

static uint64_t new_generation(void)
{
	return (random_u64() >> 12) + 1; /* below 2^53, as all numbers in scripts */
}

int redis_mark_look(struct redis_store *store, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	uint64_t server = shard_server(store, 0);

	if (!server)
		return -ERR_STORE_UNAVAILABLE; /* it has not said yet which process it is */
	struct mark_op *op = mark_new(store, out);
	struct buf *text = &op->base.call.text;
	op_script(&op->base, SCRIPT_MARK, 1, 4);
	command_key(text, store, MARK);
	command_u64(text, server);
	command_u64(text, new_generation());
	command_u64(text, store->shared->wait_replicas > 0);
	command_z(text, knows_nodes ? "rebuilding" : "whole");
	return op_start(&op->base, due_ms, w);
}

int redis_mark_read(struct redis_store *store, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	struct mark_op *op = mark_new(store, out);
	struct buf *text = &op->base.call.text;

	(void)room; /* one server, one mark */
	command_start(text, 5);
	command_z(text, "HMGET");
	command_key(text, store, MARK);
	command_z(text, "generation");
	command_z(text, "state");
	command_z(text, "since");
	return op_start(&op->base, due_ms, w);
}

static int done_take(struct redis_op *base, const struct redisReply *reply)
{
	container_of(base, struct mark_op, base)->flag = reply_u64(reply) == 1;
	return 0;
}

static struct mark_op *change_new(struct redis_store *store, enum script script, size_t args, uint64_t generation, bool *done)
{
	struct mark_op *op = mark_new(store, NULL);

	op->base.take = done_take;
	op->done = done;
	op_script(&op->base, script, 1, args);
	command_key(&op->base.call.text, store, MARK);
	command_u64(&op->base.call.text, generation);
	return op;
}

int redis_mark_whole(struct redis_store *store, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w)
{
	return op_start(&change_new(store, SCRIPT_WHOLE, 1, generation, done)->base, due_ms, w);
}

int redis_mark_doubt(struct redis_store *store, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w)
{
	struct mark_op *op = change_new(store, SCRIPT_DOUBT, 3, generation, done);

	command_u64(&op->base.call.text, young_ms);
	command_u64(&op->base.call.text, new_generation());
	return op_start(&op->base, due_ms, w);
}
