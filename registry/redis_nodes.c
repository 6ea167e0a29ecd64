/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes a node in Redis. All keys of a node carry its id as hash tag, so that one script may touch them all; the
 * set of all nodes is a key of its own and is therefore written beside the scripts: before a registration, after a leave,
 * and again with the first heartbeat and each eighth after it, which mends whatever order these came in. An id without a record is
 * taken off by whoever reads it (redis_fleet.c); for nodes that do not heartbeat any more see redis_unlisted.c.
 */
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"


struct node_op {
	struct redis_op base;
	char node[NODE_MAX + 1];
	char incarnation[INCARNATION_MAX + 1]; /* of redis_nodes_holds() */
	bool again;                            /* of redis_nodes_relist() */
	union {
		struct registered registered;
		struct renewed renewed;
		struct reserved reserved;
		struct room_report entry;
		bool flag;
	} got;
	void *out;
};

static struct node_op *node_op_new(struct redis_store *store, const char *node, void *out, bool acked,
                                   int (*take)(struct redis_op *, const struct redisReply *),
                                   void (*give)(struct redis_op *, bool asked))
{
	struct node_op *op = op_new(store, sizeof *op, acked);
	size_t len = strlen(node);

	memcpy(op->node, node, len < NODE_MAX ? len : NODE_MAX);
	op->out = out;
	op->base.take = take;
	op->base.give = give;
	return op;
}

/* The script's keys of one node, in the order all scripts have them. */
static struct buf *node_script(struct node_op *op, enum script script, bool record, bool charges, bool rooms, size_t args)
{
	const struct redis_store *store = op->base.conn->store;
	struct buf *text = &op->base.call.text;

	op_script(&op->base, script, (size_t)record + charges + rooms, args);
	if (record)
		command_node(text, store, op->node, KEY_NODE);
	if (charges)
		command_node(text, store, op->node, KEY_CHARGES);
	if (rooms)
		command_node(text, store, op->node, KEY_NODE_ROOMS);
	return text;
}

static void set_of_nodes(struct redis_store *store, const char *change, const char *node)
{
	struct buf text = { 0 };

	command_start(&text, 3);
	command_z(&text, change);
	command_key(&text, store, "nodes");
	command_z(&text, node);
	shard_tell(store, &text);
}

static enum node_wish wish_of(struct str word)
{
	for (int i = 0; node_wish_words[i]; i++)
		if (str_is(word, node_wish_words[i]))
			return (enum node_wish)i;
	return WISH_ENABLED;
}

/* Most answers of scripts are a number below `known`. */
static int code_take(const struct redisReply *reply, uint64_t known, uint64_t *code)
{
	struct str text = reply_str(reply);

	if (text.at || reply_is_list(reply) || reply_is_nil(reply) || reply_u64(reply) >= known)
		return -ERR_STORE_UNAVAILABLE;
	*code = reply_u64(reply);
	return 0;
}

/* -- register, renew ---------------------------------------------------------------------------------------------------------- */

static int registered_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	uint64_t verdict = 0;
	int err = code_take(reply_at(reply, 0), REGISTER_TAKEN + 1, &verdict);

	op->got.registered = (struct registered){ (enum register_verdict)verdict, reply_u64(reply_at(reply, 1)),
		                                  wish_of(reply_str(reply_at(reply, 2))) };
	return err;
}

static void registered_give(struct redis_op *base, bool asked)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (asked)
		*(struct registered *)op->out = op->got.registered;
}

int redis_nodes_register(struct redis_store *store, const char *node, const struct registration_request *request,
                         uint64_t due_ms, struct registered *out, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, out, false, registered_take, registered_give);
	struct buf *text = node_script(op, SCRIPT_REGISTER, true, true, true, 4);

	command_z(text, request->incarnation);
	command_z(text, request->replaces);
	command_str(text, request->info);
	command_u64(text, request->lease_ms);
	set_of_nodes(store, "SADD", node);
	return op_start(&op->base, due_ms, w);
}

static int renewed_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	uint64_t verdict = 0;
	int err = code_take(reply_at(reply, 0), RENEW_STALE + 1, &verdict);

	op->got.renewed = (struct renewed){ (enum renew_verdict)verdict, wish_of(reply_str(reply_at(reply, 1))),
		                            reply_u64(reply_at(reply, 2)), reply_u64(reply_at(reply, 3)) };
	return err;
}

static void renewed_give(struct redis_op *base, bool asked)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (asked)
		*(struct renewed *)op->out = op->got.renewed;
}

