/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms of the embedded store. A record is kept packed as the table keeps it (registry/table_entry.h). The keeper writes
 * the table as well, so that the table is told the truth itself with every answer, and no worker has to learn it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "registry/memory_private.h"
#include "registry/table_entry.h"

#define SLOTS_LOOKED_AT 4096 /* of one listing step: then a page with what there is, and a cursor */

struct memory_record {
	struct map_item item;
	struct table_entry *packed;
};
struct tomb { /* of a room that ended lately */
	struct map_item item;
	uint64_t epoch, ended_ms;
	char name[];
};
struct room_call {
	struct memory_call base;
	struct str name, hints;
	struct claim claim;
	struct restoring restoring;
	uint64_t epoch;
	struct claimed got;
	bool anew;
	struct room *found;        /* of a find; else */
	struct claimed *changed;   /* of a change; else */
	struct restored *restored; /* of a restore */
};

/* -- records --------------------------------------------------------------------------------------------------------------- */

static struct memory_record *record_of(struct map_item *item)
{
	return item ? container_of(item, struct memory_record, item) : NULL;
}

static void record_free(struct map_item *item)
{
	free(record_of(item)->packed);
	free(record_of(item));
}

static struct tomb *tomb_of(struct map_item *item)
{
	return item ? container_of(item, struct tomb, item) : NULL;
}

static void tomb_free(struct map_item *item)
{
	free(tomb_of(item));
}

void memory_rooms_free(struct memory *memory)
{
	map_free(&memory->rooms, record_free);
	map_free(&memory->tombs, tomb_free);
}

static void tomb_drop(struct memory *memory, struct map_item *item)
{
	if (!item)
		return;
	map_remove(&memory->tombs, item);
	tomb_free(item);
}

/* With each new one, two are looked at: so there are never many more than end within the time. */
static void tombs_expire(struct memory *memory, uint64_t now)
{
	for (int i = 0; i < 2 && memory->tombs.nslots; i++) {
		struct map_item *item = map_at(&memory->tombs, memory->tomb_slot++ % memory->tombs.nslots);
		if (item && tomb_of(item)->ended_ms + ROOM_REMEMBERED_MS < now)
			tomb_drop(memory, item);
	}
}

static void tomb_set(struct memory *memory, struct str name, uint64_t epoch)
{
	struct tomb *tomb = calloc(1, sizeof *tomb + name.len);

	if (!tomb)
		abort();
	tombs_expire(memory, wall_ms());
	tomb->epoch = epoch;
	tomb->ended_ms = wall_ms();
	memcpy(tomb->name, name.at, name.len);
	map_add(&memory->tombs, &tomb->item, (struct str){ tomb->name, name.len });
}

static uint64_t tomb_epoch(const struct memory *memory, struct str name)
{
	const struct tomb *tomb = tomb_of(map_find(&memory->tombs, name));

	return tomb && tomb->ended_ms + ROOM_REMEMBERED_MS >= wall_ms() ? tomb->epoch : 0;
}

bool memory_room_read(struct memory *memory, struct str name, struct room *out)
{
	struct memory_record *record = record_of(map_find(&memory->rooms, name));

	*out = (struct room){ .state = ROOM_NONE };
	if (record)
		entry_read(record->packed, out);
	else
		out->ended_epoch = tomb_epoch(memory, name);
	out->source = FROM_STORE;
	return record != NULL;
}

static void record_write(struct memory *memory, struct str name, const struct room *room)
{
	struct memory_record *record = record_of(map_find(&memory->rooms, name));
	struct table_entry *packed = entry_new(name, 0, room);

	if (record) {
		free(record->packed);
		record->packed = packed;
		record->item.name = entry_name(packed);
		return;
	}
	tomb_drop(memory, map_find(&memory->tombs, name));
	record = calloc(1, sizeof *record);
	if (!record)
		abort();
	record->packed = packed;
	map_add(&memory->rooms, &record->item, entry_name(packed));
}

static void record_end(struct memory *memory, struct str name, uint64_t epoch)
{
	struct map_item *item = map_find(&memory->rooms, name);

	map_remove(&memory->rooms, item);
	record_free(item);
	tomb_set(memory, name, epoch);
}

