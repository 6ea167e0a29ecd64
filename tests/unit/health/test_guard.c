/* SPDX-License-Identifier: Apache-2.0 */
/* What counts as a failure of a node, row by row. A row ends a breaker's row (ok), adds to it (bad), or does neither. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "health/guard.h"
#include "tests/unit/health/stage.h"

enum effect { OK, BAD, NOTHING, FULL };

static uint64_t failures(enum call_kind kind)
{
	return breaker_failures(stage_node("a")->breakers[kind >= CALL_PROXY ? CLASS_SIGNAL : CLASS_CONTROL]);
}

static void call_for(enum call_kind kind, enum http_outcome outcome, int status, uint64_t retry_after_ms, const char *room)
{
	struct guard guard;
	uint64_t retry_ms;

	ck_assert_int_eq(guard_enter(stage.fleet, "a", "i1", kind, stage.now, &guard, &retry_ms), 0);
	guard_leave(stage.fleet, &guard, outcome, status, retry_after_ms, str_of(room));
	ck_assert(!guard.entered);
	guard_leave(stage.fleet, &guard, HTTP_RESET, 0, 0, str_of(room)); /* once */
	stage_turn();
}

static const struct row {
	enum http_outcome outcome;
	int status;
	uint64_t retry_after_ms;
	enum effect own, tunnel, proxy; /* for open, evict, list, probe; participants of the second room that is hit */
} rows[] = {
	{ HTTP_ANSWERED, 101, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 200, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 204, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 302, 0, OK, OK, OK },
	/* colyseus#673, colyseus/proxy#16: a client's 4xx takes no node out */
	{ HTTP_ANSWERED, 400, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 401, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 403, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 404, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 409, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 413, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 426, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 499, 0, OK, OK, OK },
	{ HTTP_ANSWERED, 429, 0, FULL, FULL, FULL },
	{ HTTP_ANSWERED, 429, 2000, FULL, FULL, FULL },
	{ HTTP_ANSWERED, 503, 2000, FULL, FULL, FULL },
	{ HTTP_ANSWERED, 503, 0, BAD, BAD, BAD },
	{ HTTP_ANSWERED, 500, 0, BAD, BAD, BAD },
	{ HTTP_ANSWERED, 500, 2000, BAD, BAD, BAD }, /* only 503 and 429 say "full" */
	{ HTTP_ANSWERED, 502, 0, BAD, BAD, BAD },
	{ HTTP_ANSWERED, 504, 0, BAD, BAD, BAD },
	{ HTTP_ANSWERED, 599, 0, BAD, BAD, BAD },
	{ HTTP_ANSWERED, 0, 0, BAD, BAD, BAD },
	{ HTTP_REFUSED, 0, 0, BAD, BAD, BAD },
	{ HTTP_RESET, 0, 0, BAD, BAD, BAD },
	{ HTTP_GARBAGE, 0, 0, BAD, BAD, BAD },
	{ HTTP_TIMEOUT, 0, 0, BAD, BAD, NOTHING }, /* Janus's long poll is silent for half a minute */
	{ HTTP_CANCELLED, 0, 0, NOTHING, NOTHING, NOTHING },
	{ HTTP_CANCELLED, 500, 0, NOTHING, NOTHING, NOTHING },
};

static enum effect effect_of(const struct row *row, enum call_kind kind)
{
	return kind == CALL_PROXY ? row->proxy : kind == CALL_TUNNEL ? row->tunnel : row->own;
}

/* Each begins one failure short of opening, with another room hit before. */
static void check(const struct row *row, enum call_kind kind)
{
	enum effect want = effect_of(row, kind);
	uint64_t retry_ms;
	enum breaker_state state;

	stage_add("a", "i1", GATED);
	stage_record("a")->rooms = 5;
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(600);
	if (kind >= CALL_PROXY)
		call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "the other room");
	call_for(kind, HTTP_RESET, 0, 0, "room");
	ck_assert_uint_eq(failures(kind), 1);
	call_for(kind, row->outcome, row->status, row->retry_after_ms, "room");
	state = breaker_state(stage_node("a")->breakers[kind >= CALL_PROXY ? CLASS_SIGNAL : CLASS_CONTROL], stage.now, &retry_ms);
	ck_assert_msg((state == BREAKER_OPEN) == (want == BAD), "%s: outcome %d, status %d: %s", call_kind_words[kind], row->outcome,
	              row->status, breaker_state_words[state]);
	if (want != BAD)
		ck_assert_msg(failures(kind) == (want == OK ? 0 : 1), "%s: outcome %d, status %d: row of %d", call_kind_words[kind],
		              row->outcome, row->status, (int)failures(kind));
	stage_pass(50);
	ck_assert_msg((stage_node("a")->full_until_ms > stage.now) == (want == FULL), "%s: status %d: full", call_kind_words[kind],
	              row->status);
}

START_TEST(each_outcome)
{
	enum call_kind kind = (enum call_kind)(_i % (CALL_TUNNEL + 1));

	check(&rows[_i / (CALL_TUNNEL + 1)], kind);
}
END_TEST

/* -- participants' 5xx --------------------------------------------------------------------------------------------------------- */
static void ready_with(uint64_t held)
{
	stage_ready("a")->rooms = held;
	stage_pass(600);
}

