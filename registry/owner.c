/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever gives an owner up asks here: first its node's record, then whether that may have been lost. */
#include <stdio.h>
#include <stdlib.h>

#include "base/wait.h"
#include "registry/store_private.h"

struct owner {
	struct op op;
	struct wait asked;
	struct store *store;
	enum owner_seen *out;
	uint64_t due_ms;
	bool holds, marked; /* marked: the marks have been asked for */
	struct store_mark mark;
	char node[NODE_MAX + 1];
};

static int owner_judge(struct owner *o, int err, enum owner_seen *seen)
{
	if (err)
		return err;
	if (o->holds) {
		nodes_relist(o->store, o->node);
		*seen = OWNER_HOLDS;
		return NEXT;
	}
	if (!o->marked) {
		o->marked = true;
		err = o->store->ops->marks_read(o->store, o->due_ms, &o->mark, &o->asked);
		return err == WAIT ? WAIT : owner_judge(o, err, seen);
	}
	*seen = registry_mark_counts(o->store->registry, &o->mark) ? OWNER_GONE : OWNER_UNKNOWN;
	return NEXT;
}

static void answered(struct wait *w, int err)
{
	struct owner *o = container_of(w, struct owner, asked);
	enum owner_seen seen = OWNER_UNKNOWN;

	err = owner_judge(o, err, &seen);
	if (err == WAIT)
		return;
	struct wait *waiter = op_detach(&o->op);
	if (!err && waiter)
		*o->out = seen;
	free(o);
	wait_wake(waiter, err);
}

static void dropped(struct op *op)
{
	struct owner *o = container_of(op, struct owner, op);

	wait_drop(&o->asked);
	free(o);
}

int nodes_owner(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, enum owner_seen *out, struct wait *w)
{
	struct owner *o = calloc(1, sizeof *o);

	if (!o)
		abort();
	*o = (struct owner){ .op.dropped = dropped, .asked.wake = answered, .store = store, .out = out, .due_ms = due_ms };
	snprintf(o->node, sizeof o->node, "%s", node);
	int err = store->ops->holds(store, node, incarnation, due_ms, &o->holds, &o->asked);
	if (err != WAIT)
		err = owner_judge(o, err, out);
	if (err == WAIT) {
		op_attach(&o->op, w);
		return WAIT;
	}
	free(o);
	return err;
}
