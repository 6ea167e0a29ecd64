/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/loop.h"
#include "client/agent/rooms.h"
#include "client/agent/tombs.h"
#include "tests/unit/client/fake_adapter.h"

struct asker {
	struct wait wait;
	struct adapter_opened opened;
	bool woken;
	int err;
};

static struct loop *loop;
static struct rooms *rooms;
static struct arena arena;
static struct asker askers[64];
static struct {
	char room[64];
	uint64_t epoch;
	enum room_end how;
	unsigned n;
} ended;

static void woken(struct wait *w, int err)
{
	struct asker *asker = container_of(w, struct asker, wait);

	asker->woken = true;
	asker->err = err;
}

static void room_ended(void *arg, struct str room, uint64_t epoch, enum room_end how)
{
	(void)arg;
	snprintf(ended.room, sizeof(ended.room), "%.*s", STR_ARG(room));
	ended.epoch = epoch;
	ended.how = how;
	ended.n++;
}

static void setup(void)
{
	loop = loop_new();
	loop_fake_clock(loop, 1000);
	fake_sfu_reset();
	memset(askers, 0, sizeof(askers));
	memset(&ended, 0, sizeof(ended));
	rooms = rooms_new(&(struct rooms_conf){ loop, &fake_sfu.adapter, room_ended, NULL });
}

static void teardown(void)
{
	rooms_free(rooms);
	loop_free(loop);
	arena_reset(&arena);
}

static int open_room(int i, const char *room, uint64_t epoch)
{
	struct adapter_open open = { .room = str_of(room), .epoch = epoch, .fresh = true };

	askers[i].wait.wake = woken;
	return rooms_open(rooms, &open, STR(""), &arena, &askers[i].opened, &askers[i].wait);
}

static int evict(int i, const char *room, uint64_t epoch)
{
	askers[i].wait.wake = woken;
	return rooms_evict(rooms, str_of(room), epoch, END_CLOSED, i < 0 ? NULL : &askers[i].wait);
}

/* Opened without ado. */
static void have(const char *room, uint64_t epoch)
{
	bool at_once = fake_sfu.at_once;

	fake_sfu.at_once = true;
	ck_assert_int_eq(open_room(63, room, epoch), NEXT);
	fake_sfu.at_once = at_once;
}

static void polled(uint64_t begun, struct adapter_room *list, size_t n)
{
	rooms_polled(rooms, &(struct adapter_rooms){ list, n }, begun);
}

static enum room_verdict admit(const char *room, uint64_t epoch)
{
	return rooms_admit(rooms, str_of(room), epoch);
}

/* -- opening --------------------------------------------------------------------------------------------------------- */
START_TEST(a_room_is_held_once_the_sfu_says_so)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	ck_assert_int_eq(admit("a", 5), ROOM_UNKNOWN);
	fake_end(0);
	ck_assert(askers[0].woken && !askers[0].err);
	ck_assert(str_is(askers[0].opened.hints, "{\"pin\":1}"));
	ck_assert_int_eq(admit("a", 5), ROOM_HELD);
	ck_assert_int_eq(admit("a", 4), ROOM_OTHER_EPOCH);
	ck_assert_int_eq(admit("a", 6), ROOM_OTHER_EPOCH);
	ck_assert_uint_eq(rooms_held(rooms), 1);
}
END_TEST

START_TEST(an_open_that_failed_leaves_nothing)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	fake_end(-ERR_TIMEOUT);
	ck_assert_int_eq(askers[0].err, -ERR_TIMEOUT);
	ck_assert_int_eq(admit("a", 5), ROOM_UNKNOWN);
	ck_assert_uint_eq(rooms_held(rooms), 0);
}
END_TEST

/* colyseus#978: whoever asked has placed the room elsewhere by then. */
START_TEST(colyseus_978_an_open_that_a_hung_sfu_does_in_the_end_is_ended_again)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	fake_end(-ERR_TIMEOUT);
	ck_assert_int_eq(open_room(1, "a", 5), -ERR_STALE_EPOCH);
	polled(rooms_poll_begins(rooms), (struct adapter_room[]){ { STR("a"), 5, 0 } }, 1);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	ck_assert(fake_last()->evicts && fake_last()->epoch == 5);
	fake_end(0);
	have("a", 6);
	ck_assert_int_eq(admit("a", 6), ROOM_HELD);
	/* One that is held already is held, whatever a repetition came to. */
	ck_assert_int_eq(open_room(2, "a", 6), WAIT);
	fake_end(-ERR_TIMEOUT);
	ck_assert_int_eq(admit("a", 6), ROOM_HELD);
}
END_TEST

