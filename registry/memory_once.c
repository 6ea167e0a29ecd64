/* SPDX-License-Identifier: Apache-2.0 */
/* Names that were used, until their time is over; with each new one, two are looked at, as with tombs (registry/memory_rooms.c). */
#include <stdlib.h>
#include <string.h>

#include "registry/memory_private.h"

struct used {
	struct map_item item;
	uint64_t ends_ms;
	char name[];
};
struct use_call {
	struct memory_call base;
	struct str name;
	uint64_t lives_ms;
	bool first, *out;
};

static struct used *used_of(struct map_item *item)
{
	return item ? container_of(item, struct used, item) : NULL;
}

static void used_free(struct map_item *item)
{
	free(used_of(item));
}

void memory_once_free(struct memory *memory)
{
	map_free(&memory->used, used_free);
}

static void used_expire(struct memory *memory, struct used *used, uint64_t now)
{
	if (!used || used->ends_ms > now)
		return;
	map_remove(&memory->used, &used->item);
	free(used);
}

static void used_add(struct memory *memory, struct str name, uint64_t ends_ms)
{
	struct used *used = calloc(1, sizeof *used + name.len);

	if (!used)
		abort();
	used->ends_ms = ends_ms;
	memcpy(used->name, name.at, name.len);
	map_add(&memory->used, &used->item, (struct str){ used->name, name.len });
}

static int use_run(struct memory *memory, struct memory_call *base)
{
	struct use_call *call = container_of(base, struct use_call, base);
	uint64_t now = wall_ms();

	used_expire(memory, used_of(map_find(&memory->used, call->name)), now);
	call->first = !map_find(&memory->used, call->name);
	if (!call->first)
		return 0;
	for (int i = 0; i < 2 && memory->used.nslots; i++)
		used_expire(memory, used_of(map_at(&memory->used, memory->used_slot++ % memory->used.nslots)), now);
	used_add(memory, call->name, now + call->lives_ms);
	return 0;
}

static void use_give(struct memory_call *base)
{
	struct use_call *call = container_of(base, struct use_call, base);

	*call->out = call->first;
}

int memory_use_once(struct store *store, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w)
{
	struct use_call *call = call_new(store, sizeof *call, use_run, use_give);

	call->name = call_keep(&call->base, name);
	call->lives_ms = lives_ms;
	call->out = first;
	return call_start(&call->base, due_ms, w);
}
