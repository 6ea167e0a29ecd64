/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "router/retries.h"

static struct retries retries;

static void setup(void)
{
	retries = (struct retries){ 0 };
}

START_TEST(a_few_are_there_from_the_start)
{
	unsigned n = 0;

	while (retries_spend(&retries, 1000))
		n++;
	ck_assert_uint_eq(n, RETRIES_FLOOR);
	for (int i = 0; i < RETRIES_FLOOR; i++)
		ck_assert(retries_spend(&retries, 2001));
	ck_assert(!retries_spend(&retries, 2001));
}
END_TEST

START_TEST(a_tenth_of_what_is_asked)
{
	unsigned n = 0;

	while (retries_spend(&retries, 1000))
		;
	for (int i = 0; i < 10000; i++) {
		retries_earn(&retries);
		n += retries_spend(&retries, 1000);
	}
	ck_assert_uint_ge(n, 990);
	ck_assert_uint_le(n, 1001);
}
END_TEST

START_TEST(quiet_times_save_up_so_much_and_no_more)
{
	unsigned n = 0;

	for (int i = 0; i < 100000; i++)
		retries_earn(&retries);
	while (retries_spend(&retries, 3600 * 1000))
		n++;
	ck_assert_uint_eq(n, RETRIES_SAVED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("retries");
	TCase *t = tcase_create("retries");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, a_few_are_there_from_the_start);
	tcase_add_test(t, a_tenth_of_what_is_asked);
	tcase_add_test(t, quiet_times_save_up_so_much_and_no_more);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
