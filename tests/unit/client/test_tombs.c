/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/agent/tombs.h"

static struct tombs tombs;

static void setup(void)
{
	tombs = (struct tombs){ 0 };
}

static void teardown(void)
{
	tombs_free(&tombs);
}

START_TEST(the_highest_epoch_stays)
{
	ck_assert_uint_eq(tombs_get(&tombs, STR("a"), 0), 0);
	tombs_set(&tombs, STR("a"), 7, 0);
	tombs_set(&tombs, STR("a"), 5, 0);
	ck_assert_uint_eq(tombs_get(&tombs, STR("a"), 0), 7);
	ck_assert_uint_eq(tombs_get(&tombs, STR("b"), 0), 0);
	ck_assert_uint_eq(tombs.map.count, 1);
}
END_TEST

START_TEST(for_ten_minutes_from_the_last_eviction)
{
	tombs_set(&tombs, STR("a"), 7, 1000);
	tombs_set(&tombs, STR("b"), 8, 2000);
	tombs_set(&tombs, STR("a"), 6, 3000);
	ck_assert_uint_eq(tombs_get(&tombs, STR("b"), 2000 + TOMB_MS - 1), 8);
	ck_assert_uint_eq(tombs_get(&tombs, STR("b"), 2000 + TOMB_MS), 0);
	ck_assert_uint_eq(tombs_get(&tombs, STR("a"), 2000 + TOMB_MS), 7);
	tombs_set(&tombs, STR("c"), 9, 2000 + TOMB_MS);
	ck_assert_uint_eq(tombs.map.count, 2); /* a and c: expired ones are not kept */
	tombs_set(&tombs, STR("d"), 9, 3000 + TOMB_MS);
	ck_assert_uint_eq(tombs.map.count, 2);
}
END_TEST

START_TEST(they_are_bounded_and_the_oldest_goes)
{
	char name[32];

	for (uint64_t i = 0; i <= TOMBS_MAX; i++) {
		int len = snprintf(name, sizeof(name), "room-%" PRIu64, i);
		tombs_set(&tombs, (struct str){ name, (size_t)len }, i + 1, i / 1000);
	}
	ck_assert_uint_eq(tombs.map.count, TOMBS_MAX);
	ck_assert_uint_eq(tombs_get(&tombs, STR("room-0"), 100), 0);
	ck_assert_uint_eq(tombs_get(&tombs, STR("room-1"), 100), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tombs");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, the_highest_epoch_stays);
	tcase_add_test(all, for_ten_minutes_from_the_last_eviction);
	tcase_add_test(all, they_are_bounded_and_the_oldest_goes);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
