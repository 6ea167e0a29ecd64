/* SPDX-License-Identifier: Apache-2.0 */
/* Who lives, by our own watching alone; what a view holds; what outlives a view and what does not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "health/charges.h"
#include "tests/unit/health/stage.h"

#define FENCED_LIMIT (LEASE_MS + GRACE_MS)

static bool told(const char *text)
{
	bool is = strstr(stage.told, text) != NULL;

	if (is)
		stage.told[0] = '\0';
	return is;
}

static enum node_state state_of(const char *id)
{
	return stage_node(id)->state;
}

/* Just now, for so many nodes that are silent on. */
static void expect_silence_anew(unsigned nodes)
{
	stage_pass(FENCED_LIMIT - 600);
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(1500);
	ck_assert_uint_eq(stage.losses, nodes);
}

/* -- views ------------------------------------------------------------------------------------------------------------------- */
START_TEST(views_are_sorted_and_found)
{
	const struct fleet_view *view;
	uint64_t version = fleet_view(stage.fleet)->version;

	ck_assert(fleet_view(stage.fleet)->ready && !fleet_view(stage.fleet)->count);
	stage_ready("b");
	stage_ready("c");
	stage_ready("a");
	view = fleet_view(stage.fleet);
	ck_assert_uint_eq(view->count, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(view->nodes[i].record.id[0], "abc"[i]);
	ck_assert_uint_gt(view->version, version);
	ck_assert_ptr_null(fleet_find(stage.fleet, "d"));
	ck_assert(fleet_owns(stage.fleet, "b", "i1") && !fleet_owns(stage.fleet, "b", "i2") && !fleet_owns(stage.fleet, "b", ""));
}
END_TEST

static void comes(void) { stage_add("d", "i1", GATED); }
static void goes(void) { stage_remove("b"); }
static void begins_anew(void) { stage_add("a", "i2", GATED); }
static void is_lost(void) { stage_record("a")->lost = true; }
static void is_back(void) { stage_record("c")->lost = false; }
static void says_another_info(void) { stage_record("a")->info = STR("{\"signal_url\":\"ws://127.0.0.1:2/\"}"); }
static void beats(void) { stage_beat("a", "{\"cpu\":0.7}"); }
static void is_cordoned(void) { stage_record("a")->wish = WISH_CORDONED; }
static void nothing(void) { }

START_TEST(a_view_has_another_shape_where_nodes_are_others)
{
	static const struct { void (*happens)(void); bool changes; } cases[] = {
		{ comes, true }, { goes, true }, { begins_anew, true }, { is_lost, true }, { is_back, true }, { says_another_info, true },
		{ beats, false }, { is_cordoned, false }, { nothing, false },
	};

	stage_ready("a");
	stage_ready("b");
	stage_ready("c")->lost = true;
	stage_pass(HEARTBEAT_MS);
	uint64_t shape = fleet_view(stage.fleet)->shape, version = fleet_view(stage.fleet)->version;
	cases[_i].happens();
	stage_pass(HEARTBEAT_MS);
	ck_assert_uint_gt(fleet_view(stage.fleet)->version, version);
	ck_assert_int_eq(fleet_view(stage.fleet)->shape != shape, cases[_i].changes);
}
END_TEST

START_TEST(nodes_are_found_while_others_come_and_go)
{
	static const char *const ids[] = { "b", "d", "f", "h", "g", "e", "a", "c" };
	const size_t n = sizeof(ids) / sizeof(*ids);

	for (size_t i = 0; i < n; i++) {
		stage_ready(ids[i]);
		if (i == n / 2)
			stage_remove(ids[0]);
	}
	ck_assert_ptr_null(fleet_find(stage.fleet, "b"));
	for (size_t i = 0; i < n - 1; i++) {
		const struct node *node = &fleet_view(stage.fleet)->nodes[i];
		ck_assert_ptr_eq(stage_node(node->record.id), node);
		fleet_charged(stage.fleet, node->record.id, 1, 0.1 * (double)(i + 1)); /* which takes its seat */
		ck_assert(meter_extra(node->meter) == 0.1 * (double)(i + 1));
	}
}
END_TEST

/* -- hearsay: a process that has started while the store is away ------------------------------------------------------------------ */
static struct fleet *fleet_without_store(void)
{
	struct fleet_conf conf = stage_conf();

	stage.away = true;
	struct fleet *fleet = fleet_new(stage.loop, &stage.store, stage.retire, &conf);
	fleet_start(fleet);
	stage_pass(50);
	return fleet;
}

static void hear(struct fleet *fleet, const char *incarnation, uint64_t registration, bool listed)
{
	struct node_record record = { .id = "a", .registration = registration, .seq = 1, .lease_ms = LEASE_MS, .listed = listed };
	struct node_info info = { .signal_url = "ws://127.0.0.1:1/" };

	snprintf(record.incarnation, sizeof(record.incarnation), "%s", incarnation);
	fleet_hear(fleet, &record, &info);
	stage_turn();
}

START_TEST(livekit_4663_nodes_that_are_heard_of_own_rooms_and_get_none)
{
	struct fleet *fleet = fleet_without_store();

	hear(fleet, "i1", 7, true);
	ck_assert(fleet_owns(fleet, "a", "i1"));
	ck_assert_str_eq(fleet_find(fleet, "a")->info.signal_url, "ws://127.0.0.1:1/");
	ck_assert(!fleet_view(fleet)->ready); /* nothing is placed by it */
	fleet_free(fleet);
}
END_TEST

START_TEST(of_two_that_are_heard_of_under_one_name_the_later_registration_counts)
{
	struct fleet *fleet = fleet_without_store();

	hear(fleet, "i2", 8, false);
	hear(fleet, "i1", 7, true); /* one that has not heard yet that it is over */
	ck_assert(fleet_owns(fleet, "a", "i2") && !fleet_owns(fleet, "a", "i1"));
	ck_assert(!fleet_find(fleet, "a")->record.listed);
	hear(fleet, "i3", 9, false);
	ck_assert(fleet_owns(fleet, "a", "i3") && !fleet_owns(fleet, "a", "i2"));
	fleet_free(fleet);
}
END_TEST

START_TEST(what_was_heard_gives_way_to_the_store)
{
	struct fleet *fleet = fleet_without_store();

	hear(fleet, "i1", 7, true);
	stage.away = false;
	stage_pass(1000);
	ck_assert(fleet_view(fleet)->ready && !fleet_find(fleet, "a"));
	hear(fleet, "i1", 7, true);
	ck_assert_ptr_null(fleet_find(fleet, "a"));
	fleet_free(fleet);
}
END_TEST

START_TEST(a_view_is_not_ready_before_the_first_answer)
{
	struct fleet_conf conf = stage_conf();
	struct fleet *second;

	stage.away = true;
	second = fleet_new(stage.loop, &stage.store, stage.retire, &conf);
	ck_assert(!fleet_view(second)->ready && !fleet_find(second, "a"));
	fleet_start(second);
	stage_pass(1000);
	ck_assert(!fleet_view(second)->ready);
	stage.away = false;
	stage_pass(1000);
	ck_assert(fleet_view(second)->ready);
	fleet_free(second);
}
END_TEST

START_TEST(asked_for_while_one_is_under_way_is_once_more)
{
	stage.holds = true;
	fleet_refresh(stage.fleet);
	stage_turn();
	stage_pass(50);
	fleet_refresh(stage.fleet);
	fleet_refresh(stage.fleet);
	ck_assert_ptr_nonnull(stage.asked.waiter);
	stage_answer(0);
	unsigned readings = stage.readings;
	stage.holds = false;
	stage_pass(150);
	ck_assert_uint_eq(stage.readings, readings + 1);
}
END_TEST

/* 250 ms to be read ask for a pause of 750 ms; half a heartbeat is the longest. */
START_TEST(a_reading_that_took_long_is_not_followed_at_once)
{
	stage_pass(HEARTBEAT_MS);
	stage.holds = true;
	fleet_refresh(stage.fleet);
	stage_pass(300);
	fleet_refresh(stage.fleet);
	stage_answer(0);
	unsigned readings = stage.readings;
	stage.holds = false;
	stage_pass(100);
	fleet_refresh(stage.fleet);
	stage_pass(HEARTBEAT_MS / 2 - 150);
	ck_assert_uint_eq(stage.readings, readings);
	stage_pass(100);
	ck_assert_uint_eq(stage.readings, readings + 1);
}
END_TEST

START_TEST(a_node_is_joining_until_it_was_heard)
{
	stage_add("a", "i1", GATED);
	stage_pass(500);
	ck_assert_int_eq(state_of("a"), NODE_JOINING);
	ck_assert(stage_node("a")->why_not & WHY_NOT(JOINING));
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(500);
	ck_assert_int_eq(state_of("a"), NODE_READY);
	ck_assert_uint_eq(stage_node("a")->why_not, 0);
	ck_assert_uint_ge(stage_node("a")->registered_ms, stage.now - 500); /* slow start begins at the first heartbeat */
	ck_assert(told("a joining>ready;"));
}
END_TEST

/* -- large fleets: slice by slice ------------------------------------------------------------------------------------------------ */
/* The readings before it came in slices, too: so records go to their places as they come. */
static void begin_slices(void)
{
	stage_ready("b");
	stage_ready("c");
	stage_ready("a");
	stage.slice = 1;
	for (unsigned readings = stage.readings; stage.readings < readings + 2;)
		stage_pass(50);
	stage.holds = true;
	fleet_refresh(stage.fleet);
	stage_pass(50);
	ck_assert_ptr_nonnull(stage.asked.waiter);
}

/* 50 ms ask for a pause of 150 ms; 100 ms for 300, but half of half a heartbeat is the longest, as three nodes are two slices for a fleet. */
START_TEST(between_two_slices_is_a_rest)
{
	begin_slices();
	uint64_t version = fleet_view(stage.fleet)->version;
	stage_pass(50);
	stage_answer(0);
	stage_pass(100);
	ck_assert_ptr_null(stage.asked.waiter);
	stage_pass(50);
	ck_assert_ptr_nonnull(stage.asked.waiter);
	stage_pass(100);
	stage_answer(0);
	stage_pass(200);
	ck_assert_ptr_null(stage.asked.waiter);
	ck_assert_uint_eq(fleet_view(stage.fleet)->version, version);
	stage_pass(50);
	stage_answer(0);
	ck_assert_uint_eq(fleet_view(stage.fleet)->version, version + 1);
	ck_assert_uint_eq(fleet_view(stage.fleet)->count, 3);
	ck_assert(fleet_find(stage.fleet, "a") && fleet_find(stage.fleet, "b") && fleet_find(stage.fleet, "c"));
	ck_assert_uint_eq(fleet_store_ms(stage.fleet, stage.now), stage.now + stage.store_ahead_ms); /* told by the first */
}
END_TEST

START_TEST(asked_for_between_two_slices_is_once_more)
{
	begin_slices();
	stage_answer(0);
	fleet_refresh(stage.fleet);
	stage.holds = false;
	unsigned readings = stage.readings;
	while (stage.readings == readings) /* the one under way */
		stage_pass(50);
	stage_pass(150);
	ck_assert_uint_eq(stage.readings, readings + 2);
}
END_TEST

/* What is asked meanwhile whether the store is away is answered by slices, not by readings. */
START_TEST(the_store_is_there_while_slices_come)
{
	begin_slices();
	for (int slice = 0; slice < 2; slice++) {
		stage_pass(450);
		stage_answer(0);
		stage_pass(250);
		ck_assert(!fleet_is_away(stage.fleet, stage.now));
	}
	stage_pass(700);
	ck_assert(!fleet_is_away(stage.fleet, stage.now));
	stage_pass(50);
	ck_assert(fleet_is_away(stage.fleet, stage.now));
	stage_answer(0);
	ck_assert(!fleet_is_away(stage.fleet, stage.now));
}
END_TEST

/* Who was told that the store is away goes on for a lease: it must not be called lost by a silence that began before. */
START_TEST(after_the_store_was_away_silence_begins_anew)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 1200);
	stage.holds = true;
	while (!fleet_is_away(stage.fleet, stage.now)) {
		stage_pass(50);
		if (stage.asked.waiter && _i) /* no answer, or a failure */
			stage_answer(-ERR_STORE_UNAVAILABLE);
	}
	stage.holds = false;
	if (stage.asked.waiter)
		stage_answer(0);
	expect_silence_anew(1);
}
END_TEST