/* -- calls about one room ---------------------------------------------------------------------------------------------------- */

static struct room_call *room_call(struct memory_call *call)
{
	return container_of(call, struct room_call, base);
}

/* The record after it, for the table and for the asker. */
static int room_told(struct memory *memory, struct room_call *call)
{
	memory_room_read(memory, call->name, &call->got.room);
	registry_met_epoch(memory->registry, call->got.room.epoch);
	table_put(memory->registry->table, call->name, &call->got.room);
	return 0;
}

static void room_give(struct memory_call *base)
{
	struct room_call *call = room_call(base);

	if (call->found)
		*call->found = call->got.room;
	if (call->changed)
		*call->changed = call->got;
	if (call->restored)
		*call->restored = (struct restored){ call->got.won, call->anew, call->got.room };
}

static struct room_call *room_call_new(struct store *store, struct str name, int (*run)(struct memory *, struct memory_call *),
                                       struct claimed *out)
{
	struct room_call *call = call_new(store, sizeof *call, run, room_give);

	call->name = call_keep(&call->base, name);
	call->changed = out;
	return call;
}

static int find_run(struct memory *memory, struct memory_call *base)
{
	return room_told(memory, room_call(base));
}

int memory_find(struct store *store, struct str name, uint64_t due_ms, struct room *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, find_run, NULL);

	call->found = out;
	return call_start(&call->base, due_ms, w);
}

/* -- claim ------------------------------------------------------------------------------------------------------------------- */

static uint64_t epoch_after(const struct memory *memory, uint64_t at, uint64_t now)
{
	uint64_t floor = registry_floor(memory->registry), epoch = at + 1;

	if (floor > now + FLOOR_AHEAD_MS)
		floor = now + FLOOR_AHEAD_MS;
	if (epoch < floor + 1)
		epoch = floor + 1;
	return epoch < now ? now : epoch;
}

static int claim_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	const struct claim *claim = &call->claim;
	uint64_t now = wall_ms();
	struct room room;

	memory_room_read(memory, call->name, &room);
	if (room.epoch != claim->from_epoch)
		return room_told(memory, call);
	if (room.epoch && (room.registration != claim->from_registration || (room.state != ROOM_OPENING && !claim->released)))
		return room_told(memory, call);
	room = (struct room){ .state = ROOM_OPENING,
		              .epoch = epoch_after(memory, room.epoch ? room.epoch : room.ended_epoch, now),
		              .registration = claim->registration, .created_ms = now, .exclusive = claim->exclusive };
	if (room.epoch > EPOCH_MAX)
		return -ERR_STORE_UNAVAILABLE;
	snprintf(room.node, sizeof room.node, "%s", claim->node);
	snprintf(room.incarnation, sizeof room.incarnation, "%s", claim->incarnation);
	snprintf(room.assigned_by, sizeof room.assigned_by, "%s", memory->registry->conf.router);
	record_write(memory, call->name, &room);
	call->got.won = true;
	return room_told(memory, call);
}

int memory_claim(struct store *store, struct str name, const struct claim *claim, uint64_t due_ms, struct claimed *out,
                 struct wait *w)
{
	struct room_call *call = room_call_new(store, name, claim_run, out);

	call->claim = *claim;
	call->claim.node = call_keep_z(&call->base, claim->node);
	call->claim.incarnation = call_keep_z(&call->base, claim->incarnation);
	return call_start(&call->base, due_ms, w);
}

/* -- confirm, publish, shut, forget: at one epoch ------------------------------------------------------------------------------ */

/* There are no replicas. */
static int confirm_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	struct room room;

	memory_room_read(memory, call->name, &room);
	call->got.won = room.epoch == call->epoch && room.state == ROOM_OPENING;
	return room_told(memory, call);
}

int memory_confirm(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, confirm_run, out);

	call->epoch = epoch;
	return call_start(&call->base, due_ms, w);
}

/* Hints that cannot be kept as text are none. */
static void hints_copy(char out[static HINTS_MAX + 1], struct str hints)
{
	if (hints.len > HINTS_MAX || (hints.len && memchr(hints.at, '\0', hints.len)))
		return;
	memcpy(out, hints.at, hints.len);
	out[hints.len] = '\0';
}

