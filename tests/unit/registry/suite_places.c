/* SPDX-License-Identifier: Apache-2.0 */
/* Places on nodes: charged for all routers before they are claimed, given back whole, refused by the node's limits. */
#include <string.h>

#include "tests/unit/registry/suite_private.h"

static double charged_on(const char *node)
{
	const struct node_record *n = do_look(node);
	double sum = 0;

	for (size_t i = 0; i < n->ncharges; i++)
		sum += n->charges[i].cost;
	return sum;
}

/* -- reserve ---------------------------------------------------------------------------------------------------------------- */

START_TEST(reservation_is_charged_and_announced)
{
	const struct node_record *n;
	struct reserved got;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	got = do_reserve("n1", r, "a", 0.125, 0, false);
	ck_assert(got.granted && got.number && got.at_ms && got.at_ms % CHARGE_BUCKET_MS == 0);
	n = do_look("n1");
	ck_assert(n->rooms == 1 && n->ncharges == 1 && n->charged == got.number && !n->exclusive);
	ck_assert(n->charges[0].number == got.number && n->charges[0].at_ms == got.at_ms);
	ck_assert_double_eq_tol(n->charges[0].cost, 0.125, 1e-12);
	UNTIL(t.charges == 1);
	ck_assert_str_eq(t.charged_node, "n1");
	ck_assert_double_eq_tol(t.charged_cost, 0.125, 1e-9);
	ck_assert_uint_eq(t.charged_number, got.number);
	ck_assert_uint_eq(do_renew("n1", "i1", r, 1).charged, got.number);
}
END_TEST

START_TEST(charges_grow_and_share_buckets)
{
	static const char names[] = "abcdefghijklmnopqrst";
	const struct node_record *n;
	uint64_t r, last = 0;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	for (size_t i = 0; i < 20; i++) {
		struct reserved got = do_reserve("n1", r, (char[]){ names[i], '\0' }, 0.25, 0, false);

		ck_assert(got.granted && got.number > last);
		last = got.number;
	}
	n = do_look("n1");
	ck_assert(n->charged == last && n->rooms == 20 && n->ncharges < 20);
	ck_assert_double_eq_tol(charged_on("n1"), 5, 1e-9);
	for (size_t i = 1; i < n->ncharges; i++)
		ck_assert(n->charges[i].at_ms > n->charges[i - 1].at_ms && n->charges[i].number > n->charges[i - 1].number);
	UNTIL(t.charges == 20);
}
END_TEST

static void check_refused(struct reserved got, const char *why)
{
	ck_assert(!got.granted);
	ck_assert_str_eq(got.why_not, why);
}

START_TEST(only_the_present_registration_has_places)
{
	uint64_t r;

	FROM_HERE(_i);
	check_refused(do_reserve("n1", 5, "a", 0.1, 0, false), "registration");
	check_refused(do_reserve("n1", 0, "a", 0.1, 0, false), "registration");
	r = do_register("n1", "i1", "").registration;
	check_refused(do_reserve("n1", r - 1, "a", 0.1, 0, false), "registration");
	ck_assert(do_lose("n1", r, 0));
	check_refused(do_reserve("n1", r, "a", 0.1, 0, false), "registration");
	ck_assert(do_look("n1")->ncharges == 0 && do_look("n1")->rooms == 0);
	ck_assert_uint_eq(t.charges, 0);
}
END_TEST

START_TEST(a_left_wish_has_no_places)
{
	FROM_HERE(_i);
	do_register("n1", "i1", "");
	OK(nodes_set_wish(s, "n1", WISH_CORDONED, STR(""), DUE, w));
	ck_assert(do_leave("n1", "i1"));
	check_refused(do_reserve("n1", 0, "a", 0.1, 0, false), "registration");
}
END_TEST