/* None of it was late by itself: the pause, our loop, the answer. */
START_TEST(answers_far_apart_begin_silence_anew)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 2000);
	for (unsigned readings = stage.readings; stage.readings == readings;)
		stage_pass(50);
	stage.holds = true;
	stage_pass(450);
	stage_stall(350);
	stage_pass(400);
	ck_assert(fleet_is_away(stage.fleet, stage.now));
	stage_answer(0);
	stage.holds = false;
	expect_silence_anew(1);
}
END_TEST

static void wait_until_asked(void)
{
	for (int i = 0; !stage.asked.waiter; i++) {
		ck_assert_int_lt(i, 100);
		stage_pass(50);
	}
}

/* It is dated by this host's clock, while a reading that brings the store's is under way. */
START_TEST(heard_between_two_slices_is_heard_now)
{
	struct fleet_conf conf = stage_conf();
	struct node_record record = { .id = "h", .incarnation = "i1", .registration = 1, .seq = 1, .lease_ms = LEASE_MS };
	struct node_info info = { .signal_url = "ws://127.0.0.1:1/" };
	struct fleet *second = fleet_new(stage.loop, &stage.store, stage.retire, &conf);

	stage_add("a", "i1", GATED);
	stage_add("b", "i1", GATED);
	stage.store_ahead_ms = UINT64_C(9000000000000);
	stage.slice = 1;
	stage.holds = true;
	fleet_free(stage.fleet);
	stage.fleet = second;
	fleet_start(second);
	stage_pass(50);
	stage_answer(0);
	fleet_hear(second, &record, &info);
	stage_turn();
	ck_assert_uint_eq(stage_node("h")->changed_ms, stage.now);
}
END_TEST

