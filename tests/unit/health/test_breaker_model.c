/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker against a model of it that keeps each call: random calls, results, probes, resets and waits, step by step the same. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "health/breaker.h"
#include "tests/unit/chance.h"

#define STEPS 3000
#define CALLS_MAX 64
#define TRIAL_MS 5000
#define SLICES 10 /* of the window: time is counted in these */

static const struct breaker_conf conf = { .failures = 4, .window_ms = 2000, .min_calls = 10, .open_ms = 300, .max_open_ms = 2000,
	                                  .failure_rate = 0.5, .backoff = 2, .jitter = 0 };
static struct {
	enum breaker_state state;
	bool trial;
	uint64_t until, age, row, opened; /* age: how often it changed */
	struct {
		uint64_t slice;
		bool failed;
	} window[STEPS];
	size_t calls;
} model;
static struct {
	struct admission real;
	uint64_t age;
	bool trial;
} calls[CALLS_MAX];
static size_t ncalls;
static uint64_t now;

static void change(enum breaker_state to, uint64_t until)
{
	model.state = to;
	model.until = until;
	model.trial = false;
	model.age++;
}

static void model_open(void)
{
	double wait = fmin((double)conf.open_ms * pow(conf.backoff, (double)model.opened), (double)conf.max_open_ms);

	model.opened += wait < (double)conf.max_open_ms;
	model.calls = 0;
	change(BREAKER_OPEN, now + (uint64_t)wait);
}

static void model_close(void)
{
	model.calls = model.row = model.opened = 0;
	change(BREAKER_CLOSED, 0);
}

static bool model_held(void)
{
	return now < model.until && (model.state == BREAKER_OPEN || (model.state == BREAKER_HALF_OPEN && model.trial));
}

static bool model_too_many(void)
{
	uint64_t slice = now / (conf.window_ms / SLICES + 1);
	double all = 0, failed = 0;

	for (size_t i = 0; i < model.calls; i++)
		if (model.window[i].slice + SLICES > slice) {
			all++;
			failed += model.window[i].failed;
		}
	return all >= (double)conf.min_calls && failed >= conf.failure_rate * all;
}

static void model_judge(uint64_t age, bool trial, enum breaker_result result)
{
	if (age != model.age || model.state == BREAKER_OPEN || (model.state == BREAKER_HALF_OPEN && !(trial && model.trial)))
		return;
	if (model.state == BREAKER_HALF_OPEN) {
		model.row += result == RESULT_FAILURE;
		model.trial = false;
		if (result == RESULT_OK)
			model_close();
		else if (result == RESULT_FAILURE)
			model_open();
		return;
	}
	if (result == RESULT_NOTHING)
		return;
	model.window[model.calls].slice = now / (conf.window_ms / SLICES + 1);
	model.window[model.calls++].failed = result == RESULT_FAILURE;
	model.row = result == RESULT_FAILURE ? model.row + 1 : 0;
	if (result == RESULT_FAILURE && (model.row >= conf.failures || model_too_many()))
		model_open();
}

static void admit(struct breaker *b)
{
	struct admission real = { 0 };
	uint64_t retry = 0;
	int err = breaker_admit(b, now, &real, &retry);

	ck_assert_int_eq(err, model_held() ? -ERR_BREAKER_OPEN : 0);
	if (err) {
		ck_assert_uint_eq(retry, model.until - now);
		return;
	}
	ck_assert(real.trial == (model.state != BREAKER_CLOSED));
	if (real.trial) {
		change(BREAKER_HALF_OPEN, now + TRIAL_MS);
		model.trial = true;
	}
	if (ncalls == CALLS_MAX)
		ncalls--;
	calls[ncalls].real = real;
	calls[ncalls].age = model.age;
	calls[ncalls++].trial = real.trial;
}

static void judge(struct breaker *b)
{
	enum breaker_result result = chance_below(8) ? (chance_below(5) < 2 ? RESULT_OK : RESULT_FAILURE) : RESULT_NOTHING;
	size_t which = ncalls ? chance_below(ncalls) : 0;
	enum breaker_state before = model.state;

	if (!ncalls)
		return;
	model_judge(calls[which].age, calls[which].trial, result);
	ck_assert(breaker_judge(b, &calls[which].real, result, now) == (model.state != before));
	calls[which] = calls[--ncalls];
}

static void step(struct breaker *b)
{
	uint64_t retry;

	switch (chance_below(16)) {
	case 0:
	case 1:
		now += chance_below(chance_below(4) ? 100 : 3000);
		break;
	case 2:
		if (model.state == BREAKER_OPEN)
			change(BREAKER_HALF_OPEN, now);
		breaker_probed(b, true, now);
		break;
	case 3:
		ck_assert(!breaker_probed(b, false, now));
		break;
	case 4:
		if (!chance_below(20)) {
			model_close();
			breaker_reset(b, now);
		}
		break;
	default:
		chance_below(2) ? admit(b) : judge(b);
	}
	enum breaker_state shown = model.state == BREAKER_OPEN && !model_held() ? BREAKER_HALF_OPEN : model.state;
	ck_assert_int_eq(breaker_state(b, now, &retry), shown);
	ck_assert_uint_eq(retry, model_held() ? model.until - now : 0);
	ck_assert_uint_eq(breaker_failures(b), model.row);
	ck_assert_uint_le(model_held() ? model.until - now : 0, TRIAL_MS > conf.max_open_ms ? TRIAL_MS : conf.max_open_ms);
}

START_TEST(the_breaker_does_as_its_model)
{
	for (int round = 0; round < 20; round++) {
		struct breaker *b = breaker_new(&conf);
		memset(&model, 0, sizeof(model));
		ncalls = 0;
		now = 1000000 + chance_below(100000);
		for (int i = 0; i < STEPS; i++)
			step(b);
		breaker_free(b);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("breaker_model");
	TCase *c = tcase_create("model");

	chance_begin();
	tcase_add_test(c, the_breaker_does_as_its_model);
	suite_add_tcase(s, c);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
