/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing rooms: by SCAN over the keys of rooms, or by HSCAN over a node's index; then the records of what was found, all
 * at once. One step of SCAN may give more than a page holds: it is given in the order of the names' hashes, and the cursor
 * "cursor:end:hash" takes the same step again from behind that hash. A count of rows to skip would not do: rooms that went
 * meanwhile would take others with them. A room that is there throughout comes at least once; others may, as with SCAN.
 *
 * In a cluster each shard is gone through in turn, in the order of their lowest slots, which every router sees the same: there a
 * cursor begins with that slot and '@'. A room whose slot moves meanwhile may be missed.
 *
 * For people a list may be partial: a shard that is away is named and gone over. Its rooms are met again when it is back.
 *
 * The same step may reach further than it did, where rooms went: what lies behind `end` was not given yet, whatever its
 * hash. Then it is asked for with a smaller COUNT. SCAN counts from the highest bit down, so that is the order of cursors.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "registry/hash.h"
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
	uint64_t indexed; /* the epoch of the index's entry */
	bool orphan;      /* no record answers for that entry */
};
struct list_op {
	struct op op;
	struct redis_store *store;
	struct arena *arena;     /* the waiter's: only while it waits */
	struct rooms_page *out, page;
	struct buf pattern, key; /* what SCAN matches; the key of the index, when by node */
	char node[NODE_MAX + 1];
	size_t key_skip;         /* bytes before the room's name in what SCAN gives */
	size_t limit, count;     /* rows of the page; COUNT of SCAN */
	unsigned slot;           /* the lowest of the shard that is gone through */
	bool ended;
	bool partial, begun, heard; /* as asked; from the start of the list; some shard has answered */
	size_t nmissing;
	size_t missed[REDIS_SHARDS_MAX]; /* the shards that page.missing names */
	struct place {
		uint64_t at;         /* the step's cursor */
		bool within;         /* the step was given in part: */
		uint64_t end, after; /* where it ended; the hash of its last room that was given */
	} place;
	uint64_t due_ms;
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

/* -- what is away ----------------------------------------------------------------------------------------------------------- */
static bool is_cluster(const struct list_op *op)
{
	return op->store->shared->target.kind == REDIS_CLUSTER;
}

static void shard_miss(struct list_op *op, size_t shard)
{
	struct redis_endpoint at;
	uint64_t version;

	for (size_t i = 0; i < op->nmissing; i++)
		if (op->missed[i] == shard)
			return;
	if (op->nmissing == REDIS_SHARDS_MAX)
		return;
	if (!op->page.missing)
		op->page.missing = arena_alloc(op->arena, (REDIS_SHARDS_MAX + 1) * sizeof *op->page.missing);
	op->page.missing[op->nmissing] =
		shard < op->store->shared->shards.count && redis_place_read(&op->store->shared->shards.at[shard]->place, &at, &version)
			? arena_printf(op->arena, "store at %s:%u", at.host, (unsigned)at.port)
			: "store: a shard without a primary";
	op->missed[op->nmissing++] = shard;
}

/* False: then the list fails. */
static bool row_miss(struct list_op *op, struct list_fetch *fetch)
{
	struct buf key = { 0 };

	if (!op->partial || !is_cluster(op))
		return false;
	key_room(&key, op->store, fetch->row->name);
	shard_miss(op, redis_shard_of(op->store->shared, (struct str){ key.at, key.len }));
	buf_free(&key);
	fetch->row->room.state = ROOM_NONE;
	return true;
}

/* -- records ------------------------------------------------------------------------------------------------------------------ */
/* The index is told of changes by whoever makes them, who may die before, or not be heard. What a room's record says otherwise
 * is mended here; a room that comes back, or moves on, meanwhile does so at a higher epoch. */
static void index_mend(const struct list_op *op, const struct list_fetch *fetch)
{
	const struct room *room = &fetch->row->room;

	if (fetch->orphan)
		redis_nodes_unindex(op->store, op->node, fetch->row->name, fetch->indexed);
	else if (op->node[0] && room->state == ROOM_OPEN && room->epoch > fetch->indexed)
		redis_nodes_index(op->store, op->node, fetch->row->name, room->epoch);
}

/* Rows whose record is gone, or names another node, leave the page. */
static void rows_settle(struct list_op *op)
{
	size_t kept = 0;

	for (size_t i = 0; i < op->page.count; i++) {
		index_mend(op, &op->fetches[i]);
		if (!op->fetches[i].orphan && op->page.rows[i].room.state != ROOM_NONE)
			op->page.rows[kept++] = op->page.rows[i];
	}
	op->page.count = kept;
}

static void row_read(struct list_op *op, struct list_fetch *fetch, const struct redisReply *reply)
{
	struct room *room = &fetch->row->room;

	fetch->indexed = room->epoch;
	if (!reply_room(reply, room))
		room->state = ROOM_NONE; /* unreadable, which says nothing of the entry */
	else
		fetch->orphan = op->node[0] && (room->state == ROOM_NONE || strcmp(room->node, op->node) != 0);
	if (room->epoch != fetch->indexed)
		fetch->row->participants = -1;
}

static void row_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct list_fetch *fetch = container_of(call, struct list_fetch, call);
	struct list_op *op = fetch->op;