static void hear_all(const char *ids)
{
	struct node_info info = { .signal_url = "ws://127.0.0.1:1/" };

	for (; *ids; ids++) {
		struct node_record record = { .id = { *ids }, .incarnation = "i1", .registration = 100, .lease_ms = LEASE_MS };
		fleet_hear(stage.fleet, &record, &info);
	}
	stage_turn();
}

/* Seats come between those for which places were made: the last record would go past them (a sanitizer sees that). */
START_TEST(heard_between_two_slices_are_more_than_there_are_places)
{
	static const char ids[] = "abcde01";
	struct fleet_conf conf = stage_conf();
	struct fleet *second = fleet_new(stage.loop, &stage.store, stage.retire, &conf);

	for (const char *id = ids; *id; id++)
		stage_add((char[]){ *id, '\0' }, "i1", GATED);
	stage.slice = 1;
	stage.holds = true;
	fleet_free(stage.fleet);
	stage.fleet = second;
	fleet_start(second);
	stage_pass(50);
	stage_answer(0);
	wait_until_asked();
	stage_answer(-ERR_STORE_UNAVAILABLE);
	hear_all("abcde");
	wait_until_asked();
	hear_all("01");
	while (!fleet_view(second)->ready) {
		wait_until_asked();
		stage_answer(0);
	}
	ck_assert_uint_eq(fleet_view(second)->count, strlen(ids));
	for (const char *id = ids; *id; id++)
		ck_assert(fleet_owns(second, (char[]){ *id, '\0' }, "i1"));
}
END_TEST

START_TEST(a_slice_that_comes_late_begins_silence_anew)
{
	begin_slices();
	stage_answer(0);
	stage_pass(600);
	stage_answer(0);
	stage.holds = false;
	expect_silence_anew(3);
}
END_TEST

/* However long all of it takes, while each slice comes in time. */
START_TEST(silence_counts_while_slices_come_in_time)
{
	begin_slices();
	for (int slice = 0; slice < 3; slice++) {
		stage_pass(400);
		stage_answer(0);
		stage_pass(200);
	}
	stage.holds = false;
	stage_pass(FENCED_LIMIT - 2000);
	ck_assert_uint_eq(stage.losses, 3);
}
END_TEST

static void end_slices(void)
{
	uint64_t version = fleet_view(stage.fleet)->version;

	for (int i = 0; fleet_view(stage.fleet)->version == version; i++) {
		ck_assert_int_lt(i, 100);
		stage_pass(50);
		if (stage.asked.waiter)
			stage_answer(0);
	}
}

