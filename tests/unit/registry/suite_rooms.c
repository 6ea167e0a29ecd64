/* SPDX-License-Identifier: Apache-2.0 */
/* One room: every change is a compare-and-set on its epoch; the table keeps what is open. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "tests/unit/registry/suite_private.h"

#define HOUR_MS UINT64_C(3600000)
#define DAY_MS (24 * HOUR_MS)

/* -- claim ------------------------------------------------------------------------------------------------------------------ */

START_TEST(claim_makes_a_new_room_opening)
{
	struct claim claim = { .node = "n1", .incarnation = "inc-1", .registration = 42, .exclusive = true };
	struct claimed got = { 0 };
	struct room room;

	FROM_HERE(_i);
	ck_assert_int_eq(do_find("a", false).state, ROOM_NONE);
	OK(rooms_claim(s, STR("a"), &claim, DUE, &got, w));
	ck_assert(got.won);
	room = do_find("a", true);
	ck_assert_int_eq(room.state, ROOM_OPENING);
	ck_assert_int_eq(room.source, FROM_STORE);
	ck_assert(room.epoch == got.room.epoch && room.registration == 42 && room.exclusive);
	ck_assert_str_eq(room.node, "n1");
	ck_assert_str_eq(room.incarnation, "inc-1");
	ck_assert_str_eq(room.assigned_by, "rt");
	ck_assert_str_eq(room.hints, "");
	ck_assert(room.created_ms + HOUR_MS > wall_ms() && room.created_ms < wall_ms() + HOUR_MS);
	ck_assert_uint_ge(room.epoch, room.created_ms);
}
END_TEST

START_TEST(loser_is_told_the_winner)
{
	struct claimed first, second;

	FROM_HERE(_i);
	first = do_claim("a", 0, "n1");
	s = t.stores[!_i];
	second = do_claim("a", 0, "n2");
	ck_assert(first.won && !second.won);
	ck_assert_str_eq(second.room.node, "n1");
	ck_assert_uint_eq(second.room.epoch, first.room.epoch);
	ck_assert(!do_claim("a", first.room.epoch - 1, "n2").won);
	ck_assert(!do_claim("a", first.room.epoch + 1, "n2").won);
	ck_assert_str_eq(do_find("a", true).node, "n1");
}
END_TEST

START_TEST(claim_from_a_record_that_is_gone_loses)
{
	struct claimed got;

	FROM_HERE(_i);
	got = do_claim("a", 5, "n1");
	ck_assert(!got.won);
	ck_assert_int_eq(got.room.state, ROOM_NONE);
	ck_assert_int_eq(do_find("a", true).state, ROOM_NONE);
}
END_TEST

START_TEST(open_room_can_be_claimed_when_its_owner_is_lost)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_claim("a", 0, "n1").room.epoch;
	ck_assert(do_publish("a", epoch, "{\"pin\":1}").won);
	/* Who saw the open fail may not take what somebody else saw succeed and published at the same epoch. */
	ck_assert(!do_claim("a", epoch, "n2").won);
	ck_assert_uint_eq(do_find("a", true).epoch, epoch);
	got = do_claim_lost("a", epoch, "n2");
	ck_assert(got.won && got.room.epoch > epoch);
	ck_assert_int_eq(got.room.state, ROOM_OPENING);
	ck_assert_str_eq(got.room.node, "n2");
	ck_assert_str_eq(got.room.hints, "");
	ck_assert(!do_publish("a", epoch, "").won);
	ck_assert_int_eq(do_find("a", false).state, ROOM_OPENING); /* the table must not know it as open any more */
}
END_TEST

/* -- epochs ----------------------------------------------------------------------------------------------------------------- */

START_TEST(epochs_grow_over_record_and_deletion)
{
	uint64_t last = 0;

	FROM_HERE(_i);
	for (int i = 0; i < 20; i++) { /* within one millisecond: the clock alone would repeat them */
		struct claimed got = do_claim("a", 0, "n1");

		ck_assert(got.won && got.room.epoch > last);
		last = do_claim("a", got.room.epoch, "n1").room.epoch;
		ck_assert_uint_gt(last, got.room.epoch);
		ck_assert(do_forget("a", last).won);
	}
}
END_TEST

