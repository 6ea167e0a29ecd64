/* SPDX-License-Identifier: Apache-2.0 */
/* Listings go on over changes: what is there throughout is met at least once, whatever comes and goes between pages. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "tests/unit/registry/suite_private.h"

#define ROOMS 40

static const char *name_of(const char *kind, int i)
{
	static char name[32];

	snprintf(name, sizeof name, "%s%03d", kind, i);
	return name;
}

/* Counts what it meets of "s000" to "s039". */
struct walk {
	char cursor[96];
	unsigned met[ROOMS];
	size_t rows, pages;
};

static bool walk_on(struct walk *walk, const char *node, const char *prefix, size_t limit)
{
	struct rooms_query query = { .node = node, .prefix = str_of(prefix), .cursor = walk->cursor, .limit = limit };
	struct rooms_page page = { 0 };

	OK(rooms_list(s, &query, &t.arena, DUE, &page, w));
	ck_assert_uint_le(page.count, limit);
	ck_assert_uint_lt(walk->pages++, 1000);
	for (size_t i = 0; i < page.count; i++) {
		struct str name = page.rows[i].name;
		uint64_t n;

		if (name.len == 4 && name.at[0] == 's' && parse_u64((struct str){ name.at + 1, 3 }, &n) && n < ROOMS)
			walk->met[n]++;
		ck_assert(name.len >= strlen(prefix) && memcmp(name.at, prefix, strlen(prefix)) == 0);
		ck_assert_int_ne(page.rows[i].room.state, ROOM_NONE);
		walk->rows++;
	}
	memcpy(walk->cursor, page.next, sizeof walk->cursor);
	return walk->cursor[0] != '\0';
}

static void check_all_met(const struct walk *walk)
{
	for (int i = 0; i < ROOMS; i++)
		ck_assert_msg(walk->met[i] >= 1, "s%03d was not listed", i);
}

START_TEST(pages_hold_every_room)
{
	struct walk walk = { 0 };

	FROM_HERE(_i);
	for (int i = 0; i < ROOMS; i++)
		do_open(name_of("s", i), "n1");
	while (walk_on(&walk, NULL, "", 7))
		;
	check_all_met(&walk);
	ck_assert_uint_eq(walk.rows, ROOMS); /* nothing changed meanwhile: none twice */
}
END_TEST

START_TEST(pages_survive_changes)
{
	struct walk walk = { 0 };
	uint64_t epochs[200];
	int born = 60, dead = 0;

	FROM_HERE(_i);
	for (int i = 0; i < ROOMS; i++) {
		do_open(name_of("s", i), "n1");
		epochs[i] = do_open(name_of("x", i), "n1");
	}
	while (walk_on(&walk, NULL, "", 5)) {
		for (int i = 0; i < 4 && dead < ROOMS; i++, dead++)
			ck_assert(do_forget(name_of("x", dead), epochs[dead]).won);
		for (int i = 0; i < 7 && born < 150; i++, born++)
			do_open(name_of("y", born), "n1");
	}
	check_all_met(&walk);
}
END_TEST

START_TEST(prefix_selects)
{
	struct walk walk = { 0 };

	FROM_HERE(_i);
	for (int i = 0; i < ROOMS; i++) {
		do_open(name_of("s", i), "n1");
		do_open(name_of("x", i), "n1");
	}
	while (walk_on(&walk, NULL, "s", 10))
		;
	check_all_met(&walk);
	ck_assert_uint_eq(walk.rows, ROOMS);
	walk = (struct walk){ 0 };
	while (walk_on(&walk, NULL, "s*", 10)) /* no pattern */
		;
	ck_assert_uint_eq(walk.rows, 0);
}
END_TEST

START_TEST(foreign_cursors_are_refused)
{
	static const char *const foreign[] = { "x", "nonsense", "-1", ":", "17:x", "r", "r-1", "99999999999999999999999999" };
	struct rooms_page page = { 0 };

	FROM_HERE(_i);
	for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
		struct rooms_query query = { .cursor = foreign[i], .limit = 10 };

		ck_assert_msg(CALL(rooms_list(s, &query, &t.arena, DUE, &page, w)) == -ERR_BAD_REQUEST, "%s", foreign[i]);
	}
}
END_TEST

START_TEST(empty_store_has_one_empty_page)
{
	struct walk walk = { 0 };

	FROM_HERE(_i);
	ck_assert(!walk_on(&walk, NULL, "", 10));
	ck_assert(!walk_on(&walk, "nobody", "", 10));
	ck_assert_uint_eq(walk.rows, 0);
}
END_TEST

/* -- by node ---------------------------------------------------------------------------------------------------------------- */

static uint64_t place(const char *node, uint64_t registration, const char *room)
{
	uint64_t epoch;

	ck_assert(do_reserve(node, registration, room, 0.1, 0, false).granted);
	epoch = do_open(room, node);
	nodes_index(s, node, str_of(room), epoch);
	return epoch;
}

