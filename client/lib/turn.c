/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/loop.h"
#include "client/lib/turn.h"

static bool is_pending(void)
{
	sigset_t pending;

	return !sigpending(&pending) && sigismember(&pending, SIGPIPE);
}

void turn_quietly(struct loop *loop)
{
	static const struct timespec at_once;
	sigset_t pipe, before;
	bool theirs = is_pending(); /* and stays so */

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, &before);
	loop_turn(loop);
	if (!theirs && is_pending())
		sigtimedwait(&pipe, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}