START_TEST(epochs_are_above_the_floor)
{
	uint64_t floor = wall_ms() + HOUR_MS;

	FROM_HERE(_i);
	registry_met_epoch(t.registry, floor);
	ck_assert_uint_eq(do_claim("a", 0, "n1").room.epoch, floor + 1);
	ck_assert_uint_eq(registry_floor(t.registry), floor + 1); /* met now, too */
	registry_met_epoch(t.registry, 5);
	ck_assert_uint_eq(do_claim("b", 0, "n1").room.epoch, floor + 2);
}
END_TEST

START_TEST(floor_counts_at_most_a_day_ahead)
{
	uint64_t epoch;

	FROM_HERE(_i);
	registry_met_epoch(t.registry, wall_ms() + 9 * DAY_MS);
	epoch = do_claim("a", 0, "n1").room.epoch;
	ck_assert(epoch > wall_ms() + DAY_MS - HOUR_MS && epoch <= wall_ms() + DAY_MS + 1);
}
END_TEST

START_TEST(floor_is_raised_by_what_is_read)
{
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	ck_assert_uint_ge(registry_floor(t.registry), epoch);
}
END_TEST

/* -- publish, shut, forget ---------------------------------------------------------------------------------------------------- */

START_TEST(confirm_wins_while_it_is_opening_and_changes_nothing)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	ck_assert(!do_confirm("a", 5).won);
	epoch = do_claim("a", 0, "n1").room.epoch;
	ck_assert(!do_confirm("a", epoch + 1).won);
	got = do_confirm("a", epoch);
	ck_assert(got.won && got.room.state == ROOM_OPENING && got.room.epoch == epoch);
	ck_assert(do_publish("a", epoch, "").won);
	got = do_confirm("a", epoch);
	ck_assert(!got.won && got.room.state == ROOM_OPEN && got.room.epoch == epoch);
}
END_TEST

START_TEST(publish_opens_once_and_keeps_the_first_hints)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_claim("a", 0, "n1").room.epoch;
	got = do_publish("a", epoch, "{\"pin\":1}");
	ck_assert(got.won && got.room.state == ROOM_OPEN && got.room.epoch == epoch);
	ck_assert_str_eq(got.room.hints, "{\"pin\":1}");
	got = do_publish("a", epoch, "{\"pin\":2}");
	ck_assert(got.won);
	ck_assert_str_eq(got.room.hints, "{\"pin\":1}");
	ck_assert_str_eq(do_find("a", false).hints, "{\"pin\":1}");
}
END_TEST

START_TEST(publish_elsewhere_loses)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	got = do_publish("a", 5, "");
	ck_assert(!got.won && got.room.state == ROOM_NONE);
	epoch = do_claim("a", 0, "n1").room.epoch;
	got = do_publish("a", epoch + 1, "");
	ck_assert(!got.won && got.room.state == ROOM_OPENING);
	ck_assert(do_shut("a", epoch).won);
	got = do_publish("a", epoch, "");
	ck_assert(!got.won && got.room.state == ROOM_CLOSING);
}
END_TEST

START_TEST(longest_hints_come_back)
{
	char hints[HINTS_MAX + 1];

	FROM_HERE(_i);
	memset(hints, 'x', HINTS_MAX);
	hints[HINTS_MAX] = '\0';
	ck_assert_str_eq(do_publish("a", do_claim("a", 0, "n1").room.epoch, hints).room.hints, hints);
	ck_assert_str_eq(do_find("a", true).hints, hints);
	ck_assert_str_eq(do_find("a", false).hints, hints);
}
END_TEST

START_TEST(shut_is_by_epoch)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	ck_assert(!do_shut("a", 5).won);
	epoch = do_open("a", "n1");
	got = do_shut("a", epoch - 1);
	ck_assert(!got.won && got.room.state == ROOM_OPEN);
	got = do_shut("a", epoch);
	ck_assert(got.won && got.room.state == ROOM_CLOSING && got.room.epoch == epoch);
	ck_assert(do_shut("a", epoch).won);
	ck_assert_int_eq(do_find("a", false).state, ROOM_CLOSING);
}
END_TEST

