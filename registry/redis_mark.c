/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark of the store's data: one key, beside it who wrote it. It is looked at by the keeper, and read by whoever was told that
 * a room has no record: after that reading, on the same connection, so that a loss between the two cannot go unnoticed.
 *
 * A cluster has one for each primary, as each can lose its part alone. The keeper takes them together: whole if all are, of a
 * generation that is made of theirs. Who reads a room's mark gets that generation if its shard's is still the one that the
 * keeper saw. A primary that is new has none, and one that gave its lowest slot away has another: then too nodes tell all
 * their rooms once more, as nobody can tell this from a loss. A cluster is new only if none of its primaries has a mark: one
 * without, beside others that have theirs, has lost it, whatever the looking process knows. Who gives a node up reads all marks:
 * the record that is missing may be of any shard.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

#define MARK "mark"
#define GENERATION_BITS 52 /* below 2^53, as all numbers in scripts */

/* -- of one primary --------------------------------------------------------------------------------------------------------- */

struct mark_op {
	struct redis_op base;
	struct store_mark got, *out;
	bool flag, *done;
	size_t shard;
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

static struct mark_op *mark_new(struct redis_store *store, size_t shard, struct store_mark *out)
{
	struct mark_op *op = op_new(store, sizeof *op, false);

	op->shard = shard;
	op->out = out;
	op->base.take = mark_take;
	op->base.give = mark_give;
	return op;
}

static uint64_t new_generation(void)
{
	return (random_u64() >> (64 - GENERATION_BITS)) + 1;
}

/* `begin`: the state of a mark that is not there yet; "": none. */
static int look_at(struct redis_store *store, size_t shard, const char *begin, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	uint64_t server = shard_server(store, shard);

	if (!server)
		return -ERR_STORE_UNAVAILABLE; /* it has not said yet which process it is */
	struct mark_op *op = mark_new(store, shard, out);
	struct buf *text = &op->base.call.text;
	op_script(&op->base, SCRIPT_MARK, 1, 4);
	command_shard_key(text, store, MARK, shard);
	command_u64(text, server);
	command_u64(text, new_generation());
	command_u64(text, store->shared->wait_replicas > 0);
	command_z(text, begin);
	return op_start(&op->base, due_ms, w);
}

static int done_take(struct redis_op *base, const struct redisReply *reply)
{
	container_of(base, struct mark_op, base)->flag = reply_u64(reply) == 1;
	return 0;
}

/* young_ms: of SCRIPT_DOUBT only. */
static int change_at(struct redis_store *store, size_t shard, enum script script, uint64_t generation, uint64_t young_ms,
                     uint64_t due_ms, bool *done, struct wait *w)
{
	struct mark_op *op = mark_new(store, shard, NULL);

	op->base.take = done_take;
	op->done = done;
	op_script(&op->base, script, 1, script == SCRIPT_DOUBT ? 3 : 1);
	command_shard_key(&op->base.call.text, store, MARK, shard);
	command_u64(&op->base.call.text, generation);
	if (script == SCRIPT_DOUBT) {
		command_u64(&op->base.call.text, young_ms);
		command_u64(&op->base.call.text, new_generation());
	}
	return op_start(&op->base, due_ms, w);
}

/* -- of all ------------------------------------------------------------------------------------------------------------------- */

struct marks_part {
	struct wait w;
	struct marks_op *all;
	size_t shard;
	struct store_mark mark;
	bool done;
};
struct marks_op {
	struct op op;
	struct redis_store *store;
	void (*give)(struct marks_op *);
	struct store_mark *mark;
	bool *done;
	bool knows_nodes, begun; /* of a look: the marks that were not there have been begun */
	uint64_t due_ms;
	size_t count, waiting;
	int err;
	struct marks_part parts[REDIS_SHARDS_MAX]; /* in the order of their lowest slots */
};

static void marks_free(struct marks_op *op)
{
	for (size_t i = 0; i < op->count; i++)
		wait_drop(&op->parts[i].w);
	free(op);
}

static void marks_dropped(struct op *op)
{
	marks_free(container_of(op, struct marks_op, op));
}

static bool marks_begin(struct marks_op *);

static void part_told(struct wait *w, int err)
{
	struct marks_part *part = container_of(w, struct marks_part, w);
	struct marks_op *op = part->all;
	struct wait *waiter;

	if (err)
		op->err = err;
	if (--op->waiting || (!op->err && marks_begin(op)))
		return;
	waiter = op_detach(&op->op);
	err = op->err;
	if (!err)
		op->give(op);
	free(op);
	wait_wake(waiter, err);
}

static struct marks_op *marks_new(struct redis_store *store, void (*give)(struct marks_op *))
{
	struct marks_op *op = calloc(1, sizeof *op);
	unsigned lowest;

