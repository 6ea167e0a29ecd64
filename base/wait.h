/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thing that is awaited. An operation in flight (op) and the party waiting for it (wait) know each other through
 * this pair; whichever leaves first cuts the link, so a late reply finds nobody and writes nowhere.
 *
 * The rule of every function that takes `struct wait *` last: it either has its answer now and returns NEXT or
 * -ERR_X, or it returns WAIT and wakes the waiter later with 0 or -ERR_X. It never wakes before it has returned.
 * Out-parameters are written just before the wake, and only if somebody still waits. op and wait live on one loop.
 */
#pragma once

#include <assert.h>
#include <stddef.h>

#define container_of(p, type, member) ((type *)(void *)((char *)(p) - offsetof(type, member)))

enum verdict { NEXT = 0, WAIT = 1, DONE = 2 }; /* below zero: -ERR_X */

struct op;
struct wait {
	struct op *op; /* NULL while not waiting */
	void (*wake)(struct wait *w, int err);
};
struct op {
	struct wait *waiter;          /* NULL once nobody cares */
	void (*dropped)(struct op *); /* optional: the waiter left; may cancel and free the operation */
};

static inline void op_attach(struct op *op, struct wait *w)
{
	assert(w->op == NULL);
	op->waiter = w;
	w->op = op;
}

/* The operation has ended: returns the waiter to wake (wait_wake), or NULL. Free the operation, then wake. */
static inline struct wait *op_detach(struct op *op)
{
	struct wait *w = op->waiter;

	if (w)
		w->op = NULL;
	op->waiter = NULL;
	return w;
}

static inline void wait_wake(struct wait *w, int err)
{
	if (w)
		w->wake(w, err);
}

/* The waiter leaves. */
static inline void wait_drop(struct wait *w)
{
	struct op *op = w->op;

	if (!op)
		return;
	op->waiter = NULL;
	w->op = NULL;
	if (op->dropped)
		op->dropped(op);
}
