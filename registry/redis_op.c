/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tracking is asked for lazily, right before a read that may be kept: so a new invalidation link needs no message to the
 * other threads. It is OPTIN: only rooms are tracked, not the node records that are read all the time and change with
 * each heartbeat. And NOLOOP: else the announcement of an own write would overtake, and spoil, the reply that holds its
 * result. With NOLOOP a key is untracked after an own write, hence the scripts' last reading, and a write whose result did
 * not come leaves the table with something old: hence fail().
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "registry/redis_command.h"
#include "registry/redis_error.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_shards.h"
#include "registry/redis_store.h"
#include "registry/redis_watch.h"

#define HOPS_MAX 5 /* at once; from then on with a pause before each */

static void op_answered(struct redis_call *, const struct redisReply *);
static bool op_call_failed(void *arg, struct redis_call *, const struct redisReply *);
static void op_call_again(void *arg, struct redis_call *);

/* -- connections and tracking --------------------------------------------------------------------------------------------------- */

static void conn_down(void *arg)
{
	struct redis_conn *conn = arg;

	if (conn->asked)
		redis_watch_forgot(conn->watch);
	conn->asked = conn->armed = conn->server = 0;
}

static void arm_send(struct redis_conn *conn, void (*done)(struct redis_call *, const struct redisReply *))
{
	conn->arm.script = SCRIPT_COUNT;
	conn->arm.done = done;
	conn->arm.due_ms = loop_now_ms(conn->store->loop) + conn->store->shared->target.timeout_ms;
	redis_send(conn->link, &conn->arm);
}

/* So that a call need not be repeated with its text: the repetition would come after calls that were sent later. */
static void scripts_load(struct redis_conn *conn)
{
	for (int i = 0; i < SCRIPT_COUNT; i++) {
		struct buf text = { 0 };

		command_start(&text, 3);
		command_z(&text, "SCRIPT");
		command_z(&text, "LOAD");
		command_str(&text, script_text((enum script)i)->body);
		redis_tell(conn->link, &text);
	}
}

static void conn_up(void *arg)
{
	struct redis_conn *conn = arg;

	conn->connections++;
	conn->server = redis_server(conn->link);
	scripts_load(conn);
}

static const struct redis_events conn_events = {
	.up = conn_up, .down = conn_down, .failed = op_call_failed, .again = op_call_again
};

void conn_open(struct redis_conn *conn, struct redis_store *store, struct redis_shard *shard)
{
	const struct redis_shared *shared = store->shared;
	struct redis_how how = { .target = &shared->target, .place = &shard->place, .login = shared->login, .use = USE_STORE };

	conn->store = store;
	conn->shard = shard;
	conn->watch = shard->watch;
	conn->link = redis_new(store->loop, &how, &conn_events, conn);
}

void conn_close(struct redis_conn *conn)
{
	if (!conn->link)
		return;
	redis_cancel(&conn->arm);
	redis_free(conn->link);
	if (conn->asked)
		redis_watch_forgot(conn->watch);
	conn->link = NULL;
}

static void tell_client(struct redis_conn *conn, const char *word, const char *value)
{
	struct buf text = { 0 };

	command_start(&text, 3);
	command_z(&text, "CLIENT");
	command_z(&text, word);
	command_z(&text, value);
	redis_tell(conn->link, &text);
}

static void arm_done(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_conn *conn = container_of(call, struct redis_conn, arm);

	if (reply_failed(reply))
		conn->asked = 0; /* that link is gone already: the next read asks anew */
	else
		conn->armed = conn->asked;
}

static bool conn_arm(struct redis_conn *conn, uint64_t id)
{
	if (conn->arm.link || conn->server != redis_watch_server(conn->watch))
		return false; /* still asking; or client ids mean other clients here */
	if (conn->asked)
		tell_client(conn, "TRACKING", "OFF");
	conn->armed = 0;
	conn->asked = id;
	command_start(&conn->arm.text, 7);
	command_z(&conn->arm.text, "CLIENT");
	command_z(&conn->arm.text, "TRACKING");
	command_z(&conn->arm.text, "ON");
	command_z(&conn->arm.text, "REDIRECT");
	command_u64(&conn->arm.text, id);
	command_z(&conn->arm.text, "OPTIN");
	command_z(&conn->arm.text, "NOLOOP");
	arm_send(conn, arm_done);
	if (!conn->arm.link)
		conn->asked = 0;
	return conn->asked != 0;
}

