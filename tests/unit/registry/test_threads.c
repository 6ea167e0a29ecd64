/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers on threads of their own, all after the same rooms at once. livekit#1645, #1943, #4316: look-up, choose and write
 * let two routers place one room on two nodes. Here exactly one claim of each room wins, and all are told the same owner.
 */
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/retire.h"
#include "base/wait.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "registry/table.h"
#include "tests/unit/registry/redis_server.h"

#define WORKERS 3
#define ROOMS 200
#define DUE_MS 10000

static struct worker {
	pthread_t thread;
	struct loop *loop;
	struct store *store;
	struct task start, stop;
	struct wait wait;
	struct timer again;
	void (*step)(struct worker *);
	unsigned room;
	struct claimed claimed, published;
	struct room found;
	bool won[ROOMS];
	uint64_t epochs[ROOMS];
	char owners[ROOMS][NODE_MAX + 1], id[8];
	unsigned faults, failures;
} workers[WORKERS];
static _Atomic unsigned done;
static struct loop *keeper;
static struct registry *registry;

static void claim_next(struct worker *);

static struct str name_of(const struct worker *w, char buf[static 16])
{
	snprintf(buf, 16, "r%u", w->room);
	return str_of(buf);
}

static void take_step(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, again);

	w->step(w);
}

/* Nobody knows what became of it: every step may be taken again. */
static bool failed(struct worker *w, int err)
{
	if (!err)
		return false;
	w->failures++;
	timer_set(w->loop, &w->again, 2, take_step);
	return true;
}

static void go_on(struct worker *w, void (*step)(struct worker *))
{
	w->step = step;
	step(w);
}

static void wait_for(struct worker *w, int verdict, void (*then)(struct wait *, int err))
{
	w->wait.wake = then;
	if (verdict != WAIT)
		then(&w->wait, verdict);
}

/* The table may not know it yet, but it never names another owner. */
static void found(struct wait *wait, int err)
{
	struct worker *w = container_of(wait, struct worker, wait);

	if (failed(w, err))
		return;
	w->faults += w->found.epoch != w->epochs[w->room] || strcmp(w->found.node, w->owners[w->room]) != 0;
	w->room++;
	go_on(w, claim_next);
}

static void find(struct worker *w)
{
	char buf[16];

	wait_for(w, rooms_find(w->store, name_of(w, buf), false, loop_now_ms(w->loop) + DUE_MS, &w->found, &w->wait), found);
}

static void published(struct wait *wait, int err)
{
	struct worker *w = container_of(wait, struct worker, wait);

	if (failed(w, err))
		return;
	w->faults += !w->published.won || w->published.room.state != ROOM_OPEN;
	go_on(w, find);
}

static void publish(struct worker *w)
{
	char buf[16];

	wait_for(w, rooms_publish(w->store, name_of(w, buf), w->claimed.room.epoch, STR(""), loop_now_ms(w->loop) + DUE_MS,
	                          &w->published, &w->wait), published);
}

/* Whoever meets it opening helps. */
static void claimed(struct wait *wait, int err)
{
	struct worker *w = container_of(wait, struct worker, wait);

	if (failed(w, err))
		return;
	w->won[w->room] = w->claimed.won;
	w->epochs[w->room] = w->claimed.room.epoch;
	memcpy(w->owners[w->room], w->claimed.room.node, sizeof w->owners[0]);
	go_on(w, w->claimed.room.state == ROOM_OPENING ? publish : find);
}

static void claim_next(struct worker *w)
{
	struct claim claim = { .node = w->id, .incarnation = "inc", .registration = 1 };
	char buf[16];

	if (w->room == ROOMS) {
		atomic_fetch_add(&done, 1);
		return;
	}
	wait_for(w, rooms_claim(w->store, name_of(w, buf), &claim, loop_now_ms(w->loop) + DUE_MS, &w->claimed, &w->wait), claimed);
}

static void worker_start(struct task *task)
{
	go_on(container_of(task, struct worker, start), claim_next);
}

static void worker_stop(struct task *task)
{
	struct worker *w = container_of(task, struct worker, stop);

	store_free(w->store);
	loop_stop(w->loop);
}