START_TEST(what_comes_in_slices_stands_in_its_place)
{
	const struct fleet_view *view;

	begin_slices();
	stage_beat("c", "{\"cpu\":0.7}");
	stage_record("a")->info = STR("{\"signal_url\":\"ws://127.0.0.1:2/\"}");
	uint64_t was_changed_ms = stage_node("b")->changed_ms;
	end_slices();
	view = fleet_view(stage.fleet);
	ck_assert_uint_eq(view->count, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(view->nodes[i].record.id[0], "abc"[i]);
	ck_assert_str_eq(stage_node("a")->info.signal_url, "ws://127.0.0.1:2/");
	ck_assert_double_eq_tol(stage_node("b")->load.cpu, 0.1, 1e-9);
	ck_assert_uint_eq(stage_node("b")->changed_ms, was_changed_ms);
	ck_assert_double_eq_tol(stage_node("c")->load.cpu, 0.7, 1e-9);
	ck_assert_uint_eq(stage_node("c")->changed_ms, stage.now);
}
END_TEST

/* All of the others stand in their places by then. */
START_TEST(who_comes_or_goes_is_seen_in_slices)
{
	static const struct { const char *goes, *comes, *view; } cases[] = {
		{ NULL, "d", "abcd" }, { "b", NULL, "ac" }, { "c", "d", "abd" },
	};
	const struct fleet_view *view;

	begin_slices();
	if (cases[_i].goes)
		stage_remove(cases[_i].goes);
	if (cases[_i].comes)
		stage_add(cases[_i].comes, "i2", GATED);
	end_slices();
	view = fleet_view(stage.fleet);
	ck_assert_uint_eq(view->count, strlen(cases[_i].view));
	for (size_t i = 0; i < view->count; i++)
		ck_assert_int_eq(view->nodes[i].record.id[0], cases[_i].view[i]);
	ck_assert(!cases[_i].comes || fleet_owns(stage.fleet, cases[_i].comes, "i2"));
	ck_assert(!cases[_i].comes || state_of(cases[_i].comes) == NODE_JOINING);
}
END_TEST

START_TEST(another_process_gets_a_seat_of_its_own_in_slices)
{
	begin_slices();
	fleet_charged(stage.fleet, "a", 500, 0.25);
	stage_add("a", "i2", GATED);
	end_slices();
	ck_assert(fleet_owns(stage.fleet, "a", "i2"));
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0, 1e-9);
}
END_TEST

/* The view that is published shows the old one, whatever becomes of the reading; and the next one need not read it again. */
START_TEST(an_info_that_came_with_a_reading_that_failed)
{
	uint64_t shape;

	begin_slices();
	shape = fleet_view(stage.fleet)->shape;
	stage_record("b")->info = STR("{\"signal_url\":\"ws://127.0.0.1:2/\"}");
	stage_answer(0);
	wait_until_asked();
	stage_answer(-ERR_STORE_UNAVAILABLE);
	stage_pass(200);
	ck_assert_str_eq(stage_node("b")->info.signal_url, "ws://127.0.0.1:1/");
	end_slices();
	ck_assert_str_eq(stage_node("b")->info.signal_url, "ws://127.0.0.1:2/");
	ck_assert_uint_ne(fleet_view(stage.fleet)->shape, shape);
}
END_TEST

START_TEST(a_record_that_cannot_be_read_is_told_in_slices)
{
	static const char *const unread[] = { "b", "x" };

	begin_slices();
	stage.unread[stage.nunread++] = unread[_i];
	end_slices();
	ck_assert_str_eq(fleet_view(stage.fleet)->unread[0], unread[_i]);
	ck_assert_uint_eq(fleet_view(stage.fleet)->count, 3);
	ck_assert_int_eq((stage_node("b")->why_not & WHY_NOT(UNREADABLE)) != 0, !_i);
	ck_assert(!(stage_node("a")->why_not & WHY_NOT(UNREADABLE)));
}
END_TEST

START_TEST(a_store_that_names_a_node_twice_leaves_no_place_empty)
{
	begin_slices();
	strcpy(stage_record("b")->id, "c");
	end_slices();
	for (size_t i = 0; i < fleet_view(stage.fleet)->count; i++)
		ck_assert_int_ne(fleet_view(stage.fleet)->nodes[i].record.id[0], '\0');
}
END_TEST

/* Its record came with the first slice, but nobody sees that yet, or ever will. */
START_TEST(a_charge_counts_on_until_a_view_shows_it)
{
	struct charge charge = { .number = 500, .at_ms = stage.now + HEARTBEAT_MS + stage.store_ahead_ms, .cost = 0.2 };
	struct node_record *record;

	begin_slices();
	fleet_charged(stage.fleet, "b", charge.number, charge.cost);
	record = stage_record("b");
	record->charges = &charge;
	record->ncharges = 1;
	record->charged = charge.number;
	stage_answer(0);
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("b"), stage.now), 0.2, 0.02);
	if (_i) {
		wait_until_asked();
		stage_answer(-ERR_STORE_UNAVAILABLE);
	} else {
		end_slices();
	}
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("b"), stage.now), 0.2, 0.02);
}
END_TEST

START_TEST(full_between_two_slices_is_full_in_the_view)
{
	struct call_result full = { .node = "b", .incarnation = "i1", .class = CLASS_CONTROL, .result = RESULT_NOTHING, .full_ms = 60000 };

	begin_slices();
	stage_answer(0);
	fleet_report(stage.fleet, &full);
	stage_turn();
	end_slices();
	ck_assert_uint_eq(stage_node("b")->why_not & WHY_NOT(FULL), WHY_NOT(FULL));
}
END_TEST

START_TEST(a_fleet_may_end_between_two_slices)
{
	begin_slices();
	stage_pass(50);
	stage_record("b")->info = STR("{\"signal_url\":\"ws://127.0.0.1:2/\"}");
	stage_answer(0);
	fleet_free(stage.fleet);
	stage.fleet = NULL;
	stage_pass(500);
}
END_TEST

