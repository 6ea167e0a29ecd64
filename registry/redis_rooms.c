/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms in Redis: one hash a room, changed by scripts only. Every reply that holds a record may fill the table, if the
 * key is tracked from then on (the scripts read it last) and no announced change overtook the reply (the stamp). What a
 * connection writes itself is announced to all others (NOLOOP), so the reply to a change that was overtaken is never just dropped.
 */
#include <string.h>

#include "base/error.h"
#include "registry/hash.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"
#include "registry/rooms.h"
#include "registry/table.h"

struct room_op {
	struct redis_op base;
	char name[ROOM_MAX];
	size_t len;
	uint64_t stamp, tracked;
	struct claimed got;
	struct room *found;        /* of a find; else */
	struct claimed *changed;   /* of a change; else */
	struct restored *restored; /* of a restore */
	bool anew;
};

static struct str room_op_name(const struct room_op *op)
{
	return (struct str){ op->name, op->len };
}

static void room_before(struct redis_call *call)
{
	struct room_op *op = container_of(call, struct room_op, base.call);

	op->tracked = conn_track(op->base.conn);
}

static void room_give(struct redis_op *base, bool asked)
{
	struct room_op *op = container_of(base, struct room_op, base);
	const struct redis_shared *shared = base->conn->store->shared;

	bool tracked = conn_tracked(base->conn, op->tracked);

	registry_met_epoch(shared->registry, op->got.room.epoch);
	if (!op->found && tracked)
		table_learn_own(shared->table, room_op_name(op), &op->got.room, op->stamp);
	else if (!op->found)
		table_distrust(shared->table, room_op_name(op));
	else if (tracked && op->got.room.state != ROOM_NONE) /* whether none counts, decides the finder */
		table_learn(shared->table, room_op_name(op), &op->got.room, op->stamp);
	if (asked && op->found)
		*op->found = op->got.room;
	if (asked && op->changed)
		*op->changed = op->got;
	if (asked && op->restored)
		*op->restored = (struct restored){ op->got.won, op->anew, op->got.room };
}

static void change_fail(struct redis_op *base)
{
	struct room_op *op = container_of(base, struct room_op, base);

	table_distrust(base->conn->store->shared->table, room_op_name(op));
}

static int found_take(struct redis_op *base, const struct redisReply *reply)
{
	struct room_op *op = container_of(base, struct room_op, base);

	return reply_room(reply, &op->got.room) ? 0 : -ERR_STORE_UNAVAILABLE;
}

static int changed_take(struct redis_op *base, const struct redisReply *reply)
{
	struct room_op *op = container_of(base, struct room_op, base);

	op->got.won = reply_u64(reply_at(reply, 0)) > 0;
	op->anew = reply_u64(reply_at(reply, 0)) == 2;
	return reply_room(reply_at(reply, 1), &op->got.room) ? 0 : -ERR_STORE_UNAVAILABLE;
}

static struct room_op *room_op_new(struct redis_store *store, struct str name, bool acked)
{
	struct room_op *op = op_new(store, sizeof *op, acked);

	op->len = name.len < ROOM_MAX ? name.len : ROOM_MAX;
	memcpy(op->name, name.at, op->len);
	op->stamp = table_stamp(store->shared->table, name);
	op->base.give = room_give;
	op->base.call.before = room_before;
	return op;
}

int redis_rooms_find(struct redis_store *store, struct str name, uint64_t due_ms, struct room *out, struct wait *w)
{
	struct room_op *op = room_op_new(store, name, false);

	op->found = out;
	op->base.take = found_take;
	command_read_room(&op->base.call.text, store, name);
	return op_start(&op->base, due_ms, w);
}

/* A script of one room key; the caller adds its `args`. */
static struct room_op *change_new(struct redis_store *store, struct str name, enum script script, size_t args, bool acked,
                                  struct claimed *out)
{
	struct room_op *op = room_op_new(store, name, acked);

	op->changed = out;
	op->base.take = changed_take;
	op->base.fail = change_fail;
	op_script(&op->base, script, 1, args);
	command_room(&op->base.call.text, store, name);
	return op;
}

int redis_rooms_claim(struct redis_store *store, struct str name, const struct claim *claim, uint64_t due_ms,
                      struct claimed *out, struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_CLAIM, 9, true, out);
	struct buf *text = &op->base.call.text;

	command_u64(text, claim->from_epoch);
	command_u64(text, claim->released);
	command_z(text, claim->node);
	command_z(text, claim->incarnation);
	command_u64(text, claim->registration);
	command_u64(text, claim->exclusive);
	command_z(text, store->shared->router);
	command_u64(text, registry_floor(store->shared->registry));
	command_u64(text, claim->from_registration);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_confirm(struct redis_store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out,
                        struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_CONFIRM, 1, true, out);

	command_u64(&op->base.call.text, epoch);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_publish(struct redis_store *store, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                        struct claimed *out, struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_PUBLISH, 2, true, out);

	command_u64(&op->base.call.text, epoch);
	command_str(&op->base.call.text, hints);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_move(struct redis_store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out,
                     struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_MOVE, 1, false, out);

	command_u64(&op->base.call.text, epoch);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_restore(struct redis_store *store, const struct restoring *r, uint64_t due_ms, struct restored *out, struct wait *w)
{
	struct room_op *op = change_new(store, r->name, SCRIPT_RESTORE, 6, true, NULL);
	struct buf *text = &op->base.call.text;

	op->restored = out;
	command_u64(text, r->epoch);
	command_z(text, r->node);
	command_z(text, r->incarnation);
	command_u64(text, r->registration);
	command_str(text, r->hints);
	command_u64(text, r->rebuilding);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_shut(struct redis_store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out,
                     struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_SHUT, 1, false, out);

	command_u64(&op->base.call.text, epoch);
	return op_start(&op->base, due_ms, w);
}

int redis_rooms_forget(struct redis_store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out,
                       struct wait *w)
{
	struct room_op *op = change_new(store, name, SCRIPT_FORGET, 2, false, out);

	command_u64(&op->base.call.text, epoch);
	command_u64(&op->base.call.text, ROOM_REMEMBERED_MS);
	return op_start(&op->base, due_ms, w);
}