	if (reply) {
		row_read(op, fetch, reply);
	} else if (!row_miss(op, fetch)) {
		list_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	if (--op->waiting)
		return;
	rows_settle(op);
	list_finish(op, 0);
}

static int row_fetch(struct list_op *op, struct list_fetch *fetch)
{
	fetch->op = op;
	fetch->call.script = SCRIPT_COUNT;
	fetch->call.due_ms = op->due_ms;
	fetch->call.done = row_answered;
	command_read_room(&fetch->call.text, op->store, fetch->row->name);
	return shard_send(op->store, &fetch->call);
}

/* WAIT; NEXT: there is nothing to wait for. */
static int rows_fetch(struct list_op *op)
{
	op->waiting = op->page.count;
	for (size_t i = 0; i < op->page.count; i++) {
		op->fetches[i].row = &op->page.rows[i];
		if (row_fetch(op, &op->fetches[i]) == 0)
			continue;
		if (!row_miss(op, &op->fetches[i]))
			return -ERR_STORE_UNAVAILABLE;
		op->waiting--;
	}
	if (op->waiting)
		return WAIT;
	rows_settle(op);
	return NEXT;
}

/* One item of a step: a key, or a pair of room and entry. */
static struct str item_name(const struct list_op *op, const struct redisReply *items, size_t i)
{
	struct str name = reply_str(reply_at(items, i));