/* -- silence ------------------------------------------------------------------------------------------------------------------- */
/* colyseus#968: one missed heartbeat takes nothing away; jicofo#1143: it comes back by itself. */
START_TEST(jicofo_1143_half_an_interval_late_and_back_again)
{
	stage_ready("a");
	stage_pass(HEARTBEAT_MS + HEARTBEAT_MS / 2 - 100);
	ck_assert_int_eq(state_of("a"), NODE_READY);
	stage_pass(600);
	ck_assert_int_eq(state_of("a"), NODE_LATE);
	ck_assert(stage_node("a")->why_not & WHY_NOT(LATE));
	ck_assert(told("a ready>late;"));
	ck_assert(fleet_owns(stage.fleet, "a", "i1") && !stage.losses);
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(500);
	ck_assert_int_eq(state_of("a"), NODE_READY);
	ck_assert(told("a late>ready;"));
}
END_TEST

START_TEST(silent_for_lease_and_grace_is_lost_in_the_store)
{
	stage_ready("a");
	stage_ready("b");
	stage_pass(FENCED_LIMIT - 150);
	ck_assert_uint_eq(stage.losses, 0);
	stage_beat("b", "{\"cpu\":0.1}");
	stage_pass(700);
	ck_assert(stage_record("a")->lost && !stage_record("b")->lost);
	stage_pass(500);
	ck_assert_int_eq(state_of("a"), NODE_LOST);
	ck_assert(!fleet_owns(stage.fleet, "a", "i1") && fleet_owns(stage.fleet, "b", "i1"));
	ck_assert(told("a late>lost;"));
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

START_TEST(the_granted_lease_counts_not_the_configured_one)
{
	stage_ready("a")->lease_ms = 10000;
	stage_pass(FENCED_LIMIT + 5000);
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(1200);
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

START_TEST(without_a_fence_the_wait_is_longer)
{
	stage_ready("a")->info = STR("{\"signal_url\":\"ws://127.0.0.1:1/\"}");
	stage_pass(UNFENCED_MS - 150);
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(700);
	ck_assert(stage_record("a")->lost);
}
END_TEST

START_TEST(a_router_that_a_node_asks_calls_it_lost_in_time)
{
	static const char *const naming_us[] = { "http://rt:1", "http://other:1 http://rt:1/", "" /* it names nobody */ };

	stage_ready("a")->routers = str_of(naming_us[_i]);
	stage_pass(FENCED_LIMIT + 700);
	ck_assert(stage_record("a")->lost);
}
END_TEST

/* While those that it asks are cut off from the store it goes on, and never said so to us. */
START_TEST(a_router_that_a_node_does_not_ask_waits)
{
	static const char *const naming_others[] = { "http://other:1", "http://rt:11 http://rt", "http://art:1" };

	stage_ready("a")->routers = str_of(naming_others[_i]);
	stage_pass(UNLISTED_MS - 150);
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(700);
	ck_assert(stage_record("a")->lost); /* all that it asks may be gone for good */
}
END_TEST

START_TEST(silence_counts_only_while_the_store_answers)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 500);
	stage.away = true;
	stage_pass(20000);
	ck_assert_uint_eq(stage.losses, 0);
	ck_assert_ptr_nonnull(fleet_find(stage.fleet, "a")); /* known is enough */
	ck_assert(fleet_owns(stage.fleet, "a", "i1"));
	stage.away = false;
	stage_pass(FENCED_LIMIT - 100); /* counts from zero */
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(1200);
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

START_TEST(one_failed_reading_begins_silence_anew)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 1000);
	unsigned readings = stage.readings;
	stage.away = true;
	fleet_refresh(stage.fleet);
	stage_pass(50);
	stage.away = false;
	fleet_refresh(stage.fleet); /* answered so soon after the last answer that nobody has called the store away */
	stage_pass(50);
	ck_assert_uint_eq(stage.readings, readings + 1);
	expect_silence_anew(1);
}
END_TEST

START_TEST(silence_counts_only_while_our_loop_turns)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 1000 + (uint64_t)_i * 50);
	stage_stall(501 + (uint64_t)_i * 7); /* wherever it begins between two readings */
	stage_pass(FENCED_LIMIT - 100);
	ck_assert_uint_eq(stage.losses, 0);
	stage_pass(1500);
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

/* Answers that come late leave a gap in what we saw, like none. */
START_TEST(silence_counts_only_while_answers_come_in_time)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 1000);
	stage.holds = true;
	stage_pass(2000);
	stage_answer(0);
	stage.holds = false;
	expect_silence_anew(1);
}
END_TEST

START_TEST(another_store_begins_silence_anew)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 500);
	stage.store_ahead_ms -= 3600000; /* its clock went back */
	expect_silence_anew(1);
}
END_TEST

/* However quick: agents may be slower to find the other primary than we were. */
START_TEST(a_reconnection_begins_silence_anew)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 500);
	stage.connections++;
	expect_silence_anew(1);
}
END_TEST

/* A snapshot that was put back says "heard an hour ago": the store's clock is no observer. */
START_TEST(an_old_record_that_appears_is_watched_first)
{
	stage_pass(10000);
	stage_ready("a")->heard_ms -= 3600000;
	stage_remove("a");
	stage_pass(1000);
	stage_add("a", "i1", GATED)->heard_ms -= 3600000;
	stage_record("a")->seq = 7;
	stage_pass(FENCED_LIMIT - 100);
	ck_assert_uint_eq(stage.losses, 0);
	ck_assert_int_eq(state_of("a"), NODE_LATE);
	stage_pass(1000);
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

START_TEST(heard_between_the_reading_and_the_verdict_lives)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 150);
	stage.holds_losing = true;
	stage_pass(1200);
	ck_assert_uint_eq(stage.losses, 1); /* asked once, however often it is read meanwhile */
	stage_beat("a", "{\"cpu\":0.1}");
	stage.holds_losing = false;
	wait_wake(op_detach(&stage.losing), 0); /* the store found another seq */
	stage_pass(600);
	ck_assert_int_eq(state_of("a"), NODE_READY);
	ck_assert_uint_eq(stage.losses, 1);
}
END_TEST

