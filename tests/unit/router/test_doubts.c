/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of missed owners: of that room and epoch, for a while, until somebody says otherwise. */
#include <check.h>
#include <stdio.h>

#include "router/doubts.h"

static struct doubts *doubts;

static void setup(void)
{
	doubts = doubts_new();
}

static void teardown(void)
{
	doubts_free(doubts);
}

START_TEST(of_this_room_and_epoch_only)
{
	doubts_keep(doubts, STR("a"), 7, 3, 100);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 7, 3, 102), 100);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 8, 3, 102), 0);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 7, 4, 102), 0); /* taken back since */
	ck_assert_uint_eq(doubts_since(doubts, STR("b"), 7, 3, 102), 0);
	doubts_keep(doubts, STR("a"), 7, 3, 0);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 7, 3, 102), 0);
}
END_TEST

START_TEST(not_for_ever)
{
	doubts_keep(doubts, STR("a"), 7, 3, 100);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 7, 3, 111), 100);
	ck_assert_uint_eq(doubts_since(doubts, STR("a"), 7, 3, 112), 0);
}
END_TEST

START_TEST(many_rooms_at_once)
{
	size_t kept = 0;

	for (uint64_t i = 0; i < 1000; i++) {
		char name[16];
		int len = snprintf(name, sizeof(name), "room-%u", (unsigned)i);
		doubts_keep(doubts, (struct str){ name, (size_t)len }, i + 1, 3, 100 + i);
	}
	for (uint64_t i = 0; i < 1000; i++) {
		char name[16];
		int len = snprintf(name, sizeof(name), "room-%u", (unsigned)i);
		uint64_t since = doubts_since(doubts, (struct str){ name, (size_t)len }, i + 1, 3, 101 + i);
		ck_assert(since == 0 || since == 100 + i);
		kept += since != 0;
	}
	ck_assert_uint_gt(kept, 700);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { of_this_room_and_epoch_only, not_for_ever, many_rooms_at_once };
	TCase *tcase = tcase_create("doubts");
	Suite *suite = suite_create("router/doubts");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
