/* SPDX-License-Identifier: Apache-2.0 */
/* So many a second and no more, for each name on its own, from any thread. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "router/rate.h"
#include "tests/unit/chance.h"

#define START 1000000

static struct rate *rate;
static uint64_t retry_ms;

static void setup(void)
{
	rate = rate_new(10, 5);
}

static void teardown(void)
{
	rate_free(rate);
}

static unsigned taken(struct str name, unsigned tries, uint64_t now_ms)
{
	unsigned n = 0;

	for (unsigned i = 0; i < tries; i++)
		n += rate_take(rate, name, now_ms, &retry_ms);
	return n;
}

START_TEST(a_burst_then_the_rate)
{
	ck_assert_uint_eq(taken(STR("a"), 100, START), 5);
	ck_assert_uint_eq(retry_ms, 101);
	ck_assert_uint_eq(taken(STR("a"), 100, START + 99), 0);
	ck_assert_uint_eq(taken(STR("a"), 100, START + 100), 1);
	unsigned n = 0;
	for (uint64_t now = START + 200; now < START + 10200; now += 7)
		n += taken(STR("a"), 3, now);
	ck_assert_uint_ge(n, 99);
	ck_assert_uint_le(n, 101);
	ck_assert_uint_eq(taken(STR("a"), 100, START + 60000), 5); /* quiet for long, and yet no more at once */
}
END_TEST

/* At any rate and burst, however the tries fall: in no stretch of time more than the burst and what the rate gives; whoever comes when
 * told to is let in; and whoever always tries gets the rate. */
START_TEST(no_stretch_of_time_has_more)
{
	static uint64_t when[4000];

	for (int round = 0; round < 30; round++) {
		double per_s = 0.5 + (double)chance_below(2000) / 10, burst = (double)(1 + chance_below(50));
		struct rate *r = rate_new(per_s, burst);
		uint64_t now = START, told;
		size_t n = 0;
		for (int i = 0; i < 4000; i++) {
			now += chance_below(4) ? 0 : chance_below((size_t)(3000 / per_s) + 2);
			if (rate_take(r, STR("a"), now, &told))
				when[n++] = now;
			else
				ck_assert(told && !rate_allows(r, STR("a"), now + told - (told > 1 ? 2 : 1), &retry_ms) &&
				          rate_allows(r, STR("a"), now + told, &retry_ms));
		}
		for (size_t from = 0; from < n; from += 1 + n / 40)
			for (size_t to = from; to < n; to += 1 + n / 200)
				ck_assert_msg((double)(to - from + 1) <= burst + (double)(when[to] - when[from]) * per_s / 1000 + 1e-6,
				              "%g/s, %g: %zu in %llu ms", per_s, burst, to - from + 1, (unsigned long long)(when[to] - when[from]));
		rate_free(r);
	}
	for (int round = 0; round < 10; round++) {
		double per_s = (double)(1 + chance_below(100)), got = 0;
		struct rate *r = rate_new(per_s, 5);
		for (uint64_t now = START; now < START + 20000; now++)
			got += rate_take(r, STR("a"), now, &retry_ms);
		ck_assert_msg(got >= 20 * per_s * 0.99, "%g at %g/s", got, per_s);
		rate_free(r);
	}
}
END_TEST

START_TEST(looking_counts_nothing)
{
	for (int i = 0; i < 100; i++)
		ck_assert(rate_allows(rate, STR("a"), START, &retry_ms));
	ck_assert_uint_eq(taken(STR("a"), 10, START), 5);
	ck_assert(!rate_allows(rate, STR("a"), START, &retry_ms));
	ck_assert_uint_eq(retry_ms, 101);
}
END_TEST

START_TEST(no_limit_refuses_nobody)
{
	ck_assert_ptr_null(rate_new(0, 5));
	ck_assert(rate_take(NULL, STR("a"), START, &retry_ms) && rate_allows(NULL, STR("a"), START, &retry_ms));
}
END_TEST

/* With a thousand names over their limit, of a thousand quiet ones few share both slots: 3.7 by calculation. */
START_TEST(quiet_names_are_not_held_back_with_busy_ones)
{
	char name[32];
	unsigned refused = 0;

	for (int i = 0; i < 1000; i++) {
		int len = snprintf(name, sizeof(name), "busy-%d", i);
		taken((struct str){ name, (size_t)len }, 20, START);
	}
	for (int i = 0; i < 1000; i++) {
		int len = snprintf(name, sizeof(name), "quiet-%d", i);
		refused += !rate_take(rate, (struct str){ name, (size_t)len }, START, &retry_ms);
	}
	ck_assert_uint_le(refused, 20);
}
END_TEST

static _Atomic unsigned together;

static void *take_many(void *arg)
{
	uint64_t ignored;

	(void)arg;
	for (int i = 0; i < 10000; i++)
		if (rate_take(rate, STR("a"), START, &ignored))
			atomic_fetch_add(&together, 1);
	return NULL;
}

START_TEST(threads_share_it)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, take_many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_ge(together, 5);
	ck_assert_uint_le(together, 5 * 4); /* a race lets one more through */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rate");
	TCase *t = tcase_create("rate");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_burst_then_the_rate);
	tcase_add_test(t, no_stretch_of_time_has_more);
	tcase_add_test(t, looking_counts_nothing);
	tcase_add_test(t, no_limit_refuses_nobody);
	tcase_add_test(t, quiet_names_are_not_held_back_with_busy_ones);
	tcase_add_test(t, threads_share_it);
	suite_add_tcase(s, t);
	chance_begin();
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