START_TEST(livekit_4797_an_old_epoch_deletes_nothing)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	got = do_forget("a", epoch - 1);
	ck_assert(!got.won && got.room.state == ROOM_OPEN);
	got = do_forget("a", epoch);
	ck_assert(got.won && got.room.state == ROOM_NONE);
	ck_assert(!do_forget("a", epoch).won);
	ck_assert_int_eq(do_find("a", false).state, ROOM_NONE);
	ck_assert_int_eq(do_find("a", true).state, ROOM_NONE);
}
END_TEST

/* -- names ------------------------------------------------------------------------------------------------------------------ */

START_TEST(names_are_bytes)
{
	static const char *const names[] = { "a", "A", "a ", " a", "a:b", "{a}", "a*", "a?", "[a]", "a\\", "r\xc3\xa4um", "%20", "n1" };
	size_t n = sizeof names / sizeof *names;
	char longest[ROOM_MAX + 1];
	uint64_t epochs[32];

	FROM_HERE(_i);
	for (size_t i = 0; i < n; i++)
		epochs[i] = do_open(names[i], "n1");
	memset(longest, 'x', ROOM_MAX);
	longest[ROOM_MAX] = '\0';
	do_open(longest, "n1");
	longest[ROOM_MAX - 1] = '\0';
	ck_assert_int_eq(do_find(longest, true).state, ROOM_NONE);
	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(do_find(names[i], true).epoch, epochs[i]);
}
END_TEST

/* -- the table -------------------------------------------------------------------------------------------------------------- */

static enum table_hit hit(const char *name)
{
	struct room room;

	return table_find(registry_table(t.registry), str_of(name), &room);
}

/* Read until it is kept: a store elsewhere may not be tracked yet. */
#define KEPT(name) UNTIL(do_find(name, true).state == ROOM_OPEN && hit(name) == TABLE_SURE)

START_TEST(known_room_needs_no_store)
{
	struct awaited a = { .w.wake = awaited_wake };
	struct room room = { 0 };
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	KEPT("a");
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(rooms_find(t.stores[i], STR("a"), false, DUE, &room, &a.w), NEXT);
		ck_assert(room.epoch == epoch && room.source == FROM_TABLE && room.state == ROOM_OPEN);
	}
	ck_assert_int_eq(do_find("a", true).source, FROM_STORE);
}
END_TEST

START_TEST(opening_rooms_are_not_in_the_table)
{
	FROM_HERE(_i);
	do_claim("a", 0, "n1");
	do_find("a", true);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_MISS);
}
END_TEST

START_TEST(distrusted_room_is_asked_again)
{
	FROM_HERE(_i);
	do_open("a", "n1");
	KEPT("a");
	rooms_distrust(s, STR("a"));
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	ck_assert_int_eq(do_find("a", false).source, FROM_STORE);
	UNTIL(do_find("a", false).state == ROOM_OPEN && hit("a") == TABLE_SURE);
}
END_TEST

START_TEST(changes_by_the_other_loop_are_seen)
{
	uint64_t epoch, next;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	KEPT("a");
	s = t.stores[!_i];
	next = do_claim_lost("a", epoch, "n2").room.epoch;
	ck_assert(do_publish("a", next, "").won);
	s = t.stores[_i];
	UNTIL(hit("a") != TABLE_SURE || do_find("a", false).epoch == next);
	ck_assert_uint_eq(do_find("a", false).epoch, next);
	ck_assert_str_eq(do_find("a", false).node, "n2");
}
END_TEST

/* -- tombstones, moving, restoring ---------------------------------------------------------------------------------------- */

static struct restored do_restore(const char *name, uint64_t epoch, const char *node, bool rebuilding)
{
	struct restoring r = { .name = str_of(name), .epoch = epoch, .registration = 7, .node = node, .incarnation = "inc",
		               .hints = STR(HINTS_LOST), .rebuilding = rebuilding };
	struct restored got = { 0 };

	OK(rooms_restore(s, &r, 1, DUE, &got, w));
	return got;
}