START_TEST(a_node_may_leave_while_it_is_being_lost)
{
	stage_ready("a");
	stage_pass(FENCED_LIMIT - 150);
	stage.holds_losing = true;
	stage_pass(1200);
	ck_assert_ptr_nonnull(stage.losing.waiter);
	stage_remove("a");
	stage_pass(600);
	ck_assert_ptr_null(stage.losing.waiter);
	ck_assert_ptr_null(fleet_find(stage.fleet, "a"));
}
END_TEST

/* -- records that cannot be read -------------------------------------------------------------------------------------------------- */
START_TEST(a_damaged_record_is_taken_over_and_hides_no_leave)
{
	stage_ready("a");
	stage_ready("b");
	stage.unread[0] = "a";
	stage.nunread = 1;
	stage_pass(600);
	ck_assert(fleet_owns(stage.fleet, "a", "i1"));
	stage_remove("b");
	stage_pass(600);
	ck_assert_ptr_null(fleet_find(stage.fleet, "b"));
	ck_assert(fleet_owns(stage.fleet, "a", "i1"));
	stage.nunread = 0;
	stage_pass(600);
	ck_assert_uint_eq(fleet_view(stage.fleet)->count, 1);
}
END_TEST

/* -- seats ------------------------------------------------------------------------------------------------------------------------ */
static void fail_calls(const char *node, enum breaker_class class, unsigned times)
{
	const struct node *n = stage_node(node);
	struct call_result result = { .class = class, .result = RESULT_FAILURE };
	uint64_t retry_ms;

	memcpy(result.node, n->record.id, sizeof(result.node));
	memcpy(result.incarnation, n->record.incarnation, sizeof(result.incarnation));
	while (times--) {
		ck_assert_int_eq(breaker_admit(n->breakers[class], stage.now, &result.admission, &retry_ms), 0);
		fleet_report(stage.fleet, &result);
		stage_turn();
	}
}

static enum breaker_state breaker_of(const char *node, enum breaker_class class)
{
	uint64_t retry_ms;

	return breaker_state(stage_node(node)->breakers[class], stage.now, &retry_ms);
}

START_TEST(another_incarnation_starts_closed_and_free_of_charges)
{
	stage_ready("a");
	fail_calls("a", CLASS_CONTROL, 2);
	fleet_charged(stage.fleet, "a", UINT64_C(1700000000001), 0.25);
	ck_assert_int_eq(breaker_of("a", CLASS_CONTROL), BREAKER_OPEN);
	ck_assert(told("a control closed>open;"));
	ck_assert_double_gt(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0.2);
	stage_add("a", "i2", GATED);
	stage_pass(600);
	ck_assert_int_eq(breaker_of("a", CLASS_CONTROL), BREAKER_CLOSED);
	ck_assert(told("a control open>closed;"));
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0, 1e-9);
}
END_TEST

START_TEST(results_of_the_process_before_say_nothing_of_this_one)
{
	struct call_result old = { .node = "a", .incarnation = "i1", .class = CLASS_CONTROL, .result = RESULT_FAILURE };

	stage_ready("a");
	stage_add("a", "i2", GATED);
	stage_pass(600);
	for (int i = 0; i < 5; i++)
		fleet_report(stage.fleet, &old);
	stage_turn();
	ck_assert_uint_eq(breaker_failures(stage_node("a")->breakers[CLASS_CONTROL]), 0);
}
END_TEST

START_TEST(the_same_process_keeps_its_breaker_over_a_registration)
{
	struct node_record *record = stage_ready("a");

	fail_calls("a", CLASS_CONTROL, 2);
	record->registration++;
	record->seq = 1;
	stage_pass(600);
	ck_assert_int_eq(breaker_of("a", CLASS_CONTROL), BREAKER_OPEN);
}
END_TEST

START_TEST(an_operators_reset_closes)
{
	struct node_record *record = stage_ready("a");

	fail_calls("a", CLASS_SIGNAL, 2);
	ck_assert(stage_node("a")->why_not == 0); /* one of one: over max_ejected, it does not steer */
	stage_ready("b");
	stage_ready("c");
	ck_assert_uint_eq(stage_node("a")->why_not, WHY_NOT(BREAKER));
	record->resets++;
	stage_pass(600);
	ck_assert_int_eq(breaker_of("a", CLASS_SIGNAL), BREAKER_CLOSED);
	stage_pass(600);
	ck_assert_uint_eq(stage_node("a")->why_not & WHY_NOT(BREAKER), 0);
}
END_TEST

START_TEST(breakers_matter_while_one_is_not_closed)
{
	struct node_record *a = stage_ready("a");

	stage_ready("b");
	ck_assert(!breakers_matter(fleet_view(stage.fleet)));
	fail_calls("a", CLASS_CONTROL, 2);
	fail_calls("b", CLASS_SIGNAL, 2);
	ck_assert(breakers_matter(fleet_view(stage.fleet)));
	a->resets++;
	stage_pass(600);
	ck_assert(breakers_matter(fleet_view(stage.fleet)));
	stage_add("b", "i2", GATED); /* another process */
	stage_pass(600);
	ck_assert(!breakers_matter(fleet_view(stage.fleet)));
}
END_TEST