int redis_nodes_renew(struct redis_store *store, const char *node, const struct renewal *renewal, uint64_t due_ms,
                      struct renewed *out, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, out, true, renewed_take, renewed_give);
	struct buf *text = node_script(op, SCRIPT_RENEW, true, false, false, 9);

	command_z(text, renewal->incarnation);
	command_u64(text, renewal->registration);
	command_u64(text, renewal->seq);
	command_u64(text, renewal->lease_ms);
	command_z(text, node_report_words[renewal->reported]);
	command_str(text, renewal->load);
	command_u64(text, renewal->seen);
	command_real(text, renewal->shown);
	command_str(text, renewal->routers);
	if (renewal->seq % LISTED_BEATS == 1)
		set_of_nodes(store, "SADD", node);
	return op_start(&op->base, due_ms, w);
}

/* -- leave, lose, wish, reset ---------------------------------------------------------------------------------------------------- */

/* A wish of nodes that left, and a leave that left a wish: the set keeps the id, as long as anything is known of it. */
static int flag_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	uint64_t code = 0;
	int err = code_take(reply, 3, &code);

	op->got.flag = code > 0;
	return err;
}

static int known_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	int err = flag_take(base, reply);

	return err || op->got.flag ? err : -ERR_UNKNOWN_NODE;
}

static void flag_give(struct redis_op *base, bool asked)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (asked && op->out)
		*(bool *)op->out = op->got.flag;
}

static int left_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (reply_u64(reply) == 1)
		set_of_nodes(base->conn->store, "SREM", op->node);
	return flag_take(base, reply);
}

int redis_nodes_leave(struct redis_store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *left,
                      struct wait *w)
{
	struct node_op *op = node_op_new(store, node, left, false, left_take, flag_give);

	command_z(node_script(op, SCRIPT_LEAVE, true, true, true, 1), incarnation);
	return op_start(&op->base, due_ms, w);
}

static int holds_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (reply_count(reply) != 2)
		return -ERR_STORE_UNAVAILABLE;
	op->got.flag = str_is(reply_str(reply_at(reply, 0)), op->incarnation) && !str_is(reply_str(reply_at(reply, 1)), "1");
	return 0;
}

int redis_nodes_holds(struct redis_store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *holds, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, holds, false, holds_take, flag_give);
	struct buf *text = &op->base.call.text;

	snprintf(op->incarnation, sizeof op->incarnation, "%s", incarnation);
	command_start(text, 4);
	command_z(text, "HMGET");
	command_node(text, store, node, KEY_NODE);
	command_z(text, "incarnation");
	command_z(text, "lost");
	return op_start(&op->base, due_ms, w);
}

int redis_nodes_lose(struct redis_store *store, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms,
                     bool *lost, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, lost, false, flag_take, flag_give);
	struct buf *text = node_script(op, SCRIPT_LOSE, true, false, false, 2);

	command_u64(text, registration);
	command_u64(text, seq);
	return op_start(&op->base, due_ms, w);
}

static int wished_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (reply_u64(reply) == 2)
		set_of_nodes(base->conn->store, "SREM", op->node);
	return known_take(base, reply);
}

int redis_nodes_set_wish(struct redis_store *store, const char *node, enum node_wish wish, struct str drain, uint64_t due_ms,
                         struct wait *w)
{
	struct node_op *op = node_op_new(store, node, NULL, false, wished_take, NULL);
	struct buf *text = node_script(op, SCRIPT_WISH, true, false, false, 2);

	command_z(text, node_wish_words[wish]);
	command_str(text, drain);
	return op_start(&op->base, due_ms, w);
}

static void look_there(struct redis_store *, const char *node, bool again);

/* It may have registered between the look and the removal: so there is another look. */
static int there_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	struct redis_store *store = base->conn->store;

	if (reply_u64(reply) == 1) {
		set_of_nodes(store, "SADD", op->node);
	} else if (!op->again) {
		set_of_nodes(store, "SREM", op->node);
		look_there(store, op->node, true);
	}
	return 0;
}

static void look_there(struct redis_store *store, const char *node, bool again)
{
	struct node_op *op = node_op_new(store, node, NULL, false, there_take, NULL);

	op->again = again;
	command_start(&op->base.call.text, 2);
	command_z(&op->base.call.text, "EXISTS");
	command_node(&op->base.call.text, store, node, KEY_NODE);
	op_start(&op->base, loop_now_ms(store->loop) + store->shared->target.timeout_ms, NULL);
}

void redis_nodes_relist(struct redis_store *store, const char *node)
{
	look_there(store, node, false);
}

void redis_nodes_listed(struct redis_store *store, const char *node, uint64_t registration, uint64_t generation)
{
	struct node_op *op = node_op_new(store, node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_LISTED, true, false, false, 2);

	command_u64(text, registration);
	command_u64(text, generation);
	op_start(&op->base, loop_now_ms(store->loop) + store->shared->target.timeout_ms, NULL);
}

int redis_nodes_reset_breakers(struct redis_store *store, const char *node, uint64_t due_ms, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, NULL, false, known_take, flag_give);

	node_script(op, SCRIPT_RESETS, true, false, false, 0);
	return op_start(&op->base, due_ms, w);
}

