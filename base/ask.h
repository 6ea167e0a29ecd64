/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question to another loop, seen by the asker as any other operation: ask_send() returns WAIT and the waiter wakes
 * on its own loop. Embedded in a heap object that holds question and answer; the object travels to the other loop and
 * back, so neither side locks. The asker may leave while it is under way; then only `finish` runs, with waiter NULL.
 */
#pragma once

#include "base/loop.h"
#include "base/wait.h"

struct ask {
	struct op op;     /* touched at home only */
	struct task task; /* in flight */
	struct loop *home;
	int err;
	void (*serve)(struct ask *); /* on the other loop; ends, now or later, with ask_reply() */
	/* Back at home: if `asked`, copy the answer to where the asker wanted it; always free the object. */
	void (*finish)(struct ask *, bool asked);
};
int ask_send(struct ask *, struct loop *home, struct loop *to, struct wait *); /* w NULL: tell, do not wait. WAIT */
void ask_reply(struct ask *, int err);                                         /* on the serving loop */