START_TEST(rooms_of_a_node)
{
	struct walk walk = { 0 };
	uint64_t one, two;

	FROM_HERE(_i);
	one = do_register("n1", "i1", "").registration;
	two = do_register("n2", "i2", "").registration;
	for (int i = 0; i < ROOMS; i++) {
		place("n1", one, name_of("s", i));
		place("n2", two, name_of("x", i));
	}
	while (walk_on(&walk, "n1", "", 7))
		;
	check_all_met(&walk);
	ck_assert_uint_eq(walk.rows, ROOMS);
	ck_assert_uint_eq(do_look("n1")->rooms, ROOMS);
}
END_TEST

/* A small index comes in one step, whatever the page's size: pages go on within that step while rooms leave it. */
START_TEST(pages_of_a_node_survive_changes)
{
	struct walk walk = { 0 };
	uint64_t epochs[ROOMS], r;
	int dead = 0;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	for (int i = 0; i < ROOMS; i++) {
		place("n1", r, name_of("s", i));
		epochs[i] = place("n1", r, name_of("x", i));
	}
	while (walk_on(&walk, "n1", "", 5)) {
		for (int i = 0; i < 4 && dead < ROOMS; i++, dead++) {
			ck_assert(do_forget(name_of("x", dead), epochs[dead]).won);
			nodes_unindex(s, "n1", str_of(name_of("x", dead)), epochs[dead]);
		}
	}
	check_all_met(&walk);
}
END_TEST

START_TEST(rooms_that_moved_are_not_listed_under_the_old_node)
{
	struct rooms_row row;
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = place("n1", do_register("n1", "i1", "").registration, "a");
	ck_assert(row_of("n1", "a", &row));
	ck_assert(do_claim_lost("a", epoch, "n2").won);
	ck_assert(!row_of("n1", "a", &row));
}
END_TEST

START_TEST(rows_tell_participants_and_uses)
{
	struct room_report report = { .room = STR("a"), .participants = 3 };
	struct rooms_row row, later;
	struct walk walk = { 0 };
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = place("n1", do_register("n1", "i1", "").registration, "a");
	ck_assert(row_of("n1", "a", &row));
	ck_assert_int_eq(row.participants, -1);
	report.epoch = epoch;
	nodes_report_rooms(s, "n1", &report, 1);
	ck_assert(row_of("n1", "a", &later));
	ck_assert_int_eq(later.participants, 3);
	ck_assert_uint_gt(later.uses, row.uses);
	ck_assert(later.room.epoch == epoch && later.room.state == ROOM_OPEN);
	ck_assert(!walk_on(&walk, NULL, "", 10));
}
END_TEST

START_TEST(touch_counts_once_a_second)
{
	struct room room, older;
	struct rooms_row row, later;

	FROM_HERE(_i);
	place("n1", do_register("n1", "i1", "").registration, "a");
	UNTIL(do_find("a", true).state == ROOM_OPEN && do_find("a", false).source == FROM_TABLE);
	ck_assert(row_of("n1", "a", &row));
	room = older = do_find("a", false);
	for (int i = 0; i < 5; i++)
		rooms_touch(s, STR("a"), &room);
	ck_assert(row_of("n1", "a", &later));
	ck_assert_uint_eq(later.uses, row.uses + 1);
	older.epoch--;
	rooms_touch(s, STR("b"), &older); /* not its epoch, and not known */
	ck_assert(row_of("n1", "a", &row));
	ck_assert_uint_eq(row.uses, later.uses);
}
END_TEST

/* -- what happens once ------------------------------------------------------------------------------------------------------- */

static bool do_use(const char *name, uint64_t lives_ms)
{
	bool first = false;

	OK(registry_use_once(s, str_of(name), lives_ms, DUE, &first, w));
	return first;
}

START_TEST(a_name_is_used_once)
{
	FROM_HERE(_i);
	ck_assert(do_use("a", 60000));
	ck_assert(!do_use("a", 60000));
	s = t.stores[!_i]; /* nor from the other loop */
	ck_assert(!do_use("a", 1));
	ck_assert(do_use("b", 60000));
}
END_TEST

START_TEST(a_used_name_is_forgotten_in_time)
{
	uint64_t until = loop_fresh_ms(t.loops[0]) + 5000;

	FROM_HERE(_i);
	for (int i = 0; i < 50; i++)
		ck_assert(do_use(name_of("u", i), 1));
	while (!do_use("u000", 60000))
		ck_assert_uint_lt(loop_fresh_ms(t.loops[0]), until);
	ck_assert(!do_use("u000", 60000));
}
END_TEST

void suite_lists(Suite *suite, SFun begin, SFun end)
{
	TCase *tc = tcase_create("lists");

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	BOTH(tc, pages_hold_every_room);
	BOTH(tc, pages_survive_changes);
	BOTH(tc, prefix_selects);
	BOTH(tc, foreign_cursors_are_refused);
	BOTH(tc, empty_store_has_one_empty_page);
	BOTH(tc, rooms_of_a_node);
	BOTH(tc, pages_of_a_node_survive_changes);
	BOTH(tc, rooms_that_moved_are_not_listed_under_the_old_node);
	BOTH(tc, rows_tell_participants_and_uses);
	BOTH(tc, touch_counts_once_a_second);
	BOTH(tc, a_name_is_used_once);
	BOTH(tc, a_used_name_is_forgotten_in_time);
	suite_add_tcase(suite, tc);
}
