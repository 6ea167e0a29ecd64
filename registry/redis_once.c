/* SPDX-License-Identifier: Apache-2.0 */
/* One key for each name that was used, which Redis forgets by itself. */
#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

struct use_op {
	struct redis_op base;
	bool first, *out;
};

static int use_take(struct redis_op *base, const struct redisReply *reply)
{
	struct use_op *op = container_of(base, struct use_op, base);

	op->first = str_is(reply_str(reply), "OK");
	return op->first || reply_is_nil(reply) ? 0 : -ERR_STORE_UNAVAILABLE;
}

static void use_give(struct redis_op *base, bool asked)
{
	struct use_op *op = container_of(base, struct use_op, base);

	if (asked)
		*op->out = op->first;
}

int redis_use_once(struct redis_store *store, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w)
{
	struct use_op *op = op_new(store, sizeof *op, true);
	struct buf *text = &op->base.call.text, key = { 0 };

	op->out = first;
	op->base.take = use_take;
	op->base.give = use_give;
	buf_printf(&key, "once:%.*s", STR_ARG(name));
	command_start(text, 6);
	command_z(text, "SET");
	command_key(text, store, key.at);
	command_z(text, "1");
	command_z(text, "NX");
	command_z(text, "PX");
	command_u64(text, lives_ms);
	buf_free(&key);
	return op_start(&op->base, due_ms, w);
}