START_TEST(past_max_ejected_breakers_steer_nothing)
{
	for (int i = 0; i < 4; i++)
		stage_ready((const char *[]){ "a", "b", "c", "d" }[i]);
	fail_calls("a", CLASS_CONTROL, 2);
	fail_calls("b", CLASS_SIGNAL, 2);
	stage_pass(50);
	ck_assert(breakers_steer(fleet_view(stage.fleet), "default", 0.5, stage.now));
	ck_assert(stage_node("a")->why_not & WHY_NOT(BREAKER) && stage_node("b")->why_not & WHY_NOT(BREAKER));
	fail_calls("c", CLASS_CONTROL, 2);
	stage_pass(50);
	ck_assert(!breakers_steer(fleet_view(stage.fleet), "default", 0.5, stage.now));
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(stage_node((const char *[]){ "a", "b", "c" }[i])->why_not, 0);
	ck_assert(breakers_steer(fleet_view(stage.fleet), "other", 0.5, stage.now));
}
END_TEST

/* Nodes by id are of one pool and the other in turn. */
START_TEST(each_pool_is_steered_by_its_own_breakers)
{
	static const char *const ids[] = { "a", "b", "c", "d", "e", "f" };

	for (int i = 0; i < 6; i++)
		stage_ready(ids[i])->info = i % 2 ? STR("{\"signal_url\":\"ws://127.0.0.1:1/\",\"pool\":\"p\"}") : STR(GATED);
	fail_calls("b", CLASS_CONTROL, 2); /* one of three */
	fail_calls("c", CLASS_CONTROL, 2); /* two of three */
	fail_calls("e", CLASS_CONTROL, 2);
	stage_pass(50);
	for (int i = 0; i < 6; i++)
		ck_assert_uint_eq(stage_node(ids[i])->why_not, i == 1 ? WHY_NOT(BREAKER) : 0);
	fail_calls("d", CLASS_CONTROL, 2);
	stage_pass(50);
	for (int i = 0; i < 6; i++)
		ck_assert_uint_eq(stage_node(ids[i])->why_not, 0);
}
END_TEST

START_TEST(a_full_node_gets_no_rooms_for_the_time_it_said)
{
	struct call_result full = { .node = "a", .incarnation = "i1", .class = CLASS_CONTROL, .result = RESULT_NOTHING, .full_ms = 3000 };

	stage_ready("a");
	fleet_report(stage.fleet, &full);
	stage_turn();
	stage_pass(50);
	ck_assert_uint_eq(stage_node("a")->why_not, WHY_NOT(FULL));
	stage_live(4000, "a");
	ck_assert_uint_eq(stage_node("a")->why_not, 0);
	full.full_ms = UINT64_MAX; /* no node closes itself for ever */
	fleet_report(stage.fleet, &full);
	stage_turn();
	stage_pass(50);
	ck_assert_uint_le(stage_node("a")->full_until_ms, stage.now + 300000);
}
END_TEST

/* -- charges ------------------------------------------------------------------------------------------------------------------------ */
/* scalelite#1048: a report that was sampled before a placement does not erase its charge. */
START_TEST(scalelite_1048_an_older_report_does_not_erase_a_charge)
{
	struct charge charge = { .number = 500, .cost = 0.2 };
	struct node_record *record = stage_ready("a");

	charge.at_ms = stage.now + stage.store_ahead_ms;
	record->charges = &charge;
	record->ncharges = 1;
	record->charged = 500;
	record->seen = 499;
	record->shown = 99;
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(500);
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0.2 * (1 - 500.0 / RAMP_MS), 0.01);
	record->seen = 500;
	record->shown = 0.15;
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(500);
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0.2 * (1 - 1000.0 / RAMP_MS) - 0.15, 0.01);
	stage_live(RAMP_MS, "a");
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0, 1e-9);
}
END_TEST

START_TEST(others_charges_are_told_from_ours)
{
	double cost;

	stage_ready("a");
	ck_assert_uint_eq(fleet_others_ms(stage.fleet), 0);
	cost = meter_pend(stage_node("a")->meter, 0.1, stage.now);
	fleet_charged(stage.fleet, "a", UINT64_C(1700000000001), cost);
	ck_assert_uint_eq(fleet_others_ms(stage.fleet), 0);
	fleet_charged(stage.fleet, "a", UINT64_C(1700000000002), 0.1);
	ck_assert_uint_eq(fleet_others_ms(stage.fleet), stage.now);
	fleet_charged(stage.fleet, "nobody", 1, 0.1);
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0.2, 1e-6);
	stage.away = true; /* nothing leaks while the store is away */
	stage_pass(RAMP_MS + 1000);
	ck_assert_double_eq_tol(fleet_charges(stage.fleet, stage_node("a"), stage.now), 0, 1e-9);
}
END_TEST

/* -- the end ------------------------------------------------------------------------------------------------------------------------- */
START_TEST(reports_may_arrive_after_the_fleet)
{
	struct call_result result = { .node = "a", .incarnation = "i1", .result = RESULT_FAILURE };

	stage_ready("a");
	fleet_report(stage.fleet, &result);
	fleet_report(stage.fleet, &result);
	fleet_free(stage.fleet);
	stage.fleet = NULL;
	stage_turn(); /* under ASan: nobody is touched, nothing is left */
}
END_TEST

START_TEST(a_fleet_may_end_while_it_asks)
{
	stage_ready("a");
	stage.holds = true;
	fleet_refresh(stage.fleet);
	stage_pass(50);
	ck_assert_ptr_nonnull(stage.asked.waiter);
	fleet_free(stage.fleet);
	stage.fleet = NULL;
	ck_assert_ptr_null(stage.asked.waiter);
}
END_TEST