START_TEST(rooms_max_counts_other_rooms)
{
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert(do_reserve("n1", r, "a", 0.1, 2, false).granted);
	ck_assert(do_reserve("n1", r, "b", 0.1, 2, false).granted);
	check_refused(do_reserve("n1", r, "c", 0.1, 2, false), "rooms");
	ck_assert(do_reserve("n1", r, "a", 0.1, 2, false).granted); /* has its place */
	ck_assert(do_reserve("n1", r, "c", 0.1, 0, false).granted); /* 0 is no limit */
}
END_TEST

START_TEST(exclusive_rooms_are_alone)
{
	struct reserved got;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	got = do_reserve("n1", r, "a", 0.1, 0, true);
	ck_assert(got.granted && do_look("n1")->exclusive);
	check_refused(do_reserve("n1", r, "b", 0.1, 0, false), "exclusive");
	check_refused(do_reserve("n1", r, "b", 0.1, 0, true), "exclusive");
	nodes_release(s, "n1", STR("a"), &got, 0.1);
	ck_assert(!do_look("n1")->exclusive);
	ck_assert(do_reserve("n1", r, "b", 0.1, 0, false).granted);
	check_refused(do_reserve("n1", r, "a", 0.1, 0, true), "exclusive"); /* not beside another */
}
END_TEST

/* -- release ---------------------------------------------------------------------------------------------------------------- */

START_TEST(release_gives_all_back)
{
	struct reserved one, two;
	struct room_report use;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	one = do_reserve("n1", r, "a", 0.5, 0, false);
	two = do_reserve("n1", r, "b", 0.25, 0, false);
	nodes_release(s, "n1", STR("a"), &one, 0.5);
	ck_assert(!has_entry("n1", "a", &use) && has_entry("n1", "b", &use));
	ck_assert_double_eq_tol(charged_on("n1"), 0.25, 1e-9);
	nodes_release(s, "n1", STR("b"), &two, 99); /* never below zero */
	ck_assert_double_eq_tol(charged_on("n1"), 0, 1e-9);
	ck_assert_uint_eq(do_look("n1")->rooms, 0);
	nodes_release(s, "n2", STR("a"), &one, 0.5); /* nobody there */
	ck_assert_ptr_null(do_look("n2"));
}
END_TEST

START_TEST(release_keeps_rooms_that_are_held)
{
	struct reserved got;
	struct room_report use;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	got = do_reserve("n1", r, "a", 0.5, 0, false);
	nodes_index(s, "n1", STR("a"), 77);
	nodes_release(s, "n1", STR("a"), &got, 0.5);
	ck_assert(has_entry("n1", "a", &use));
	ck_assert_uint_eq(use.epoch, 77);
	ck_assert_double_eq_tol(charged_on("n1"), 0, 1e-9);
}
END_TEST

/* Two routers chose one node for one room; the loser of the claim gives back its own place, not the winner's. */
START_TEST(loser_gives_back_its_own_place_only)
{
	struct reserved winners, losers;
	struct room_report use;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	winners = do_reserve("n1", r, "a", 0.5, 0, true);
	losers = do_reserve("n1", r, "a", 0.25, 0, true);
	ck_assert(winners.granted && losers.granted);
	nodes_release(s, "n1", STR("a"), &losers, 0.25);
	ck_assert(do_look("n1")->exclusive && has_entry("n1", "a", &use) && use.participants == -1);
	check_refused(do_reserve("n1", r, "b", 0.1, 0, false), "exclusive");
	nodes_index(s, "n1", STR("a"), 77);
	ck_assert(do_look("n1")->exclusive);
	ck_assert_double_eq_tol(charged_on("n1"), 0.5, 1e-9);
}
END_TEST

/* -- the index -------------------------------------------------------------------------------------------------------------- */

