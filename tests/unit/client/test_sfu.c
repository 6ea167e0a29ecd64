/* SPDX-License-Identifier: Apache-2.0 */
/* Real children, a clock of the test's own, and a check that says what the test wants. */
#include <signal.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/loop.h"
#include "client/agent/conf.h"
#include "client/agent/incarnation.h"
#include "client/agent/sfu.h"
#include "tests/unit/base/peer.h"
#include "tests/unit/client/fake_adapter.h"
#include "tests/unit/client/fake_proc.h"

#define SICK_MS 5000
#define NOBODY "9999999" /* over any kernel's pid_max */

static struct loop *loop;
static struct sfu *sfu;
static struct agent_conf settings;
static uint64_t clock_ms;
static unsigned ups, absents, sicks;
static bool stopped;

static void changed(void *arg, enum sfu_state state)
{
	(void)arg;
	*(state == SFU_UP ? &ups : state == SFU_SICK ? &sicks : &absents) += 1;
}

static void done(void *arg)
{
	(void)arg;
	stopped = true;
}

static void start(const char *proc, const char *command)
{
	settings = (struct agent_conf){ .sick_ms = SICK_MS, .command = command };
	sfu = sfu_new(&(struct sfu_conf){ loop, &fake_sfu.adapter, &settings, proc, changed, NULL });
	loop_fake_clock(loop, clock_ms);
	loop_turn(loop);
}

static void setup(void)
{
	loop = loop_new();
	clock_ms = 100000;
	loop_fake_clock(loop, clock_ms);
	fake_sfu_reset();
	fake_ops.embedded = false;
	fake_proc_make();
	ups = absents = sicks = 0;
	stopped = false;
}

static void teardown(void)
{
	sfu_free(sfu);
	loop_free(loop);
	fake_proc_end();
}

static void pass(uint64_t ms)
{
	for (; ms; ms -= ms < 100 ? ms : 100) {
		clock_ms += ms < 100 ? ms : 100;
		loop_fake_clock(loop, clock_ms);
		loop_turn(loop);
	}
}

static int child(void)
{
	return atoi(strchr(sfu_incarnation(sfu), '.') + 1);
}

static void end_process(int pid)
{
	unsigned before = absents;

	kill(pid, SIGKILL);
	UNTIL(loop, absents > before);
}

START_TEST(an_embedded_sfu_is_this_process)
{
	char pid[32];

	fake_ops.embedded = true;
	start("/proc", "");
	ck_assert_uint_eq(ups, 1);
	ck_assert_int_eq(sfu_state(sfu), SFU_UP);
	ck_assert(sfu_well(sfu));
	snprintf(pid, sizeof(pid), ".%d.", (int)getpid());
	ck_assert_ptr_nonnull(strstr(sfu_incarnation(sfu), pid));
}
END_TEST

START_TEST(a_started_sfu_is_up_when_its_check_is_good)
{
	fake_sfu.health = -ERR_NODE_UNAVAILABLE;
	start("/proc", "sleep 1000");
	pass(2000);
	ck_assert_uint_eq(ups, 0);
	ck_assert_int_eq(sfu_state(sfu), SFU_ABSENT);
	fake_sfu.health = 0;
	pass(200);
	ck_assert_uint_eq(ups, 1);
	int pid = child();
	ck_assert_int_eq(kill(pid, 0), 0);
	end_process(pid);
}
END_TEST

START_TEST(one_that_ends_is_started_again_with_growing_waits_as_another)
{
	char before[200];

	start("/proc", "sleep 1000");
	for (uint64_t wait = 500; wait <= 2000; wait *= 2) {
		unsigned up = ups;
		pass(500);
		snprintf(before, sizeof(before), "%s", sfu_incarnation(sfu));
		end_process(child());
		up = ups;
		pass(wait - 100);
		ck_assert_uint_eq(ups, up);
		pass(400);
		ck_assert_msg(ups == up + 1, "not again after %d ms", (int)wait);
		ck_assert_str_ne(before, sfu_incarnation(sfu));
	}
	end_process(child());
}
END_TEST

START_TEST(one_that_lived_long_is_started_again_soon)
{
	start("/proc", "sleep 1000");
	pass(500);
	end_process(child());
	pass(800);
	end_process(child());
	pass(1300);
	pass(10000);
	unsigned up = ups;
	end_process(child());
	pass(700);
	ck_assert_uint_eq(ups, up + 1);
	end_process(child());
}
END_TEST

START_TEST(a_sick_one_of_ours_is_killed)
{
	start("/proc", "sleep 1000");
	pass(1000);
	int pid = child();
	fake_sfu.health = -ERR_TIMEOUT;
	pass(1000);
	ck_assert(!sfu_well(sfu)); /* the routers' probe hears it at once */
	ck_assert_int_eq(sfu_state(sfu), SFU_UP);
	fake_sfu.health = 0;
	pass(1000); /* a good check begins the count anew */
	fake_sfu.health = -ERR_TIMEOUT;
	pass(SICK_MS);
	ck_assert_uint_eq(sicks, 0);
	pass(1000);
	ck_assert_uint_eq(sicks, 1);
	UNTIL(loop, absents == 1);
	ck_assert_int_eq(kill(pid, 0), -1);
}
END_TEST