/* Its record is open and goes nowhere: whoever opened it again tries again. */
START_TEST(a_ghost_whose_opening_failed_is_not_refused)
{
	struct adapter_open open = { .room = STR("a"), .epoch = 5 };

	askers[0].wait.wake = woken;
	ck_assert_int_eq(rooms_open(rooms, &open, STR(""), &arena, &askers[0].opened, &askers[0].wait), WAIT);
	fake_end(-ERR_TIMEOUT);
	have("a", 5);
	ck_assert_int_eq(admit("a", 5), ROOM_HELD);
}
END_TEST

START_TEST(one_operation_of_a_room_at_a_time_in_order)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	ck_assert_int_eq(open_room(1, "a", 5), WAIT);
	ck_assert_int_eq(open_room(2, "b", 6), WAIT);
	ck_assert_uint_eq(fake_sfu.ncalls, 2); /* the second of `a` waits, `b` does not */
	fake_end(0);
	ck_assert(askers[0].woken && !askers[1].woken);
	ck_assert_uint_eq(fake_sfu.ncalls, 3);
	ck_assert_str_eq(fake_last()->room, "a");
	fake_end(0);
	ck_assert(askers[2].woken && !askers[1].woken);
	fake_end(0);
	ck_assert(askers[1].woken && !askers[1].err);
}
END_TEST

START_TEST(operations_of_one_room_are_bounded)
{
	for (int i = 0; i < JOBS_MAX; i++)
		ck_assert_int_eq(open_room(i, "a", 5), WAIT);
	ck_assert_int_eq(open_room(JOBS_MAX, "a", 5), -ERR_CONTENTION);
	ck_assert_int_eq(open_room(JOBS_MAX, "b", 5), WAIT);
}
END_TEST

START_TEST(an_asker_that_leaves_changes_nothing)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	wait_drop(&askers[0].wait);
	fake_end(0);
	ck_assert(!askers[0].woken && !askers[0].opened.hints.at);
	ck_assert_int_eq(admit("a", 5), ROOM_HELD);
}
END_TEST

START_TEST(a_higher_epoch_takes_the_place_and_the_old_ones_go)
{
	have("a", 5);
	have("a", 7);
	ck_assert_str_eq(ended.room, "a");
	ck_assert_uint_eq(ended.epoch, 5);
	ck_assert_int_eq(ended.how, END_MOVED);
	ck_assert_int_eq(admit("a", 7), ROOM_HELD);
	ck_assert_uint_eq(rooms_held(rooms), 1);
	ck_assert_int_eq(open_room(0, "a", 6), -ERR_STALE_EPOCH);
}
END_TEST

/* -- evicting ---------------------------------------------------------------------------------------------------------- */
START_TEST(evicting_refuses_at_once_and_is_done_when_the_sfu_says_so)
{
	have("a", 5);
	ck_assert_int_eq(evict(0, "a", 5), WAIT);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	ck_assert_uint_eq(ended.n, 1);
	ck_assert_int_eq(ended.how, END_CLOSED);
	ck_assert_uint_eq(rooms_held(rooms), 1);
	ck_assert_int_eq(open_room(1, "a", 5), WAIT);
	fake_end(0);
	ck_assert(askers[0].woken && !askers[0].err);
	ck_assert(askers[1].woken && askers[1].err == -ERR_STALE_EPOCH);
	ck_assert_uint_eq(rooms_held(rooms), 0);
	ck_assert_int_eq(open_room(2, "a", 6), WAIT);
}
END_TEST

START_TEST(a_failed_eviction_is_said_and_the_room_still_counts_as_held)
{
	have("a", 5);
	ck_assert_int_eq(evict(0, "a", 5), WAIT);
	fake_end(-ERR_NODE_UNAVAILABLE);
	ck_assert_int_eq(askers[0].err, -ERR_NODE_UNAVAILABLE);
	ck_assert_uint_eq(rooms_held(rooms), 1);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	struct adapter_room still[] = { { STR("a"), 5, 1 } };
	polled(rooms_poll_begins(rooms), still, 1); /* and is tried again */
	ck_assert(fake_last()->evicts && !fake_last()->over);
	polled(rooms_poll_begins(rooms), still, 1);
	ck_assert_uint_eq(fake_sfu.ncalls, 3); /* not twice at once */
	fake_end(0);
	ck_assert_uint_eq(rooms_held(rooms), 0);
}
END_TEST

