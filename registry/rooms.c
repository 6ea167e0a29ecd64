/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding asks the table first. An entry that is not sure is asked for while the store answers; if no answer comes, it is
 * used as it is: a room that is known must be reachable without the store, and a wrong guess ends at a gate that refuses
 * the epoch. Everything that changes a room goes to the store as it is.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/loop.h"
#include "base/wait.h"
#include "registry/store_private.h"

static const char *const state_names[] = { "none", "opening", "open", "moving", "closing", "lost" };
static const char *const source_names[] = { "store", "table", "report" };

const char *room_state_name(enum room_state state)
{
	return state_names[state];
}

const char *room_source_name(enum room_source source)
{
	return source_names[source];
}

/* -- finding --------------------------------------------------------------------------------------------------------------- */

struct find { /* asks for an entry that is not sure */
	struct op op;
	struct wait asked;
	struct table *table;
	struct room *out;
	size_t len;
	char name[ROOM_MAX];
};

/* No answer: what the table knows by now will do. */
static int find_known(struct table *table, struct str name, struct room *out)
{
	return table_find(table, name, out) == TABLE_MISS ? -ERR_STORE_UNAVAILABLE : NEXT;
}

static void find_answered(struct wait *w, int err)
{
	struct find *find = container_of(w, struct find, asked);
	struct wait *waiter = op_detach(&find->op);

	if (err == -ERR_STORE_UNAVAILABLE)
		err = find_known(find->table, (struct str){ find->name, find->len }, find->out);
	free(find);
	wait_wake(waiter, err);
}

static void find_dropped(struct op *op)
{
	struct find *find = container_of(op, struct find, op);

	wait_drop(&find->asked);
	free(find);
}

static int find_again(struct store *store, struct str name, uint64_t due_ms, struct room *out, struct wait *w)
{
	struct find *find = calloc(1, sizeof *find);
	int err;

	if (!find)
		abort();
	find->op.dropped = find_dropped;
	find->asked.wake = find_answered;
	find->table = store->registry->table;
	find->out = out;
	find->len = name.len;
	memcpy(find->name, name.at, name.len);
	err = store->ops->find(store, name, due_ms, out, &find->asked);
	if (err == WAIT) {
		op_attach(&find->op, w);
		return WAIT;
	}
	free(find);
	return err == -ERR_STORE_UNAVAILABLE ? find_known(store->registry->table, name, out) : err;
}

int rooms_find(struct store *store, struct str name, bool fresh, uint64_t due_ms, struct room *out, struct wait *w)
{
	enum table_hit hit = fresh ? TABLE_MISS : table_find(store->registry->table, name, out);

	assert(name.len > 0 && name.len <= ROOM_MAX);
	if (hit == TABLE_SURE || (hit == TABLE_UNSURE && !store_up(store)))
		return NEXT;
	if (hit == TABLE_UNSURE)
		return find_again(store, name, due_ms, out, w);
	return store->ops->find(store, name, due_ms, out, w);
}

/* -- changing -------------------------------------------------------------------------------------------------------------- */

int rooms_claim(struct store *store, struct str name, const struct claim *claim, uint64_t due_ms, struct claimed *out,
                struct wait *w)
{
	assert(name.len > 0 && name.len <= ROOM_MAX);
	return store->ops->claim(store, name, claim, due_ms, out, w);
}

int rooms_publish(struct store *store, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                  struct claimed *out, struct wait *w)
{
	assert(hints.len <= HINTS_MAX);
	return store->ops->publish(store, name, epoch, hints, due_ms, out, w);
}

int rooms_shut(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return store->ops->shut(store, name, epoch, due_ms, out, w);
}

int rooms_forget(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return store->ops->forget(store, name, epoch, due_ms, out, w);
}

/* -- listing, use ----------------------------------------------------------------------------------------------------------- */

int rooms_list(struct store *store, const struct rooms_query *query, struct arena *arena, uint64_t due_ms,
               struct rooms_page *out, struct wait *w)
{
	assert(query->limit > 0 && query->limit <= ROOMS_PAGE_MAX);
	return store->ops->list(store, query, arena, due_ms, out, w);
}

void rooms_touch(struct store *store, struct str name, const struct room *room)
{
	if (table_touch(store->registry->table, name, loop_now_ms(store->loop)))
		store->ops->touch(store, name, room);
}

void rooms_distrust(struct store *store, struct str name)
{
	table_distrust(store->registry->table, name);
}
