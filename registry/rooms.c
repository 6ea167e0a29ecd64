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

static const char *const state_names[] = { "none", "opening", "open", "moving", "closing" };
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

/* An entry that is not sure is asked for. That there is no record counts only from a store that is whole: asked for after that
 * answer, so that a loss of data in between shows. */
struct find {
	struct op op;
	struct wait asked;
	struct store *store;
	struct room *out, room;
	struct store_mark mark;
	uint64_t due_ms, stamp;
	bool marked; /* the mark has been asked for */
	size_t len;
	char name[ROOM_MAX];
};

/* No answer, or none that counts: what the table knows by now will do. */
static int find_known(struct find *find, int err)
{
	struct str name = { find->name, find->len };

	return table_find(find->store->registry->table, name, &find->room) == TABLE_MISS ? err : NEXT;
}

static int find_judge(struct find *find, int err)
{
	if (err == -ERR_STORE_UNAVAILABLE)
		return find_known(find, err);
	if (err || find->room.state != ROOM_NONE)
		return err;
	if (!find->marked) {
		find->marked = true;
		err = find->store->ops->mark_read(find->store, (struct str){ find->name, find->len }, find->due_ms, &find->mark, &find->asked);
		return err == WAIT ? WAIT : find_judge(find, err);
	}
	if (!registry_mark_counts(find->store->registry, &find->mark))
		return find_known(find, -ERR_STORE_REBUILDING);
	table_learn(find->store->registry->table, (struct str){ find->name, find->len }, &find->room, find->stamp);
	return NEXT;
}

static void find_end(struct find *find, int err)
{
	struct wait *waiter = op_detach(&find->op);

	if (!err && waiter)
		*find->out = find->room;
	free(find);
	wait_wake(waiter, err);
}

static void find_answered(struct wait *w, int err)
{
	struct find *find = container_of(w, struct find, asked);

	err = find_judge(find, err);
	if (err != WAIT)
		find_end(find, err);
}

static void find_dropped(struct op *op)
{
	struct find *find = container_of(op, struct find, op);

	wait_drop(&find->asked);
	free(find);
}

static int find_in_store(struct store *store, struct str name, uint64_t due_ms, struct room *out, struct wait *w)
{
	struct find *find = calloc(1, sizeof *find);

	if (!find)
		abort();
	*find = (struct find){ .op.dropped = find_dropped, .asked.wake = find_answered, .store = store, .out = out, .due_ms = due_ms,
		               .stamp = table_stamp(store->registry->table, name), .len = name.len };
	memcpy(find->name, name.at, name.len);
	int err = store->ops->find(store, name, due_ms, &find->room, &find->asked);
	if (err != WAIT)
		err = find_judge(find, err);
	if (err == WAIT) {
		op_attach(&find->op, w);
		return WAIT;
	}
	if (!err)
		*out = find->room;
	free(find);
	return err;
}

int rooms_find(struct store *store, struct str name, bool fresh, uint64_t due_ms, struct room *out, struct wait *w)
{
	enum table_hit hit = fresh ? TABLE_MISS : table_find(store->registry->table, name, out);

	assert(name.len > 0 && name.len <= ROOM_MAX);
	if (hit == TABLE_SURE || (hit == TABLE_UNSURE && !store_up(store)))
		return NEXT;
	return find_in_store(store, name, due_ms, out, w);
}

/* -- many at once ---------------------------------------------------------------------------------------------------------- */

/* Each has a wait of its own; the last to be answered wakes whoever asked. */
struct many {
	struct op op;
	size_t under_way;
	int err;
	struct one {
		struct wait wait;
		struct many *many;
	} one[];
};

static void many_dropped(struct op *op)
{
	struct many *many = container_of(op, struct many, op);
	size_t left = many->under_way;

	for (struct one *one = many->one; left; one++)
		if (one->wait.op) {
			wait_drop(&one->wait);
			left--;
		}
	free(many);
}

static struct many *many_new(size_t n, void (*wake)(struct wait *, int))
{
	struct many *many = calloc(1, sizeof *many + n * sizeof *many->one);

	if (!many)
		abort();
	many->op.dropped = many_dropped;
	for (size_t i = 0; i < n; i++)
		many->one[i] = (struct one){ .wait.wake = wake, .many = many };
	return many;
}

static void many_answered(struct wait *w, int err)
{
	struct many *many = container_of(w, struct one, wait)->many;

	if (err)
		many->err = err;
	if (--many->under_way)
		return;
	struct wait *waiter = op_detach(&many->op);
	err = many->err;
	free(many);
	wait_wake(waiter, err);
}

/* All have been asked. Those that were answered at once are not under way. */
static int many_start(struct many *many, struct wait *w)
{
	if (many->under_way) {
		op_attach(&many->op, w);
		return WAIT;
	}
	int err = many->err;
	free(many);
	return err ? err : NEXT;
}

static void many_asked(struct many *many, int err)
{
	if (err == WAIT)
		many->under_way++;
	else if (err)
		many->err = err;
}

int rooms_find_all(struct store *store, const struct str *names, size_t n, bool fresh, uint64_t due_ms, struct room *out, struct wait *w)
{
	struct many *many = many_new(n, many_answered);

	for (size_t i = 0; i < n; i++) {
		enum table_hit hit = fresh ? TABLE_MISS : table_find(store->registry->table, names[i], &out[i]);
		if (hit != TABLE_SURE && !(hit == TABLE_UNSURE && !store_up(store)))
			many_asked(many, store->ops->find(store, names[i], due_ms, &out[i], &many->one[i].wait));
	}
	return many_start(many, w);
}

int rooms_restore(struct store *store, const struct restoring *r, size_t n, uint64_t due_ms, struct restored *out, struct wait *w)
{
	struct many *many = many_new(n, many_answered);

	for (size_t i = 0; i < n; i++)
		many_asked(many, store->ops->restore(store, &r[i], due_ms, &out[i], &many->one[i].wait));
	return many_start(many, w);
}

int rooms_forget_all(struct store *store, const struct str *names, const uint64_t *epochs, size_t n, uint64_t due_ms,
                     struct claimed *out, struct wait *w)
{
	struct many *many = many_new(n, many_answered);

	for (size_t i = 0; i < n; i++)
		many_asked(many, store->ops->forget(store, names[i], epochs[i], due_ms, &out[i], &many->one[i].wait));
	return many_start(many, w);
}

/* -- changing -------------------------------------------------------------------------------------------------------------- */

int rooms_claim(struct store *store, struct str name, const struct claim *claim, uint64_t due_ms, struct claimed *out,
                struct wait *w)
{
	assert(name.len > 0 && name.len <= ROOM_MAX);
	return store->ops->claim(store, name, claim, due_ms, out, w);
}

int rooms_confirm(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return store->ops->confirm(store, name, epoch, due_ms, out, w);
}

int rooms_publish(struct store *store, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                  struct claimed *out, struct wait *w)
{
	assert(hints.len <= HINTS_MAX);
	return store->ops->publish(store, name, epoch, hints, due_ms, out, w);
}

int rooms_move(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return store->ops->move(store, name, epoch, due_ms, out, w);
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
