/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places on nodes in the embedded store: charges, and each node's index of rooms. Charges of one bucket of time are one,
 * so that the list stays short however fast rooms come; numbers grow with the clock, as epochs do, so that what a node
 * says it has seen covers nothing that came after a restart of the store.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "registry/memory_private.h"

struct place_call {
	struct memory_call base;
	const char *node;
	struct str room;
	union {
		struct reserve reserve;
		struct {
			uint64_t epoch, at_ms;
			double cost;
		};
		struct {
			struct room_report *reports;
			size_t n;
		};
	};
	struct reserved got;
	struct room_report use;
	void *out;
};

/* -- the index ------------------------------------------------------------------------------------------------------------- */

struct memory_entry *memory_entry_find(const struct memory_node *node, struct str room)
{
	struct map_item *item = map_find(&node->rooms, room);

	return item ? container_of(item, struct memory_entry, item) : NULL;
}

static struct memory_entry *entry_make(struct memory_node *node, struct str room)
{
	struct memory_entry *entry = memory_entry_find(node, room);

	if (entry)
		return entry;
	entry = calloc(1, sizeof *entry + room.len);
	if (!entry)
		abort();
	memcpy(entry->name, room.at, room.len);
	entry->participants = -1;
	map_add(&node->rooms, &entry->item, (struct str){ entry->name, room.len });
	return entry;
}

static void entry_free(struct map_item *item)
{
	free(container_of(item, struct memory_entry, item));
}

static bool is_exclusive_for(const struct memory_node *node, struct str room)
{
	return node->exclusive && str_eq((struct str){ node->exclusive, node->exclusive_len }, room);
}

static void exclusive_clear(struct memory_node *node)
{
	free(node->exclusive);
	node->exclusive = NULL;
	node->exclusive_len = 0;
}

static void exclusive_set(struct memory_node *node, struct str room)
{
	exclusive_clear(node);
	node->exclusive = malloc(room.len + 1);
	if (!node->exclusive)
		abort();
	memcpy(node->exclusive, room.at, room.len);
	node->exclusive_len = room.len;
}

/* With it goes the node's being held by that room alone. */
void memory_entry_drop(struct memory_node *node, struct memory_entry *entry)
{
	if (is_exclusive_for(node, entry->item.name))
		exclusive_clear(node);
	map_remove(&node->rooms, &entry->item);
	entry_free(&entry->item);
}

bool memory_entry_is_stale(const struct memory_entry *entry, uint64_t up_to_epoch)
{
	if (up_to_epoch == 0)
		return entry->epoch == 0 && entry->reserved_ms + RESERVED_MAX_MS <= wall_ms();
	return entry->epoch <= up_to_epoch;
}

void memory_places_clear(struct memory_node *node)
{
	map_free(&node->rooms, entry_free);
	exclusive_clear(node);
	node->ncharges = 0;
}

/* -- calls ----------------------------------------------------------------------------------------------------------------- */

static struct place_call *place_call(struct memory_call *call)
{
	return container_of(call, struct place_call, base);
}

static struct place_call *place_call_new(struct store *store, const char *node, struct str room,
                                         int (*run)(struct memory *, struct memory_call *), void (*give)(struct memory_call *),
                                         void *out)
{
	struct place_call *call = call_new(store, sizeof *call, run, give);

	call->node = call_keep_z(&call->base, node);
	call->room = call_keep(&call->base, room);
	call->out = out;
	return call;
}

static struct memory_node *place_node(struct memory *memory, const struct place_call *call)
{
	return memory_node_find(memory, call->node);
}

static struct memory_entry *place_entry(struct memory *memory, const struct place_call *call)
{
	struct memory_node *node = place_node(memory, call);

	return node ? memory_entry_find(node, call->room) : NULL;
}

/* -- reserve --------------------------------------------------------------------------------------------------------------- */

static const char *why_not(const struct memory_node *node, const struct reserve *want)
{
	size_t others;

	if (!node || !node->record.incarnation[0] || node->record.registration != want->registration || node->record.lost)
		return "registration";
	others = node->rooms.count - (memory_entry_find(node, want->room) != NULL);
	if ((node->exclusive && !is_exclusive_for(node, want->room)) || (want->exclusive && others))
		return "exclusive";
	return want->rooms_max && others >= want->rooms_max ? "rooms" : NULL;
}

static void charge_add(struct memory_node *node, struct charge charge)
{
	struct charge *last = node->ncharges ? &node->charges[node->ncharges - 1] : NULL;

	if (last && last->at_ms == charge.at_ms) {
		last->number = charge.number;
		last->cost += charge.cost;
		return;
	}
	if (node->ncharges == CHARGES_MAX)
		memmove(node->charges, node->charges + 1, --node->ncharges * sizeof *node->charges);
	node->charges[node->ncharges++] = charge;
}

static void entry_reserve(struct memory_entry *entry, uint64_t now)
{
	if (entry->epoch)
		return;
	entry->reservations++;
	entry->reserved_ms = now;
}

static int reserve_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	const struct registry_conf *conf = &memory->registry->conf;
	struct memory_node *node = place_node(memory, call);
	uint64_t now = wall_ms(), number;

	call->got.why_not = why_not(node, &call->reserve);
	if (call->got.why_not)
		return 0;
	number = node->record.charged + 1 > now ? node->record.charged + 1 : now;
	call->got = (struct reserved){ .granted = true, .number = number, .at_ms = now - now % CHARGE_BUCKET_MS };
	charge_add(node, (struct charge){ number, call->reserve.cost, call->got.at_ms });
	node->record.charged = number;
	entry_reserve(entry_make(node, call->room), now);
	if (call->reserve.exclusive)
		exclusive_set(node, call->room);
	if (conf->charged)
		conf->charged(conf->arg, call->node, number, call->reserve.cost);
	return 0;
}

