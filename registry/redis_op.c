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
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"
#include "registry/redis_watch.h"

/* -- connections and tracking --------------------------------------------------------------------------------------------------- */

static void conn_down(void *arg)
{
	struct redis_conn *conn = arg;

	if (conn->asked)
		redis_watch_forgot(conn->store->shared->watch);
	conn->asked = conn->armed = conn->server = 0;
}

static void server_done(struct redis_call *call, const struct redisReply *reply)
{
	if (reply)
		container_of(call, struct redis_conn, arm)->server = reply_run_id(reply);
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
	scripts_load(conn);
	command_start(&conn->arm.text, 2);
	command_z(&conn->arm.text, "INFO");
	command_z(&conn->arm.text, "server");
	arm_send(conn, server_done);
}

static const struct redis_events conn_events = { .up = conn_up, .down = conn_down };

void conn_open(struct redis_conn *conn, struct redis_store *store)
{
	conn->store = store;
	conn->link = redis_new(store->loop, &store->shared->target, &conn_events, conn);
}

void conn_close(struct redis_conn *conn)
{
	if (!conn->link)
		return;
	redis_cancel(&conn->arm);
	redis_free(conn->link);
	if (conn->asked)
		redis_watch_forgot(conn->store->shared->watch);
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
	if (conn->arm.link || conn->server != redis_watch_server(conn->store->shared->watch))
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
	uint64_t id = redis_watch_id(conn->store->shared->watch);

	if (id == 0 || (conn->asked != id && !conn_arm(conn, id)))
		return 0;
	tell_client(conn, "CACHING", "YES");
	return id;
}

bool conn_tracked(const struct redis_conn *conn, uint64_t id)
{
	const struct redis_watch *watch = conn->store->shared->watch;

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
	op->acked = acked && store->shared->wait_replicas > 0;
	op->conn = op->acked ? &store->acked : &store->data;
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

int op_start(struct redis_op *op, uint64_t due_ms, struct wait *w)
{
	op->call.due_ms = due_ms;
	if (redis_send(op->conn->link, &op->call) != 0) {
		free(op);
		return -ERR_STORE_UNAVAILABLE;
	}
	if (w)
		op_attach(&op->op, w);
	return WAIT;
}

/* -- keys ---------------------------------------------------------------------------------------------------------------------------- */

void key_room(struct buf *to, const struct redis_store *store, struct str room)
{
	buf_printf(to, "%sr:", store->shared->prefix);
	buf_add(to, room.at, room.len);
}

void key_node(struct buf *to, const struct redis_store *store, const char *node, enum node_key key)
{
	static const char *const ends[] = { [KEY_NODE] = "", [KEY_CHARGES] = ":charges", [KEY_NODE_ROOMS] = ":rooms" };

	buf_printf(to, "%sn:{%s}%s", store->shared->prefix, node, ends[key]);
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

	buf_printf(&key, "%s%s", store->shared->prefix, name);
	command_take(to, &key);
}