START_TEST(ended_rooms_leave_their_epoch_and_come_back_above_it)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	registry_met_epoch(t.registry, wall_ms() + 3600000); /* so that the clock alone does not order the epochs */
	epoch = do_open("a", "n1");
	ck_assert(do_forget("a", epoch).won);
	ck_assert_int_eq(do_find("a", true).state, ROOM_NONE);
	ck_assert_uint_eq(do_find("a", true).ended_epoch, epoch);
	ck_assert_uint_eq(do_find("b", true).ended_epoch, 0);
	ck_assert(!do_publish("a", epoch, "").won);
	ck_assert(!do_shut("a", epoch).won);
	ck_assert(!do_claim("a", epoch, "n2").won);
	got = do_claim("a", 0, "n2");
	ck_assert(got.won && got.room.epoch > epoch);
	ck_assert_uint_eq(got.room.ended_epoch, 0);
	ck_assert(do_publish("a", got.room.epoch, "").won);
	ck_assert_uint_eq(do_find("a", true).epoch, got.room.epoch);
}
END_TEST

START_TEST(late_report_does_not_bring_back_what_has_ended)
{
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	ck_assert(do_forget("a", epoch).won);
	ck_assert(!do_restore("a", epoch, "n1", true).won);
	ck_assert(!do_restore("a", epoch - 1, "n1", true).won);
	ck_assert_int_eq(do_find("a", true).state, ROOM_NONE);
	ck_assert(do_restore("a", epoch + 1, "n1", false).won); /* above the tombstone: opened after it */
	ck_assert_uint_eq(do_find("a", true).epoch, epoch + 1);
}
END_TEST

START_TEST(lost_record_comes_back_as_reported)
{
	struct restored got;

	FROM_HERE(_i);
	got = do_restore("a", 1000, "n1", false);
	ck_assert(got.won && got.anew);
	ck_assert_int_eq(got.room.state, ROOM_OPEN);
	ck_assert_uint_eq(got.room.epoch, 1000);
	ck_assert_str_eq(got.room.node, "n1");
	ck_assert_str_eq(got.room.incarnation, "inc");
	got = do_restore("a", 1000, "n1", false);
	ck_assert(got.won && !got.anew);
	ck_assert(do_restore("a", 1001, "n1", false).anew); /* the store had lost the last write only */
	ck_assert(!do_restore("a", 1000, "n1", false).won);
}
END_TEST

START_TEST(restored_room_was_made_at_its_epoch_by_a_report)
{
	struct room room;

	FROM_HERE(_i);
	ck_assert(do_restore("a", 1000, "n1", false).won);
	room = do_find("a", true);
	ck_assert_uint_eq(room.created_ms, 1000);
	ck_assert_str_eq(room.assigned_by, "report");
	ck_assert(!room.exclusive);
}
END_TEST

static struct claimed claim_under(uint64_t registration, uint64_t epoch)
{
	struct claim claim = { .from_epoch = epoch, .released = true, .from_registration = registration, .node = "n2",
		               .incarnation = "inc-2", .registration = 9 };
	struct claimed got = { 0 };

	OK(rooms_claim(s, STR("a"), &claim, DUE, &got, w));
	return got;
}

static uint64_t claim_alone(uint64_t registration, uint64_t epoch)
{
	struct claim claim = { .from_epoch = epoch, .from_registration = registration, .node = "n1", .incarnation = "inc",
		               .registration = 7, .exclusive = true };
	struct claimed got = { 0 };

	OK(rooms_claim(s, STR("a"), &claim, DUE, &got, w));
	ck_assert(got.won && got.room.exclusive && got.room.created_ms < got.room.epoch);
	return got.room.epoch;
}

/* What the record had to say of the last owner must not be the next one's. */
START_TEST(next_owner_inherits_nothing)
{
	struct claimed got;
	struct room room;

	FROM_HERE(_i);
	registry_met_epoch(t.registry, wall_ms() + HOUR_MS); /* then the time when it was made must be written */
	got = claim_under(7, claim_alone(0, 0));
	ck_assert(got.won && !got.room.exclusive);
	ck_assert(do_restore("a", claim_alone(9, got.room.epoch) + 1, "n2", true).won);
	room = do_find("a", true);
	ck_assert_str_eq(room.assigned_by, "report");
	ck_assert(!room.exclusive && room.created_ms <= wall_ms());
	got = claim_under(7, room.epoch);
	ck_assert(got.won);
	ck_assert_str_eq(got.room.assigned_by, "rt");
	ck_assert_str_eq(got.room.hints, "");
}
END_TEST