START_TEST(a_node_that_left_has_no_index)
{
	FROM_HERE(_i);
	do_register("n1", "i1", "");
	ck_assert(do_leave("n1", "i1"));
	nodes_index(s, "n1", STR("a"), 10);
	ck_assert_ptr_null(do_look("n1"));
	do_register("n1", "i1", "");
	OK(nodes_set_wish(s, "n1", WISH_CORDONED, STR(""), DUE, w));
	ck_assert(do_leave("n1", "i1"));
	nodes_index(s, "n1", STR("a"), 10);
	ck_assert_uint_eq(do_look("n1")->rooms, 0);
}
END_TEST

/* Whoever should have taken them out died: they would count against the node for ever. */
START_TEST(listing_clears_entries_that_no_record_answers_for)
{
	struct room_report use;
	struct rooms_row row;
	uint64_t r, epoch;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	do_register("n2", "i2", "");
	ck_assert(do_reserve("n1", r, "held", 0.1, 0, false).granted);
	epoch = do_open("held", "n1");
	nodes_index(s, "n1", STR("held"), epoch);
	nodes_index(s, "n1", STR("ended"), 10);
	epoch = do_open("moved", "n2");
	nodes_index(s, "n1", STR("moved"), epoch - 1);
	ck_assert(do_reserve("n1", r, "reserved", 0.1, 0, false).granted);
	ck_assert_uint_eq(do_look("n1")->rooms, 4);
	ck_assert(row_of("n1", "held", &row) && !row_of("n1", "moved", &row) && !row_of("n1", "reserved", &row));
	ck_assert_uint_eq(do_look("n1")->rooms, 2);
	ck_assert(has_entry("n1", "held", &use) && has_entry("n1", "reserved", &use)); /* a reservation is young */
}
END_TEST

/* Whoever published the room was not heard: else its participants would never be counted. */
START_TEST(listing_mends_entries_that_are_behind_their_record)
{
	struct room_report use, report = { .room = STR("a"), .participants = 5 };
	struct rooms_row row;
	uint64_t r, epoch;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert(do_reserve("n1", r, "a", 0.1, 0, true).granted);
	epoch = do_claim("a", 0, "n1").room.epoch;
	ck_assert(row_of("n1", "a", &row) && row.room.state == ROOM_OPENING);
	ck_assert(has_entry("n1", "a", &use) && use.epoch == 0); /* not held yet */
	ck_assert(do_publish("a", epoch, "").won);
	ck_assert(row_of("n1", "a", &row) && row.participants == -1);
	ck_assert(has_entry("n1", "a", &use) && use.epoch == epoch && do_look("n1")->exclusive);
	report.epoch = epoch;
	nodes_report_rooms(s, "n1", &report, 1);
	ck_assert(row_of("n1", "a", &row) && row.participants == 5);
}
END_TEST

START_TEST(reports_without_an_epoch_leave_reservations_alone)
{
	struct room_report report = { .room = STR("a"), .epoch = 0, .participants = 5 }, use;
	struct reserved got;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	got = do_reserve("n1", r, "a", 0.1, 0, false);
	nodes_report_rooms(s, "n1", &report, 1);
	ck_assert(has_entry("n1", "a", &use) && use.participants == -1);
	nodes_release(s, "n1", STR("a"), &got, 0.1);
	ck_assert(!has_entry("n1", "a", &use));
}
END_TEST

START_TEST(index_knows_the_newest_epoch)
{
	struct room_report use = { 0 };

	FROM_HERE(_i);
	do_register("n1", "i1", "");
	ck_assert(!has_entry("n1", "a", &use));
	nodes_index(s, "n1", STR("a"), 10);
	nodes_index(s, "n1", STR("a"), 9);
	ck_assert(has_entry("n1", "a", &use) && use.epoch == 10 && use.participants == -1);
	nodes_index(s, "n1", STR("a"), 11);
	ck_assert(has_entry("n1", "a", &use) && use.epoch == 11);
	nodes_unindex(s, "n1", STR("a"), 10); /* a late one */
	ck_assert(has_entry("n1", "a", &use));
	nodes_unindex(s, "n1", STR("a"), 11);
	ck_assert(!has_entry("n1", "a", &use));
	nodes_unindex(s, "n1", STR("a"), 11);
	ck_assert_uint_eq(do_look("n1")->rooms, 0);
}
END_TEST

