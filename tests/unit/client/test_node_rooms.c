/* SPDX-License-Identifier: Apache-2.0 */
/* The order of changes, what closed, and the digest, without any router. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/wait.h"
#include "base/wire/limits.h"
#include "client/lib/node_rooms.h"

static struct node_rooms rooms;

static void setup(void)
{
	rooms = (struct node_rooms){ 0 };
}

static void teardown(void)
{
	node_rooms_clear(&rooms);
}

static bool set(const char *name, uint64_t epoch, uint64_t participants)
{
	return node_rooms_set(&rooms, str_of(name), epoch, participants);
}

static const char *order(void)
{
	static char text[400];

	*text = '\0';
	for (const struct held_room *room = rooms.oldest; room; room = room->newer)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s@%d ", room->name, (int)room->epoch);
	return text;
}

static const char *closed(void)
{
	static char text[400];

	*text = '\0';
	for (const struct closed_room *room = rooms.closed; room; room = room->next)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s@%d ", room->bytes, (int)room->epoch);
	return text;
}

START_TEST(changes_move_to_the_young_end)
{
	set("a", 1, 0);
	set("b", 1, 0);
	set("c", 1, 0);
	uint64_t since = rooms.change;
	ck_assert_uint_eq(node_rooms_changed(&rooms, since, 10), 0);
	set("a", 1, 1);
	ck_assert_str_eq(order(), "b@1 c@1 a@1 ");
	ck_assert_uint_eq(node_rooms_changed(&rooms, since, 10), 1);
	set("c", 1, 0); /* as it was */
	ck_assert_str_eq(order(), "b@1 c@1 a@1 ");
	set("b", 2, 0);
	ck_assert_str_eq(order(), "c@1 a@1 b@2 ");
	ck_assert_uint_eq(node_rooms_changed(&rooms, since, 10), 2);
	ck_assert_uint_eq(node_rooms_changed(&rooms, 0, 2), 2); /* counts to enough */
}
END_TEST

START_TEST(a_lower_epoch_is_ignored)
{
	set("a", 5, 1);
	ck_assert(set("a", 4, 9));
	ck_assert_str_eq(order(), "a@5 ");
	ck_assert_uint_eq(rooms.oldest->participants, 1);
	node_rooms_remove(&rooms, STR("a"), 4);
	ck_assert_str_eq(order(), "a@5 ");
	node_rooms_remove(&rooms, STR("a"), 6);
	ck_assert_str_eq(order(), "");
	ck_assert_str_eq(closed(), "a@5 "); /* the epoch that was held */
	ck_assert_uint_eq(rooms.max_epoch, 5);
}
END_TEST

START_TEST(names_and_epochs_are_checked)
{
	char longest[ROOM_MAX + 2];

	memset(longest, 'x', sizeof(longest));
	longest[ROOM_MAX + 1] = '\0';
	ck_assert(!set("", 1, 0));
	ck_assert(!set("a\nb", 1, 0));
	ck_assert(!set("\xff", 1, 0));
	ck_assert(!set(longest, 1, 0));
	ck_assert(!set("a", 0, 0));
	ck_assert(!set("a", EPOCH_MAX + 1, 0));
	longest[ROOM_MAX] = '\0';
	ck_assert(set(longest, EPOCH_MAX, 0));
	ck_assert_uint_eq(rooms.map.count, 1);
}
END_TEST

START_TEST(refreshed_rooms_come_round)
{
	set("a", 1, 0);
	set("b", 1, 0);
	set("c", 1, 0);
	uint64_t since = rooms.change;
	node_rooms_refresh(&rooms, 2);
	ck_assert_str_eq(order(), "c@1 a@1 b@1 ");
	ck_assert_uint_eq(node_rooms_changed(&rooms, since, 10), 2);
	node_rooms_refresh(&rooms, 100);
	ck_assert_str_eq(order(), "c@1 a@1 b@1 ");
}
END_TEST

START_TEST(closed_rooms_are_kept_until_heard)
{
	set("a", 1, 0);
	set("b", 1, 0);
	node_rooms_remove(&rooms, STR("a"), 1);
	uint64_t upto = rooms.change;
	node_rooms_remove(&rooms, STR("b"), 1);
	ck_assert_str_eq(closed(), "a@1 b@1 ");
	node_rooms_heard(&rooms, upto);
	ck_assert_str_eq(closed(), "b@1 ");
	node_rooms_heard(&rooms, rooms.change);
	ck_assert_str_eq(closed(), "");
	set("c", 1, 0); /* the list that became empty takes more */
	node_rooms_remove(&rooms, STR("c"), 1);
	ck_assert_str_eq(closed(), "c@1 ");
	ck_assert_uint_eq(rooms.overflow, 0);
}
END_TEST

START_TEST(too_many_closed_rooms_overflow)
{
	char name[16];
	uint64_t first = 0;

	for (int i = 0; i < CLOSED_MAX + 1; i++) {
		snprintf(name, sizeof(name), "r%d", i);
		set(name, 1, 0);
		node_rooms_remove(&rooms, str_of(name), 1);
		first = first ? first : rooms.change;
	}
	ck_assert_uint_eq(rooms.nclosed, CLOSED_MAX);
	ck_assert_str_eq(rooms.closed->bytes, "r1");
	ck_assert_uint_eq(rooms.overflow, first); /* who knows no more than before that needs the full list */
}
END_TEST

START_TEST(the_digest_is_of_what_is_held)
{
	struct digest expected = { 0 }, none = { 0 };

	set("a", 1, 0);
	set("b", 2, 0);
	set("b", 3, 0);
	set("b", 3, 7);
	set("c", 4, 0);
	node_rooms_remove(&rooms, STR("c"), 4);
	digest_toggle(&expected, "b", 1, 3, true);
	digest_toggle(&expected, "a", 1, 1, true);
	ck_assert_uint_eq(rooms.digest.sum, expected.sum);
	ck_assert_uint_eq(rooms.digest.count, 2);
	node_rooms_clear(&rooms);
	ck_assert_uint_eq(rooms.digest.sum, none.sum);
	ck_assert_uint_eq(rooms.digest.count, 0);
}
END_TEST

START_TEST(clearing_makes_every_router_need_the_list)
{
	set("a", 1, 0);
	set("b", 1, 0);
	node_rooms_remove(&rooms, STR("b"), 1);
	uint64_t knows_all = rooms.change;
	node_rooms_clear(&rooms);
	ck_assert_uint_gt(rooms.overflow, knows_all);
	ck_assert_str_eq(closed(), "");
	ck_assert_str_eq(order(), "");
	ck_assert_uint_eq(rooms.max_epoch, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_rooms");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, changes_move_to_the_young_end);
	tcase_add_test(all, a_lower_epoch_is_ignored);
	tcase_add_test(all, names_and_epochs_are_checked);
	tcase_add_test(all, refreshed_rooms_come_round);
	tcase_add_test(all, closed_rooms_are_kept_until_heard);
	tcase_add_test(all, too_many_closed_rooms_overflow);
	tcase_add_test(all, the_digest_is_of_what_is_held);
	tcase_add_test(all, clearing_makes_every_router_need_the_list);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
