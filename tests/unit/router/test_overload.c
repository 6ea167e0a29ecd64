/* SPDX-License-Identifier: Apache-2.0 */
/* What is shed as work waits: in which order, how much of it, and how it comes back. The clock is the sequence of calls. */
#include <check.h>

#include "router/overload.h"

#define TARGET_US 20000
#define HARM_US 400000 /* a tenth of a lease of 4 s */

static struct overload o;

static void setup(void)
{
	o = (struct overload){ .target_us = TARGET_US, .harm_us = HARM_US };
}

static void judge(unsigned intervals, uint64_t waited_us)
{
	while (intervals--)
		overload_judge(&o, waited_us);
}

static unsigned shed_of_1000(enum load_class class)
{
	unsigned n = 0;

	for (int i = 0; i < 1000; i++)
		n += overload_sheds(&o, class);
	return n;
}

START_TEST(nothing_is_shed_while_waits_are_short)
{
	judge(1000, TARGET_US);
	for (int class = 0; class < LOAD_CLASSES; class++)
		ck_assert_uint_eq(shed_of_1000((enum load_class)class), 0);
}
END_TEST

/* The least wait of an interval is what counts: one that was long among short ones has not been judged at all. */
START_TEST(a_wait_over_the_target_sheds_new_rooms_alone)
{
	ck_assert(overload_judge(&o, TARGET_US + 1));
	unsigned shed = shed_of_1000(LOAD_ROOMS);
	ck_assert_uint_gt(shed, 50);
	ck_assert_uint_lt(shed, 200);
	for (int class = LOAD_JOINS; class < LOAD_CLASSES; class++)
		ck_assert_uint_eq(shed_of_1000((enum load_class)class), 0);
}
END_TEST

START_TEST(classes_follow_in_their_order)
{
	unsigned before[LOAD_CLASSES] = { 0 };

	for (int i = 0; i < 400; i++) {
		judge(1, o.pressure < LOAD_ADMIN ? 2 * TARGET_US : HARM_US + 1);
		for (int class = 0; class < LOAD_CLASSES; class++) {
			unsigned shed = shed_of_1000((enum load_class)class);
			ck_assert_uint_ge(shed + 1, before[class]);
			if (shed > 1 && class)
				ck_assert_uint_ge(before[class - 1], 999); /* all of the one before is shed */
			before[class] = shed;
		}
	}
	ck_assert_uint_ge(before[LOAD_NODES], 999);
	ck_assert(!overload_sheds(&o, LOAD_ALWAYS));
}
END_TEST

/* A minute of waits that are far too long for participants, and harm no node: whoever makes them stops no heartbeat by that. */
START_TEST(a_wait_that_harms_no_node_refuses_none)
{
	uint64_t waits[] = { 2 * TARGET_US, 10 * TARGET_US, HARM_US };

	for (size_t i = 0; i < 3; i++) {
		judge(600, waits[i]);
		ck_assert_uint_ge(shed_of_1000(LOAD_SIGNAL), 999);
		ck_assert_uint_eq(shed_of_1000(LOAD_ADMIN) + shed_of_1000(LOAD_NODES), 0);
	}
}
END_TEST

/* The worst wait of all refuses no heartbeat for five seconds, which is more than a lease of 4 s; operators go before. */
START_TEST(nodes_are_kept_through_a_storm)
{
	judge(50, 1000 * TARGET_US);
	ck_assert_uint_ge(shed_of_1000(LOAD_SIGNAL), 999);
	ck_assert_uint_gt(shed_of_1000(LOAD_ADMIN), 300);
	ck_assert_uint_eq(shed_of_1000(LOAD_NODES), 0);
}
END_TEST

/* Once the wait is bearable for nodes they are served again, within two seconds, though participants still are refused. */
START_TEST(nodes_are_back_before_participants)
{
	judge(1000, 1000 * TARGET_US);
	ck_assert_uint_ge(shed_of_1000(LOAD_NODES), 999);
	judge(10, HARM_US);
	ck_assert_uint_eq(shed_of_1000(LOAD_NODES), 0);
	judge(10, HARM_US);
	ck_assert_uint_eq(shed_of_1000(LOAD_ADMIN), 0);
	ck_assert_uint_ge(shed_of_1000(LOAD_SIGNAL), 999);
}
END_TEST

START_TEST(a_queue_that_gets_shorter_sheds_no_more)
{
	judge(1, 10 * TARGET_US);
	double before = o.pressure;
	judge(1, 9 * TARGET_US);
	judge(1, 2 * TARGET_US);
	ck_assert_double_eq(o.pressure, before);
	judge(1, 3 * TARGET_US);
	ck_assert_double_gt(o.pressure, before);
}
END_TEST

/* Between two judgements the share is even: of any ten requests about as many are shed as of any other ten. */
START_TEST(a_part_of_a_class_is_shed_evenly)
{
	o.pressure = 0.3;
	for (int round = 0; round < 100; round++) {
		unsigned shed = 0;
		for (int i = 0; i < 10; i++)
			shed += overload_sheds(&o, LOAD_ROOMS);
		ck_assert_uint_ge(shed, 2);
		ck_assert_uint_le(shed, 4);
	}
}
END_TEST