START_TEST(owner_that_came_back_has_its_room_again)
{
	struct restoring r = { .name = STR("a"), .registration = 8, .node = "n1", .incarnation = "inc", .hints = STR(HINTS_LOST) };
	struct restored got;

	FROM_HERE(_i);
	r.epoch = do_open("a", "n1");
	OK(rooms_restore(s, &r, 1, DUE, &got, w)); /* registered again: a claim of before comes too late */
	ck_assert(got.won && !got.anew);
	ck_assert_uint_eq(do_find("a", true).registration, 8);
	ck_assert_str_eq(do_find("a", true).hints, "");
	ck_assert(!claim_under(7, r.epoch).won);
	ck_assert_str_eq(do_find("a", true).node, "n1");
	r.registration = 7;
	OK(rooms_restore(s, &r, 1, DUE, &got, w)); /* a late report takes nothing back */
	ck_assert_uint_eq(do_find("a", true).registration, 8);
	ck_assert(claim_under(8, r.epoch).won);
}
END_TEST

START_TEST(another_owner_beats_any_report_while_the_store_is_whole)
{
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	ck_assert(!do_restore("a", epoch + 1000000, "n2", false).won);
	ck_assert_str_eq(do_find("a", true).node, "n1");
	ck_assert(do_restore("a", epoch + 1000000, "n2", true).won); /* being rebuilt: the highest wins */
	ck_assert(!do_restore("a", epoch, "n1", true).won);
	ck_assert_str_eq(do_find("a", true).node, "n2");
}
END_TEST

START_TEST(lost_hints_are_given_again)
{
	FROM_HERE(_i);
	ck_assert(do_restore("a", 1000, "n1", false).won);
	ck_assert_str_eq(do_find("a", true).hints, HINTS_LOST);
	ck_assert(do_publish("a", 1000, "{\"pin\":1}").won);
	ck_assert_str_eq(do_find("a", true).hints, "{\"pin\":1}");
	ck_assert(do_publish("a", 1000, "{\"pin\":2}").won);
	ck_assert_str_eq(do_find("a", true).hints, "{\"pin\":1}");
}
END_TEST

START_TEST(moving_room_is_claimed_once_it_was_let_go)
{
	struct claimed got;
	uint64_t epoch;

	FROM_HERE(_i);
	epoch = do_open("a", "n1");
	OK(rooms_move(s, STR("a"), epoch + 1, DUE, &got, w));
	ck_assert(!got.won);
	OK(rooms_move(s, STR("a"), epoch, DUE, &got, w));
	ck_assert(got.won);
	OK(rooms_move(s, STR("a"), epoch, DUE, &got, w));
	ck_assert(got.won);
	ck_assert_int_eq(do_find("a", false).state, ROOM_MOVING);
	ck_assert(!do_claim("a", epoch, "n2").won);
	ck_assert(!do_publish("a", epoch, "").won);
	OK(rooms_forget(s, STR("a"), epoch, DUE, &got, w)); /* its node says that it has ended: it moves on all the same */
	ck_assert(!got.won && got.room.state == ROOM_MOVING);
	got = do_claim_lost("a", epoch, "n2");
	ck_assert(got.won && got.room.epoch > epoch);
	ck_assert_int_eq(got.room.state, ROOM_OPENING);
}
END_TEST

START_TEST(many_are_found_at_once)
{
	struct str names[300];
	struct room rooms[300];
	char text[300][8];

	FROM_HERE(_i);
	for (int i = 0; i < 300; i++) {
		snprintf(text[i], sizeof text[i], "r%d", i);
		names[i] = str_of(text[i]);
		if (i % 3)
			do_claim(text[i], 0, i % 3 == 1 ? "n1" : "n2");
	}
	OK(rooms_find_all(s, names, 300, false, DUE, rooms, w));
	for (int i = 0; i < 300; i++)
		ck_assert_str_eq(rooms[i].node, i % 3 == 0 ? "" : i % 3 == 1 ? "n1" : "n2");
	OK(rooms_find_all(s, names, 0, false, DUE, rooms, w));
}
END_TEST

