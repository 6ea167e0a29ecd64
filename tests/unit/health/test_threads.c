/* SPDX-License-Identifier: Apache-2.0 */
/* Workers read views, enter and leave the guard on threads of their own while the keeper makes views, judges, and ends seats. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "health/charges.h"
#include "health/guard.h"
#include "tests/unit/health/stage.h"

#define WORKERS 3
#define NODES 6

static struct worker {
	pthread_t thread;
	struct loop *loop;
	struct timer timer;
	struct task stop;
	_Atomic uint64_t entered, held_back, faults;
} workers[WORKERS];
static _Atomic uint64_t now; /* the keeper's */

/* Whatever is found is whole: the node's incarnation and its load are of one registration. */
static void look(struct worker *w, unsigned i)
{
	char id[8], incarnation[24];
	const struct node *node;
	struct guard guard;
	uint64_t retry_ms, at = atomic_load(&now);

	snprintf(id, sizeof(id), "n%u", i);
	node = fleet_find(stage.fleet, id);
	if (!node)
		return;
	snprintf(incarnation, sizeof(incarnation), "i%llu", (unsigned long long)node->record.registration);
	w->faults += strcmp(incarnation, node->record.incarnation) != 0 || !node->load.has_cpu || strcmp(node->info.pool, "default") != 0;
	w->faults += strncmp(node->info.signal_url, "ws://127", 8) != 0;
	w->faults += fleet_charges(stage.fleet, node, at) < 0 || (node_held_back(node, at, &retry_ms) && !retry_ms);
	if (guard_enter(stage.fleet, id, incarnation, (enum call_kind)(random_u64() % (CALL_TUNNEL + 1)), at, &guard, &retry_ms)) {
		w->held_back++;
		return;
	}
	w->entered++;
	guard_leave(stage.fleet, &guard, random_u64() % 2 ? HTTP_RESET : HTTP_ANSWERED, 200, 0, str_of(id));
}

static void look_on(struct timer *timer)
{
	struct worker *w = container_of(timer, struct worker, timer);

	for (unsigned i = 0; i < 20; i++)
		look(w, (unsigned)(random_u64() % NODES));
	timer_set(w->loop, &w->timer, 1, look_on);
}

static void stop(struct task *task)
{
	struct worker *w = container_of(task, struct worker, stop);

	timer_clear(w->loop, &w->timer);
	loop_stop(w->loop);
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;

	timer_set(w->loop, &w->timer, 1, look_on);
	loop_run(w->loop);
	return NULL;
}

/* A node leaves, is replaced, says something else of itself, or is heard. */
static void change(unsigned i)
{
	char id[8], incarnation[24];
	struct node_record *record;

	snprintf(id, sizeof(id), "n%u", i);
	record = stage_record(id);
	if (record && random_u64() % 8 == 0) {
		stage_remove(id);
		return;
	}
	if (!record || random_u64() % 8 == 0) {
		record = stage_add(id, "", GATED);
		record->registration = atomic_load(&now) + i; /* never seen before */
		snprintf(incarnation, sizeof(incarnation), "i%llu", (unsigned long long)record->registration);
		memcpy(record->incarnation, incarnation, sizeof(incarnation));
	}
	if (random_u64() % 4 == 0)
		record->info = random_u64() % 2 ? STR(GATED) : STR("{\"signal_url\":\"ws://127.0.0.2:1/\"}");
	stage_beat(id, "{\"cpu\":0.5}");
	fleet_charged(stage.fleet, id, atomic_load(&now), 0.01);
}

/* The keeper is fast, and on a busy machine a worker may get its first turn late. */
static bool seen_all(void)
{
	uint64_t entered = 0, held_back = 0;

	for (int i = 0; i < WORKERS; i++) {
		entered += workers[i].entered;
		held_back += workers[i].held_back;
	}
	return entered && held_back;
}

START_TEST(workers_and_keeper_need_no_lock)
{
	struct loop *loops[WORKERS];

	for (int i = 0; i < WORKERS; i++)
		loops[i] = workers[i].loop = loop_new();
	stage_open_beside(loops, WORKERS);
	atomic_store(&now, stage.now);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]);
	for (unsigned round = 0; round < 3000 || !seen_all(); round++) {
		change(round % NODES);
		stage.told[0] = '\0';
		fleet_refresh(stage.fleet);
		stage_stall(10);
		atomic_store(&now, stage.now);
	}
	for (int i = 0; i < WORKERS; i++)
		loop_post(workers[i].loop, &workers[i].stop, stop);
	for (int i = 0; i < WORKERS; i++) {
		pthread_join(workers[i].thread, NULL);
		ck_assert_uint_eq(workers[i].faults, 0);
	}
	for (int round = 0; round < 8; round++) {
		for (int i = 0; i < WORKERS; i++)
			loop_turn(loops[i]);
		stage_turn();
	}
	stage_close();
	for (int i = 0; i < WORKERS; i++)
		loop_free(loops[i]);
}
END_TEST

/* -- the one trial ------------------------------------------------------------------------------------------------------------------ */
static struct breaker *shared;
static pthread_barrier_t barrier;
static _Atomic unsigned trials;

#define ROUNDS 2000

static void *try_each_round(void *arg)
{
	struct admission a;
	uint64_t retry_ms;

	(void)arg;
	for (unsigned round = 1; round <= ROUNDS; round++) {
		pthread_barrier_wait(&barrier);
		if (!breaker_admit(shared, (uint64_t)round * 100000, &a, &retry_ms)) {
			atomic_fetch_add(&trials, 1);
			breaker_judge(shared, &a, RESULT_FAILURE, (uint64_t)round * 100000); /* the one who has it may */
		}
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

START_TEST(one_trial_whatever_the_thread)
{
	struct breaker_conf conf = { .failures = 1, .window_ms = 1000, .min_calls = 1000, .open_ms = 1000, .max_open_ms = 1000,
		                     .failure_rate = 1, .backoff = 1 };
	struct admission a;
	uint64_t retry_ms;
	pthread_t threads[WORKERS];

	shared = breaker_new(&conf);
	ck_assert_int_eq(breaker_admit(shared, 1, &a, &retry_ms), 0);
	ck_assert(breaker_judge(shared, &a, RESULT_FAILURE, 1));
	pthread_barrier_init(&barrier, NULL, WORKERS);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&threads[i], NULL, try_each_round, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
	ck_assert_uint_eq(atomic_load(&trials), ROUNDS);
	breaker_free(shared);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/threads");
	TCase *tc = tcase_create("threads");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, workers_and_keeper_need_no_lock);
	tcase_add_test(tc, one_trial_whatever_the_thread);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