uint64_t conn_track(struct redis_conn *conn)
{
	uint64_t id = redis_watch_id(conn->watch);

	if (id == 0 || conn->asking || (conn->asked != id && !conn_arm(conn, id)))
		return 0;
	tell_client(conn, "CACHING", "YES");
	return id;
}

bool conn_tracked(const struct redis_conn *conn, uint64_t id)
{
	const struct redis_watch *watch = conn->watch;

	return redis_watch_blind(watch) || (id && conn->armed == id && redis_watch_id(watch) == id);
}

/* -- operations ------------------------------------------------------------------------------------------------------------------- */

static void op_finish(struct redis_op *op, int err)
{
	struct wait *w = op_detach(&op->op);

	if (!err && op->give)
		op->give(op, w != NULL);
	if (err && op->fail)
		op->fail(op);
	free(op);
	wait_wake(w, err);
}

static void op_acked(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_op *op = container_of(call, struct redis_op, call);
	bool enough = !reply_failed(reply) && reply_u64(reply) >= op->conn->store->shared->wait_replicas;

	op_finish(op, enough ? 0 : -ERR_STORE_UNAVAILABLE);
}

/* The primary has it; now so many replicas must. WAIT 0 would wait for ever, so at least a millisecond. */
static void op_await_replicas(struct redis_op *op)
{
	const struct redis_shared *shared = op->conn->store->shared;
	uint64_t now = loop_now_ms(op->conn->store->loop);
	uint64_t left = op->call.due_ms > now ? op->call.due_ms - now : 0;

	command_start(&op->call.text, 3);
	command_z(&op->call.text, "WAIT");
	command_u64(&op->call.text, shared->wait_replicas);
	command_u64(&op->call.text, left < shared->wait_ms ? (left ? left : 1) : shared->wait_ms);
	op->call.script = SCRIPT_COUNT;
	op->call.before = NULL;
	op->call.routed = false; /* it is about what this connection has written */
	op->call.done = op_acked;
	if (redis_send(op->conn->link, &op->call) != 0)
		op_finish(op, -ERR_STORE_UNAVAILABLE);
}

/* One line a second is enough: a store that refuses, refuses everything. */
static void store_error(struct redis_store *store, const char *why)
{
	uint64_t now = loop_now_ms(store->loop);

	if (store->error_logged_ms && now - store->error_logged_ms < 1000)
		return;
	store->error_logged_ms = now;
	log_warn("store_error", "why", LOG_S(why));
}

static void op_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_op *op = container_of(call, struct redis_op, call);
	int err = -ERR_STORE_UNAVAILABLE;

	if (!reply_failed(reply))
		err = op->take ? op->take(op, reply) : 0;
	else if (reply)
		store_error(op->conn->store, reply_str(reply).at);
	if (!err && op->acked)
		op_await_replicas(op);
	else
		op_finish(op, err);
}

void *op_new(struct redis_store *store, size_t size, bool acked)
{
	struct redis_op *op = calloc(1, size);

	if (!op)
		abort();
	op->acked = op->call.acked = acked && store->shared->wait_replicas > 0;
	op->conn = &store->nowhere;
	op->call.script = SCRIPT_COUNT;
	op->call.patient = true;
	op->call.done = op_answered;
	return op;
}

void op_script(struct redis_op *op, enum script script, size_t keys, size_t args)
{
	op->call.script = script;
	command_script(&op->call.text, script, keys, args);
}

static int op_send(struct redis_op *op, struct redis_conn *conn, uint64_t due_ms, struct wait *w)
{
	op->call.due_ms = due_ms;
	op->call.routed = true;
	if (conn)
		op->conn = conn;
	if (!conn || redis_send(conn->link, &op->call) != 0) {
		buf_free(&op->call.text);
		free(op);
		return -ERR_STORE_UNAVAILABLE;
	}
	if (w)
		op_attach(&op->op, w);
	return WAIT;
}

int op_start(struct redis_op *op, uint64_t due_ms, struct wait *w)
{
	return op_send(op, shard_conn(op->conn->store, &op->call), due_ms, w);
}

int op_start_at(struct redis_op *op, size_t shard, uint64_t due_ms, struct wait *w)
{
	const struct redis_store *store = op->conn->store;
	struct redis_shard_conns *conns = shard < store->nshards ? store->shards[shard] : NULL;

	return op_send(op, !conns ? NULL : op->acked ? &conns->acked : &conns->data, due_ms, w);
}

