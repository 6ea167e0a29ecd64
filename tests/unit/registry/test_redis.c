/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the store in Redis can get wrong: who hears of foreign changes, what a silent, restarted, or emptied server
 * does to calls under way and to the table. Against a real redis-server; a second client plays the foreign router.
 */
#include <check.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/retire.h"
#include "base/str.h"
#include "base/wait.h"
#include "registry/nodes.h"
#include "registry/redis_link.h"
#include "registry/redis_read.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "registry/table.h"
#include "tests/unit/registry/redis_server.h"
#include "tests/unit/registry/relay.h"

#define LIMIT_MS 8000
#define TIMEOUT_MS 400

static struct redis_server server;
static struct relay *relay; /* NULL: straight to the server */
static struct loop *loop;
static struct retire *retire;
static struct registry *registry;
static struct store *store;
static struct arena arena;
static char url[128];
static unsigned charges, changes;
static char charged_node[NODE_MAX + 1];
static double charged_cost;

static void on_charged(void *arg, const char *node, uint64_t number, double cost)
{
	(void)arg, (void)number;
	charges++;
	snprintf(charged_node, sizeof charged_node, "%s", node);
	charged_cost = cost;
}

static void on_changed(void *arg, bool up)
{
	(void)arg, (void)up;
	changes++;
}

static void turn(void)
{
	int most = loop_backend_timeout_ms(loop);
	struct pollfd fd = { .fd = loop_backend_fd(loop), .events = POLLIN };

	poll(&fd, 1, most < 0 || most > 20 ? 20 : most);
	loop_turn(loop);
}

#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		uint64_t until_end = loop_fresh_ms(loop) + LIMIT_MS;                                                   \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(loop_fresh_ms(loop) < until_end, "never: %s", #condition);                       \
			turn();                                                                                        \
		}                                                                                                      \
	} while (0)

struct awaited {
	struct wait w;
	bool woken;
	int err;
};

static void awaited_wake(struct wait *w, int err)
{
	struct awaited *a = container_of(w, struct awaited, w);

	a->woken = true;
	a->err = err;
}

static int settle(struct awaited *a, int err)
{
	if (err != WAIT)
		return err;
	UNTIL(a->woken);
	return a->err;
}
/* The result of a call that may wait; `w` is its waiter. */
#define CALL(call)                                                                                                     \
	({                                                                                                             \
		struct awaited call_a = { .w.wake = awaited_wake };                                                    \
		struct wait *w = &call_a.w;                                                                            \
		settle(&call_a, call);                                                                                 \
	})
#define DUE (loop_fresh_ms(loop) + 2000)

static void open_with(uint64_t replicas, const char *const *words, bool relayed)
{
	const char *why = NULL;
	struct registry_conf conf = { .url = url, .prefix = "u*:", .router = "rt", .timeout_ms = TIMEOUT_MS,
		                      .wait_replicas = replicas, .wait_ms = 100, .table_max = 1000, .trust_ms = 600,
		                      .charged = on_charged, .store_changed = on_changed };

	redis_server_start(&server, words);
	redis_server_ask(&server, "SELECT 3");
	loop = loop_new();
	relay = relayed ? relay_new(loop, server.port) : NULL;
	snprintf(url, sizeof url, "redis://127.0.0.1:%u/3", relay ? relay_port(relay) : server.port);
	retire = retire_new(loop, &loop, 1);
	registry = registry_new(loop, retire, &conf, &why);
	ck_assert_msg(registry != NULL, "%s", why);
	store = store_new(registry, loop);
}

/* The store's data as it is now, as whole. */
static void trust(void)
{
	struct store_mark mark;
	bool done = false;

	UNTIL(CALL(registry_look_at_mark(store, false, DUE, &mark, w)) == 0); /* the server says first which process it is */
	ck_assert_int_eq(CALL(registry_call_whole(store, mark.generation, DUE, &done, w)), 0);
	ck_assert(done);
	mark.whole = true;
	registry_trust_mark(registry, &mark);
}

static void setup(void)
{
	open_with(0, NULL, false);
	UNTIL(store_up(store) && registry_up(registry));
	trust();
}

static void setup_relayed(void)
{
	open_with(0, NULL, true);
	UNTIL(store_up(store) && registry_up(registry));
	trust();
}

static void teardown(void)
{
	store_free(store);
	for (int i = 0; i < 8; i++) /* messages arrive while there is somebody to take them */
		loop_turn(loop);
	retire_free(retire);
	registry_free(registry);
	if (relay)
		relay_free(relay);
	relay = NULL;
	loop_free(loop);
	arena_reset(&arena);
	redis_server_stop(&server);
	charges = changes = 0;
}

static struct claimed claim(const char *name, uint64_t from, const char *node)
{
	struct claim c = { .from_epoch = from, .from_registration = 7, .node = node, .incarnation = "inc", .registration = 7 };
	struct claimed got = { 0 };

	ck_assert_int_eq(CALL(rooms_claim(store, str_of(name), &c, DUE, &got, w)), 0);
	return got;
}

static struct claimed publish(const char *name, uint64_t epoch)
{
	struct claimed got = { 0 };

	ck_assert_int_eq(CALL(rooms_publish(store, str_of(name), epoch, STR("{\"a\":1}"), DUE, &got, w)), 0);
	return got;
}

static uint64_t opened(const char *name)
{
	struct claimed got = claim(name, 0, "n1");

	ck_assert(got.won);
	ck_assert(publish(name, got.room.epoch).won);
	return got.room.epoch;
}

static struct room found(const char *name, bool fresh)
{
	struct room room = { 0 };

	ck_assert_int_eq(CALL(rooms_find(store, str_of(name), fresh, DUE, &room, w)), 0);
	return room;
}

static enum table_hit hit(const char *name)
{
	struct room room;

	return table_find(registry_table(registry), str_of(name), &room);
}

/* Read until it is kept: one answer may be overtaken, or come before the connection is tracked. */
#define KEPT(name) UNTIL(found(name, true).state == ROOM_OPEN && hit(name) == TABLE_SURE)

/* -- what a claim and a report leave at the key ------------------------------------------------------------------------------- */

/* The record of what ended may be another router's, whose epochs this one never met. */
START_TEST(livekit_4593_a_room_that_ended_comes_back_above_its_epoch)
{
	uint64_t ended = wall_ms() + 3600000;

	redis_server_ask(&server, "HSET u*:r:a state gone epoch %llu", (unsigned long long)ended);
	ck_assert_uint_eq(claim("a", 0, "n1").room.epoch, ended + 1);
}
END_TEST

/* A field that is written with what its absence says is a step of an allocator's classes for each room. */
START_TEST(what_is_usual_is_not_written)
{
	struct restoring r = { .name = STR("b"), .epoch = 1000, .node = "n1", .incarnation = "inc", .registration = 7, .hints = STR("") };
	struct restored back = { 0 };

	ck_assert(claim("a", 0, "n1").won);
	ck_assert_str_eq(redis_server_ask(&server, "HLEN u*:r:a"), ":6"); /* the five that all have, and by */
	ck_assert_int_eq(CALL(rooms_restore(store, &r, 1, DUE, &back, w)), 0);
	ck_assert_str_eq(redis_server_ask(&server, "HLEN u*:r:b"), ":5");
}
END_TEST

