/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing rooms: by SCAN over the keys of rooms, or by HSCAN over a node's index; then the records of what was found, all
 * at once. One step of SCAN may give more than a page holds: the cursor is "cursor:skip", and the next page takes the
 * same step again and skips. A room that comes or goes meanwhile may be missed or come twice, as SCAN promises no more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

#define STEPS_MAX 32 /* of SCAN without a single room; then an empty page with a cursor */
#define SCAN_COUNT_MIN 100

struct list_fetch { /* one record */
	struct redis_call call;
	struct list_op *op;
	struct rooms_row *row;
};
struct list_op {
	struct op op;
	struct redis_store *store;
	struct arena *arena;     /* the waiter's: only while it waits */
	struct rooms_page *out, page;
	struct buf pattern, key; /* what SCAN matches; the key of the index, when by node */
	char node[NODE_MAX + 1];
	size_t key_skip;         /* bytes before the room's name in what SCAN gives */
	size_t limit;
	uint64_t cursor, skip, due_ms;
	unsigned steps;
	struct redis_call scan;
	struct list_fetch *fetches;
	size_t waiting;
};

static void list_free(struct list_op *op)
{
	redis_cancel(&op->scan);
	for (size_t i = 0; op->fetches && i < op->limit; i++)
		redis_cancel(&op->fetches[i].call);
	free(op->fetches);
	buf_free(&op->pattern);
	buf_free(&op->key);
	free(op);
}

static void list_dropped(struct op *op)
{
	list_free(container_of(op, struct list_op, op));
}

static void list_finish(struct list_op *op, int err)
{
	struct wait *w = op_detach(&op->op);

	if (!err)
		*op->out = op->page;
	list_free(op);
	wait_wake(w, err);
}

/* Rows whose record is gone, or names another node, leave the page. */
static void rows_settle(struct list_op *op)
{
	size_t kept = 0;

	for (size_t i = 0; i < op->page.count; i++) {
		struct rooms_row *row = &op->page.rows[i];

		if (row->room.state != ROOM_NONE && (!op->node[0] || strcmp(row->room.node, op->node) == 0))
			op->page.rows[kept++] = *row;
	}
	op->page.count = kept;
}

static void row_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct list_fetch *fetch = container_of(call, struct list_fetch, call);
	struct list_op *op = fetch->op;
	uint64_t indexed = fetch->row->room.epoch;

	if (!reply) {
		list_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	if (!reply_room(reply, &fetch->row->room))
		fetch->row->room.state = ROOM_NONE;
	if (fetch->row->room.epoch != indexed)
		fetch->row->participants = -1;
	if (--op->waiting)
		return;
	rows_settle(op);
	list_finish(op, 0);
}

static int row_fetch(struct list_op *op, struct list_fetch *fetch)
{
	struct buf *text = &fetch->call.text;

	fetch->op = op;
	fetch->call.script = SCRIPT_COUNT;
	fetch->call.due_ms = op->due_ms;
	fetch->call.done = row_answered;
	command_start(text, 2 + ROOM_FIELDS);
	command_z(text, "HMGET");
	command_room(text, op->store, fetch->row->name);
	for (size_t i = 0; i < ROOM_FIELDS; i++)
		command_z(text, room_fields[i]);
	return redis_send(op->store->data.link, &fetch->call);
}

static int rows_fetch(struct list_op *op)
{
	op->waiting = op->page.count;
	for (size_t i = 0; i < op->page.count; i++) {
		op->fetches[i].row = &op->page.rows[i];
		if (row_fetch(op, &op->fetches[i]) != 0)
			return -ERR_STORE_UNAVAILABLE;
	}
	return 0;
}

/* One item of a step: a key, or a pair of room and entry. */
static void row_add(struct list_op *op, const struct redisReply *items, size_t i)
{
	struct rooms_row *row = &op->page.rows[op->page.count];
	struct str name = reply_str(reply_at(items, i));
	struct room_report entry = { .participants = -1 };
	uint64_t uses = 0;

	if (!name.at || name.len <= op->key_skip || name.len - op->key_skip > ROOM_MAX)
		return;
	if (op->node[0] && !text_entry(reply_str(reply_at(items, i + 1)), &entry, &uses))
		return;
	name = (struct str){ name.at + op->key_skip, name.len - op->key_skip };
	*row = (struct rooms_row){ .participants = entry.participants, .uses = uses };
	row->name = (struct str){ arena_copy(op->arena, name.at, name.len), name.len };
	row->room.epoch = entry.epoch;
	op->page.count++;
}

