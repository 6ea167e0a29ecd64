/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic of the lease, by itself: margins, ends, and how far every router's `degraded` carries. */
#include <check.h>

#include "client/lib/node.h"

START_TEST(the_margin_is_a_tenth_at_least_100_ms)
{
	static const struct {
		uint64_t granted_ms, margin_ms;
	} rows[] = { { 0, 100 }, { 999, 100 }, { 1000, 100 }, { 1010, 101 }, { 4000, 400 }, { 60000, 6000 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		ck_assert_uint_eq(lease_margin_ms(&(struct lease){ .granted_ms = rows[i].granted_ms }), rows[i].margin_ms);
}
END_TEST

START_TEST(holds_until_its_end_minus_the_margin)
{
	struct lease lease = { 0 };

	ck_assert(!lease_holds(&lease, 1));
	lease_renew(&lease, 10000, 4000);
	ck_assert(lease_holds(&lease, 10000));
	ck_assert(lease_holds(&lease, 13599));
	ck_assert(!lease_holds(&lease, 13600));
	lease_renew(&lease, 13700, 4000); /* after a lapse */
	ck_assert(lease_holds(&lease, 13700));
	lease_end(&lease);
	ck_assert(!lease_holds(&lease, 13700));
	ck_assert(!lease.confirmed);
}
END_TEST

START_TEST(a_lease_shorter_than_its_margin_never_holds)
{
	struct lease lease = { 0 };

	lease_renew(&lease, 10000, 100);
	ck_assert(!lease_holds(&lease, 10000));
}
END_TEST

static struct router_link links[3];
static struct lease lease;

static void setup(void)
{
	for (size_t i = 0; i < 3; i++)
		links[i] = (struct router_link){ .next = i < 2 ? &links[i + 1] : NULL, .degraded_sent_ms = 12000 + i * 100 };
	lease = (struct lease){ 0 };
	lease_renew(&lease, 10000, 4000);
}

START_TEST(the_oldest_word_carries)
{
	lease_degraded(&lease, 12300, links);
	ck_assert_uint_eq(lease.covered_ms, 16000); /* 12000 + 4000 */
	ck_assert(lease_holds(&lease, 15599));
	ck_assert(!lease_holds(&lease, 15600));
}
END_TEST

START_TEST(one_other_word_and_it_carries_nothing)
{
	lease_degraded(&lease, 12300, links);
	links[1].degraded_sent_ms = 0;
	lease_degraded(&lease, 12400, links);
	ck_assert_uint_eq(lease.covered_ms, 0);
	ck_assert(lease_holds(&lease, 13599)); /* what the store granted stands */
	ck_assert(!lease_holds(&lease, 13600));
}
END_TEST

/* CLOCK_BOOTTIME begins at 0: "never said" must not look like "said at 0". */
START_TEST(a_machine_that_has_just_started)
{
	lease = (struct lease){ 0 };
	lease_renew(&lease, 1000, 4000);
	links[0].degraded_sent_ms = links[1].degraded_sent_ms = 2000;
	links[2].degraded_sent_ms = 0;
	lease_degraded(&lease, 2100, links);
	ck_assert_uint_eq(lease.covered_ms, 0);
}
END_TEST

START_TEST(no_routers_carry_nothing)
{
	lease_degraded(&lease, 12300, NULL);
	ck_assert_uint_eq(lease.covered_ms, 0);
}
END_TEST

START_TEST(words_older_than_the_lease_carry_nothing)
{
	lease_renew(&lease, 15000, 4000);
	lease_degraded(&lease, 16000, links);
	ck_assert_uint_eq(lease.covered_ms, 0);
}
END_TEST

START_TEST(after_a_gap_it_does_not_begin)
{
	lease_degraded(&lease, 13600, links);
	ck_assert_uint_eq(lease.covered_ms, 0);
	ck_assert(!lease_holds(&lease, 13600));
}
END_TEST

START_TEST(a_renewal_ends_the_exception)
{
	lease_degraded(&lease, 12300, links);
	lease_renew(&lease, 12000, 2000);
	ck_assert_uint_eq(lease.covered_ms, 0);
	ck_assert(!lease_holds(&lease, 13800));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("lease");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, NULL);
	tcase_add_test(all, the_margin_is_a_tenth_at_least_100_ms);
	tcase_add_test(all, holds_until_its_end_minus_the_margin);
	tcase_add_test(all, a_lease_shorter_than_its_margin_never_holds);
	tcase_add_test(all, the_oldest_word_carries);
	tcase_add_test(all, one_other_word_and_it_carries_nothing);
	tcase_add_test(all, a_machine_that_has_just_started);
	tcase_add_test(all, no_routers_carry_nothing);
	tcase_add_test(all, words_older_than_the_lease_carry_nothing);
	tcase_add_test(all, after_a_gap_it_does_not_begin);
	tcase_add_test(all, a_renewal_ends_the_exception);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