	if (!op)
		abort();
	op->store = store;
	op->give = give;
	op->op.dropped = marks_dropped;
	for (size_t shard = redis_shard_from(store->shared, 0, &lowest); shard != REDIS_NO_SHARD;
	     shard = redis_shard_from(store->shared, lowest + 1, &lowest))
		if (shard_has_keys(store, shard))
			op->parts[op->count++] = (struct marks_part){ .w.wake = part_told, .all = op, .shard = shard };
	return op;
}

/* A part that could not be asked ends all. */
static int marks_start(struct marks_op *op, int err, struct wait *w)
{
	if (err == WAIT && op->count) {
		op->waiting = op->count;
		op_attach(&op->op, w);
		return WAIT;
	}
	marks_free(op);
	return -ERR_STORE_UNAVAILABLE;
}

/* The same for every router that sees the same parts. */
static uint64_t generation_with(uint64_t all, uint64_t part)
{
	return (((all ^ part) * UINT64_C(0x9e3779b97f4a7c15)) >> (64 - GENERATION_BITS)) + 1;
}

static void looked(struct marks_op *op)
{
	struct redis_marks *seen = op->store->shared->marks;
	struct store_mark all = { .whole = true };

	for (size_t i = 0; i < op->count; i++) {
		const struct store_mark *part = &op->parts[i].mark;

		all.generation = op->count == 1 ? part->generation : generation_with(all.generation, part->generation);
		all.whole = all.whole && part->whole;
		all.since_ms = part->since_ms > all.since_ms ? part->since_ms : all.since_ms;
		atomic_store(&seen->part[op->parts[i].shard], part->generation);
	}
	atomic_store(&seen->all, all.generation);
	*op->mark = all;
}

/* Of a look: begins the marks that were not there. True: they are on their way. */
static bool marks_begin(struct marks_op *op)
{
	bool is_new = !op->knows_nodes;

	if (op->give != looked || op->begun)
		return false;
	op->begun = true;
	for (size_t i = 0; i < op->count; i++)
		is_new = is_new && !op->parts[i].mark.generation;
	for (size_t i = 0; i < op->count; i++) {
		struct marks_part *part = &op->parts[i];

		if (part->mark.generation)
			continue;
		if (look_at(op->store, part->shard, is_new ? "whole" : "rebuilding", op->due_ms, &part->mark, &part->w) == WAIT)
			op->waiting++;
		else
			op->err = -ERR_STORE_UNAVAILABLE;
	}
	return op->waiting > 0;
}

int redis_mark_look(struct redis_store *store, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	struct marks_op *op = marks_new(store, looked);
	int err = WAIT;

	op->mark = out;
	op->knows_nodes = knows_nodes;
	op->due_ms = due_ms;
	for (size_t i = 0; i < op->count && err == WAIT; i++)
		err = look_at(store, op->parts[i].shard, "", due_ms, &op->parts[i].mark, &op->parts[i].w);
	return marks_start(op, err, w);
}

static void all_done(struct marks_op *op)
{
	bool done = true;

	for (size_t i = 0; i < op->count; i++)
		done = done && op->parts[i].done;
	*op->done = done;
}

static void some_done(struct marks_op *op)
{
	bool done = false;

	for (size_t i = 0; i < op->count; i++)
		done = done || op->parts[i].done;
	*op->done = done;
}

/* Of the parts as they were last seen together; else there is another generation by now. */
static int change_all(struct redis_store *store, enum script script, uint64_t generation, uint64_t young_ms, uint64_t due_ms,
                      bool *done, struct wait *w)
{
	struct redis_marks *seen = store->shared->marks;
	struct marks_op *op;
	int err = WAIT;

	if (atomic_load(&seen->all) != generation) {
		*done = false;
		return NEXT;
	}
	op = marks_new(store, script == SCRIPT_DOUBT ? some_done : all_done);
	op->done = done;
	for (size_t i = 0; i < op->count && err == WAIT; i++)
		err = change_at(store, op->parts[i].shard, script, atomic_load(&seen->part[op->parts[i].shard]), young_ms, due_ms,
		                &op->parts[i].done, &op->parts[i].w);
	return marks_start(op, err, w);
}

int redis_mark_whole(struct redis_store *store, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w)
{
	return change_all(store, SCRIPT_WHOLE, generation, 0, due_ms, done, w);
}

int redis_mark_doubt(struct redis_store *store, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w)
{
	return change_all(store, SCRIPT_DOUBT, generation, young_ms, due_ms, done, w);
}

/* -- reading ------------------------------------------------------------------------------------------------------------------------ */

static void read_give(struct redis_op *base, bool asked)
{
	struct mark_op *op = container_of(base, struct mark_op, base);
	struct redis_marks *seen = base->conn->store->shared->marks;

	if (!asked)
		return;
	*op->out = op->got;
	op->out->generation = op->got.generation == atomic_load(&seen->part[op->shard]) ? atomic_load(&seen->all) : 0;
}

static int read_at(struct redis_store *store, size_t shard, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	struct mark_op *op = mark_new(store, shard, out);
	struct buf *text = &op->base.call.text;

	op->base.give = read_give;
	command_start(text, 5);
	command_z(text, "HMGET");
	command_shard_key(text, store, MARK, shard);
	command_z(text, "generation");
	command_z(text, "state");
	command_z(text, "since");
	return op_start(&op->base, due_ms, w);
}

int redis_mark_read(struct redis_store *store, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	struct buf key = { 0 };
	size_t shard;

	key_room(&key, store, room);
	shard = redis_shard_of(store->shared, (struct str){ key.at, key.len });
	buf_free(&key);
	return shard == REDIS_NO_SHARD ? -ERR_STORE_UNAVAILABLE : read_at(store, shard, due_ms, out, w);
}

/* Whole if all are, of the generation that all are of. */
static void all_read(struct marks_op *op)
{
	struct store_mark all = { .generation = atomic_load(&op->store->shared->marks->all), .whole = true };

	for (size_t i = 0; i < op->count; i++) {
		const struct store_mark *part = &op->parts[i].mark;

		all.whole = all.whole && part->whole;
		all.since_ms = part->since_ms > all.since_ms ? part->since_ms : all.since_ms;
		if (part->generation != all.generation)
			all.generation = 0;
	}
	*op->mark = all;
}

int redis_marks_read(struct redis_store *store, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	struct marks_op *op = marks_new(store, all_read);
	int err = WAIT;

	op->mark = out;
	for (size_t i = 0; i < op->count && err == WAIT; i++)
		err = read_at(store, op->parts[i].shard, due_ms, &op->parts[i].mark, &op->parts[i].w);
	return marks_start(op, err, w);
}