/* -- calls that must go elsewhere ---------------------------------------------------------------------------------------------- */

/* From one connection to another: the first has answered it. Nobody is told before this has returned to the loop. */
static void call_move(struct redis_call *call, struct redis_conn *to)
{
	redis_take(call);
	if (call->done == op_answered)
		container_of(call, struct redis_op, call)->conn = to;
	if (redis_send(to->link, call) != 0)
		call->done(call, NULL);
}

static void op_call_again(void *arg, struct redis_call *call)
{
	struct redis_conn *here = arg, *to = shard_conn(here->store, call);

	if (!to || to == here)
		redis_resend(call);
	else
		call_move(call, to);
}

/* "MOVED 3999 127.0.0.1:6381"; without a host it is the one that answers. */
static struct redis_conn *conn_named(const struct redis_conn *here, const struct redis_call *call, struct str text)
{
	const struct redis_store *store = here->store;
	struct redis_endpoint to;

	if (!redis_endpoint_of_error(text, redis_at(here->link), &to))
		return NULL;
	for (size_t i = 0; i < store->nshards; i++) {
		struct redis_conn *conn = call->acked ? &store->shards[i]->acked : &store->shards[i]->data;

		if (redis_up(conn->link) && redis_endpoint_is(redis_at(conn->link), &to))
			return conn;
	}
	return NULL;
}

static void call_ask(struct redis_call *call, struct redis_conn *to)
{
	struct buf asking = { 0 };

	command_start(&asking, 1);
	command_z(&asking, "ASKING");
	redis_tell(to->link, &asking);
	to->asking = true;
	call_move(call, to);
	to->asking = false;
}

/* A node that is not known yet is found by the map that is read meanwhile. */
static bool op_call_failed(void *arg, struct redis_call *call, const struct redisReply *reply)
{
	struct redis_conn *here = arg, *to;
	enum redis_cure cure = redis_error_of(reply_str(reply).at)->cure;
	bool cluster = here->store->shared->target.kind == REDIS_CLUSTER;

	if (cure != CURE_WAIT && !(cluster && (cure == CURE_MOVE || cure == CURE_ASK)))
		return false;
	if (cure != CURE_ASK && cluster)
		redis_place_doubt(&here->shard->place);
	to = cure == CURE_WAIT || call->hops >= HOPS_MAX ? NULL : conn_named(here, call, reply_str(reply));
	call->hops++;
	if (!to)
		redis_park(call);
	else if (cure == CURE_ASK)
		call_ask(call, to);
	else
		call_move(call, to);
	return true;
}

/* -- keys ---------------------------------------------------------------------------------------------------------------------------- */

void key_room(struct buf *to, const struct redis_store *store, struct str room)
{
	buf_adds(to, store->shared->prefix);
	buf_add(to, "r:", 2);
	buf_add(to, room.at, room.len);
}

void key_node(struct buf *to, const struct redis_store *store, const char *node, enum node_key key)
{
	static const char *const ends[] = { [KEY_NODE] = "", [KEY_CHARGES] = ":charges", [KEY_NODE_ROOMS] = ":rooms" };

	buf_adds(to, store->shared->prefix);
	buf_add(to, "n:{", 3);
	buf_adds(to, node);
	buf_add(to, "}", 1);
	buf_adds(to, ends[key]);
}

static void command_take(struct buf *to, struct buf *word)
{
	command_str(to, (struct str){ word->at, word->len });
	buf_free(word);
}

void command_room(struct buf *to, const struct redis_store *store, struct str room)
{
	struct buf key = { 0 };

	key_room(&key, store, room);
	command_take(to, &key);
}

void command_node(struct buf *to, const struct redis_store *store, const char *node, enum node_key which)
{
	struct buf key = { 0 };

	key_node(&key, store, node, which);
	command_take(to, &key);
}

void command_key(struct buf *to, const struct redis_store *store, const char *name)
{
	struct buf key = { 0 };

	buf_adds(&key, store->shared->prefix);
	buf_adds(&key, name);
	command_take(to, &key);
}

void command_read_room(struct buf *to, const struct redis_store *store, struct str room)
{
	command_start(to, 2 + ROOM_FIELDS);
	command_z(to, "HMGET");
	command_room(to, store, room);
	for (size_t i = 0; i < ROOM_FIELDS; i++)
		command_z(to, room_fields[i]);
}
