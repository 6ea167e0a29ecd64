/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <math.h>

#include "client/agent/host.h"
#include "client/lib/usher/usher.h"
#include "tests/unit/client/fake_proc.h"

#define NET                                                                                                                   \
	"Inter-|   Receive                                                |  Transmit\n"                                      \
	" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"

static struct host host;
static struct usher_load load;

static void setup(void)
{
	fake_proc_make();
	fake_proc_write("stat", "cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\n");
	fake_proc_write("meminfo", "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    750 kB\n");
	fake_proc_write("net/dev", NET "    lo: 9999999 1 0 0 0 0 0 0 9999999 1 0 0 0 0 0 0\n"
	                               "  eth0: 1000000 1 0 0 0 0 0 0 2000000 1 0 0 0 0 0 0\n  wg0:5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n");
	host_init(&host, fake_proc);
	load = (struct usher_load){ 0 };
}

static void near(double a, double b)
{
	ck_assert_msg(fabs(a - b) < 1e-6, "%g, not %g", a, b);
}

START_TEST(the_first_reading_is_the_average_since_boot)
{
	host_sample(&host, 1000, &load);
	ck_assert(load.has_cpu && load.has_memory && !load.has_bandwidth_in && !load.has_bandwidth_out);
	near(load.cpu, 0.2); /* idle and iowait are not work */
	near(load.memory, 0.25);
}
END_TEST

START_TEST(later_ones_are_of_the_time_between)
{
	host_sample(&host, 1000, &load);
	fake_proc_write("stat", "cpu  175 0 100 725 100 0 0 0\n");
	fake_proc_write("net/dev", NET "    lo: 0 1 0 0 0 0 0 0 0 1 0 0 0 0 0 0\n  eth0: 1250000 1 0 0 0 0 0 0 2000000 1 0 0 0 0 0 0\n"
	                               "  wg0:5 1 0 0 0 0 0 0 250005 1 0 0 0 0 0 0\n");
	host_sample(&host, 3000, &load);
	near(load.cpu, 0.75);
	ck_assert(load.has_bandwidth_in && load.has_bandwidth_out);
	near(load.bandwidth_in_mbps, 1);
	near(load.bandwidth_out_mbps, 1);
}
END_TEST

START_TEST(readings_too_close_repeat_the_one_before)
{
	host_sample(&host, 1000, &load);
	fake_proc_write("stat", "cpu  200 0 100 700 100 0 0 0\n");
	host_sample(&host, 1000 + HOST_MIN_MS - 1, &load);
	near(load.cpu, 0.2);
	host_sample(&host, 1000 + HOST_MIN_MS, &load);
	near(load.cpu, 1);
}
END_TEST

START_TEST(what_cannot_be_read_is_not_said)
{
	fake_proc_remove("stat");
	fake_proc_remove("meminfo");
	fake_proc_remove("net");
	host_sample(&host, 1000, &load);
	host_sample(&host, 2000, &load);
	ck_assert(!load.has_cpu && !load.has_memory && !load.has_bandwidth_in && !load.has_bandwidth_out);
}
END_TEST

START_TEST(counters_that_fall_are_no_load)
{
	host_sample(&host, 1000, &load);
	fake_proc_write("net/dev", NET "  eth0: 10 1 0 0 0 0 0 0 10 1 0 0 0 0 0 0\n");
	fake_proc_write("stat", "cpu  100 0 100 700 100 0 0 0\n");
	host_sample(&host, 2000, &load);
	ck_assert(!load.has_cpu); /* no time passed: nothing is known */
	near(load.bandwidth_in_mbps, 0);
}
END_TEST

START_TEST(this_machine_can_be_read)
{
	host_init(&host, "/proc");
	host_sample(&host, 1000, &load);
	ck_assert(load.has_cpu && load.has_memory);
	ck_assert(load.cpu >= 0 && load.cpu <= 1 && load.memory >= 0 && load.memory <= 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("host");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, fake_proc_end);
	tcase_add_test(all, the_first_reading_is_the_average_since_boot);
	tcase_add_test(all, later_ones_are_of_the_time_between);
	tcase_add_test(all, readings_too_close_repeat_the_one_before);
	tcase_add_test(all, what_cannot_be_read_is_not_said);
	tcase_add_test(all, counters_that_fall_are_no_load);
	tcase_add_test(all, this_machine_can_be_read);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