/* -- places ------------------------------------------------------------------------------------------------------------------------ */

static int reserved_take(struct redis_op *base, const struct redisReply *reply)
{
	static const char *const reasons[] = { "registration", "rooms", "exclusive" };
	struct node_op *op = container_of(base, struct node_op, base);
	struct str why = reply_str(reply_at(reply, 0));
	struct reserved got = { .granted = why.at && why.len == 0, .number = reply_u64(reply_at(reply, 1)),
		                .at_ms = reply_u64(reply_at(reply, 2)) };

	for (size_t i = 0; i < 3; i++)
		if (str_is(why, reasons[i]))
			got.why_not = reasons[i];
	if (!got.granted && !got.why_not)
		return -ERR_STORE_UNAVAILABLE;
	op->got.reserved = got;
	return 0;
}

static void reserved_give(struct redis_op *base, bool asked)
{
	struct node_op *op = container_of(base, struct node_op, base);

	if (asked)
		*(struct reserved *)op->out = op->got.reserved;
}

int redis_nodes_reserve(struct redis_store *store, const char *node, const struct reserve *reserve, uint64_t due_ms,
                        struct reserved *out, struct wait *w)
{
	struct node_op *op = node_op_new(store, node, out, false, reserved_take, reserved_give);
	struct buf *text = node_script(op, SCRIPT_RESERVE, true, true, true, 9);

	command_str(text, reserve->room);
	command_u64(text, reserve->registration);
	command_real(text, reserve->cost);
	command_u64(text, reserve->rooms_max);
	command_u64(text, reserve->exclusive);
	command_u64(text, CHARGE_BUCKET_MS);
	command_u64(text, CHARGES_MAX);
	command_key(text, store, "charges");
	command_z(text, node);
	return op_start(&op->base, due_ms, w);
}

static void node_tell(struct node_op *op)
{
	struct redis_store *store = op->base.conn->store;

	op_start(&op->base, loop_now_ms(store->loop) + store->shared->target.timeout_ms, NULL);
}

void redis_nodes_release(struct redis_store *store, const char *node, struct str room, const struct reserved *reserved,
                         double cost)
{
	struct node_op *op = node_op_new(store, node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_RELEASE, true, true, true, 3);

	command_str(text, room);
	command_u64(text, reserved->at_ms);
	command_real(text, cost);
	node_tell(op);
}

/* -- the index of rooms -------------------------------------------------------------------------------------------------------- */

void redis_nodes_index(struct redis_store *store, const char *node, struct str room, uint64_t epoch)
{
	struct node_op *op = node_op_new(store, node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_INDEX, true, false, true, 2);

	command_str(text, room);
	command_u64(text, epoch);
	node_tell(op);
}

void redis_nodes_unindex(struct redis_store *store, const char *node, struct str room, uint64_t epoch)
{
	struct node_op *op = node_op_new(store, node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_UNINDEX, true, false, true, 3);

	command_str(text, room);
	command_u64(text, epoch);
	command_u64(text, RESERVED_MAX_MS);
	node_tell(op);
}

void redis_nodes_report_rooms(struct redis_store *store, const char *node, const struct room_report *reports, size_t n)
{
	struct node_op *op = node_op_new(store, node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_REPORT, false, false, true, 3 * n);

	for (size_t i = 0; i < n; i++) {
		command_str(text, reports[i].room);
		command_u64(text, reports[i].epoch);
		command_i64(text, reports[i].participants);
	}
	node_tell(op);
}

void redis_rooms_touch(struct redis_store *store, struct str name, const struct room *room)
{
	struct node_op *op = node_op_new(store, room->node, NULL, false, NULL, NULL);
	struct buf *text = node_script(op, SCRIPT_TOUCH, false, false, true, 2);

	command_str(text, name);
	command_u64(text, room->epoch);
	node_tell(op);
}

static int entry_take(struct redis_op *base, const struct redisReply *reply)
{
	struct node_op *op = container_of(base, struct node_op, base);
	uint64_t uses;

	return text_entry(reply_str(reply), &op->got.entry, &uses) ? 0 : -ERR_NOT_FOUND;
}

static void entry_give(struct redis_op *base, bool asked)
{
	struct node_op *op = container_of(base, struct node_op, base);
	struct room_report *out = op->out;

	if (!asked)
		return;
	out->epoch = op->got.entry.epoch;
	out->participants = op->got.entry.participants;
}

int redis_nodes_room(struct redis_store *store, const char *node, struct str room, uint64_t due_ms, struct room_report *out,
                     struct wait *w)
{
	struct node_op *op = node_op_new(store, node, out, false, entry_take, entry_give);
	struct buf *text = &op->base.call.text;

	command_start(text, 3);
	command_z(text, "HGET");
	command_node(text, store, node, KEY_NODE_ROOMS);
	command_str(text, room);
	return op_start(&op->base, due_ms, w);
}