/* What ended leaves its epoch for ten minutes: that time must not become the next room's. */
START_TEST(livekit_3317_no_time_to_live_is_left_at_a_room)
{
	struct restoring r = { .name = STR("a"), .node = "n1", .incarnation = "inc", .registration = 7, .hints = STR("") };
	struct claimed ended = { 0 };
	struct restored back = { 0 };

	for (int i = 0; i < 2; i++) {
		uint64_t epoch = opened("a");

		ck_assert_str_eq(redis_server_ask(&server, "PTTL u*:r:a"), ":-1");
		ck_assert_int_eq(CALL(rooms_forget(store, STR("a"), epoch, DUE, &ended, w)), 0);
		ck_assert_str_ne(redis_server_ask(&server, "PTTL u*:r:a"), ":-1");
		r.epoch = epoch + 1;
	}
	ck_assert_int_eq(CALL(rooms_restore(store, &r, 1, DUE, &back, w)), 0);
	ck_assert(back.won);
	ck_assert_str_eq(redis_server_ask(&server, "PTTL u*:r:a"), ":-1");
}
END_TEST

/* The store seems up, so it is asked; nobody answers. */
START_TEST(livekit_4663_an_unverified_entry_is_used_when_no_answer_comes)
{
	uint64_t epoch = opened("a");

	KEPT("a");
	redis_server_signal(&server, SIGSTOP);
	rooms_distrust(store, STR("a"));
	ck_assert(store_up(store) && hit("a") == TABLE_UNSURE);
	ck_assert_uint_eq(found("a", false).epoch, epoch);
	redis_server_signal(&server, SIGCONT);
}
END_TEST

/* -- the mark of the data ------------------------------------------------------------------------------------------------------ */

static struct store_mark looked(bool knows_nodes)
{
	struct store_mark mark = { 0 };

	ck_assert_int_eq(CALL(registry_look_at_mark(store, knows_nodes, DUE, &mark, w)), 0);
	return mark;
}

static bool doubt(uint64_t generation, uint64_t young_ms)
{
	bool done = false;

	ck_assert_int_eq(CALL(registry_doubt(store, generation, young_ms, DUE, &done, w)), 0);
	return done;
}

START_TEST(scalelite_313_who_knows_nodes_takes_an_empty_store_for_no_new_one)
{
	redis_server_ask(&server, "FLUSHALL");
	ck_assert(!looked(true).whole);
	redis_server_ask(&server, "FLUSHALL");
	ck_assert(looked(false).whole);
	ck_assert(looked(true).whole); /* it has a mark now */
}
END_TEST

START_TEST(data_of_another_server_process_is_not_taken_for_whole)
{
	struct store_mark before = looked(true), after;

	ck_assert(before.whole);
	redis_server_ask(&server, "HSET u*:mark server 1");
	after = looked(true);
	ck_assert(!after.whole && after.generation != before.generation);
	ck_assert_uint_eq(looked(true).generation, after.generation);
}
END_TEST

START_TEST(only_the_generation_that_was_seen_is_doubted_or_called_whole)
{
	struct store_mark mark = looked(true);
	bool done = true;

	ck_assert(!doubt(mark.generation + 1, 10000));
	redis_server_ask(&server, "HINCRBY u*:mark generation 1"); /* another router began it */
	ck_assert(!doubt(mark.generation, 10000));
	mark = looked(true);
	ck_assert(doubt(mark.generation, 10000));
	ck_assert(!looked(true).whole);
	redis_server_ask(&server, "HINCRBY u*:mark generation 1");
	ck_assert_int_eq(CALL(registry_call_whole(store, mark.generation, DUE, &done, w)), 0);
	ck_assert(!done && !looked(true).whole);
}
END_TEST

/* By then a node from before it would have been heard. */
START_TEST(a_generation_that_is_old_is_not_doubted)
{
	struct store_mark mark = looked(true);

	redis_server_ask(&server, "HSET u*:mark since %llu", (unsigned long long)(wall_ms() - 20000));
	ck_assert(!doubt(mark.generation, 10000));
	ck_assert(looked(true).whole);
	redis_server_ask(&server, "DEL u*:mark"); /* where there is none, it is not known to be old */
	ck_assert(doubt(mark.generation, 10000));
	ck_assert(!looked(false).whole);
}
END_TEST

/* -- who hears of changes ------------------------------------------------------------------------------------------------------ */

START_TEST(own_publish_then_foreign_change_is_heard)
{
	uint64_t epoch = opened("a");

	UNTIL(hit("a") == TABLE_SURE);
	redis_server_ask(&server, "HSET u*:r:a epoch %llu node n2", (unsigned long long)epoch + 1);
	UNTIL(hit("a") != TABLE_SURE);
	ck_assert_str_eq(found("a", false).node, "n2");
	KEPT("a");
}
END_TEST

START_TEST(read_then_foreign_change_is_heard_each_time)
{
	uint64_t epoch = opened("a");

	for (unsigned i = 1; i < 5; i++) {
		KEPT("a");
		redis_server_ask(&server, "HSET u*:r:a epoch %llu", (unsigned long long)epoch + i);
		UNTIL(hit("a") != TABLE_SURE);
		ck_assert_uint_eq(found("a", false).epoch, epoch + i);
	}
}
END_TEST

START_TEST(own_claim_then_foreign_publish_is_heard)
{
	struct claimed got = claim("a", 0, "n1");

	ck_assert_int_eq(got.room.state, ROOM_OPENING);
	redis_server_ask(&server, "HSET u*:r:a state open");
	ck_assert_int_eq(found("a", false).state, ROOM_OPEN);
	KEPT("a");
	redis_server_ask(&server, "DEL u*:r:a");
	UNTIL(hit("a") != TABLE_SURE);
	ck_assert_int_eq(found("a", false).state, ROOM_NONE);
}
END_TEST

/* The announcement comes over another socket and may be first: what is then read is old, and must not be kept as sure. */
START_TEST(overtaken_reply_is_not_kept)
{
	struct awaited a = { .w.wake = awaited_wake };
	struct room room;

	opened("a");
	KEPT("a");
	ck_assert_int_eq(rooms_find(store, STR("a"), true, DUE, &room, &a.w), WAIT);
	table_changed(registry_table(registry), STR("a"));
	UNTIL(a.woken);
	for (int i = 0; i < 5; i++)
		turn();
	ck_assert_int_ne(hit("a"), TABLE_SURE);
	KEPT("a");
}
END_TEST

/* NOLOOP, or not: a write by the connection itself ends Redis's watch of the key. So each script reads it again at its end. */
START_TEST(own_change_leaves_the_room_watched)
{
	struct claimed got;
	uint64_t stamp;

	found("a", true); /* tracking is on from here */
	got = claim("a", 0, "n1");
	if (_i == 1)
		publish("a", got.room.epoch);
	if (_i == 2)
		ck_assert_int_eq(CALL(rooms_shut(store, STR("a"), got.room.epoch, DUE, &got, w)), 0);
	if (_i == 3)
		ck_assert_int_eq(CALL(rooms_forget(store, STR("a"), got.room.epoch, DUE, &got, w)), 0);
	ck_assert(got.won);
	for (int i = 0; i < 5; i++)
		turn();
	stamp = table_stamp(registry_table(registry), STR("a"));
	redis_server_ask(&server, "HSET u*:r:a node n2");
	UNTIL(table_stamp(registry_table(registry), STR("a")) != stamp);
}
END_TEST

START_TEST(killed_link_makes_all_unsure)
{
	opened("a");
	KEPT("a");
	redis_server_ask(&server, "CLIENT KILL TYPE pubsub");
	UNTIL(hit("a") == TABLE_UNSURE);
	UNTIL(registry_up(registry));
	KEPT("a");
	redis_server_ask(&server, "HSET u*:r:a node n3");
	UNTIL(hit("a") != TABLE_SURE);
	ck_assert_str_eq(found("a", false).node, "n3");
}
END_TEST

START_TEST(killed_data_connection_makes_all_unsure)
{
	opened("a");
	KEPT("a");
	ck_assert_uint_eq(store_connections(store), 1);
	redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes");
	UNTIL(hit("a") == TABLE_UNSURE);
	UNTIL(store_up(store));
	ck_assert_uint_eq(store_connections(store), 2);
	KEPT("a");
}
END_TEST

