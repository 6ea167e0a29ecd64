/* SPDX-License-Identifier: Apache-2.0 */
/* A charge counts once on its whole way, is replaced by what the report shows, and fades whatever happens. */
#include <check.h>
#include <stdlib.h>

#include "health/charges.h"

#define RAMP 20000
#define NEAR 1e-6

static struct meter *m;
static uint64_t now = 1000000;

static void setup(void)
{
	m = meter_new(RAMP);
}

static void teardown(void)
{
	meter_free(m);
}

START_TEST(unseen_charges_count_in_full_and_fade)
{
	struct charge charges[] = { { 5, 0.1, now }, { 6, 0.2, now } };

	ck_assert_double_eq_tol(charges_sum(charges, 2, 4, 9, now, RAMP), 0.3, NEAR);
	ck_assert_double_eq_tol(charges_sum(charges, 2, 4, 9, now + RAMP / 2, RAMP), 0.15, NEAR);
	ck_assert_double_eq_tol(charges_sum(charges, 2, 4, 9, now + RAMP, RAMP), 0, NEAR);
}
END_TEST

START_TEST(from_seen_charges_the_shown_load_is_taken)
{
	struct charge charges[] = { { 5, 0.1, now }, { 6, 0.2, now } };

	ck_assert_double_eq_tol(charges_sum(charges, 2, 5, 0.04, now, RAMP), 0.06 + 0.2, NEAR);
	ck_assert_double_eq_tol(charges_sum(charges, 2, 5, 5, now, RAMP), 0.2, NEAR); /* never below the unseen */
}
END_TEST

START_TEST(a_line_is_the_sum_until_the_first_is_gone)
{
	struct charge charges[] = { { 5, 0.1, now - RAMP / 2 }, { 6, 0.2, now - RAMP / 4 }, { 7, 0.3, now } };
	struct charges_line line;

	charges_draw(charges, 3, 6, 0.1, now, RAMP, &line);
	ck_assert_uint_eq(line.from_ms, now);
	ck_assert_uint_eq(line.until_ms, now + RAMP / 2 - 1);
	for (uint64_t at = now; at <= line.until_ms; at += 999)
		ck_assert_double_eq_tol(charges_at(&line, at), charges_sum(charges, 3, 6, 0.1, at, RAMP), NEAR);
}
END_TEST

START_TEST(a_charge_from_a_clock_that_is_ahead_draws_no_line)
{
	struct charge charge = { 5, 0.1, now + 1 };
	struct charges_line line;

	charges_draw(&charge, 1, 0, 0, now, RAMP, &line);
	ck_assert_uint_eq(line.until_ms, now);
	ck_assert_double_eq_tol(charges_at(&line, now), 0.1, NEAR);
}
END_TEST

START_TEST(a_room_shows_at_most_its_cost)
{
	struct shown_room rooms[] = { { 0, 0 }, { 2, 0 }, { 1000, 0 } };

	ck_assert_double_eq_tol(charges_shown(0.01, 0.002, rooms, 3, RAMP), 0.004 + 0.01, NEAR);
}
END_TEST

/* A full room of half the ramp must not hide that a new one is empty. */
START_TEST(what_a_room_shows_fades_as_its_charge_does)
{
	struct shown_room rooms[] = { { 1000, RAMP / 2 }, { 0, 0 }, { 1000, RAMP } };
	struct charge charges[] = { { 5, 0.01, now - RAMP / 2 }, { 6, 0.01, now } };
	double shown = charges_shown(0.01, 0.002, rooms, 3, RAMP);

	ck_assert_double_eq_tol(shown, 0.005, NEAR);
	ck_assert_double_eq_tol(charges_sum(charges, 2, 6, shown, now, RAMP), 0.01, NEAR);
}
END_TEST

START_TEST(a_charge_counts_once_on_its_way)
{
	double cost = meter_pend(m, 0.01, now);

	ck_assert_double_eq_tol(cost, 0.01, NEAR);
	ck_assert_double_eq_tol(meter_extra(m), 0.01, NEAR);
	ck_assert(meter_charged(m, 7, cost, now));
	ck_assert_double_eq_tol(meter_extra(m), 0.01, NEAR);
	meter_read(m, 6, now); /* a reading from before it */
	ck_assert_double_eq_tol(meter_extra(m), 0.01, NEAR);
	meter_read(m, 7, now);
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
	ck_assert_uint_eq(meter_opens(m, now), 1);
	meter_opened(m, now);
	ck_assert_uint_eq(meter_opens(m, now), 0);
	meter_opened(m, now);
}
END_TEST

START_TEST(a_reading_may_overtake_the_announcement)
{
	double cost = meter_pend(m, 0.01, now);

	meter_read(m, 7, now);
	ck_assert(meter_charged(m, 7, cost, now));
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
}
END_TEST

START_TEST(anothers_charge_does_not_take_the_place_of_ours)
{
	meter_pend(m, 0.01, now);
	ck_assert(!meter_charged(m, 7, 0.01, now));
	ck_assert_double_eq_tol(meter_extra(m), 0.02, NEAR);
}
END_TEST

START_TEST(a_refused_placement_leaves_nothing)
{
	double first = meter_pend(m, 0.01, now);

	meter_pend(m, 0.02, now);
	meter_charged(m, 7, first, now);
	meter_opened(m, now); /* of whichever: the announced one goes first */
	ck_assert_double_eq_tol(meter_extra(m), 0.03, NEAR);
	meter_opened(m, now);
	ck_assert_double_eq_tol(meter_extra(m), 0.01, NEAR);
}
END_TEST