static void found_in_proc(const char *started)
{
	char stat[200];

	fake_proc_write("net/tcp", "  sl  local_address rem_address\n   0: 0100007F:0001 00000000:0000 0A 0:0 00:0 0 0 0 77 1 0\n");
	snprintf(stat, sizeof(stat), NOBODY " (sfu) S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 %s 1 1\n", started);
	fake_proc_write(NOBODY "/stat", stat);
	fake_proc_remove(NOBODY "/fd");
	fake_proc_link(NOBODY "/fd/3", "socket:[77]");
}

START_TEST(one_that_somebody_else_started_is_found_and_watched)
{
	start(fake_proc, "");
	pass(1000);
	ck_assert_uint_eq(ups, 0);
	found_in_proc("5000");
	pass(200);
	ck_assert_uint_eq(ups, 1);
	ck_assert_str_eq(sfu_incarnation(sfu), "boot." NOBODY ".5000");
	found_in_proc("6000"); /* another process with the same number */
	pass(1000);
	ck_assert_uint_eq(absents, 1);
	pass(200);
	ck_assert_uint_eq(ups, 2);
	ck_assert_str_eq(sfu_incarnation(sfu), "boot." NOBODY ".6000");
}
END_TEST

START_TEST(a_sick_one_that_is_not_ours_comes_back)
{
	found_in_proc("5000");
	start(fake_proc, "");
	ck_assert_uint_eq(ups, 1);
	fake_sfu.health = -ERR_TIMEOUT;
	pass(SICK_MS + 2000);
	ck_assert_uint_eq(sicks, 1);
	fake_sfu.health = 0;
	pass(1000);
	ck_assert_uint_eq(ups, 2);
	ck_assert_uint_eq(absents, 0);
}
END_TEST

START_TEST(an_end_during_a_check_drops_it)
{
	found_in_proc("5000");
	fake_sfu.health = WAIT;
	start(fake_proc, "");
	ck_assert_ptr_nonnull(fake_sfu.checking.waiter);
	pass(3000); /* asked once at a time */
	fake_proc_remove(NOBODY);
	fake_proc_remove("net");
	pass(1000);
	ck_assert_ptr_null(fake_sfu.checking.waiter);
	ck_assert_uint_eq(absents, 0); /* it never was up */
}
END_TEST

START_TEST(leaving_stops_what_we_started)
{
	start("/proc", "sleep 1000");
	pass(500);
	int pid = child();
	sfu_stop(sfu, done);
	UNTIL(loop, stopped);
	UNTIL(loop, kill(pid, 0) == -1); /* that it has ended is known before it is reaped */
	pass(5000);
	ck_assert_uint_eq(ups, 1); /* and does not start it again */
}
END_TEST

static bool is_called(int pid, const char *wanted)
{
	char path[64], name[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	FILE *file = fopen(path, "re");
	bool is = file && fgets(name, sizeof(name), file) && !strcmp(name, wanted);
	if (file)
		fclose(file);
	return is;
}

START_TEST(and_kills_it_if_it_does_not_hear)
{
	start("/proc", "env --ignore-signal=TERM sleep 1000");
	pass(500);
	int pid = child();
	/* The program that ignores the signal is there once env has become it. */
	UNTIL(loop, is_called(pid, "sleep\n"));
	sfu_stop(sfu, done);
	turns(loop, 10);
	pass(4900);
	ck_assert(!stopped);
	pass(200);
	UNTIL(loop, stopped);
	UNTIL(loop, kill(pid, 0) == -1);
}
END_TEST

START_TEST(leaving_leaves_alone_what_is_not_ours)
{
	found_in_proc("5000");
	start(fake_proc, "");
	sfu_stop(sfu, done);
	ck_assert(stopped);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sfu");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, an_embedded_sfu_is_this_process);
	tcase_add_test(all, a_started_sfu_is_up_when_its_check_is_good);
	tcase_add_test(all, one_that_ends_is_started_again_with_growing_waits_as_another);
	tcase_add_test(all, one_that_lived_long_is_started_again_soon);
	tcase_add_test(all, a_sick_one_of_ours_is_killed);
	tcase_add_test(all, one_that_somebody_else_started_is_found_and_watched);
	tcase_add_test(all, a_sick_one_that_is_not_ours_comes_back);
	tcase_add_test(all, an_end_during_a_check_drops_it);
	tcase_add_test(all, leaving_stops_what_we_started);
	tcase_add_test(all, and_kills_it_if_it_does_not_hear);
	tcase_add_test(all, leaving_leaves_alone_what_is_not_ours);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