START_TEST(flush_makes_all_unsure)
{
	struct room room;

	opened("a");
	KEPT("a");
	redis_server_ask(&server, "FLUSHALL");
	UNTIL(hit("a") != TABLE_SURE);
	ck_assert_int_eq(found("a", true).state, ROOM_OPEN); /* a store that lost its data does not end what is known … */
	ck_assert_int_eq(CALL(rooms_find(store, STR("b"), false, DUE, &room, w)), -ERR_STORE_REBUILDING);
	trust();
	ck_assert_int_eq(found("a", true).state, ROOM_NONE); /* … one that is whole does */
}
END_TEST

START_TEST(without_tracking_age_decides)
{
	redis_server_ask(&server, "ACL SETUSER default -client|tracking");
	redis_server_ask(&server, "CLIENT KILL TYPE pubsub");
	UNTIL(!registry_up(registry));
	UNTIL(registry_up(registry));
	opened("a");
	KEPT("a");
	UNTIL(hit("a") == TABLE_UNSURE); /* trust_ms later */
	KEPT("a");
}
END_TEST

static void reconnected_without(const char *permission)
{
	redis_server_ask(&server, "ACL SETUSER admin on nopass ~* &* +@all");
	redis_server_ask(&server, "AUTH admin any");
	redis_server_ask(&server, "ACL SETUSER default %s", permission);
	redis_server_ask(&server, "CLIENT KILL TYPE pubsub");
	UNTIL(!registry_up(registry));
	UNTIL(registry_up(registry));
}

/* Managed servers forbid more than tracking: then too, age decides, and nothing else suffers. */
START_TEST(with_less_permission_age_decides)
{
	static const char *const less[] = { "-client", "-client -info", "resetchannels", "-subscribe" };

	reconnected_without(less[_i]);
	opened("a");
	KEPT("a");
	UNTIL(hit("a") == TABLE_UNSURE);
	KEPT("a");
}
END_TEST

/* No error shows on this connection: only that nothing comes. */
START_TEST(black_holed_link_makes_all_unsure)
{
	uint64_t began;

	opened("a");
	KEPT("a");
	began = loop_fresh_ms(loop);
	relay_black_hole_link(relay, true);
	redis_server_ask(&server, "HSET u*:r:a node n8"); /* announced to nobody */
	UNTIL(hit("a") == TABLE_UNSURE);
	ck_assert_uint_lt(loop_fresh_ms(loop) - began, 2500); /* trust_ms, and a beat */
	ck_assert_str_eq(found("a", false).node, "n8"); /* the store answers: asked again */
	relay_black_hole_link(relay, false);
	UNTIL(registry_up(registry));
	KEPT("a");
}
END_TEST

/* On the wire: the announcement arrives, the older reply is still on its way. */
START_TEST(reply_held_back_while_its_announcement_came_is_not_kept)
{
	struct awaited a = { .w.wake = awaited_wake };
	struct room room = { 0 };

	opened("a");
	KEPT("a");
	relay_hold_replies(relay, true);
	ck_assert_int_eq(rooms_find(store, STR("a"), true, DUE, &room, &a.w), WAIT);
	for (int i = 0; i < 5; i++)
		turn(); /* the question is there, and read */
	redis_server_ask(&server, "HSET u*:r:a node n9");
	UNTIL(hit("a") != TABLE_SURE);
	relay_hold_replies(relay, false);
	UNTIL(a.woken);
	ck_assert_int_eq(a.err, 0);
	ck_assert_str_eq(room.node, "n1"); /* what the store had then */
	for (int i = 0; i < 5; i++)
		turn();
	ck_assert_int_ne(hit("a"), TABLE_SURE);
	ck_assert_str_eq(found("a", false).node, "n9");
}
END_TEST

/* -- a server in trouble ---------------------------------------------------------------------------------------------------------- */

START_TEST(stopped_server_costs_no_more_than_the_budget)
{
	struct room room;
	uint64_t began;

	opened("a");
	KEPT("a");
	redis_server_signal(&server, SIGSTOP);
	began = loop_fresh_ms(loop);
	ck_assert_int_eq(CALL(rooms_find(store, STR("b"), true, loop_fresh_ms(loop) + TIMEOUT_MS, &room, w)),
	                 -ERR_STORE_UNAVAILABLE);
	ck_assert_uint_lt(loop_fresh_ms(loop) - began, TIMEOUT_MS + 300);
	UNTIL(!store_up(store) && !registry_up(registry));
	began = loop_fresh_ms(loop);
	ck_assert_int_eq(CALL(rooms_find(store, STR("b"), true, DUE, &room, w)), -ERR_STORE_UNAVAILABLE);
	ck_assert_uint_lt(loop_fresh_ms(loop) - began, 100); /* known to be away: at once */
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	ck_assert_int_eq(found("a", false).state, ROOM_OPEN); /* known is enough */
	redis_server_signal(&server, SIGCONT);
	UNTIL(store_up(store) && registry_up(registry));
	ck_assert_int_eq(found("a", true).state, ROOM_OPEN);
	ck_assert_uint_ge(changes, 3);
}
END_TEST

/*
 * All that was sent, up to 100 KB, is answered, and lies in our socket. In each of its turns the server takes its clients in any order,
 * and no more than 16 KiB of each.
 */
static void answers_are_here(void)
{
	for (int i = 0; i < 8; i++)
		redis_server_ask(&server, "PING");
}

/* A loop that was held up: past the time of the call, or so long (1) that the answer says nothing of now. */
START_TEST(answer_that_is_here_is_in_time_unless_it_is_old)
{
	struct awaited a = { .w.wake = awaited_wake };

	opened("a");
	redis_server_signal(&server, SIGSTOP); /* it answers no sooner than we are held up */
	ck_assert_int_eq(routers_leave(store, "rt", loop_fresh_ms(loop) + 50, &a.w), WAIT);
	loop_turn(loop);
	redis_server_signal(&server, SIGCONT);
	answers_are_here();
	poll(NULL, 0, _i ? 50 + TIMEOUT_MS + 10 : 60);
	loop_turn(loop);
	ck_assert(a.woken);
	ck_assert_int_eq(a.err, _i ? -ERR_STORE_UNAVAILABLE : 0);
	ck_assert(store_up(store));
}
END_TEST

/* It was alive when we were held up; whether it is, nobody knows, and so what it said then makes nothing sure. */
START_TEST(sign_of_life_of_long_ago_is_none)
{
	opened("a");
	KEPT("a");
	redis_server_signal(&server, SIGSTOP);
	for (uint64_t end = loop_fresh_ms(loop) + 320; loop_fresh_ms(loop) < end;)
		turn(); /* it is asked each half of trust_ms */
	redis_server_signal(&server, SIGCONT);
	answers_are_here();
	poll(NULL, 0, TIMEOUT_MS + 320);
	loop_turn(loop);
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
}
END_TEST

START_TEST(a_turn_takes_all_answers_that_are_here)
{
	enum { ASKED = 500 }; /* 40 KiB of answers */
	static struct awaited all[ASKED];
	static struct room rooms[ASKED];
	size_t answered = 0;

	opened("a");
	for (size_t i = 0; i < ASKED; i++) {
		all[i] = (struct awaited){ .w.wake = awaited_wake };
		ck_assert_int_eq(rooms_find(store, STR("a"), true, DUE, &rooms[i], &all[i].w), WAIT);
	}
	loop_turn(loop);
	answers_are_here();
	loop_turn(loop);
	for (size_t i = 0; i < ASKED; i++)
		answered += all[i].woken && all[i].err == 0;
	ck_assert_uint_eq(answered, ASKED);
}
END_TEST