START_TEST(asker_of_many_may_leave)
{
	struct awaited a = { .w.wake = awaited_wake };
	struct str names[50];
	struct room rooms[50];

	FROM_HERE(_i);
	for (int i = 0; i < 50; i++)
		names[i] = STR("a");
	if (rooms_find_all(s, names, 50, false, DUE, rooms, &a.w) == WAIT)
		wait_drop(&a.w);
	for (int i = 0; i < 20; i++)
		turn();
	ck_assert(!a.woken);
}
END_TEST

/* -- askers ----------------------------------------------------------------------------------------------------------------- */

START_TEST(asker_may_leave)
{
	struct claim claim = { .node = "n1", .incarnation = "inc", .registration = 7 };
	struct awaited a = { .w.wake = awaited_wake };
	struct claimed got = { 0 };
	int err;

	FROM_HERE(_i);
	err = rooms_claim(s, STR("a"), &claim, DUE, &got, &a.w);
	if (err == WAIT) {
		wait_drop(&a.w);
		UNTIL(do_find("a", true).state == ROOM_OPENING); /* it ran all the same */
		ck_assert(!a.woken && !got.won);
	}
}
END_TEST

START_TEST(freed_store_answers_its_askers)
{
	struct store *second = store_new(t.registry, t.loops[_i]);
	struct awaited a[3] = { { .w.wake = awaited_wake }, { .w.wake = awaited_wake }, { .w.wake = awaited_wake } };
	struct rooms_query all = { .limit = 10 };
	struct rooms_page page;
	struct nodes_all nodes = { 0 };
	struct room room;
	int err[3];

	UNTIL(store_up(second));
	err[0] = rooms_find(second, STR("x"), true, DUE, &room, &a[0].w);
	err[1] = rooms_list(second, &all, &t.arena, DUE, &page, &a[1].w);
	err[2] = nodes_all(second, &t.arena, DUE, &nodes, &a[2].w);
	store_free(second);
	for (int i = 0; i < 3; i++)
		ck_assert(err[i] == NEXT || (err[i] == WAIT && a[i].woken && a[i].err == -ERR_STORE_UNAVAILABLE));
}
END_TEST

void suite_rooms(Suite *suite, SFun begin, SFun end)
{
	TCase *tc = tcase_create("rooms");

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	BOTH(tc, claim_makes_a_new_room_opening);
	BOTH(tc, loser_is_told_the_winner);
	BOTH(tc, claim_from_a_record_that_is_gone_loses);
	BOTH(tc, open_room_can_be_claimed_when_its_owner_is_lost);
	BOTH(tc, epochs_grow_over_record_and_deletion);
	BOTH(tc, epochs_are_above_the_floor);
	BOTH(tc, floor_counts_at_most_a_day_ahead);
	BOTH(tc, floor_is_raised_by_what_is_read);
	BOTH(tc, confirm_wins_while_it_is_opening_and_changes_nothing);
	BOTH(tc, publish_opens_once_and_keeps_the_first_hints);
	BOTH(tc, publish_elsewhere_loses);
	BOTH(tc, longest_hints_come_back);
	BOTH(tc, shut_is_by_epoch);
	BOTH(tc, livekit_4797_an_old_epoch_deletes_nothing);
	BOTH(tc, names_are_bytes);
	BOTH(tc, known_room_needs_no_store);
	BOTH(tc, opening_rooms_are_not_in_the_table);
	BOTH(tc, distrusted_room_is_asked_again);
	BOTH(tc, changes_by_the_other_loop_are_seen);
	BOTH(tc, ended_rooms_leave_their_epoch_and_come_back_above_it);
	BOTH(tc, late_report_does_not_bring_back_what_has_ended);
	BOTH(tc, lost_record_comes_back_as_reported);
	BOTH(tc, restored_room_was_made_at_its_epoch_by_a_report);
	BOTH(tc, next_owner_inherits_nothing);
	BOTH(tc, another_owner_beats_any_report_while_the_store_is_whole);
	BOTH(tc, lost_hints_are_given_again);
	BOTH(tc, moving_room_is_claimed_once_it_was_let_go);
	BOTH(tc, owner_that_came_back_has_its_room_again);
	BOTH(tc, many_are_found_at_once);
	BOTH(tc, asker_of_many_may_leave);
	BOTH(tc, asker_may_leave);
	BOTH(tc, freed_store_answers_its_askers);
	suite_add_tcase(suite, tc);
}