static void each_line(void *arg, const struct breaker_line *line)
{
	ck_assert_str_eq(line->node, "a");
	ck_assert_int_eq(line->class, CLASS_SIGNAL);
	ck_assert_int_eq(line->state, BREAKER_OPEN);
	ck_assert(line->failures == 2 && line->retry_ms == 1000);
	++*(unsigned *)arg;
}

START_TEST(breakers_that_are_not_closed_are_listed)
{
	unsigned lines = 0;

	stage_ready("a");
	stage_ready("b");
	fail_calls("a", CLASS_SIGNAL, 2);
	fleet_breakers(stage.fleet, each_line, &lines);
	ck_assert_uint_eq(lines, 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/fleet");
	TCase *tc = tcase_create("fleet");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, stage_open, stage_close);
	tcase_add_test(tc, views_are_sorted_and_found);
	tcase_add_loop_test(tc, a_view_has_another_shape_where_nodes_are_others, 0, 9);
	tcase_add_test(tc, nodes_are_found_while_others_come_and_go);
	tcase_add_test(tc, a_view_is_not_ready_before_the_first_answer);
	tcase_add_test(tc, livekit_4663_nodes_that_are_heard_of_own_rooms_and_get_none);
	tcase_add_test(tc, of_two_that_are_heard_of_under_one_name_the_later_registration_counts);
	tcase_add_test(tc, what_was_heard_gives_way_to_the_store);
	tcase_add_test(tc, asked_for_while_one_is_under_way_is_once_more);
	tcase_add_test(tc, a_reading_that_took_long_is_not_followed_at_once);
	tcase_add_test(tc, a_node_is_joining_until_it_was_heard);
	tcase_add_test(tc, between_two_slices_is_a_rest);
	tcase_add_test(tc, asked_for_between_two_slices_is_once_more);
	tcase_add_test(tc, the_store_is_there_while_slices_come);
	tcase_add_loop_test(tc, after_the_store_was_away_silence_begins_anew, 0, 2);
	tcase_add_test(tc, answers_far_apart_begin_silence_anew);
	tcase_add_test(tc, heard_between_two_slices_is_heard_now);
	tcase_add_test(tc, heard_between_two_slices_are_more_than_there_are_places);
	tcase_add_test(tc, a_slice_that_comes_late_begins_silence_anew);
	tcase_add_test(tc, silence_counts_while_slices_come_in_time);
	tcase_add_test(tc, what_comes_in_slices_stands_in_its_place);
	tcase_add_loop_test(tc, who_comes_or_goes_is_seen_in_slices, 0, 3);
	tcase_add_test(tc, another_process_gets_a_seat_of_its_own_in_slices);
	tcase_add_test(tc, an_info_that_came_with_a_reading_that_failed);
	tcase_add_loop_test(tc, a_record_that_cannot_be_read_is_told_in_slices, 0, 2);
	tcase_add_test(tc, a_store_that_names_a_node_twice_leaves_no_place_empty);
	tcase_add_loop_test(tc, a_charge_counts_on_until_a_view_shows_it, 0, 2);
	tcase_add_test(tc, full_between_two_slices_is_full_in_the_view);
	tcase_add_test(tc, a_fleet_may_end_between_two_slices);
	tcase_add_test(tc, jicofo_1143_half_an_interval_late_and_back_again);
	tcase_add_test(tc, silent_for_lease_and_grace_is_lost_in_the_store);
	tcase_add_test(tc, the_granted_lease_counts_not_the_configured_one);
	tcase_add_test(tc, without_a_fence_the_wait_is_longer);
	tcase_add_loop_test(tc, a_router_that_a_node_asks_calls_it_lost_in_time, 0, 3);
	tcase_add_loop_test(tc, a_router_that_a_node_does_not_ask_waits, 0, 3);
	tcase_add_test(tc, silence_counts_only_while_the_store_answers);
	tcase_add_test(tc, one_failed_reading_begins_silence_anew);
	tcase_add_loop_test(tc, silence_counts_only_while_our_loop_turns, 0, 10);
	tcase_add_test(tc, silence_counts_only_while_answers_come_in_time);
	tcase_add_test(tc, another_store_begins_silence_anew);
	tcase_add_test(tc, a_reconnection_begins_silence_anew);
	tcase_add_test(tc, an_old_record_that_appears_is_watched_first);
	tcase_add_test(tc, heard_between_the_reading_and_the_verdict_lives);
	tcase_add_test(tc, a_node_may_leave_while_it_is_being_lost);
	tcase_add_test(tc, a_damaged_record_is_taken_over_and_hides_no_leave);
	tcase_add_test(tc, another_incarnation_starts_closed_and_free_of_charges);
	tcase_add_test(tc, results_of_the_process_before_say_nothing_of_this_one);
	tcase_add_test(tc, the_same_process_keeps_its_breaker_over_a_registration);
	tcase_add_test(tc, an_operators_reset_closes);
	tcase_add_test(tc, past_max_ejected_breakers_steer_nothing);
	tcase_add_test(tc, breakers_matter_while_one_is_not_closed);
	tcase_add_test(tc, each_pool_is_steered_by_its_own_breakers);
	tcase_add_test(tc, a_full_node_gets_no_rooms_for_the_time_it_said);
	tcase_add_test(tc, scalelite_1048_an_older_report_does_not_erase_a_charge);
	tcase_add_test(tc, others_charges_are_told_from_ours);
	tcase_add_test(tc, reports_may_arrive_after_the_fleet);
	tcase_add_test(tc, a_fleet_may_end_while_it_asks);
	tcase_add_test(tc, breakers_that_are_not_closed_are_listed);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
