/* SPDX-License-Identifier: Apache-2.0 */
/* A library must neither end its host by SIGPIPE nor take a signal of its host's away. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/http.h"
#include "base/loop.h"
#include "base/wait.h"
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

/* What is said at the end of a connection finds nobody there, too. */
static void ended(struct wait *wait, int err)
{
	(void)wait, (void)err;
	rings++;
	raise(SIGPIPE);
}

START_TEST(last_words_end_nobody)
{
	struct http_conf conf = { .connect_timeout_ms = 1000, .connections_per_host = 1, .idle_connections = 1, .idle_ms = 1000 };
	struct http_request rq = { .method = "GET", .url = "http://127.0.0.1:1/", .timeout_ms = 1000, .answer_max = 1 };
	struct http_answer answer;
	struct arena arena = { 0 };
	struct wait wait = { .wake = ended };

	rings = 0;
	loop = loop_new();
	struct http *http = http_new(loop, &conf);
	ck_assert_int_eq(http_fetch(http, &rq, &arena, &answer, &wait), WAIT);
	http_free_quietly(http);
	ck_assert_int_eq(rings, 1);
	ck_assert(!blocked_or_pending());
	arena_reset(&arena);
	loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("client/turn");
	TCase *tests = tcase_create("turn");

	tcase_add_test(tests, hung_up_router_ends_nobody);
	tcase_add_test(tests, signal_of_the_host_stays_pending);
	tcase_add_test(tests, last_words_end_nobody);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
