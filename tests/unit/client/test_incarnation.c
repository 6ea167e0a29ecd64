/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <sys/socket.h>

#include "client/agent/incarnation.h"
#include "tests/unit/client/fake_proc.h"

#define HEADING "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define ROW(address, port, state, inode)                                                                                      \
	"   0: " address ":" port " 00000000:0000 " state " 00000000:00000000 00:00000000 00000000     0        0 " inode " 1 0\n"
#define STAT(pid, name, started) pid " (" name ") S 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 " started " 1 1\n"
#define BOOT "0f0e0d0c-1111-2222-3333-444455556666"

static struct process found;
static char name[INCARNATION_MAX + 1];

static void setup(void)
{
	fake_proc_make();
	fake_proc_write("sys/kernel/random/boot_id", BOOT "\n");
	fake_proc_write("net/tcp", HEADING ROW("0100007F", "1F90", "0A", "77") ROW("0100007F", "1F91", "0A", "78")
	                                ROW("0100007F", "1F92", "01", "79") ROW("0100007F", "1F93", "0A", "80"));
	fake_proc_write("net/tcp6", HEADING ROW("00000000000000000000000000000000", "1FFC", "0A", "90"));
	fake_proc_write("100/stat", STAT("100", "a (b) c", "5000"));
	fake_proc_link("100/fd/3", "socket:[77]");
	fake_proc_write("200/stat", STAT("200", "janus", "4000"));
	fake_proc_link("200/fd/0", "/dev/null");
	fake_proc_link("200/fd/4", "socket:[77]");
	fake_proc_link("200/fd/5", "socket:[90]");
	fake_proc_write("300/stat", "300 (gone) Z 1 1 1 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 9000 1 1\n");
	found = (struct process){ 0 };
}

START_TEST(the_owner_of_the_port_is_found)
{
	ck_assert(process_of_port(fake_proc, 8080, &found));
	ck_assert_int_eq(found.pid, 200); /* of two that share it, the older */
	ck_assert_uint_eq(found.started, 4000);
	incarnation_of(fake_proc, &found, name);
	ck_assert_str_eq(name, BOOT ".200.4000");
}
END_TEST

START_TEST(also_one_that_listens_on_ipv6)
{
	ck_assert(process_of_port(fake_proc, 8188, &found));
	ck_assert_int_eq(found.pid, 200);
}
END_TEST

START_TEST(where_the_owner_cannot_be_read_the_socket_stands_for_it)
{
	ck_assert(process_of_port(fake_proc, 8081, &found));
	ck_assert_int_eq(found.pid, 0);
	incarnation_of(fake_proc, &found, name);
	ck_assert_str_eq(name, BOOT ".socket.78");
	ck_assert(incarnation_valid(name, strlen(name)));
	ck_assert(process_lives(fake_proc, &found));
	fake_proc_write("net/tcp", HEADING ROW("0100007F", "1F91", "0A", "81"));
	ck_assert(!process_lives(fake_proc, &found)); /* another socket: another process */
}
END_TEST

START_TEST(connections_are_not_listeners)
{
	ck_assert(!process_of_port(fake_proc, 8082, &found));
	ck_assert(!process_of_port(fake_proc, 8083, &found)); /* behind the first that does not listen: never listed so by a kernel */
	ck_assert(!process_of_port(fake_proc, 9999, &found));
}
END_TEST

START_TEST(a_process_lives_as_long_as_its_start_time_stands)
{
	ck_assert(process_of_pid(fake_proc, 100, &found));
	ck_assert_uint_eq(found.started, 5000); /* whatever its name holds */
	ck_assert(process_lives(fake_proc, &found));
	fake_proc_write("100/stat", STAT("100", "another", "6000"));
	ck_assert(!process_lives(fake_proc, &found));
	fake_proc_remove("100");
	ck_assert(!process_lives(fake_proc, &found));
	ck_assert(!process_of_pid(fake_proc, 100, &found));
}
END_TEST

START_TEST(a_dead_one_that_nobody_reaped_does_not_live)
{
	ck_assert(!process_of_pid(fake_proc, 300, &found));
}
END_TEST

START_TEST(without_a_boot_id_there_is_still_a_name)
{
	fake_proc_remove("sys");
	ck_assert(process_of_pid(fake_proc, 200, &found));
	incarnation_of(fake_proc, &found, name);
	ck_assert_str_eq(name, "boot.200.4000");
}
END_TEST

START_TEST(this_process_finds_itself)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct process self;

	ck_assert(!bind(fd, (struct sockaddr *)&at, len) && !listen(fd, 1) && !getsockname(fd, (struct sockaddr *)&at, &len));
	ck_assert(process_of_pid("/proc", (int)getpid(), &self));
	ck_assert(process_of_port("/proc", ntohs(at.sin_port), &found));
	ck_assert_uint_gt(found.inode, 0);
	/* Run as a child of the test runner, which has the socket only if it was made before the fork. */
	ck_assert_int_eq(found.pid, self.pid);
	ck_assert_uint_eq(found.started, self.started);
	close(fd);
	ck_assert(!process_of_port("/proc", ntohs(at.sin_port), &found));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("incarnation");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, fake_proc_end);
	tcase_add_test(all, the_owner_of_the_port_is_found);
	tcase_add_test(all, also_one_that_listens_on_ipv6);
	tcase_add_test(all, where_the_owner_cannot_be_read_the_socket_stands_for_it);
	tcase_add_test(all, connections_are_not_listeners);
	tcase_add_test(all, a_process_lives_as_long_as_its_start_time_stands);
	tcase_add_test(all, a_dead_one_that_nobody_reaped_does_not_live);
	tcase_add_test(all, without_a_boot_id_there_is_still_a_name);
	tcase_add_test(all, this_process_finds_itself);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
