/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All nodes, and the routers, of the embedded store. The answer is built on the keeper in the call's own memory and
 * copied where it was asked, as the asker's arena belongs to the asker's loop; where the keeper itself asks, in that arena at
 * once. There is one router, this one, but it is announced and listed like many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/memory_private.h"

struct fleet_call {
	struct memory_call base;
	const char *id; /* of a router */
	struct str info;
	struct nodes_all nodes, *nodes_out;
	struct routers_all routers, *routers_out;
	struct arena *to; /* the asker's: at home only */
	struct arena *built; /* where the nodes are built: the call's own, or `to` when the keeper itself asks, which reads all of them often */
};
struct memory_router {
	struct map_item item;
	uint64_t heard_ms;
	char id[NODE_MAX + 1];
	struct str info;
};

static struct fleet_call *fleet_call(struct memory_call *call)
{
	return container_of(call, struct fleet_call, base);
}

static struct str copied(struct arena *arena, struct str text)
{
	return (struct str){ arena_copy(arena, text.at, text.len), text.len };
}

/* -- nodes ----------------------------------------------------------------------------------------------------------------- */

/* What `record` points to gets into the arena. */
static void record_keep(struct arena *arena, struct node_record *record)
{
	const struct charge *charges = record->charges;

	record->info = copied(arena, record->info);
	record->load = copied(arena, record->load);
	record->drain = copied(arena, record->drain);
	record->routers = copied(arena, record->routers);
	record->charges = arena_alloc(arena, (record->ncharges + 1) * sizeof *charges);
	if (record->ncharges)
		memcpy(record->charges, charges, record->ncharges * sizeof *charges);
}

static void record_fill(struct memory_node *node, struct node_record *out)
{
	*out = node->record;
	out->info = node->info.at ? node->info : STR("{}");
	out->load = node->load.at ? node->load : STR("{}");
	out->drain = node->drain.at ? node->drain : STR("");
	out->routers = node->routers.at ? node->routers : STR("");
	out->rooms = node->rooms.count;
	out->exclusive = node->exclusive != NULL;
	out->ncharges = node->ncharges;
	out->charges = node->charges;
}

static int nodes_run(struct memory *memory, struct memory_call *base)
{
	struct nodes_all *all = &fleet_call(base)->nodes;
	struct arena *arena = fleet_call(base)->built;

	all->store_ms = wall_ms();
	all->nodes = arena_alloc(arena, (memory->nodes.count + 1) * sizeof *all->nodes);
	for (size_t i = 0; i < memory->nodes.nslots; i++) {
		struct map_item *item = map_at(&memory->nodes, i);

		if (!item)
			continue;
		record_fill(container_of(item, struct memory_node, item), &all->nodes[all->count]);
		record_keep(arena, &all->nodes[all->count++]);
	}
	return 0;
}

static void nodes_give(struct memory_call *base)
{
	struct fleet_call *call = fleet_call(base);
	struct nodes_all all = call->nodes;

	if (call->built == call->to) {
		*call->nodes_out = all;
		return;
	}
	all.nodes = arena_alloc(call->to, (all.count + 1) * sizeof *all.nodes);
	for (size_t i = 0; i < all.count; i++) {
		all.nodes[i] = call->nodes.nodes[i];
		record_keep(call->to, &all.nodes[i]);
	}
	*call->nodes_out = all;
}

int memory_nodes_all(struct store *store, struct arena *arena, uint64_t due_ms, struct nodes_all *out, struct wait *w)
{
	struct fleet_call *call = call_new(store, sizeof *call, nodes_run, nodes_give);

	call->to = arena;
	call->built = store->loop == call->base.memory->keeper ? arena : &call->base.arena;
	call->nodes_out = out;
	return call_start(&call->base, due_ms, w);
}

/* -- routers ----------------------------------------------------------------------------------------------------------------- */

static struct memory_router *router_of(struct map_item *item)
{
	return item ? container_of(item, struct memory_router, item) : NULL;
}

static void router_free(struct map_item *item)
{
	free((void *)(uintptr_t)router_of(item)->info.at);
	free(router_of(item));
}

void memory_routers_free(struct memory *memory)
{
	map_free(&memory->routers, router_free);
}

static void router_delete(struct memory *memory, struct map_item *item)
{
	if (!item)
		return;
	map_remove(&memory->routers, item);
	router_free(item);
}

static void forget_silent(struct memory *memory, uint64_t now)
{
	for (size_t i = 0; i < memory->routers.nslots; i++) {
		struct map_item *item = map_at(&memory->routers, i);

		if (item && router_of(item)->heard_ms + ROUTER_SILENT_MS < now)
			router_delete(memory, item);
	}
}

static int announce_run(struct memory *memory, struct memory_call *base)
{
	struct fleet_call *call = fleet_call(base);
	struct memory_router *router;

	router_delete(memory, map_find(&memory->routers, str_of(call->id)));
	router = calloc(1, sizeof *router);
	if (!router || !(router->info.at = strndup(call->info.at, call->info.len)))
		abort();
	router->info.len = strlen(router->info.at);
	router->heard_ms = wall_ms();
	snprintf(router->id, sizeof router->id, "%s", call->id);
	map_add(&memory->routers, &router->item, str_of(router->id));
	forget_silent(memory, router->heard_ms);
	return 0;
}

int memory_announce(struct store *store, const char *id, struct str info, uint64_t due_ms, struct wait *w)
{
	struct fleet_call *call = call_new(store, sizeof *call, announce_run, NULL);

	call->id = call_keep_z(&call->base, id);
	call->info = call_keep(&call->base, info);
	return call_start(&call->base, due_ms, w);
}

static int leave_run(struct memory *memory, struct memory_call *base)
{
	router_delete(memory, map_find(&memory->routers, str_of(fleet_call(base)->id)));
	return 0;
}

int memory_leave_router(struct store *store, const char *id, uint64_t due_ms, struct wait *w)
{
	struct fleet_call *call = call_new(store, sizeof *call, leave_run, NULL);

	call->id = call_keep_z(&call->base, id);
	return call_start(&call->base, due_ms, w);
}

static int routers_run(struct memory *memory, struct memory_call *base)
{
	struct routers_all *all = &fleet_call(base)->routers;

	all->store_ms = wall_ms();
	all->routers = arena_alloc(&base->arena, (memory->routers.count + 1) * sizeof *all->routers);
	for (size_t i = 0; i < memory->routers.nslots; i++) {
		const struct memory_router *router = router_of(map_at(&memory->routers, i));
		struct router_record *out = &all->routers[all->count];

		if (!router)
			continue;
		memcpy(out->id, router->id, sizeof out->id);
		out->info = copied(&base->arena, router->info);
		out->heard_ms = router->heard_ms;
		all->count++;
	}
	return 0;
}

static void routers_give(struct memory_call *base)
{
	struct fleet_call *call = fleet_call(base);
	struct routers_all all = call->routers;

	all.routers = arena_alloc(call->to, (all.count + 1) * sizeof *all.routers);
	for (size_t i = 0; i < all.count; i++) {
		all.routers[i] = call->routers.routers[i];
		all.routers[i].info = copied(call->to, all.routers[i].info);
	}
	*call->routers_out = all;
}

int memory_routers_all(struct store *store, struct arena *arena, uint64_t due_ms, struct routers_all *out, struct wait *w)
{
	struct fleet_call *call = call_new(store, sizeof *call, routers_run, routers_give);

	call->to = arena;
	call->routers_out = out;
	return call_start(&call->base, due_ms, w);
}
