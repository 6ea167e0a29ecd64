/* SPDX-License-Identifier: Apache-2.0 */
/* A library must neither end its host by SIGPIPE nor take a signal of its host's away. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "base/loop.h"
#include "client/lib/turn.h"

static struct loop *loop;
static int rings;

static void hang_up(struct later *later)
{
	(void)later;
	rings++;
	raise(SIGPIPE); /* as write(2) does */
}

static bool blocked_or_pending(void)
{
	sigset_t set;

	sigpending(&set);
	bool pending = sigismember(&set, SIGPIPE);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	return pending || sigismember(&set, SIGPIPE);
}

START_TEST(hung_up_router_ends_nobody)
{
	struct later later = { 0 };

	loop = loop_new();
	loop_later(loop, &later, hang_up);
	turn_quietly(loop);
	ck_assert_int_eq(rings, 1);
	ck_assert(!blocked_or_pending());
	loop_free(loop);
}
END_TEST

START_TEST(signal_of_the_host_stays_pending)
{
	sigset_t pipe;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	raise(SIGPIPE);
	loop = loop_new();
	turn_quietly(loop);
	ck_assert(blocked_or_pending());
	loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("client/turn");
	TCase *tests = tcase_create("turn");

	tcase_add_test(tests, hung_up_router_ends_nobody);
	tcase_add_test(tests, signal_of_the_host_stays_pending);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