START_TEST(an_old_eviction_leaves_a_newer_room)
{
	have("a", 7);
	ck_assert_int_eq(evict(0, "a", 6), WAIT);
	fake_end(0);
	ck_assert_int_eq(admit("a", 7), ROOM_HELD);
	ck_assert_uint_eq(rooms_held(rooms), 1);
}
END_TEST

START_TEST(an_eviction_overtakes_the_open_that_is_under_way)
{
	ck_assert_int_eq(open_room(0, "a", 5), WAIT);
	ck_assert_int_eq(evict(1, "a", 5), WAIT);
	fake_end(0); /* the SFU has opened it … */
	ck_assert_int_eq(askers[0].err, -ERR_STALE_EPOCH);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	ck_assert(fake_last()->evicts); /* … and is told to end it */
	fake_end(0);
	ck_assert(askers[1].woken && !askers[1].err);
	ck_assert_uint_eq(rooms_held(rooms), 0);
}
END_TEST

START_TEST(an_evicted_epoch_is_refused_for_ten_minutes)
{
	fake_sfu.at_once = true;
	ck_assert_int_eq(evict(0, "a", 9), NEXT); /* also of a room that was never here */
	ck_assert_int_eq(open_room(0, "a", 9), -ERR_STALE_EPOCH);
	loop_fake_clock(loop, 1000 + TOMB_MS - 1);
	ck_assert_int_eq(open_room(0, "a", 8), -ERR_STALE_EPOCH);
	loop_fake_clock(loop, 1000 + TOMB_MS);
	ck_assert_int_eq(open_room(0, "a", 9), NEXT);
}
END_TEST

/* -- polls --------------------------------------------------------------------------------------------------------------- */
START_TEST(a_poll_finds_rooms_again_and_counts_people)
{
	struct adapter_room list[] = { { STR("a"), 5, 2 }, { STR("demo"), 0, 3 } };

	polled(rooms_poll_begins(rooms), list, 2);
	ck_assert_int_eq(admit("a", 5), ROOM_HELD);
	ck_assert_int_eq(admit("demo", 0), ROOM_UNKNOWN);
	ck_assert_uint_eq(rooms_participants(rooms), 5);
	ck_assert_uint_eq(rooms_held(rooms), 1);
	ck_assert_uint_eq(fake_sfu.ncalls, 0); /* foreign rooms are never touched */
}
END_TEST

START_TEST(what_the_sfu_no_longer_has_is_gone)
{
	have("a", 5);
	polled(rooms_poll_begins(rooms), NULL, 0);
	ck_assert_int_eq(admit("a", 5), ROOM_UNKNOWN);
	ck_assert_int_eq(ended.how, END_CLOSED);
	ck_assert_int_eq(open_room(0, "a", 5), WAIT); /* it may be opened again: nobody evicted it */
}
END_TEST

START_TEST(a_poll_asked_before_the_open_does_not_know_the_room)
{
	uint64_t begun = rooms_poll_begins(rooms);

	have("a", 5);
	polled(begun, NULL, 0);
	ck_assert_int_eq(admit("a", 5), ROOM_HELD);
	begun = rooms_poll_begins(rooms);
	ck_assert_int_eq(open_room(0, "b", 6), WAIT);
	polled(begun, (struct adapter_room[]){ { STR("a"), 5, 0 } }, 1);
	fake_end(0);
	ck_assert_int_eq(admit("b", 6), ROOM_HELD);
}
END_TEST

START_TEST(a_poll_asked_before_the_replacement_does_not_bring_the_old_one_back)
{
	have("a", 5);
	uint64_t begun = rooms_poll_begins(rooms);

	have("a", 7);
	polled(begun, (struct adapter_room[]){ { STR("a"), 5, 1 } }, 1);
	ck_assert_int_eq(admit("a", 7), ROOM_HELD);
}
END_TEST

START_TEST(a_poll_that_finds_an_evicted_room_ends_it)
{
	fake_sfu.at_once = true;
	ck_assert_int_eq(evict(0, "a", 5), NEXT);
	fake_sfu.at_once = false;
	polled(rooms_poll_begins(rooms), (struct adapter_room[]){ { STR("a"), 5, 1 } }, 1);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	ck_assert(fake_last()->evicts && fake_last()->epoch == 5 && !fake_last()->over);
	fake_end(0);
	ck_assert_uint_eq(rooms_held(rooms), 0);
	polled(rooms_poll_begins(rooms), (struct adapter_room[]){ { STR("a"), 6, 1 } }, 1);
	ck_assert_int_eq(admit("a", 6), ROOM_HELD);
}
END_TEST