static void *worker_main(void *arg)
{
	loop_run(((struct worker *)arg)->loop);
	return NULL;
}

static void turn(void)
{
	struct pollfd fd = { .fd = loop_backend_fd(keeper), .events = POLLIN };

	poll(&fd, 1, 5);
	loop_turn(keeper);
}

static void race(const char *url, void (*disturb)(unsigned turns))
{
	struct registry_conf conf = { .url = url, .prefix = "u:", .router = "rt", .timeout_ms = 5000, .table_max = 1000, .trust_ms = 3000 };
	struct loop *loops[WORKERS];
	struct retire *retire;
	const char *why;

	keeper = loop_new();
	for (int i = 0; i < WORKERS; i++)
		loops[i] = workers[i].loop = loop_new();
	retire = retire_new(keeper, loops, WORKERS);
	registry = registry_new(keeper, retire, &conf, &why);
	for (int i = 0; i < WORKERS; i++) {
		snprintf(workers[i].id, sizeof workers[i].id, "n%d", i);
		workers[i].store = store_new(registry, workers[i].loop);
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	}
	while (!registry_up(registry))
		turn();
	for (int i = 0; i < WORKERS; i++)
		loop_post(workers[i].loop, &workers[i].start, worker_start);
	for (unsigned turns = 0; atomic_load(&done) < WORKERS; turns++) {
		if (disturb)
			disturb(turns);
		turn();
	}
	for (int i = 0; i < WORKERS; i++)
		loop_post(workers[i].loop, &workers[i].stop, worker_stop);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < WORKERS; i++)
			loop_turn(loops[i]);
		loop_turn(keeper);
	}
	retire_free(retire);
	registry_free(registry);
	for (int i = 0; i < WORKERS; i++)
		loop_free(loops[i]);
	loop_free(keeper);
}

/* Where an answer was lost, the winner does not know that it won. */
static void check_one_owner_each(unsigned wins_min)
{
	for (int i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(workers[i].faults, 0);
	for (unsigned room = 0; room < ROOMS; room++) {
		unsigned wins = 0;

		for (int i = 0; i < WORKERS; i++) {
			wins += workers[i].won[room];
			ck_assert_uint_eq(workers[i].epochs[room], workers[0].epochs[room]);
			ck_assert_str_eq(workers[i].owners[room], workers[0].owners[room]);
		}
		ck_assert(wins >= wins_min && wins <= 1);
	}
}

START_TEST(livekit_1645_one_claim_wins_in_memory)
{
	race("memory:", NULL);
	check_one_owner_each(1);
}
END_TEST

static struct redis_server server;

static void race_in_redis(void (*disturb)(unsigned turns))
{
	char url[64];

	redis_server_start(&server, NULL);
	snprintf(url, sizeof url, "redis://127.0.0.1:%u", server.port);
	race(url, disturb);
	redis_server_stop(&server);
}

START_TEST(livekit_1645_one_claim_wins_in_redis)
{
	race_in_redis(NULL);
	check_one_owner_each(1);
	for (int i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(workers[i].failures, 0);
}
END_TEST

static void break_things(unsigned turns)
{
	static const char *const blows[] = { "CLIENT KILL TYPE normal SKIPME yes", "CLIENT KILL TYPE pubsub", "SCRIPT FLUSH" };

	if (turns % 20 == 1)
		redis_server_ask(&server, "%s", blows[turns / 20 % 3]);
}

START_TEST(one_claim_wins_whatever_breaks)
{
	unsigned failures = 0;

	race_in_redis(break_things);
	check_one_owner_each(0);
	for (int i = 0; i < WORKERS; i++)
		failures += workers[i].failures;
	ck_assert_uint_gt(failures, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry/threads");
	TCase *tc = tcase_create("threads");
	SRunner *runner;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, livekit_1645_one_claim_wins_in_memory);
	tcase_add_test(tc, livekit_1645_one_claim_wins_in_redis);
	tcase_add_test(tc, one_claim_wins_whatever_breaks);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