START_TEST(restarted_server_is_found_again)
{
	opened("a");
	KEPT("a");
	redis_server_restart(&server);
	UNTIL(hit("a") == TABLE_UNSURE);
	UNTIL(store_connections(store) == 2 && store_up(store) && registry_up(registry));
	ck_assert_uint_gt(opened("b"), 0); /* its scripts are gone: sent again */
	KEPT("b");
}
END_TEST

START_TEST(flushed_scripts_are_sent_again)
{
	opened("a");
	redis_server_ask(&server, "SCRIPT FLUSH");
	opened("b");
	opened("c");
	KEPT("b");
	redis_server_ask(&server, "HSET u*:r:b node n9");
	UNTIL(hit("b") != TABLE_SURE);
}
END_TEST

static int claim_now(const char *name)
{
	struct claim c = { .node = "n1", .incarnation = "inc", .registration = 7 };
	struct claimed got = { 0 };

	return CALL(rooms_claim(store, str_of(name), &c, DUE, &got, w));
}

/* The write is known to have failed or not known at all; reading goes on; and all is well once the server is. */
START_TEST(refused_writes_are_unknown_and_reads_go_on)
{
	static const char *const refusals[][2] = {
		{ "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0" },                         /* -OOM */
		{ "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0" }, /* -NOREPLICAS */
	};

	opened("a");
	redis_server_ask(&server, "%s", refusals[_i][0]);
	ck_assert_int_eq(claim_now("b"), -ERR_STORE_UNAVAILABLE);
	ck_assert_int_eq(found("a", true).state, ROOM_OPEN);
	ck_assert_int_eq(found("b", true).state, ROOM_NONE);
	ck_assert(store_up(store));
	redis_server_ask(&server, "%s", refusals[_i][1]);
	ck_assert_int_eq(claim_now("b"), 0);
}
END_TEST

START_TEST(server_that_cannot_save_refuses_writes)
{
	static const char *const words[] = { "--enable-protected-configs", "yes", NULL };
	char dir[] = "/tmp/usher-test-XXXXXX", name[16];
	unsigned n = 0;

	open_with(0, words, false);
	UNTIL(store_up(store) && registry_up(registry));
	opened("a");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_str_eq(redis_server_ask(&server, "CONFIG SET dir %s", dir), "+OK");
	rmdir(dir);
	redis_server_ask(&server, "CONFIG SET save \"3600 1\"");
	redis_server_ask(&server, "BGSAVE");
	UNTIL(snprintf(name, sizeof name, "m%u", n++) && claim_now(name) != 0); /* -MISCONF, once the child has failed */
	ck_assert_int_eq(found("a", true).state, ROOM_OPEN);
	redis_server_ask(&server, "CONFIG SET stop-writes-on-bgsave-error no");
	ck_assert_int_eq(claim_now("b"), 0);
	teardown();
}
END_TEST

/* redis-client#260, redis-py#460: clients that stay with a demoted primary. */
START_TEST(demoted_primary_is_left)
{
	opened("a");
	KEPT("a");
	redis_server_ask(&server, "REPLICAOF 127.0.0.1 1");
	ck_assert_int_eq(claim_now("b"), -ERR_STORE_UNAVAILABLE);
	ck_assert(!store_up(store));
	UNTIL(hit("a") == TABLE_UNSURE);
	redis_server_ask(&server, "REPLICAOF NO ONE");
	UNTIL(store_up(store));
	ck_assert_int_eq(claim_now("b"), 0);
}
END_TEST

/* Nobody cuts the connections, and no call is refused: only asking for the role shows it. */
START_TEST(demoted_primary_is_left_without_a_call)
{
	opened("a");
	KEPT("a");
	redis_server_ask(&server, "REPLICAOF 127.0.0.1 1");
	UNTIL(!store_up(store) && !registry_up(registry));
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	redis_server_ask(&server, "REPLICAOF NO ONE");
	UNTIL(store_up(store) && registry_up(registry));
	ck_assert_int_eq(claim_now("b"), 0);
}
END_TEST

static int client_of(uint16_t port)
{
	struct redis_target t;
	struct addresses at;
	const char *why;
	char text[64];
	int fd;

	snprintf(text, sizeof text, "redis://127.0.0.1:%u", port);
	ck_assert(redis_target_parse(text, &t, &why));
	ck_assert_int_eq(loop_resolve(loop, t.seeds[0].host, t.seeds[0].port, &at, NULL), NEXT);
	fd = socket(at.at[0].ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at.at[0], at.len[0]), 0);
	return fd;
}

START_TEST(busy_server_costs_no_more_than_the_budget)
{
	static const char endless[] = "EVAL \"while true do end\" 0\r\n", stop[] = "SCRIPT KILL\r\n";
	struct room room;
	uint64_t began;
	int other;

	opened("a");
	redis_server_ask(&server, "CONFIG SET lua-time-limit 1");
	other = client_of(server.port);
	ck_assert_int_gt(send(server.client, endless, sizeof endless - 1, 0), 0);
	began = loop_fresh_ms(loop);
	UNTIL(CALL(rooms_find(store, STR("b"), true, loop_fresh_ms(loop) + TIMEOUT_MS, &room, w)) == -ERR_STORE_UNAVAILABLE);
	ck_assert_uint_lt(loop_fresh_ms(loop) - began, TIMEOUT_MS + 300);
	ck_assert_int_eq(found("a", false).state, ROOM_OPEN); /* known is enough */
	ck_assert_int_gt(send(other, stop, sizeof stop - 1, 0), 0);
	UNTIL(store_up(store) && registry_up(registry));
	UNTIL(claim_now("b") == 0);
	close(other);
}
END_TEST

START_TEST(loading_server_is_not_up)
{
	relay_answer_all(relay, "-LOADING Redis is loading the dataset in memory\r\n");
	redis_server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes");
	redis_server_ask(&server, "CLIENT KILL TYPE pubsub");
	UNTIL(!store_up(store) && !registry_up(registry));
	unsigned attempts = relay_accepted(relay);
	UNTIL(relay_accepted(relay) > attempts + 3); /* goes on trying */
	ck_assert(!store_up(store) && !registry_up(registry));
	relay_answer_all(relay, NULL);
	UNTIL(store_up(store) && registry_up(registry));
	ck_assert_int_eq(claim_now("b"), 0);
}
END_TEST

/* Nobody knows whether it ran, so it may be repeated: it did, and the second finds its own. */
START_TEST(abandoned_write_may_have_run)
{
	struct claim c = { .node = "n1", .incarnation = "inc", .registration = 7 };
	struct claimed got = { 0 };
	uint64_t began;

	redis_server_signal(&server, SIGSTOP);
	began = loop_fresh_ms(loop);
	ck_assert_int_eq(CALL(rooms_claim(store, STR("a"), &c, began + TIMEOUT_MS, &got, w)), -ERR_STORE_UNAVAILABLE);
	ck_assert_uint_lt(loop_fresh_ms(loop) - began, TIMEOUT_MS + 300);
	redis_server_signal(&server, SIGCONT);
	UNTIL(store_up(store));
	UNTIL(strcmp(redis_server_ask(&server, "HGET u*:r:a state"), "opening") == 0);
	ck_assert_int_eq(CALL(rooms_claim(store, STR("a"), &c, DUE, &got, w)), 0);
	ck_assert(!got.won && got.room.state == ROOM_OPENING);
	ck_assert_str_eq(got.room.node, "n1");
	ck_assert(publish("a", got.room.epoch).won && publish("a", got.room.epoch).won);
}
END_TEST