START_TEST(what_gets_lost_fades)
{
	meter_pend(m, 0.01, now);
	meter_charged(m, 7, 0.02, now);
	meter_read(m, 1, now + RAMP / 2);
	ck_assert_double_eq_tol(meter_extra(m), 0.015, NEAR);
	meter_read(m, 1, now + RAMP);
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
	ck_assert_uint_eq(meter_opens(m, now + 60001), 0);
}
END_TEST

START_TEST(a_flood_of_announcements_stays_bounded_and_counted)
{
	for (uint64_t i = 1; i <= 5000; i++)
		meter_charged(m, i, 0.01, now);
	ck_assert_double_eq_tol(meter_extra(m), 50, NEAR);
	meter_read(m, 5000, now);
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
}
END_TEST

static double faded(double cost, uint64_t age_ms)
{
	return age_ms < RAMP ? cost * (1 - (double)age_ms / RAMP) : 0;
}

/* The sum goes along with each that comes; it is what its parts are all the same, also where no reading comes for long. */
START_TEST(the_sum_is_that_of_its_parts_at_any_time)
{
	for (uint64_t i = 1; i <= 100; i++) {
		uint64_t at = now + i * RAMP / 40;
		double sum = 0;

		meter_charged(m, i, 0.001 * (double)i, at);
		for (uint64_t j = 1; j <= i; j++)
			sum += faded(0.001 * (double)j, (i - j) * RAMP / 40);
		ck_assert_double_eq_tol(meter_extra(m), sum, 1e-9);
		if (i == 50)
			meter_read(m, 0, at);
	}
}
END_TEST

START_TEST(what_leaves_takes_with_it_what_is_left_of_it)
{
	double first = meter_pend(m, 0.01, now);

	meter_pend(m, 0.02, now + RAMP / 4);
	meter_pend(m, 0.04, now + RAMP / 2);
	ck_assert(meter_charged(m, 7, first, now + RAMP / 2)); /* begins anew, as the store has it */
	ck_assert_double_eq_tol(meter_extra(m), 0.01 + 0.015 + 0.04, NEAR);
	meter_opened(m, now + RAMP / 2);
	ck_assert_double_eq_tol(meter_extra(m), 0.01 + 0.015 + 0.04, NEAR);
	meter_opened(m, now + RAMP);
	ck_assert_double_eq_tol(meter_extra(m), 0.005 + 0.02, NEAR);
	meter_pend(m, 0, now + RAMP + RAMP / 2); /* all of them have faded */
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
	meter_opened(m, now + RAMP + RAMP / 2);
	ck_assert_double_eq_tol(meter_extra(m), 0, NEAR);
	meter_pend(m, 0.01, now + RAMP + RAMP / 2);
	ck_assert_double_eq_tol(meter_extra(m), 0.01, NEAR);
	meter_read(m, 7, now + RAMP + RAMP / 2);
	meter_pend(m, 0.02, now + 2 * RAMP);
	meter_pend(m, 0, now + 2 * RAMP + RAMP * 3 / 4); /* the one of before has faded, and no reading came */
	ck_assert_double_eq_tol(meter_extra(m), 0.005, NEAR);
}
END_TEST

/* Of choices of which each allows a part; a node that is always the best one gets that part of them. */
static int turns(double part, int choices)
{
	int had = 0;

	for (int i = 0; i < choices; i++) {
		if (meter_allowed(m)) {
			meter_pend(m, 0.01, now);
			had++;
		}
		meter_allow(m, part);
	}
	return had;
}

START_TEST(a_new_node_has_its_part_of_the_choices)
{
	static const struct {
		double part;
		int had; /* of 1000 */
	} rows[] = { { 0.02, 19 }, { 0.2, 199 }, { 0.5, 499 }, { 0.66, 659 }, { 1, 999 }, { 1.3, 999 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		int had = turns(rows[i].part, 1000);
		ck_assert_msg(had == rows[i].had || had == rows[i].had + 1, "%g: %d", rows[i].part, had);
		meter_free(m);
		m = meter_new(RAMP);
	}
}
END_TEST

START_TEST(turns_that_were_not_taken_do_not_pile_up)
{
	for (int i = 0; i < 1000; i++)
		meter_allow(m, 0.5);
	meter_pend(m, 0.01, now);
	ck_assert(!meter_allowed(m));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/charges");
	TCase *tc = tcase_create("charges");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, unseen_charges_count_in_full_and_fade);
	tcase_add_test(tc, from_seen_charges_the_shown_load_is_taken);
	tcase_add_test(tc, a_line_is_the_sum_until_the_first_is_gone);
	tcase_add_test(tc, a_charge_from_a_clock_that_is_ahead_draws_no_line);
	tcase_add_test(tc, a_room_shows_at_most_its_cost);
	tcase_add_test(tc, what_a_room_shows_fades_as_its_charge_does);
	tcase_add_test(tc, a_charge_counts_once_on_its_way);
	tcase_add_test(tc, a_reading_may_overtake_the_announcement);
	tcase_add_test(tc, anothers_charge_does_not_take_the_place_of_ours);
	tcase_add_test(tc, a_refused_placement_leaves_nothing);
	tcase_add_test(tc, what_gets_lost_fades);
	tcase_add_test(tc, a_flood_of_announcements_stays_bounded_and_counted);
	tcase_add_test(tc, the_sum_is_that_of_its_parts_at_any_time);
	tcase_add_test(tc, what_leaves_takes_with_it_what_is_left_of_it);
	tcase_add_test(tc, a_new_node_has_its_part_of_the_choices);
	tcase_add_test(tc, turns_that_were_not_taken_do_not_pile_up);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
