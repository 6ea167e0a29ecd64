/* SPDX-License-Identifier: Apache-2.0 */
/* A large fleet's order is kept from one choice to the next: the choices are those that a look at all nodes would make. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "tests/unit/router/place_bed.h"

#define NODES 100
#define ROOMS 400

static struct placed placed;

static void open_with(size_t nodes, const char *load)
{
	bed_open(1);
	for (size_t i = 0; i < nodes; i++) {
		char id[24], said[40], info[40];
		snprintf(id, sizeof(id), "n%03zu", i);
		snprintf(info, sizeof(info), "\"region\":\"r%zu\"", i % 10);
		snprintf(said, sizeof(said), load, 0.001 * (double)(i % 50));
		bed_node(id, info, said);
	}
}

static void setup(void)
{
	bed_conf = (struct place_conf){ .max_load = 0.9, .room_cost = 0.01, .ramp_ms = 20000, .opens_per_node = 1000, .explained = 10,
		                        .max_ejected = 0.5, .ordered_from = 64 };
}

/* The least effective load that a look at all of them finds, and what the chosen one had. */
static double told(const struct buf *json)
{
	const char *at = strstr(json->at, "\"effective\":");

	return at ? strtod(at + 12, NULL) : -1;
}

static double least_now(const struct place_wish *wish)
{
	struct buf json = { 0 };

	place_simulate(bed.places[0], wish, bed.now_ms, &json);
	double least = told(&json);
	buf_free(&json);
	return least;
}

static double chosen_had(const char *room)
{
	struct buf json = { 0 };

	ck_assert(place_explain(bed.places[0], str_of(room), &json));
	double had = told(&json);
	buf_free(&json);
	return had;
}

START_TEST(each_choice_is_the_one_of_a_look_at_all)
{
	open_with(NODES, "{\"cpu\":%.3f}");
	for (int i = 0; i < ROOMS; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		struct place_wish wish = bed_wish(room);
		wish.expected_participants = i % 7 ? 0 : 9;
		double least = least_now(&wish);
		ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
		ck_assert_double_eq_tol(chosen_had(room), least, 2e-5);
		bed_reserve(&placed, room);
		bed_pass((uint64_t)i % 3);
		place_opened(bed.places[0], placed.node, bed.now_ms);
	}
	bed_close();
}
END_TEST

/* More regions than orders are kept. */
START_TEST(regions_have_orders_of_their_own)
{
	open_with(NODES, "{\"cpu\":%.3f}");
	for (int i = 0; i < ROOMS; i++) {
		char room[16], region[8];
		snprintf(room, sizeof(room), "r%d", i);
		snprintf(region, sizeof(region), "r%d", i * 7 % 10);
		struct place_wish wish = bed_wish(room);
		*(i % 2 ? &wish.region : &wish.require_region) = region;
		double least = least_now(&wish);
		ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
		ck_assert_str_eq(bed_see(placed.node)->info.region, region);
		ck_assert_double_eq_tol(chosen_had(room), least, 2e-5);
	}
	bed_close();
}
END_TEST

START_TEST(an_open_that_ended_is_seen_before_anybody_is_refused)
{
	struct place_wish wish = bed_wish("r");
	bool wait_helps;
	uint64_t retry_ms;

	bed_conf.opens_per_node = 1;
	open_with(NODES, "{\"cpu\":%.3f}");
	for (int i = 0; i < NODES; i++)
		ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_NO_CAPACITY);
	ck_assert(wait_helps);
	place_opened(bed.places[0], "n042", bed.now_ms);
	bed_pass(1);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(placed.node, "n042");
	bed_close();
}
END_TEST

/* Else a burst for a region would go on to another one, long after the opens there have ended. */
START_TEST(a_wish_is_not_broken_for_opens_that_ended)
{
	struct place_wish wish = bed_wish("r");
	char nodes[10][16];

	wish.region = "r3";
	bed_conf.opens_per_node = 1;
	open_with(NODES, "{\"cpu\":%.3f}");
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
		ck_assert_str_eq(bed_see(placed.node)->info.region, "r3");
		snprintf(nodes[i], sizeof(nodes[i]), "%.15s", placed.node);
	}
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_ne(bed_see(placed.node)->info.region, "r3"); /* a wish, not a condition */
	for (int i = 0; i < 10; i++)
		place_opened(bed.places[0], nodes[i], bed.now_ms);
	bed_pass(1);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(bed_see(placed.node)->info.region, "r3");
	bed_close();
}
END_TEST

