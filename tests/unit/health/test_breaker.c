/* SPDX-License-Identifier: Apache-2.0 */
/* Each rule of the breaker by a clock of our own. */
#include <check.h>
#include <stdlib.h>

#include "base/error.h"
#include "health/breaker.h"

static const struct breaker_conf conf = { .failures = 5, .window_ms = 10000, .min_calls = 20, .open_ms = 1000, .max_open_ms = 4000,
	                                  .failure_rate = 0.5, .backoff = 2, .jitter = 0 };
static struct breaker *b;
static uint64_t now = 1000000, retry;

static void setup(void)
{
	b = breaker_new(&conf);
}

static void teardown(void)
{
	breaker_free(b);
}

static struct admission admitted(void)
{
	struct admission a = { 0 };

	ck_assert_int_eq(breaker_admit(b, now, &a, &retry), 0);
	return a;
}

static bool call(enum breaker_result result)
{
	struct admission a = admitted();

	return breaker_judge(b, &a, result, now);
}

static void fail_open(void)
{
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(call(RESULT_FAILURE), i == 4);
	ck_assert_int_eq(breaker_state(b, now, &retry), BREAKER_OPEN);
}

static void refused(void)
{
	struct admission a;

	ck_assert_int_eq(breaker_admit(b, now, &a, &retry), -ERR_BREAKER_OPEN);
	ck_assert_uint_gt(retry, 0);
}

START_TEST(a_row_opens_and_a_success_ends_it)
{
	for (int i = 0; i < 4; i++)
		call(RESULT_FAILURE);
	call(RESULT_OK);
	ck_assert_uint_eq(breaker_failures(b), 0);
	fail_open();
	refused();
	ck_assert_uint_eq(retry, 1000);
}
END_TEST

START_TEST(nothing_neither_counts_nor_ends_a_row)
{
	for (int i = 0; i < 4; i++)
		call(RESULT_FAILURE);
	for (int i = 0; i < 100; i++)
		call(RESULT_NOTHING);
	ck_assert_uint_eq(breaker_failures(b), 4);
	ck_assert(call(RESULT_FAILURE));
}
END_TEST

START_TEST(half_of_a_window_opens)
{
	bool opened = false;

	for (int i = 0; i < 20; i++)
		opened = call(i % 2 ? RESULT_FAILURE : RESULT_OK);
	ck_assert(opened);
}
END_TEST

START_TEST(an_old_window_is_forgotten)
{
	for (int i = 0; i < 18; i++)
		call(i % 2 ? RESULT_FAILURE : RESULT_OK);
	now += conf.window_ms + 2000;
	call(RESULT_OK);
	ck_assert(!call(RESULT_FAILURE));
	ck_assert_int_eq(breaker_state(b, now, &retry), BREAKER_CLOSED);
}
END_TEST

START_TEST(one_trial_at_a_time_and_its_success_closes)
{
	fail_open();
	now += 1000;
	ck_assert_int_eq(breaker_state(b, now, &retry), BREAKER_HALF_OPEN);
	struct admission a = admitted();
	ck_assert(a.trial);
	refused();
	ck_assert(breaker_judge(b, &a, RESULT_OK, now));
	ck_assert_int_eq(breaker_state(b, now, &retry), BREAKER_CLOSED);
	fail_open();
	refused();
	ck_assert_uint_eq(retry, 1000); /* the wait began anew */
}
END_TEST

START_TEST(failed_trials_wait_longer_up_to_the_limit)
{
	static const uint64_t waits[] = { 1000, 2000, 4000, 4000 };

	fail_open();
	for (size_t i = 0; i < 4; i++) {
		refused();
		ck_assert_uint_eq(retry, waits[i]);
		now += waits[i];
		ck_assert(call(RESULT_FAILURE));
	}
}
END_TEST

START_TEST(waits_are_spread)
{
	struct breaker_conf spread = conf;
	uint64_t least = UINT64_MAX, most = 0;

	spread.jitter = 0.1;
	for (int i = 0; i < 200; i++) {
		breaker_free(b);
		b = breaker_new(&spread);
		fail_open();
		refused();
		least = retry < least ? retry : least;
		most = retry > most ? retry : most;
	}
	ck_assert(least >= 900 && most <= 1100 && most - least > 50);
}
END_TEST

START_TEST(a_trial_that_says_nothing_makes_way)
{
	fail_open();
	now += 1000;
	struct admission first = admitted();
	refused();
	ck_assert(!breaker_judge(b, &first, RESULT_NOTHING, now));
	struct admission second = admitted();
	ck_assert(second.trial);
	now += 5000;
	struct admission third = admitted(); /* the second is overdue */
	ck_assert(third.trial);
	ck_assert(!breaker_judge(b, &second, RESULT_OK, now));
	ck_assert(breaker_judge(b, &third, RESULT_OK, now));
}
END_TEST

START_TEST(results_from_before_the_last_change_are_dropped)
{
	struct admission old = admitted();

	fail_open();
	ck_assert(!breaker_judge(b, &old, RESULT_OK, now));
	now += 1000;
	struct admission trial = admitted();
	ck_assert(!breaker_judge(b, &old, RESULT_FAILURE, now));
	ck_assert(breaker_judge(b, &trial, RESULT_OK, now));
	for (int i = 0; i < 10; i++)
		ck_assert(!breaker_judge(b, &old, RESULT_FAILURE, now));
	ck_assert_uint_eq(breaker_failures(b), 0);
}
END_TEST

START_TEST(our_probe_allows_the_trial_at_once)
{
	fail_open();
	ck_assert(!breaker_probed(b, false, now));
	refused();
	ck_assert(breaker_probed(b, true, now));
	ck_assert(!breaker_probed(b, true, now));
	ck_assert_int_eq(breaker_state(b, now, &retry), BREAKER_HALF_OPEN);
	ck_assert(admitted().trial);
	refused();
}
END_TEST

START_TEST(it_warns_until_somebody_has_been_there)
{
	ck_assert(!breaker_warns(b, now, &retry));
	fail_open();
	ck_assert(breaker_warns(b, now, &retry) && retry > 0);
	now += 3600000; /* nobody has tried */
	ck_assert(breaker_warns(b, now, &retry) && retry > 0);
	ck_assert(breaker_probed(b, true, now));
	ck_assert(!breaker_warns(b, now, &retry));
	ck_assert(admitted().trial);
	ck_assert(breaker_warns(b, now, &retry) && retry > 0);
}
END_TEST

START_TEST(a_reset_closes)
{
	ck_assert(!breaker_reset(b, now));
	fail_open();
	ck_assert(breaker_reset(b, now));
	ck_assert(!admitted().trial);
	ck_assert_uint_eq(breaker_failures(b), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/breaker");
	TCase *tc = tcase_create("breaker");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_row_opens_and_a_success_ends_it);
	tcase_add_test(tc, nothing_neither_counts_nor_ends_a_row);
	tcase_add_test(tc, half_of_a_window_opens);
	tcase_add_test(tc, an_old_window_is_forgotten);
	tcase_add_test(tc, one_trial_at_a_time_and_its_success_closes);
	tcase_add_test(tc, failed_trials_wait_longer_up_to_the_limit);
	tcase_add_test(tc, waits_are_spread);
	tcase_add_test(tc, a_trial_that_says_nothing_makes_way);
	tcase_add_test(tc, results_from_before_the_last_change_are_dropped);
	tcase_add_test(tc, our_probe_allows_the_trial_at_once);
	tcase_add_test(tc, it_warns_until_somebody_has_been_there);
	tcase_add_test(tc, a_reset_closes);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