static int publish_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	struct room room;

	memory_room_read(memory, call->name, &room);
	bool lost = room.state == ROOM_OPEN && !strcmp(room.hints, HINTS_LOST);
	if (room.epoch == call->epoch && (room.state == ROOM_OPENING || lost)) {
		room.state = ROOM_OPEN;
		room.hints[0] = '\0';
		hints_copy(room.hints, call->hints);
		record_write(memory, call->name, &room);
	}
	call->got.won = room.epoch == call->epoch && room.state == ROOM_OPEN;
	return room_told(memory, call);
}

int memory_publish(struct store *store, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                   struct claimed *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, publish_run, out);

	call->epoch = epoch;
	call->hints = call_keep(&call->base, hints);
	return call_start(&call->base, due_ms, w);
}

static int move_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	struct room room;

	memory_room_read(memory, call->name, &room);
	call->got.won = room.epoch == call->epoch && (room.state == ROOM_OPEN || room.state == ROOM_MOVING);
	if (call->got.won) {
		room.state = ROOM_MOVING;
		record_write(memory, call->name, &room);
	}
	return room_told(memory, call);
}

int memory_move(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, move_run, out);

	call->epoch = epoch;
	return call_start(&call->base, due_ms, w);
}

/* May the report's record stand, with what is there now? */
static bool may_restore(const struct room *room, const struct restoring *r)
{
	if (room->state == ROOM_NONE)
		return room->ended_epoch < r->epoch;
	bool same = !strcmp(room->node, r->node) && !strcmp(room->incarnation, r->incarnation);
	return room->epoch < r->epoch && (same || r->rebuilding);
}

/* What is restored was made when its epoch was, where that is not one ahead of the clock. */
static uint64_t created_by(uint64_t epoch)
{
	uint64_t now = wall_ms();

	return epoch < now ? epoch : now;
}

static int restore_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	const struct restoring *r = &call->restoring;
	struct room room;

	memory_room_read(memory, call->name, &room);
	call->anew = may_restore(&room, r);
	call->got.won = call->anew || (room.state != ROOM_NONE && room.epoch == r->epoch && !strcmp(room.node, r->node) &&
	                               !strcmp(room.incarnation, r->incarnation));
	if (call->got.won && !call->anew && room.registration < r->registration) {
		room.registration = r->registration;
		record_write(memory, call->name, &room);
	}
	if (call->anew) {
		room = (struct room){ .state = ROOM_OPEN, .epoch = r->epoch, .registration = r->registration };
		room.created_ms = created_by(r->epoch);
		snprintf(room.node, sizeof room.node, "%s", r->node);
		snprintf(room.incarnation, sizeof room.incarnation, "%s", r->incarnation);
		snprintf(room.assigned_by, sizeof room.assigned_by, ROOM_BY_REPORT);
		hints_copy(room.hints, r->hints);
		record_write(memory, call->name, &room);
	}
	return room_told(memory, call);
}

int memory_restore(struct store *store, const struct restoring *r, uint64_t due_ms, struct restored *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, r->name, restore_run, NULL);

	call->restored = out;
	call->restoring = *r;
	call->restoring.node = call_keep_z(&call->base, r->node);
	call->restoring.incarnation = call_keep_z(&call->base, r->incarnation);
	call->restoring.hints = call_keep(&call->base, r->hints);
	return call_start(&call->base, due_ms, w);
}

static int shut_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	struct room room;

	call->got.won = memory_room_read(memory, call->name, &room) && room.epoch == call->epoch;
	if (call->got.won) {
		room.state = ROOM_CLOSING;
		record_write(memory, call->name, &room);
	}
	return room_told(memory, call);
}

int memory_shut(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, shut_run, out);

	call->epoch = epoch;
	return call_start(&call->base, due_ms, w);
}

static int forget_run(struct memory *memory, struct memory_call *base)
{
	struct room_call *call = room_call(base);
	struct room room;

	call->got.won = memory_room_read(memory, call->name, &room) && room.epoch == call->epoch && room.state != ROOM_MOVING;
	if (call->got.won)
		record_end(memory, call->name, call->epoch);
	return room_told(memory, call);
}

int memory_forget(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	struct room_call *call = room_call_new(store, name, forget_run, out);

	call->epoch = epoch;
	return call_start(&call->base, due_ms, w);
}

