/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/loop.h"
#include "client/agent/report.h"
#include "client/agent/rooms.h"
#include "client/lib/usher/usher.h"
#include "tests/unit/client/fake_adapter.h"
#include "tests/unit/client/fake_proc.h"

static struct loop *loop;
static struct rooms *rooms;
static struct report *report;
static uint64_t clock_ms;
static unsigned good, bad;

static void polled(void *arg, int err)
{
	(void)arg;
	*(err ? &bad : &good) += 1;
}

static void ended(void *arg, struct str room, uint64_t epoch, enum room_end how)
{
	(void)arg, (void)room, (void)epoch, (void)how;
}

static void setup(void)
{
	loop = loop_new();
	clock_ms = 1000;
	loop_fake_clock(loop, clock_ms);
	fake_sfu_reset();
	fake_proc_make();
	fake_proc_write("stat", "cpu  100 0 100 700 100 0 0 0\n");
	good = bad = 0;
	rooms = rooms_new(&(struct rooms_conf){ loop, &fake_sfu.adapter, ended, NULL });
	report = report_new(&(struct report_conf){ loop, &fake_sfu.adapter, rooms, fake_proc, polled, NULL });
}

static void teardown(void)
{
	report_free(report);
	rooms_free(rooms);
	loop_free(loop);
	fake_proc_end();
}

static void pass(uint64_t ms)
{
	clock_ms += ms;
	loop_fake_clock(loop, clock_ms);
	loop_turn(loop);
}

static struct usher_load fill(uint64_t heartbeat_ms)
{
	struct usher_load load = { 0 };

	report_fill(report, heartbeat_ms, &load);
	return load;
}

START_TEST(what_the_sfu_knows_better_is_its_own)
{
	fake_sfu.sample = (struct adapter_sample){ .has_cpu = true, .cpu = 0.9, .has_stress = true, .stress = 1.5, .has_out = true,
		                                   .bandwidth_out_mbps = 7 };
	ck_assert(fill(1000).cpu < 0.21); /* nothing polled yet: the machine's */
	report_poll(report);
	struct usher_load load = fill(1000);
	ck_assert(load.cpu > 0.89 && load.has_stress && load.stress > 1.4 && load.has_bandwidth_out && load.bandwidth_out_mbps > 6.9);
	ck_assert(!load.has_bandwidth_in && load.has_participants);
	ck_assert_uint_eq(good, 1);
}
END_TEST

START_TEST(each_heartbeat_is_preceded_by_a_poll_that_follows_the_one_before)
{
	struct adapter_room list[] = { { STR("a"), 5, 2 } };

	fill(1000);
	fake_sfu.sample.rooms = (struct adapter_rooms){ list, 1 };
	pass(700);
	ck_assert_uint_eq(fake_sfu.polls, 0);
	pass(100);
	ck_assert_uint_eq(fake_sfu.polls, 1);
	ck_assert(fill(1000).participants > 1.9);
	ck_assert_int_eq(rooms_admit(rooms, STR("a"), 5), ROOM_HELD);
	fill(100);
	pass(60);
	ck_assert_uint_eq(fake_sfu.polls, 2);
}
END_TEST

START_TEST(one_poll_at_a_time)
{
	fake_sfu.polled = WAIT;
	report_poll(report);
	report_poll(report);
	ck_assert_uint_eq(fake_sfu.polls, 1);
	fake_poll_answers(0);
	report_poll(report);
	ck_assert_uint_eq(fake_sfu.polls, 2);
	report_stop(report);
	ck_assert_ptr_null(fake_sfu.polling.waiter);
}
END_TEST

START_TEST(a_failed_poll_keeps_what_is_known)
{
	struct adapter_room list[] = { { STR("a"), 5, 2 } };

	fake_sfu.sample.rooms = (struct adapter_rooms){ list, 1 };
	report_poll(report);
	fake_sfu.polled = -ERR_TIMEOUT;
	fake_sfu.sample.rooms.count = 0;
	report_poll(report);
	ck_assert_uint_eq(bad, 1);
	ck_assert_int_eq(rooms_admit(rooms, STR("a"), 5), ROOM_HELD);
	ck_assert(fill(1000).participants > 1.9);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("report");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, what_the_sfu_knows_better_is_its_own);
	tcase_add_test(all, each_heartbeat_is_preceded_by_a_poll_that_follows_the_one_before);
	tcase_add_test(all, one_poll_at_a_time);
	tcase_add_test(all, a_failed_poll_keeps_what_is_known);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