/* It finds most nodes too small; the next one does not. */
START_TEST(a_large_room_leaves_the_order_as_it_is)
{
	struct place_wish large = bed_wish("large"), small = bed_wish("small");

	bed_open(1);
	for (size_t i = 0; i < NODES; i++) {
		char id[24];
		snprintf(id, sizeof(id), "n%03zu", i);
		bed_node(id, i ? "\"capacity\":{\"participants\":1000}" : "\"capacity\":{\"participants\":100000}",
		         i ? "{\"cpu\":0.05,\"participants\":10}" : "{\"cpu\":0.8,\"participants\":10}");
	}
	large.expected_participants = 1500;
	ck_assert_int_eq(bed_choose(0, &small, &placed), 0);
	ck_assert_str_ne(placed.node, "n000");
	ck_assert_int_eq(bed_choose(0, &large, &placed), 0);
	ck_assert_str_eq(placed.node, "n000");
	ck_assert_int_eq(bed_choose(0, &small, &placed), 0);
	ck_assert_str_ne(placed.node, "n000");
	bed_close();
}
END_TEST

START_TEST(a_new_view_is_a_new_order)
{
	struct place_wish wish = bed_wish("r");

	open_with(NODES, "{\"cpu\":0.5%.0f}");
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	bed_beat("n077", "{\"cpu\":0.1}", true);
	bed_look();
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(placed.node, "n077");
	bed_node("newcomer", "", "{\"cpu\":0.01}"); /* more nodes than the tables were made for */
	for (int i = 0; i < 30; i++) {
		char id[16];
		snprintf(id, sizeof(id), "more%d", i);
		bed_node(id, "", "{\"cpu\":0.3}");
	}
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(placed.node, "newcomer");
	bed_close();
}
END_TEST

/* An open that ended makes no view; an order that is old is read anew all the same. */
START_TEST(an_old_order_is_not_kept)
{
	struct place_wish wish = bed_wish("r");

	bed_conf.opens_per_node = 1;
	open_with(NODES, "{\"cpu\":0.5%.0f}");
	bed_beat("n010", "{\"cpu\":0.1}", true);
	bed_look();
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(placed.node, "n010");
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0); /* its one open is under way */
	ck_assert_str_ne(placed.node, "n010");
	place_opened(bed.places[0], "n010", bed.now_ms);
	bed_pass(500);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_str_eq(placed.node, "n010");
	bed_close();
}
END_TEST

/* While all are new nobody is; once most are not, the rest starts slowly, without another view. */
START_TEST(who_is_new_is_seen_within_a_view)
{
	struct place_wish wish = bed_wish("r");

	bed_conf.slow_start_ms = 10000;
	open_with(60, "{\"cpu\":0.5%.0f}");
	bed_pass(5000);
	for (int i = 0; i < 40; i++) {
		char id[16];
		snprintf(id, sizeof(id), "late%d", i);
		bed_node(id, "", "{\"cpu\":0.4}");
	}
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_int_eq(placed.node[0], 'l');
	bed_pass(5500);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_int_eq(placed.node[0], 'n');
	bed_close();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("router/place_order");
	TCase *t = tcase_create("order");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, each_choice_is_the_one_of_a_look_at_all);
	tcase_add_test(t, regions_have_orders_of_their_own);
	tcase_add_test(t, an_open_that_ended_is_seen_before_anybody_is_refused);
	tcase_add_test(t, a_wish_is_not_broken_for_opens_that_ended);
	tcase_add_test(t, a_large_room_leaves_the_order_as_it_is);
	tcase_add_test(t, a_new_view_is_a_new_order);
	tcase_add_test(t, an_old_order_is_not_kept);
	tcase_add_test(t, who_is_new_is_seen_within_a_view);
	suite_add_tcase(suite, t);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