/* -- all at once ------------------------------------------------------------------------------------------------------------ */
struct listing {
	unsigned n, foreign;
};

static void count(void *ctx, const struct adapter_room *room)
{
	struct listing *listing = ctx;

	listing->n++;
	listing->foreign += !room->epoch;
}

START_TEST(given_up_rooms_are_refused_unlisted_and_ended_at_the_next_poll)
{
	struct adapter_room list[] = { { STR("a"), 5, 1 }, { STR("b"), 6, 1 }, { STR("demo"), 0, 1 } };
	struct listing listing = { 0 };

	polled(rooms_poll_begins(rooms), list, 3);
	rooms_give_up(rooms);
	ck_assert_uint_eq(ended.n, 2);
	ck_assert_int_eq(ended.how, END_LOST);
	ck_assert_int_eq(admit("a", 5), ROOM_OTHER_EPOCH);
	rooms_each(rooms, count, &listing);
	ck_assert_uint_eq(listing.n, 1);
	ck_assert_uint_eq(listing.foreign, 1);
	ck_assert_uint_eq(fake_sfu.ncalls, 0); /* it does not listen */
	polled(rooms_poll_begins(rooms), list, 3);
	ck_assert_uint_eq(fake_sfu.ncalls, 2);
	fake_end(0), fake_end(0);
	ck_assert_uint_eq(rooms_held(rooms), 0);
	ck_assert_int_eq(open_room(0, "a", 5), -ERR_STALE_EPOCH);
}
END_TEST

START_TEST(an_sfu_that_ended_takes_its_rooms_and_what_was_asked_of_it)
{
	have("a", 5);
	ck_assert_int_eq(open_room(0, "b", 6), WAIT);
	ck_assert_int_eq(evict(1, "a", 5), WAIT);
	ck_assert_int_eq(open_room(2, "b", 6), WAIT);
	rooms_forget(rooms);
	for (int i = 0; i < 3; i++)
		ck_assert(askers[i].woken && askers[i].err == -ERR_NODE_UNAVAILABLE);
	ck_assert(fake_sfu.calls[1].dropped && fake_sfu.calls[2].dropped);
	ck_assert_uint_eq(rooms_held(rooms), 0);
	ck_assert_int_eq(admit("a", 5), ROOM_UNKNOWN);
	ck_assert_int_eq(open_room(3, "b", 6), WAIT); /* b was not evicted: its epoch is good for the next SFU process */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_rooms");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, a_room_is_held_once_the_sfu_says_so);
	tcase_add_test(all, an_open_that_failed_leaves_nothing);
	tcase_add_test(all, one_operation_of_a_room_at_a_time_in_order);
	tcase_add_test(all, operations_of_one_room_are_bounded);
	tcase_add_test(all, an_asker_that_leaves_changes_nothing);
	tcase_add_test(all, a_higher_epoch_takes_the_place_and_the_old_ones_go);
	tcase_add_test(all, evicting_refuses_at_once_and_is_done_when_the_sfu_says_so);
	tcase_add_test(all, a_failed_eviction_is_said_and_the_room_still_counts_as_held);
	tcase_add_test(all, an_old_eviction_leaves_a_newer_room);
	tcase_add_test(all, an_eviction_overtakes_the_open_that_is_under_way);
	tcase_add_test(all, an_evicted_epoch_is_refused_for_ten_minutes);
	tcase_add_test(all, a_poll_finds_rooms_again_and_counts_people);
	tcase_add_test(all, what_the_sfu_no_longer_has_is_gone);
	tcase_add_test(all, colyseus_978_an_open_that_a_hung_sfu_does_in_the_end_is_ended_again);
	tcase_add_test(all, a_ghost_whose_opening_failed_is_not_refused);
	tcase_add_test(all, a_poll_asked_before_the_open_does_not_know_the_room);
	tcase_add_test(all, a_poll_asked_before_the_replacement_does_not_bring_the_old_one_back);
	tcase_add_test(all, a_poll_that_finds_an_evicted_room_ends_it);
	tcase_add_test(all, given_up_rooms_are_refused_unlisted_and_ended_at_the_next_poll);
	tcase_add_test(all, an_sfu_that_ended_takes_its_rooms_and_what_was_asked_of_it);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