/* -- listing --------------------------------------------------------------------------------------------------------------- */

struct list_call {
	struct memory_call base;
	const char *node; /* "": all */
	struct str prefix;
	size_t slot, limit; /* where to go on */
	struct rooms_page got, *out;
	struct arena *to; /* the asker's: at home only */
};

/* "r17": go on at slot 17 of the rooms, "n17": of a node's index. */
static bool cursor_read(const char *text, bool by_node, size_t *slot)
{
	uint64_t n = 0;

	*slot = 0;
	if (!text || !*text)
		return true;
	if (*text != (by_node ? 'n' : 'r') || !parse_u64(str_of(text + 1), &n))
		return false;
	*slot = n;
	return true;
}

/* An entry that no record answers for leaves the index: who should have told it so died, or was not heard. */
static bool row_orphan(struct memory_node *node, struct memory_entry *entry)
{
	if (memory_entry_is_stale(entry, entry->epoch))
		memory_entry_drop(node, entry);
	return false;
}

static bool row_fill(struct memory *memory, const struct list_call *call, struct map_item *item, struct rooms_row *row)
{
	struct memory_entry *entry = *call->node ? container_of(item, struct memory_entry, item) : NULL;
	bool recorded;

	if (item->name.len < call->prefix.len || memcmp(item->name.at, call->prefix.at, call->prefix.len) != 0)
		return false;
	row->name = item->name;
	row->participants = -1;
	row->uses = entry ? entry->uses : 0;
	recorded = memory_room_read(memory, item->name, &row->room);
	if (entry && (!recorded || strcmp(row->room.node, call->node) != 0))
		return row_orphan(memory_node_find(memory, call->node), entry);
	if (entry && row->room.state == ROOM_OPEN)
		memory_entry_index(entry, row->room.epoch);
	if (entry && entry->epoch == row->room.epoch)
		row->participants = entry->participants;
	return recorded;
}

static int list_run(struct memory *memory, struct memory_call *base)
{
	struct list_call *call = container_of(base, struct list_call, base);
	struct memory_node *node = *call->node ? memory_node_find(memory, call->node) : NULL;
	const struct map *map = node ? &node->rooms : &memory->rooms;
	size_t nslots = *call->node && !node ? 0 : map->nslots, looked = 0;

	call->got.rows = arena_alloc(&base->arena, call->limit * sizeof *call->got.rows);
	for (; call->slot < nslots && call->got.count < call->limit && looked < SLOTS_LOOKED_AT; call->slot++, looked++) {
		struct map_item *item = map_at(map, call->slot);
		struct rooms_row *row = &call->got.rows[call->got.count];

		if (!item || !row_fill(memory, call, item, row))
			continue;
		row->name = call_keep(base, row->name);
		registry_met_epoch(memory->registry, row->room.epoch);
		call->got.count++;
	}
	if (call->slot < nslots)
		snprintf(call->got.next, sizeof call->got.next, "%c%zu", *call->node ? 'n' : 'r', call->slot);
	return 0;
}

static void list_give(struct memory_call *base)
{
	struct list_call *call = container_of(base, struct list_call, base);
	struct rooms_page page = call->got;

	page.rows = arena_alloc(call->to, call->limit * sizeof *page.rows);
	for (size_t i = 0; i < page.count; i++) {
		struct str name = call->got.rows[i].name;

		page.rows[i] = call->got.rows[i];
		page.rows[i].name.at = arena_copy(call->to, name.at, name.len);
	}
	*call->out = page;
}

int memory_list(struct store *store, const struct rooms_query *query, struct arena *arena, uint64_t due_ms,
                struct rooms_page *out, struct wait *w)
{
	struct list_call *call;
	size_t slot;

	if (!cursor_read(query->cursor, query->node != NULL, &slot))
		return -ERR_BAD_REQUEST;
	call = call_new(store, sizeof *call, list_run, list_give);
	call->node = call_keep_z(&call->base, query->node);
	call->prefix = call_keep(&call->base, query->prefix);
	call->slot = slot;
	call->limit = query->limit;
	call->to = arena;
	call->out = out;
	return call_start(&call->base, due_ms, w);
}
