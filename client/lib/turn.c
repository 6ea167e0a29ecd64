/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/http.h"
#include "base/loop.h"
#include "client/lib/turn.h"

static bool is_pending(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGPIPE);
}

struct quiet {
	sigset_t before;
	bool theirs; /* one was pending, and stays so */
};

static sigset_t pipe_alone(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	return set;
}

static struct quiet begin_quiet(void)
{
	struct quiet quiet = { .theirs = is_pending() };
	sigset_t pipe = pipe_alone();

	pthread_sigmask(SIG_BLOCK, &pipe, &quiet.before);
	return quiet;
}

static void end_quiet(const struct quiet *quiet)
{
	static const struct timespec at_once;
	sigset_t pipe = pipe_alone();

	if (!quiet->theirs && is_pending())
		sigtimedwait(&pipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &quiet->before, NULL);
}

void turn_quietly(struct loop *loop)
{
	struct quiet quiet = begin_quiet();

	loop_turn(loop);
	end_quiet(&quiet);
}

void http_free_quietly(struct http *http)
{
	struct quiet quiet = begin_quiet();

	http_free(http);
	end_quiet(&quiet);
}