START_TEST(first_call_waits_for_the_connection)
{
	struct store *second = store_new(registry, loop);
	struct room room = { .state = ROOM_OPEN };

	ck_assert(!store_up(second));
	ck_assert_int_eq(CALL(rooms_find(second, STR("nobody"), true, DUE, &room, w)), 0);
	ck_assert_int_eq(room.state, ROOM_NONE);
	store_free(second);
}
END_TEST

START_TEST(freed_store_answers_its_callers)
{
	struct store *second = store_new(registry, loop);
	struct awaited a[3] = { { .w.wake = awaited_wake }, { .w.wake = awaited_wake }, { .w.wake = awaited_wake } };
	struct rooms_query all = { .limit = 10 };
	struct rooms_page page;
	struct nodes_all nodes = { 0 };
	struct room room;

	UNTIL(store_up(second));
	ck_assert_int_eq(rooms_find(second, STR("x"), true, DUE, &room, &a[0].w), WAIT);
	ck_assert_int_eq(rooms_list(second, &all, &arena, DUE, &page, &a[1].w), WAIT);
	ck_assert_int_eq(nodes_all(second, &arena, DUE, &nodes, &a[2].w), WAIT);
	store_free(second);
	for (int i = 0; i < 3; i++)
		ck_assert(a[i].woken && a[i].err == -ERR_STORE_UNAVAILABLE);
}
END_TEST

START_TEST(callers_may_leave)
{
	struct awaited a[3] = { { .w.wake = awaited_wake }, { .w.wake = awaited_wake }, { .w.wake = awaited_wake } };
	struct rooms_query all = { .limit = 10 };
	struct rooms_page page;
	struct nodes_all nodes = { 0 };
	struct room room;

	ck_assert_int_eq(rooms_find(store, STR("x"), true, DUE, &room, &a[0].w), WAIT);
	ck_assert_int_eq(rooms_list(store, &all, &arena, DUE, &page, &a[1].w), WAIT);
	ck_assert_int_eq(nodes_all(store, &arena, DUE, &nodes, &a[2].w), WAIT);
	for (int i = 0; i < 3; i++)
		wait_drop(&a[i].w);
	opened("a");
	for (int i = 0; i < 3; i++)
		ck_assert(!a[i].woken);
}
END_TEST

/* A foreign key of the wrong kind: one error, and the connection goes on. */
START_TEST(damaged_records_stay_alone)
{
	struct room room;
	struct nodes_all nodes = { 0 };
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct registered registered;

	redis_server_ask(&server, "SET u*:r:bad text");
	ck_assert_int_eq(CALL(rooms_find(store, STR("bad"), true, DUE, &room, w)), -ERR_STORE_UNAVAILABLE);
	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	redis_server_ask(&server, "SADD u*:nodes n2");
	redis_server_ask(&server, "SET u*:n:{n2} text");
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &nodes, w)), 0);
	ck_assert(nodes.partial);
	ck_assert_uint_eq(nodes.count, 1);
	ck_assert_str_eq(nodes.nodes[0].id, "n1");
	ck_assert(store_up(store));
}
END_TEST

/* -- replicas, passwords ------------------------------------------------------------------------------------------------------------ */

START_TEST(too_few_replicas_is_unknown)
{
	struct claim c = { .node = "n1", .incarnation = "inc", .registration = 1 };
	struct redis_server replica;
	char port[8];
	const char *const words[] = { "--replicaof", "127.0.0.1", port, NULL };
	struct claimed got = { 0 };

	ck_assert_int_eq(CALL(rooms_claim(store, STR("a"), &c, DUE, &got, w)), -ERR_STORE_UNAVAILABLE);
	snprintf(port, sizeof port, "%u", server.port);
	redis_server_start(&replica, words);
	redis_server_ask(&replica, "SELECT 3");
	UNTIL(strcmp(redis_server_ask(&replica, "HGET u*:r:a state"), "opening") == 0);
	UNTIL(c.incarnation && CALL(rooms_claim(store, STR("b"), &c, DUE, &got, w)) == 0);
	ck_assert_int_eq(got.room.state, ROOM_OPENING);
	redis_server_stop(&replica);
}
END_TEST

/* WAIT holds up its connection, so what asks no replica goes by another. A stalled machine may see both answers at once: then again. */
START_TEST(reading_does_not_wait_for_replicas)
{
	struct claim c = { .node = "n1", .incarnation = "inc", .registration = 1 };
	struct claimed got;
	struct nodes_all nodes = { 0 };
	bool overtaken = false;

	for (int i = 0; i < 5 && !overtaken; i++) {
		struct awaited claims = { .w.wake = awaited_wake };
		ck_assert_int_eq(rooms_claim(store, STR("a"), &c, DUE, &got, &claims.w), WAIT);
		for (int n = 0; n < 2; n++) /* the first may be on its way before WAIT is */
			ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &nodes, w)), 0);
		overtaken = !claims.woken;
		wait_drop(&claims.w);
	}
	ck_assert(overtaken);
}
END_TEST

START_TEST(renewal_that_the_replicas_do_not_have_is_none)
{
	struct registration_request request = { .incarnation = "i", .info = STR("{}"), .lease_ms = 4000 };
	struct renewal renewal = { .incarnation = "i", .seq = 1, .lease_ms = 4000, .load = STR("{}") };
	struct registered registered = { 0 };
	struct renewed renewed = { 0 };

	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	renewal.registration = registered.registration;
	ck_assert_int_eq(CALL(nodes_renew(store, "n1", &renewal, DUE, &renewed, w)), -ERR_STORE_UNAVAILABLE);
}
END_TEST

START_TEST(data_that_all_replicas_have_is_taken_for_whole_by_another_server_process)
{
	struct store_mark before = looked(false), after;

	ck_assert(before.whole);
	redis_server_ask(&server, "HSET u*:mark server 1");
	after = looked(true);
	ck_assert(after.whole && after.generation == before.generation);
}
END_TEST

static void setup_replicas(void)
{
	open_with(1, NULL, false);
	UNTIL(store_up(store) && registry_up(registry));
}

START_TEST(password_is_given)
{
	static const char *const words[] = { "--requirepass", "p@ss:word", NULL };
	const char *why = NULL;
	struct registry_conf conf = { .url = url, .prefix = "u:", .router = "rt", .timeout_ms = TIMEOUT_MS, .table_max = 10,
		                      .trust_ms = 1000 };
	struct room room;

	redis_server_start(&server, words);
	snprintf(url, sizeof url, "redis://:p%%40ss:word@127.0.0.1:%u", server.port);
	loop = loop_new();
	retire = retire_new(loop, &loop, 1);
	registry = registry_new(loop, retire, &conf, &why);
	ck_assert(registry != NULL);
	store = store_new(registry, loop);
	UNTIL(store_up(store));
	trust();
	ck_assert_int_eq(CALL(rooms_find(store, STR("a"), true, DUE, &room, w)), 0);
	teardown();
}
END_TEST

START_TEST(wrong_password_never_serves)
{
	static const char *const words[] = { "--requirepass", "right", NULL };
	const char *why = NULL;
	struct registry_conf conf = { .url = url, .prefix = "u:", .router = "rt", .timeout_ms = TIMEOUT_MS, .table_max = 10,
		                      .trust_ms = 1000 };
	struct room room;

	redis_server_start(&server, words);
	snprintf(url, sizeof url, "redis://:wrong@127.0.0.1:%u", server.port);
	loop = loop_new();
	retire = retire_new(loop, &loop, 1);
	registry = registry_new(loop, retire, &conf, &why);
	store = store_new(registry, loop);
	ck_assert_int_eq(CALL(rooms_find(store, STR("a"), true, DUE, &room, w)), -ERR_STORE_UNAVAILABLE);
	ck_assert(!store_up(store) && !registry_up(registry));
	teardown();
}
END_TEST