START_TEST(one_broken_room_is_not_a_broken_node)
{
	ready_with(5);
	for (int i = 0; i < 50; i++)
		call_for(i % 2 ? CALL_PROXY : CALL_TUNNEL, HTTP_ANSWERED, 500, 0, "a room");
	stage_live(2 * HEARTBEAT_MS, "a"); /* however long it goes on */
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	ck_assert_uint_eq(failures(CALL_PROXY), 0);
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "another room");
	ck_assert_uint_eq(failures(CALL_PROXY), 1);
}
END_TEST

START_TEST(a_room_that_was_hit_long_ago_is_not_a_second_one)
{
	ready_with(5);
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	stage_live(11000, "a");
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "another room");
	ck_assert_uint_eq(failures(CALL_PROXY), 0);
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	ck_assert_uint_eq(failures(CALL_PROXY), 1);
}
END_TEST

START_TEST(where_there_is_one_room_its_own_failures_count)
{
	ready_with(1);
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	ck_assert_uint_eq(failures(CALL_PROXY), 0); /* the view may be older than its other rooms */
	stage_live(HEARTBEAT_MS, "a");
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	ck_assert_uint_eq(failures(CALL_PROXY), 1);
}
END_TEST

START_TEST(not_connecting_counts_whichever_the_room)
{
	ready_with(5);
	call_for(CALL_PROXY, HTTP_REFUSED, 0, 0, "a room");
	call_for(CALL_TUNNEL, HTTP_TIMEOUT, 0, 0, "a room");
	ck_assert_int_eq(breaker_state(stage_node("a")->breakers[CLASS_SIGNAL], stage.now, &(uint64_t){ 0 }), BREAKER_OPEN);
}
END_TEST

/* -- the door -------------------------------------------------------------------------------------------------------------------- */
START_TEST(an_open_breaker_refuses_at_once_and_only_its_class)
{
	struct guard guard = { .entered = true };
	uint64_t retry_ms = 0;

	ready_with(0);
	call_for(CALL_OPEN, HTTP_RESET, 0, 0, "");
	call_for(CALL_OPEN, HTTP_RESET, 0, 0, "");
	ck_assert_int_eq(guard_enter(stage.fleet, "a", "i1", CALL_EVICT, stage.now, &guard, &retry_ms), -ERR_BREAKER_OPEN);
	ck_assert_uint_eq(retry_ms, 1000);
	call_for(CALL_PROXY, HTTP_ANSWERED, 200, 0, "a room");
}
END_TEST

START_TEST(nobody_enters_to_another_process)
{
	struct guard guard;
	uint64_t retry_ms;

	ready_with(0);
	ck_assert_int_eq(guard_enter(stage.fleet, "a", "i0", CALL_OPEN, stage.now, &guard, &retry_ms), -ERR_OWNER_LOST);
	ck_assert_int_eq(guard_enter(stage.fleet, "a", "", CALL_OPEN, stage.now, &guard, &retry_ms), -ERR_OWNER_LOST);
	ck_assert_int_eq(guard_enter(stage.fleet, "b", "i1", CALL_OPEN, stage.now, &guard, &retry_ms), -ERR_OWNER_LOST);
}
END_TEST

/* A trial by somebody who leaves makes way for the next; a trial that fails for one room only, too. */
START_TEST(a_trial_that_says_nothing_is_free_again)
{
	struct guard guard;
	uint64_t retry_ms;

	ready_with(5);
	call_for(CALL_PROXY, HTTP_RESET, 0, 0, "a room");
	call_for(CALL_PROXY, HTTP_RESET, 0, 0, "a room");
	stage_live(1000, "a");
	call_for(CALL_PROXY, HTTP_CANCELLED, 0, 0, "a room");
	call_for(CALL_PROXY, HTTP_ANSWERED, 500, 0, "a room");
	ck_assert_int_eq(guard_enter(stage.fleet, "a", "i1", CALL_PROXY, stage.now, &guard, &retry_ms), 0);
	ck_assert(guard.admission.trial);
	ck_assert_int_eq(guard_enter(stage.fleet, "a", "i1", CALL_PROXY, stage.now, &(struct guard){ 0 }, &retry_ms), -ERR_BREAKER_OPEN);
	guard_leave(stage.fleet, &guard, HTTP_ANSWERED, 404, 0, STR("a room"));
	stage_turn();
	ck_assert_int_eq(breaker_state(stage_node("a")->breakers[CLASS_SIGNAL], stage.now, &retry_ms), BREAKER_CLOSED);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/guard");
	TCase *tc = tcase_create("guard");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, stage_open, stage_close);
	tcase_add_loop_test(tc, each_outcome, 0, sizeof(rows) / sizeof(*rows) * (CALL_TUNNEL + 1));
	tcase_add_test(tc, one_broken_room_is_not_a_broken_node);
	tcase_add_test(tc, a_room_that_was_hit_long_ago_is_not_a_second_one);
	tcase_add_test(tc, where_there_is_one_room_its_own_failures_count);
	tcase_add_test(tc, not_connecting_counts_whichever_the_room);
	tcase_add_test(tc, an_open_breaker_refuses_at_once_and_only_its_class);
	tcase_add_test(tc, nobody_enters_to_another_process);
	tcase_add_test(tc, a_trial_that_says_nothing_is_free_again);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