static int scan_send(struct list_op *op);

static void scan_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct list_op *op = container_of(call, struct list_op, scan);
	const struct redisReply *items = reply_at(reply, 1);
	size_t width = op->node[0] ? 2 : 1, n = reply_count(items) / width, i = op->skip;
	uint64_t next = reply_u64(reply_at(reply, 0)), here = op->cursor;
	int err = 0;

	if (!reply_is_list(items)) {
		list_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	for (; i < n && op->page.count < op->limit; i++)
		row_add(op, items, i * width);
	op->cursor = i < n ? here : next;
	op->skip = i < n ? i : 0;
	if (op->cursor || op->skip)
		snprintf(op->page.next, sizeof op->page.next, "%" PRIu64 ":%" PRIu64, op->cursor, op->skip);
	else
		op->page.next[0] = '\0';
	if (op->page.count)
		err = rows_fetch(op);
	else if (op->page.next[0] && ++op->steps < STEPS_MAX)
		err = scan_send(op);
	else
		list_finish(op, 0);
	if (err)
		list_finish(op, err);
}

static int scan_send(struct list_op *op)
{
	struct buf *text = &op->scan.text;

	command_start(text, op->node[0] ? 7 : 8);
	command_z(text, op->node[0] ? "HSCAN" : "SCAN");
	if (op->node[0])
		command_str(text, (struct str){ op->key.at, op->key.len });
	command_u64(text, op->cursor);
	command_z(text, "MATCH");
	command_str(text, (struct str){ op->pattern.at, op->pattern.len });
	command_z(text, "COUNT");
	command_u64(text, op->limit > SCAN_COUNT_MIN ? op->limit : SCAN_COUNT_MIN);
	if (!op->node[0]) {
		command_z(text, "TYPE");
		command_z(text, "hash");
	}
	op->scan.script = SCRIPT_COUNT;
	op->scan.patient = true;
	op->scan.due_ms = op->due_ms;
	op->scan.done = scan_answered;
	return redis_send(op->store->data.link, &op->scan);
}

/* "cursor:skip"; empty is the start. */
static bool cursor_read(const char *text, uint64_t *cursor, uint64_t *skip)
{
	struct str rest = str_of(text), first;

	*cursor = *skip = 0;
	if (rest.len == 0)
		return true;
	return str_cut(&rest, ':', &first) && parse_u64(first, cursor) && parse_u64(rest, skip);
}

static void pattern_add(struct buf *to, struct str literal)
{
	for (size_t i = 0; i < literal.len; i++) {
		if (strchr("*?[]\\", literal.at[i]))
			buf_add(to, "\\", 1);
		buf_add(to, literal.at + i, 1);
	}
}

static void list_aim(struct list_op *op, const struct rooms_query *q)
{
	struct buf start = { 0 };

	if (q->node) {
		snprintf(op->node, sizeof op->node, "%s", q->node);
		key_node(&op->key, op->store, q->node, KEY_NODE_ROOMS);
	} else {
		key_room(&start, op->store, (struct str){ "", 0 });
		op->key_skip = start.len;
		pattern_add(&op->pattern, (struct str){ start.at, start.len });
		buf_free(&start);
	}
	pattern_add(&op->pattern, q->prefix);
	buf_add(&op->pattern, "*", 1);
}

int redis_rooms_list(struct redis_store *store, const struct rooms_query *q, struct arena *arena, uint64_t due_ms,
                     struct rooms_page *out, struct wait *w)
{
	uint64_t cursor, skip;
	struct list_op *op;

	if (!cursor_read(q->cursor, &cursor, &skip))
		return -ERR_BAD_REQUEST;
	op = calloc(1, sizeof *op);
	if (!op || !(op->fetches = calloc(q->limit, sizeof *op->fetches)))
		abort();
	op->store = store;
	op->arena = arena;
	op->out = out;
	op->limit = q->limit;
	op->cursor = cursor;
	op->skip = skip;
	op->due_ms = due_ms;
	op->op.dropped = list_dropped;
	op->page.rows = arena_alloc(arena, q->limit * sizeof *op->page.rows);
	list_aim(op, q);
	if (scan_send(op) != 0) {
		list_free(op);
		return -ERR_STORE_UNAVAILABLE;
	}
	op_attach(&op->op, w);
	return WAIT;
}