START_TEST(urls)
{
	struct redis_target t;
	const char *why = NULL;

	ck_assert(redis_target_parse("redis://h:1", &t, &why) && t.seeds[0].port == 1 && t.db == 0 && !t.data.password[0]);
	ck_assert(redis_target_parse("redis://:p%2Fw@[::1]:65535/15", &t, &why) && t.kind == REDIS_ONE);
	ck_assert_str_eq(t.seeds[0].host, "::1");
	ck_assert_str_eq(t.data.password, "p/w");
	ck_assert_uint_eq(t.db, 15);
	ck_assert_str_eq(t.data.user, "");
	ck_assert(redis_target_parse("redis://a%3Aapp:p:w@x@h:1", &t, &why));
	ck_assert_str_eq(t.data.user, "a:app");
	ck_assert_str_eq(t.data.password, "p:w@x");
	ck_assert(redis_target_parse("redis+sentinel://a:1,[::2]:2,c:3/my-master", &t, &why) && t.kind == REDIS_SENTINEL);
	ck_assert(t.nseeds == 3 && t.seeds[2].port == 3 && t.db == 0);
	ck_assert_str_eq(t.seeds[1].host, "::2");
	ck_assert_str_eq(t.master, "my-master");
	ck_assert(redis_target_parse("redis+sentinel://:pw@a:1/m/4", &t, &why) && t.db == 4);
	ck_assert(redis_target_parse("redis+cluster://:pw@a:1,b:2", &t, &why) && t.kind == REDIS_CLUSTER && t.nseeds == 2);
	static const char *const bad[] = { "redis://", "redis://h", "redis://h:0", "redis://h:65536", "redis://:1", "redis://h:1/x",
		                           "redis://user@h:1", "redis://user:@h:1", "redis://u%00:p@h:1", "rediss://h:1", "redis://:%zz@h:1", "redis://[::1:1", "redis://h:1/99999999",
		                           "redis://:p%00w@h:1", "redis://:@h:1", "redis://a:1,b:2", "redis+sentinel://a:1", "redis+sentinel://a:1/",
		                           "redis+sentinel://a:1,/m", "redis+sentinel:///m", "redis+sentinel://a:1/m/x", "redis+cluster://",
		                           "redis+cluster://a:1,", "redis+cluster://a:1/0", "redis+cluster://a:1,b" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!redis_target_parse(bad[i], &t, &why) && why, "%s", bad[i]);
}
END_TEST

/* -- listings, charges ----------------------------------------------------------------------------------------------------------------- */

START_TEST(pages_never_exceed_the_limit)
{
	char cursor[96] = "", name[32];
	size_t rows = 0, pages = 0;

	for (int i = 0; i < 57; i++) {
		snprintf(name, sizeof name, "r%02d", i);
		opened(name);
	}
	redis_server_ask(&server, "HSET u1:r:other state open epoch 1"); /* the prefix is no pattern */
	do {
		struct rooms_query q = { .prefix = STR("r"), .cursor = cursor, .limit = 10 };
		struct rooms_page page;

		ck_assert_int_eq(CALL(rooms_list(store, &q, &arena, DUE, &page, w)), 0);
		ck_assert_uint_le(page.count, 10);
		rows += page.count;
		memcpy(cursor, page.next, sizeof cursor);
		ck_assert_uint_lt(pages++, 100);
	} while (cursor[0]);
	ck_assert_uint_eq(rows, 57);
}
END_TEST

START_TEST(listing_asks_no_more_than_a_step_at_a_time)
{
	struct rooms_query q = { .limit = 10 };
	struct rooms_page page;

	opened("a");
	redis_server_ask(&server, "ACL SETUSER default -keys -smembers -hgetall");
	ck_assert_int_eq(CALL(rooms_list(store, &q, &arena, DUE, &page, w)), 0);
	ck_assert_uint_eq(page.count, 1);
}
END_TEST

START_TEST(keys_stand_under_the_prefix_in_the_urls_db)
{
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct registered registered;

	opened("a");
	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	ck_assert_str_eq(redis_server_ask(&server, "EXISTS u*:r:a u*:n:{n1} u*:nodes u*:mark"), ":4");
	ck_assert_str_eq(redis_server_ask(&server, "DBSIZE"), ":4");
	redis_server_ask(&server, "SELECT 0");
	ck_assert_str_eq(redis_server_ask(&server, "DBSIZE"), ":0");
}
END_TEST

static bool is_found(const char *id)
{
	char cursor[32] = "";
	bool found = false;
	size_t pages = 0;

	do {
		struct nodes_page page;

		ck_assert_int_eq(CALL(nodes_scan(store, cursor, &arena, DUE, &page, w)), 0);
		for (size_t i = 0; i < page.count; i++) {
			ck_assert_msg(page.ids[i][0] == 'n' && strlen(page.ids[i]) == 2, "%s", page.ids[i]);
			found = found || !strcmp(page.ids[i], id);
		}
		memcpy(cursor, page.next, sizeof cursor);
		ck_assert_uint_lt(pages++, 100);
	} while (cursor[0]);
	return found;
}

START_TEST(a_node_without_a_record_is_taken_off_the_list)
{
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct registered registered;
	struct nodes_all all = { 0 };

	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	redis_server_ask(&server, "SADD u*:nodes n2"); /* an entering that crossed a leaving */
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, 1);
	UNTIL(strcmp(redis_server_ask(&server, "SCARD u*:nodes"), ":1") == 0);
	ck_assert_str_eq(redis_server_ask(&server, "SISMEMBER u*:nodes n1"), ":1");
}
END_TEST

START_TEST(nodes_are_found_without_their_list_and_listed_again)
{
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct registered registered;
	struct nodes_all all = { 0 };
	struct nodes_page page;

	for (int i = 0; i < 2500; i++) /* more than one step */
		redis_server_ask(&server, "HSET u*:r:f%d state open", i);
	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	ck_assert_int_eq(CALL(nodes_register(store, "n2", &request, DUE, &registered, w)), 0);
	redis_server_ask(&server, "HSET u1:n:{n3} incarnation i"); /* another's */
	redis_server_ask(&server, "HSET u*:n:{n1}:rooms r '1 0 0'");
	ck_assert_str_eq(redis_server_ask(&server, "SREM u*:nodes n1"), ":1");
	ck_assert(is_found("n1") && is_found("n2") && !is_found("n3"));
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, 1);
	nodes_relist(store, "n1");
	nodes_relist(store, "n9"); /* of whom there is nothing */
	UNTIL(strcmp(redis_server_ask(&server, "SISMEMBER u*:nodes n1"), ":1") == 0);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, 2);
	ck_assert_str_eq(redis_server_ask(&server, "SCARD u*:nodes"), ":2");
	ck_assert_int_eq(CALL(nodes_scan(store, "x", &arena, DUE, &page, w)), -ERR_BAD_REQUEST);
}
END_TEST

static void many_nodes(int count)
{
	for (int i = 0; i < count; i++) {
		redis_server_ask(&server, "SADD u*:nodes n%d", i);
		redis_server_ask(&server, "HSET u*:n:{n%d} seq 1", i);
	}
}