START_TEST(what_was_shed_comes_back_bit_by_bit)
{
	o.pressure = 3;
	judge(1, TARGET_US);
	ck_assert_double_gt(o.pressure, 2.9);
	judge(1, 0);
	ck_assert_double_gt(o.pressure, 2.7);
	judge(100, 0);
	ck_assert_double_eq(o.pressure, 0);
	ck_assert_uint_eq(shed_of_1000(LOAD_ROOMS), 0);
}
END_TEST

/* A model of a loop: 3 units of work come in where 1 can be done, of three classes, and a refusal costs a twelfth. It settles. */
START_TEST(a_threefold_load_settles)
{
	double backlog = 0, good = 0, worst = 0;

	for (int interval = 0; interval < 600; interval++) {
		double done = 0, cost = 0; /* in intervals of 100 ms */
		for (int i = 0; i < 300; i++) {
			bool shed = overload_sheds(&o, (enum load_class)(i % 3));
			cost += shed ? 0.01 / 12 : 0.01;
			done += !shed;
		}
		backlog = backlog + cost > 1 ? backlog + cost - 1 : 0;
		overload_judge(&o, (uint64_t)(backlog * 100000));
		good += interval >= 100 && backlog < 5 ? done : 0;
		worst = interval >= 100 && backlog > worst ? backlog : worst;
	}
	ck_assert_double_ge(good / 500, 75); /* of 100 that can be done if nothing is refused: 200 refusals cost 17 of them */
	ck_assert_double_lt(worst, 3);
}
END_TEST

/* New rooms wait for the thread that places them, too; joins to rooms that are there do not. */
START_TEST(the_keepers_pressure_sheds_new_rooms_alone)
{
	o.beside = 0.5;
	unsigned shed = shed_of_1000(LOAD_ROOMS);
	ck_assert_uint_ge(shed, 499);
	ck_assert_uint_le(shed, 501);
	ck_assert_uint_eq(shed_of_1000(LOAD_JOINS), 0);
}
END_TEST

START_TEST(who_has_waited_ten_targets_is_stale)
{
	o.pressure = 0.1;
	ck_assert(!overload_stale(&o, LOAD_SIGNAL, 10 * TARGET_US));
	ck_assert(overload_stale(&o, LOAD_SIGNAL, 10 * TARGET_US + 1));
	ck_assert(!overload_stale(&o, LOAD_ADMIN, UINT64_MAX));
	ck_assert(!overload_stale(&o, LOAD_NODES, UINT64_MAX));
	ck_assert(!overload_stale(&o, LOAD_ALWAYS, UINT64_MAX));
	ck_assert_uint_eq(o.stale, 1);
}
END_TEST

/* A machine that stood still for a moment is no overload: nobody is refused for it, unless it was seconds. */
START_TEST(a_stall_is_no_overload)
{
	ck_assert(!overload_stale(&o, LOAD_ROOMS, 1000000));
	ck_assert(overload_stale(&o, LOAD_ROOMS, 2000001));
}
END_TEST

START_TEST(levels_are_told_once)
{
	unsigned told = 0;

	for (int i = 0; i < 100; i++) { /* swings about the border of two classes */
		o.pressure = i & 1 ? 0.9 : 1.1;
		told += overload_judge(&o, TARGET_US);
	}
	ck_assert_uint_eq(told, 1);
	ck_assert_str_eq(overload_level_name(o.told), "joins");
	judge(100, 0);
	ck_assert_str_eq(overload_level_name(o.told), "nothing");
}
END_TEST

START_TEST(without_a_target_nothing_happens)
{
	o.target_us = 0;
	judge(100, 1000 * TARGET_US);
	ck_assert(!overload_stale(&o, LOAD_ROOMS, UINT64_MAX));
	for (int class = 0; class < LOAD_CLASSES; class++)
		ck_assert_uint_eq(shed_of_1000((enum load_class)class), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("overload");
	TCase *t = tcase_create("overload");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, nothing_is_shed_while_waits_are_short);
	tcase_add_test(t, a_wait_over_the_target_sheds_new_rooms_alone);
	tcase_add_test(t, classes_follow_in_their_order);
	tcase_add_test(t, nodes_are_kept_through_a_storm);
	tcase_add_test(t, nodes_are_back_before_participants);
	tcase_add_test(t, a_wait_that_harms_no_node_refuses_none);
	tcase_add_test(t, a_queue_that_gets_shorter_sheds_no_more);
	tcase_add_test(t, a_part_of_a_class_is_shed_evenly);
	tcase_add_test(t, what_was_shed_comes_back_bit_by_bit);
	tcase_add_test(t, a_threefold_load_settles);
	tcase_add_test(t, the_keepers_pressure_sheds_new_rooms_alone);
	tcase_add_test(t, who_has_waited_ten_targets_is_stale);
	tcase_add_test(t, a_stall_is_no_overload);
	tcase_add_test(t, levels_are_told_once);
	tcase_add_test(t, without_a_target_nothing_happens);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