static void reserved_give(struct memory_call *base)
{
	*(struct reserved *)place_call(base)->out = place_call(base)->got;
}

int memory_reserve(struct store *store, const char *node, const struct reserve *reserve, uint64_t due_ms,
                   struct reserved *out, struct wait *w)
{
	struct place_call *call = place_call_new(store, node, reserve->room, reserve_run, reserved_give, out);

	call->reserve = *reserve;
	call->reserve.room = call->room;
	return call_start(&call->base, due_ms, w);
}

/* -- release --------------------------------------------------------------------------------------------------------------- */

static void charge_take(struct memory_node *node, uint64_t at_ms, double cost)
{
	for (size_t i = node->ncharges; i-- > 0;) {
		struct charge *charge = &node->charges[i];

		if (charge->at_ms != at_ms)
			continue;
		charge->cost = charge->cost > cost ? charge->cost - cost : 0;
		return;
	}
}

/* Two routers may reserve one room here, of which one loses: the last reservation takes the entry along. */
static int release_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	struct memory_node *node = place_node(memory, call);
	struct memory_entry *entry = place_entry(memory, call);

	if (entry && entry->epoch == 0 && entry->reservations-- <= 1)
		memory_entry_drop(node, entry);
	if (node)
		charge_take(node, call->at_ms, call->cost);
	return 0;
}

void memory_release(struct store *store, const char *node, struct str room, const struct reserved *reserved, double cost)
{
	struct place_call *call = place_call_new(store, node, room, release_run, NULL, NULL);

	call->at_ms = reserved->at_ms;
	call->cost = cost;
	call_tell(&call->base);
}

/* -- what is known of a room on its node --------------------------------------------------------------------------------------- */

void memory_entry_index(struct memory_entry *entry, uint64_t epoch)
{
	if (epoch <= entry->epoch)
		return;
	entry->epoch = epoch;
	entry->participants = -1;
	entry->uses++;
}

/* An older epoch than is known changes nothing, nor does it for a node that left. */
static int index_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	struct memory_node *node = place_node(memory, call);

	if (node && node->record.incarnation[0])
		memory_entry_index(entry_make(node, call->room), call->epoch);
	return 0;
}

void memory_index(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	struct place_call *call = place_call_new(store, node, room, index_run, NULL, NULL);

	call->epoch = epoch;
	call_tell(&call->base);
}

static int unindex_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	struct memory_entry *entry = place_entry(memory, call);

	if (entry && memory_entry_is_stale(entry, call->epoch))
		memory_entry_drop(place_node(memory, call), entry);
	return 0;
}

void memory_unindex(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	struct place_call *call = place_call_new(store, node, room, unindex_run, NULL, NULL);

	call->epoch = epoch;
	call_tell(&call->base);
}

static int touch_run(struct memory *memory, struct memory_call *base)
{
	struct memory_entry *entry = place_entry(memory, place_call(base));

	if (entry && entry->epoch == place_call(base)->epoch)
		entry->uses++;
	return 0;
}

void memory_touch(struct store *store, struct str name, const struct room *room)
{
	struct place_call *call = place_call_new(store, room->node, name, touch_run, NULL, NULL);

	call->epoch = room->epoch;
	call_tell(&call->base);
}

static int report_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	struct memory_node *node = place_node(memory, call);

	for (size_t i = 0; node && i < call->n; i++) {
		const struct room_report *report = &call->reports[i];
		struct memory_entry *entry = memory_entry_find(node, report->room);

		if (!entry || !entry->epoch || report->participants < 0 || entry->epoch != report->epoch ||
		    entry->participants == ROOM_LET_GO || (report->participants == 0 && entry->participants == 0))
			continue;
		entry->participants = report->participants;
		entry->uses++;
	}
	return 0;
}

void memory_report_rooms(struct store *store, const char *node, const struct room_report *reports, size_t n)
{
	struct place_call *call = place_call_new(store, node, (struct str){ NULL, 0 }, report_run, NULL, NULL);

	call->reports = arena_alloc(&call->base.arena, n * sizeof *reports);
	call->n = n;
	for (size_t i = 0; i < n; i++) {
		call->reports[i] = reports[i];
		call->reports[i].room = call_keep(&call->base, reports[i].room);
	}
	call_tell(&call->base);
}

static int room_run(struct memory *memory, struct memory_call *base)
{
	struct place_call *call = place_call(base);
	struct memory_entry *entry = place_entry(memory, call);

	if (!entry)
		return -ERR_NOT_FOUND;
	call->use.epoch = entry->epoch;
	call->use.participants = entry->participants;
	return 0;
}

static void room_give(struct memory_call *base)
{
	struct room_report *out = place_call(base)->out;

	out->epoch = place_call(base)->use.epoch;
	out->participants = place_call(base)->use.participants;
}

int memory_room(struct store *store, const char *node, struct str room, uint64_t due_ms, struct room_report *out,
                struct wait *w)
{
	struct place_call *call = place_call_new(store, node, room, room_run, room_give, out);

	return call_start(&call->base, due_ms, w);
}
