/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object is at one loop at a time, so its fields need no lock; what the asker may drop meanwhile (op) stays at
 * home.
 */
#include <stddef.h>

#include "base/ask.h"

static void asked(struct task *task)
{
	struct ask *ask = container_of(task, struct ask, task);

	ask->serve(ask);
}

int ask_send(struct ask *ask, struct loop *home, struct loop *to, struct wait *w)
{
	ask->home = home;
	if (w)
		op_attach(&ask->op, w);
	loop_post(to, &ask->task, asked);
	return WAIT;
}

static void answered(struct task *task)
{
	struct ask *ask = container_of(task, struct ask, task);
	struct wait *waiter = op_detach(&ask->op);
	int err = ask->err;

	ask->finish(ask, waiter != NULL); /* frees it */
	wait_wake(waiter, err);
}

void ask_reply(struct ask *ask, int err)
{
	ask->err = err;
	loop_post(ask->home, &ask->task, answered);
}