START_TEST(unindex_frees_the_node)
{
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert(do_reserve("n1", r, "a", 0.5, 0, true).granted);
	nodes_index(s, "n1", STR("a"), 10);
	nodes_unindex(s, "n1", STR("a"), 12);
	ck_assert(!do_look("n1")->exclusive && do_look("n1")->rooms == 0);
}
END_TEST

static uint64_t uses_of(const char *room)
{
	struct rooms_row row = { 0 };

	ck_assert(row_of("n1", room, &row));
	return row.uses;
}

static void report(const char *room, uint64_t epoch, int64_t participants)
{
	struct room_report reports[2] = { { str_of("nobody"), epoch, 9 }, { str_of(room), epoch, participants } };

	nodes_report_rooms(s, "n1", reports, 2);
}

START_TEST(what_a_node_let_go_of_stays_let_go)
{
	struct room_report use = { 0 };

	FROM_HERE(_i);
	do_register("n1", "i1", "");
	nodes_index(s, "n1", STR("a"), 10);
	report("a", 10, ROOM_LET_GO);
	report("a", 10, 3); /* sent before it let go */
	ck_assert(has_entry("n1", "a", &use) && use.epoch == 10 && use.participants == ROOM_LET_GO);
	nodes_index(s, "n1", STR("a"), 11);
	report("a", 11, 3);
	ck_assert(has_entry("n1", "a", &use) && use.epoch == 11 && use.participants == 3);
}
END_TEST

START_TEST(reports_count_as_use)
{
	struct room_report use = { 0 };
	uint64_t r, epoch, uses;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert(do_reserve("n1", r, "a", 0.5, 0, false).granted);
	epoch = do_open("a", "n1");
	nodes_index(s, "n1", STR("a"), epoch);
	uses = uses_of("a");
	report("a", epoch, -1); /* not said */
	report("a", epoch - 1, 5); /* of another epoch */
	ck_assert(uses_of("a") == uses && has_entry("n1", "a", &use) && use.participants == -1);
	report("a", epoch, 0);
	ck_assert_uint_eq(uses_of("a"), ++uses); /* changed */
	report("a", epoch, 0);
	ck_assert_uint_eq(uses_of("a"), uses); /* empty as before */
	report("a", epoch, 2);
	report("a", epoch, 2);
	uses += 2;
	ck_assert_uint_eq(uses_of("a"), uses);
	ck_assert(has_entry("n1", "a", &use) && use.participants == 2 && use.epoch == epoch);
	ck_assert(!has_entry("n1", "nobody", &use));
}
END_TEST

void suite_places(Suite *suite, SFun begin, SFun end)
{
	TCase *tc = tcase_create("places");

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	BOTH(tc, reservation_is_charged_and_announced);
	BOTH(tc, charges_grow_and_share_buckets);
	BOTH(tc, only_the_present_registration_has_places);
	BOTH(tc, a_left_wish_has_no_places);
	BOTH(tc, rooms_max_counts_other_rooms);
	BOTH(tc, exclusive_rooms_are_alone);
	BOTH(tc, release_gives_all_back);
	BOTH(tc, release_keeps_rooms_that_are_held);
	BOTH(tc, loser_gives_back_its_own_place_only);
	BOTH(tc, a_node_that_left_has_no_index);
	BOTH(tc, listing_clears_entries_that_no_record_answers_for);
	BOTH(tc, listing_mends_entries_that_are_behind_their_record);
	BOTH(tc, reports_without_an_epoch_leave_reservations_alone);
	BOTH(tc, index_knows_the_newest_epoch);
	BOTH(tc, unindex_frees_the_node);
	BOTH(tc, what_a_node_let_go_of_stays_let_go);
	BOTH(tc, reports_count_as_use);
	suite_add_tcase(suite, tc);
}