	if (!name.at || name.len <= op->key_skip || name.len - op->key_skip > ROOM_MAX)
		return (struct str){ NULL, 0 };
	return (struct str){ name.at + op->key_skip, name.len - op->key_skip };
}

static void row_add(struct list_op *op, const struct redisReply *items, size_t i)
{
	struct rooms_row *row = &op->page.rows[op->page.count];
	struct str name = item_name(op, items, i);
	struct room_report entry = { .participants = -1 };
	uint64_t uses = 0;

	if (op->node[0] && !text_entry(reply_str(reply_at(items, i + 1)), &entry, &uses))
		return;
	*row = (struct rooms_row){ .participants = entry.participants, .uses = uses };
	row->name = (struct str){ arena_copy(op->arena, name.at, name.len), name.len };
	row->room.epoch = entry.epoch;
	op->page.count++;
}

struct ranked { /* an item of a step, in the order in which it is given */
	uint64_t hash;
	size_t i;
};

static int by_hash(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* What the step has behind `place.after`, in order. The hash must be the same in every router: a key that all know. */
static size_t items_rank(const struct list_op *op, const struct redisReply *items, struct ranked *out)
{
	size_t width = op->node[0] ? 2 : 1, n = 0;

	for (size_t i = 0; i + width <= reply_count(items); i += width) {
		struct str name = item_name(op, items, i);
		struct ranked item = { .i = i };

		if (!name.at)
			continue;
		item.hash = hash_name((struct hash_key){ { 0, 0 } }, name);
		if (!op->place.within || item.hash > op->place.after)
			out[n++] = item;
	}
	if (n)
		qsort(out, n, sizeof *out, by_hash);
	return n;
}

/* Rooms of the same hash stay together: the cursor could not tell them apart. */
static size_t cut_at(const struct ranked *items, size_t n, size_t limit)
{
	size_t cut = limit;

	if (n <= limit)
		return n;
	while (cut > 1 && items[cut - 1].hash == items[cut].hash)
		cut--;
	return cut;
}

static void step_give(struct list_op *op, const struct redisReply *items, uint64_t end)
{
	struct ranked *ranked = calloc(reply_count(items) + 1, sizeof *ranked);
	size_t n, cut;

	if (!ranked)
		abort();
	n = items_rank(op, items, ranked);
	cut = cut_at(ranked, n, op->limit);
	for (size_t i = 0; i < cut; i++)
		row_add(op, items, ranked[i].i);
	if (cut < n)
		op->place = (struct place){ .at = op->place.at, .within = true, .end = end, .after = ranked[cut - 1].hash };
	else
		op->place = (struct place){ .at = end };
	free(ranked);
}

static uint64_t reversed(uint64_t x)
{
	uint64_t y = 0;

	for (int i = 0; i < 64; i++, x >>= 1)
		y = y << 1 | (x & 1);
	return y;
}

/* In the order of SCAN, where 0 is the end. */
static bool is_beyond(uint64_t cursor, uint64_t end)
{
	return end && (!cursor || reversed(cursor) > reversed(end));
}

static bool in_cluster(const struct list_op *op)
{
	return is_cluster(op) && !op->node[0];
}

/* A shard that was gone through is followed by the next. */
static void step_end(struct list_op *op)
{
	unsigned lowest;

	if (op->place.within || op->place.at)
		return;
	op->ended = !in_cluster(op) || redis_shard_from(op->store->shared, op->slot + 1, &lowest) == REDIS_NO_SHARD;
	if (!op->ended)
		op->slot = lowest;
}

static void cursor_write(struct list_op *op)
{
	const struct place *p = &op->place;
	char shard[16] = "";

	op->page.next[0] = '\0';
	if (op->ended)
		return;
	if (in_cluster(op))
		snprintf(shard, sizeof shard, "%u@", op->slot);
	if (p->within)
		snprintf(op->page.next, sizeof op->page.next, "%s%" PRIu64 ":%" PRIu64 ":%" PRIu64, shard, p->at, p->end, p->after);
	else
		snprintf(op->page.next, sizeof op->page.next, "%s%" PRIu64, shard, p->at);
}

static int scan_next(struct list_op *op);

/* True: the step is asked for again, as it reached too far. */
static bool scan_shorten(struct list_op *op, uint64_t end)
{
	if (!op->place.within || !is_beyond(end, op->place.end))
		return false;
	op->place.within = op->count > 1; /* else it is one bucket: all of it once more */
	op->count = op->count > 1 ? op->count / 2 : 1;
	return op->place.within;
}

/* This shard is away: on to the next. False: then the list fails. */
static bool shard_skip(struct list_op *op)
{
	unsigned lowest;

	if (!op->partial || !in_cluster(op) || op->ended)
		return false;
	shard_miss(op, redis_shard_from(op->store->shared, op->slot, &lowest));
	op->place = (struct place){ 0 };
	step_end(op);
	cursor_write(op);
	return true;
}

static void scan_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct list_op *op = container_of(call, struct list_op, scan);
	const struct redisReply *items = reply_at(reply, 1);
	uint64_t end = reply_u64(reply_at(reply, 0));
	int verdict = NEXT;

	if (!reply_is_list(items)) {
		verdict = shard_skip(op) ? scan_next(op) : -ERR_STORE_UNAVAILABLE;
	} else if (scan_shorten(op, end)) {
		verdict = scan_next(op);
	} else {
		op->heard = true;
		step_give(op, items, end);
		step_end(op);
		cursor_write(op);
		if (op->page.count)
			verdict = rows_fetch(op);
		else if (op->page.next[0] && ++op->steps < STEPS_MAX)
			verdict = scan_next(op);
	}
	if (verdict != WAIT)
		list_finish(op, verdict);
}

/* One that hangs leaves time for the others. */
static uint64_t scan_due(const struct list_op *op)
{
	uint64_t now = loop_now_ms(op->store->loop);

	return op->partial && in_cluster(op) && op->due_ms > now ? now + (op->due_ms - now) / 2 : op->due_ms;
}

static int scan_send(struct list_op *op)
{
	struct buf *text = &op->scan.text;

	command_start(text, op->node[0] ? 7 : 8);
	command_z(text, op->node[0] ? "HSCAN" : "SCAN");
	if (op->node[0])
		command_str(text, (struct str){ op->key.at, op->key.len });
	command_u64(text, op->place.at);
	command_z(text, "MATCH");
	command_str(text, (struct str){ op->pattern.at, op->pattern.len });
	command_z(text, "COUNT");
	command_u64(text, op->count);
	if (!op->node[0]) {
		command_z(text, "TYPE");
		command_z(text, "hash");
	}
	op->scan.script = SCRIPT_COUNT;
	op->scan.patient = true;
	op->scan.due_ms = scan_due(op);
	op->scan.done = scan_answered;
	if (op->node[0])
		return shard_send(op->store, &op->scan);
	return shard_send_to(op->store, redis_shard_from(op->store->shared, op->slot, &op->slot), &op->scan);
}

/* WAIT; NEXT: what was left of the list is away; or the list fails. */
static int scan_next(struct list_op *op)
{
	while (!op->ended) {
		if (scan_send(op) == 0)
			return WAIT;
		if (!shard_skip(op))
			return -ERR_STORE_UNAVAILABLE;
	}
	return op->begun && !op->heard ? -ERR_STORE_UNAVAILABLE : NEXT;
}

/* "slot@" in front of what follows; without it, slot 0. */
static bool cursor_slot(struct str *rest, unsigned *slot)
{
	const char *mark = rest->len ? memchr(rest->at, '@', rest->len) : NULL;
	struct str text;
	uint64_t n;

	*slot = 0;
	if (!mark)
		return true;
	if (!str_cut(rest, '@', &text) || !parse_u64(text, &n) || n >= REDIS_SLOTS || rest->len == 0)
		return false;
	*slot = (unsigned)n;
	return true;
}

/* "cursor" or "cursor:end:hash"; empty is the start. */
static bool cursor_read(const char *text, unsigned *slot, struct place *out)
{
	struct str rest = text ? str_of(text) : (struct str){ NULL, 0 }, at, end;
	struct place p = { 0 };

	if (!cursor_slot(&rest, slot))
		return false;
	if (rest.len && !parse_u64(rest, &p.at)) {
		p.within = str_cut(&rest, ':', &at) && str_cut(&rest, ':', &end) && parse_u64(at, &p.at) &&
		           parse_u64(end, &p.end) && parse_u64(rest, &p.after);
		if (!p.within)
			return false;
	}
	*out = p;
	return true;
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
	struct place place;
	struct list_op *op;
	unsigned slot;

	if (!cursor_read(q->cursor, &slot, &place))
		return -ERR_BAD_REQUEST;
	op = calloc(1, sizeof *op);
	if (!op || !(op->fetches = calloc(q->limit, sizeof *op->fetches)))
		abort();
	op->store = store;
	op->arena = arena;
	op->out = out;
	op->limit = q->limit;
	op->count = q->limit > SCAN_COUNT_MIN ? q->limit : SCAN_COUNT_MIN;
	op->place = place;
	op->slot = store->shared->target.kind == REDIS_CLUSTER ? slot : 0;
	op->due_ms = due_ms;
	op->op.dropped = list_dropped;
	op->page.rows = arena_alloc(arena, q->limit * sizeof *op->page.rows);
	op->partial = q->partial;
	op->begun = !q->cursor || !*q->cursor;
	list_aim(op, q);
	int verdict = scan_next(op);
	if (verdict == WAIT) {
		op_attach(&op->op, w);
		return WAIT;
	}
	if (verdict == NEXT)
		*out = op->page;
	list_free(op);
	return verdict;
}