/* More than two slices, in which one record is gone and one damaged. */
START_TEST(a_long_list_of_nodes_comes_in_slices)
{
	enum { NODES = 2 * NODES_SLICE + 20, GONE = 17, DAMAGED = NODES_SLICE + 5 };
	struct nodes_all all = { 0 };
	bool seen[NODES] = { false };
	size_t before = 0;

	many_nodes(NODES);
	redis_server_ask(&server, "DEL u*:n:{n%d}", GONE);
	redis_server_ask(&server, "SET u*:n:{n%d} text", DAMAGED);
	for (int slices = 3; slices; slices--) {
		ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
		ck_assert_uint_eq(all.left, slices == 3 ? NODES_SLICE + 20 : slices == 2 ? 20 : 0);
		ck_assert_uint_le(all.count - before, NODES_SLICE);
		before = all.count;
	}
	ck_assert_uint_eq(all.count, NODES - 2);
	for (size_t i = 0; i < all.count; i++) {
		int number = atoi(all.nodes[i].id + 1);
		ck_assert(number >= 0 && number < NODES && !seen[number] && all.nodes[i].seq == 1);
		seen[number] = true;
	}
	ck_assert(all.partial && all.nunread == 1);
	ck_assert_int_eq(atoi(all.unread[0] + 1), DAMAGED);
	ck_assert(!seen[GONE] && !seen[DAMAGED]);
}
END_TEST

/* Perhaps to another server: half of one store and half of another would be a fleet that never was. */
START_TEST(slices_are_of_one_connection)
{
	struct nodes_all all = { 0 };
	uint64_t connections = store_connections(store);

	many_nodes(NODES_SLICE + 1);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.left, 1);
	redis_server_ask(&server, "CLIENT KILL TYPE normal");
	UNTIL(store_up(store) && store_connections(store) > connections);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), -ERR_STORE_UNAVAILABLE);
	all = (struct nodes_all){ 0 };
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, NODES_SLICE + 1);
}
END_TEST

START_TEST(callers_may_leave_between_and_in_slices)
{
	struct store *second = store_new(registry, loop);
	struct awaited a[2] = { { .w.wake = awaited_wake }, { .w.wake = awaited_wake } };
	struct nodes_all all[2] = { { 0 }, { 0 } };

	many_nodes(NODES_SLICE + 1);
	UNTIL(store_up(second));
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(CALL(nodes_all(i ? second : store, &arena, DUE, &all[i], w)), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(nodes_all(i ? second : store, &arena, DUE, &all[i], &a[i].w), WAIT);
	wait_drop(&a[0].w);
	store_free(second);
	ck_assert(!a[0].woken && a[1].woken && a[1].err == -ERR_STORE_UNAVAILABLE);
	ck_assert(all[0].left == 1 && all[1].left == 1);
	opened("a");
}
END_TEST

/* Its router died between reserving and claiming. */
START_TEST(listing_clears_reservations_that_nobody_gave_back)
{
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct rooms_query q = { .node = "n1", .limit = 10 };
	struct registered registered;
	struct rooms_page page;

	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	redis_server_ask(&server, "HSET u*:n:{n1}:rooms old \"0 -1 1000\" young \"0 -2 99999999999999\"");
	redis_server_ask(&server, "HSET u*:n:{n1} exclusive old");
	ck_assert_int_eq(CALL(rooms_list(store, &q, &arena, DUE, &page, w)), 0);
	ck_assert_uint_eq(page.count, 0);
	UNTIL(strcmp(redis_server_ask(&server, "HEXISTS u*:n:{n1}:rooms old"), ":0") == 0);
	ck_assert_str_eq(redis_server_ask(&server, "HEXISTS u*:n:{n1}:rooms young"), ":1");
	ck_assert_str_eq(redis_server_ask(&server, "HEXISTS u*:n:{n1} exclusive"), ":0");
}
END_TEST

/* Redis Cluster takes an empty pair of braces for none: a node's keys would lie in different slots. */
START_TEST(prefixes_that_part_a_nodes_keys_are_refused)
{
	static const char *const prefixes[] = { "{}:", "x{}y{z}", "{app}:", "a{b:", "}{", "", "{{}}" };
	static const bool fine[] = { false, false, true, true, true, true, true };

	for (size_t i = 0; i < sizeof fine; i++) {
		const char *why = NULL;
		struct registry_conf conf = { .url = "redis://127.0.0.1:1", .prefix = prefixes[i], .router = "rt", .timeout_ms = 100,
			                      .table_max = 10, .trust_ms = 1000 };
		struct registry *r = registry_new(loop, retire, &conf, &why);

		ck_assert_msg((r != NULL) == fine[i], "%s", prefixes[i]);
		ck_assert(r || strstr(why, "{}"));
		registry_free(r);
	}
}
END_TEST

START_TEST(charges_are_announced)
{
	struct registration_request request = { .incarnation = "i", .replaces = "", .info = STR("{}"), .lease_ms = 4000 };
	struct reserve reserve = { .room = STR("a"), .cost = 0.125 };
	struct registered registered = { 0 };
	struct reserved reserved = { 0 };

	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	reserve.registration = registered.registration;
	ck_assert_int_eq(CALL(nodes_reserve(store, "n1", &reserve, DUE, &reserved, w)), 0);
	ck_assert(reserved.granted);
	UNTIL(charges == 1);
	ck_assert_str_eq(charged_node, "n1");
	ck_assert_double_eq_tol(charged_cost, 0.125, 1e-9);
}
END_TEST

/* What was written comes back whole, through the words and numbers of the records. */
START_TEST(nodes_come_back_whole)
{
	struct registration_request request = { .incarnation = "i", .replaces = NULL, .info = STR("{\"a\":1}"), .lease_ms = 4000 };
	struct renewal renewal = { .incarnation = "i", .seq = 1, .lease_ms = 5000, .reported = REPORTED_SICK,
		                   .load = STR("{\"cpu\":0.5}"), .seen = 9007199254740991, .shown = 0.0625, .routers = STR("http://a:1") };
	struct reserve reserve = { .room = STR("a b"), .cost = 0.25, .rooms_max = 1, .exclusive = true };
	struct room_report report = { .room = STR("a b"), .epoch = 9, .participants = 3 }, entry;
	struct registered registered = { 0 };
	struct renewed renewed = { 0 };
	struct reserved reserved = { 0 };
	struct nodes_all all = { 0 };
	const struct node_record *n;

	ck_assert_int_eq(CALL(nodes_register(store, "n1", &request, DUE, &registered, w)), 0);
	renewal.registration = reserve.registration = registered.registration;
	ck_assert_int_eq(CALL(nodes_reserve(store, "n1", &reserve, DUE, &reserved, w)), 0);
	ck_assert_int_eq(CALL(nodes_renew(store, "n1", &renewal, DUE, &renewed, w)), 0);
	ck_assert_int_eq(renewed.verdict, RENEW_DONE);
	ck_assert_uint_eq(renewed.charged, reserved.number);
	ck_assert_int_eq(CALL(nodes_set_wish(store, "n1", WISH_DRAINING, STR(""), DUE, w)), 0);
	ck_assert_int_eq(CALL(nodes_reset_breakers(store, "n1", DUE, w)), 0);
	nodes_index(store, "n1", STR("a b"), 9);
	nodes_report_rooms(store, "n1", &report, 1);
	ck_assert_int_eq(CALL(nodes_room(store, "n1", STR("a b"), DUE, &entry, w)), 0);
	ck_assert_uint_eq(entry.epoch, 9);
	ck_assert_int_eq(entry.participants, 3);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert(all.count == 1 && !all.partial);
	n = &all.nodes[0];
	ck_assert_str_eq(n->incarnation, "i");
	ck_assert(str_is(n->info, "{\"a\":1}") && str_is(n->load, "{\"cpu\":0.5}") && str_is(n->routers, "http://a:1"));
	ck_assert(n->registration == registered.registration && n->seq == 1 && n->lease_ms == 5000 && !n->lost);
	ck_assert(n->wish == WISH_DRAINING && n->reported == REPORTED_SICK && n->exclusive && n->resets == 1);
	ck_assert(n->seen == 9007199254740991 && n->charged == reserved.number && n->rooms == 1 && n->ncharges == 1);
	ck_assert_double_eq_tol(n->shown, 0.0625, 1e-12);
	ck_assert_double_eq_tol(n->charges[0].cost, 0.25, 1e-12);
	ck_assert(n->charges[0].number == reserved.number && n->charges[0].at_ms == reserved.at_ms);
	ck_assert(n->heard_ms <= all.store_ms && all.store_ms - n->heard_ms < 60000);
	nodes_unindex(store, "n1", STR("a b"), 9);
	ck_assert_int_eq(CALL(nodes_room(store, "n1", STR("a b"), DUE, &entry, w)), -ERR_NOT_FOUND);
	ck_assert_int_eq(CALL(nodes_all(store, &arena, DUE, &all, w)), 0);
	ck_assert(!all.nodes[0].exclusive && all.nodes[0].rooms == 0);
}
END_TEST

/* Far more than a socket takes: the rest goes when it takes more. */
START_TEST(what_is_not_taken_at_once_follows)
{
	enum { MANY = 30000 };
	struct awaited *all = calloc(MANY, sizeof *all);
	struct room *rooms = calloc(MANY, sizeof *rooms);
	uint64_t epoch = opened("a"), due_ms = loop_fresh_ms(loop) + 20000;

	for (size_t i = 0; i < MANY; i++) {
		all[i].w.wake = awaited_wake;
		ck_assert_int_eq(rooms_find(store, STR("a"), true, due_ms, &rooms[i], &all[i].w), WAIT);
	}
	for (size_t i = 0; i < MANY; i++) {
		UNTIL(all[i].woken);
		ck_assert(all[i].err == 0 && rooms[i].epoch == epoch);
	}
	free(all);
	free(rooms);
}
END_TEST

START_TEST(silent_routers_are_forgotten)
{
	struct routers_all all = { 0 };

	redis_server_ask(&server, "HSET u*:routers old \"1000 {}\"");
	ck_assert_int_eq(CALL(routers_announce(store, "rt", STR("{\"x\":\"a b\"}"), DUE, w)), 0);
	ck_assert_int_eq(CALL(routers_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, 1);
	ck_assert_str_eq(all.routers[0].id, "rt");
	ck_assert(str_is(all.routers[0].info, "{\"x\":\"a b\"}"));
	ck_assert_int_eq(CALL(routers_leave(store, "rt", DUE, w)), 0);
	ck_assert_int_eq(CALL(routers_all(store, &arena, DUE, &all, w)), 0);
	ck_assert_uint_eq(all.count, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry/redis");
	TCase *plain = tcase_create("one server"), *replicas = tcase_create("replicas"), *own = tcase_create("own setup");
	TCase *relayed = tcase_create("behind a relay");
	SRunner *runner;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_add_checked_fixture(plain, setup, teardown);
	tcase_set_timeout(plain, 20);
	tcase_add_test(plain, livekit_4593_a_room_that_ended_comes_back_above_its_epoch);
	tcase_add_test(plain, what_is_usual_is_not_written);
	tcase_add_test(plain, livekit_3317_no_time_to_live_is_left_at_a_room);
	tcase_add_test(plain, livekit_4663_an_unverified_entry_is_used_when_no_answer_comes);
	tcase_add_test(plain, scalelite_313_who_knows_nodes_takes_an_empty_store_for_no_new_one);
	tcase_add_test(plain, data_of_another_server_process_is_not_taken_for_whole);
	tcase_add_test(plain, only_the_generation_that_was_seen_is_doubted_or_called_whole);
	tcase_add_test(plain, a_generation_that_is_old_is_not_doubted);
	tcase_add_test(plain, own_publish_then_foreign_change_is_heard);
	tcase_add_test(plain, read_then_foreign_change_is_heard_each_time);
	tcase_add_test(plain, own_claim_then_foreign_publish_is_heard);
	tcase_add_loop_test(plain, own_change_leaves_the_room_watched, 0, 4);
	tcase_add_test(plain, overtaken_reply_is_not_kept);
	tcase_add_test(plain, killed_link_makes_all_unsure);
	tcase_add_test(plain, killed_data_connection_makes_all_unsure);
	tcase_add_test(plain, flush_makes_all_unsure);
	tcase_add_test(plain, without_tracking_age_decides);
	tcase_add_loop_test(plain, with_less_permission_age_decides, 0, 4);
	tcase_add_loop_test(plain, refused_writes_are_unknown_and_reads_go_on, 0, 2);
	tcase_add_test(plain, demoted_primary_is_left);
	tcase_add_test(plain, demoted_primary_is_left_without_a_call);
	tcase_add_test(plain, busy_server_costs_no_more_than_the_budget);
	tcase_add_test(plain, abandoned_write_may_have_run);
	tcase_add_test(plain, listing_asks_no_more_than_a_step_at_a_time);
	tcase_add_test(plain, keys_stand_under_the_prefix_in_the_urls_db);
	tcase_add_test(plain, listing_clears_reservations_that_nobody_gave_back);
	tcase_add_test(plain, nodes_are_found_without_their_list_and_listed_again);
	tcase_add_test(plain, a_long_list_of_nodes_comes_in_slices);
	tcase_add_test(plain, slices_are_of_one_connection);
	tcase_add_test(plain, callers_may_leave_between_and_in_slices);
	tcase_add_test(plain, a_node_without_a_record_is_taken_off_the_list);
	tcase_add_test(plain, prefixes_that_part_a_nodes_keys_are_refused);
	tcase_add_test(plain, stopped_server_costs_no_more_than_the_budget);
	tcase_add_loop_test(plain, answer_that_is_here_is_in_time_unless_it_is_old, 0, 2);
	tcase_add_test(plain, sign_of_life_of_long_ago_is_none);
	tcase_add_test(plain, a_turn_takes_all_answers_that_are_here);
	tcase_add_test(plain, restarted_server_is_found_again);
	tcase_add_test(plain, flushed_scripts_are_sent_again);
	tcase_add_test(plain, first_call_waits_for_the_connection);
	tcase_add_test(plain, freed_store_answers_its_callers);
	tcase_add_test(plain, callers_may_leave);
	tcase_add_test(plain, damaged_records_stay_alone);
	tcase_add_test(plain, pages_never_exceed_the_limit);
	tcase_add_test(plain, charges_are_announced);
	tcase_add_test(plain, nodes_come_back_whole);
	tcase_add_test(plain, what_is_not_taken_at_once_follows);
	tcase_add_test(plain, silent_routers_are_forgotten);
	suite_add_tcase(suite, plain);
	tcase_add_checked_fixture(relayed, setup_relayed, teardown);
	tcase_set_timeout(relayed, 30);
	tcase_add_test(relayed, black_holed_link_makes_all_unsure);
	tcase_add_test(relayed, reply_held_back_while_its_announcement_came_is_not_kept);
	tcase_add_test(relayed, loading_server_is_not_up);
	suite_add_tcase(suite, relayed);
	tcase_add_checked_fixture(replicas, setup_replicas, teardown);
	tcase_set_timeout(replicas, 50);
	tcase_add_test(replicas, too_few_replicas_is_unknown);
	tcase_add_test(replicas, data_that_all_replicas_have_is_taken_for_whole_by_another_server_process);
	tcase_add_test(replicas, reading_does_not_wait_for_replicas);
	tcase_add_test(replicas, renewal_that_the_replicas_do_not_have_is_none);
	suite_add_tcase(suite, replicas);
	tcase_set_timeout(own, 50);
	tcase_add_test(own, server_that_cannot_save_refuses_writes);
	tcase_add_test(own, password_is_given);
	tcase_add_test(own, wrong_password_never_serves);
	tcase_add_test(own, urls);
	suite_add_tcase(suite, own);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
