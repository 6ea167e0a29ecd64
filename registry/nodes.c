/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes are not cached here: each process reads them all in its own rhythm (health/fleet.h). So all of it is the store's. */
#include <assert.h>

#include "base/wait.h"
#include "registry/store_private.h"

const char *const node_wish_words[] = { "enabled", "cordoned", "draining", NULL };
const char *const node_report_words[] = { "ready", "draining", "sick", NULL };

int nodes_register(struct store *store, const char *node, const struct registration_request *request, uint64_t due_ms,
                   struct registered *out, struct wait *w)
{
	assert(request->incarnation && *request->incarnation);
	return store->ops->register_node(store, node, request, due_ms, out, w);
}

int nodes_renew(struct store *store, const char *node, const struct renewal *renewal, uint64_t due_ms, struct renewed *out,
                struct wait *w)
{
	return store->ops->renew(store, node, renewal, due_ms, out, w);
}

int nodes_leave(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *w)
{
	return store->ops->leave(store, node, incarnation, due_ms, left, w);
}

int nodes_lose(struct store *store, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
               struct wait *w)
{
	return store->ops->lose(store, node, registration, seq, due_ms, lost, w);
}

int nodes_set_wish(struct store *store, const char *node, enum node_wish wish, struct str drain, uint64_t due_ms, struct wait *w)
{
	assert(drain.len <= DRAIN_MAX && (wish == WISH_DRAINING || !drain.len));
	return store->ops->set_wish(store, node, wish, drain, due_ms, w);
}

void nodes_listed(struct store *store, const char *node, uint64_t registration, uint64_t generation)
{
	store->ops->listed(store, node, registration, generation);
}

int nodes_reset_breakers(struct store *store, const char *node, uint64_t due_ms, struct wait *w)
{
	return store->ops->reset_breakers(store, node, due_ms, w);
}

int nodes_reserve(struct store *store, const char *node, const struct reserve *reserve, uint64_t due_ms,
                  struct reserved *out, struct wait *w)
{
	assert(reserve->cost >= 0);
	return store->ops->reserve(store, node, reserve, due_ms, out, w);
}

void nodes_release(struct store *store, const char *node, struct str room, const struct reserved *reserved, double cost)
{
	store->ops->release(store, node, room, reserved, cost);
}

void nodes_index(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	store->ops->index(store, node, room, epoch);
}

void nodes_unindex(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	store->ops->unindex(store, node, room, epoch);
}

void nodes_report_rooms(struct store *store, const char *node, const struct room_report *reports, size_t n)
{
	assert(n <= ROOMS_PART_MAX);
	if (n)
		store->ops->report_rooms(store, node, reports, n);
}

int nodes_room(struct store *store, const char *node, struct str room, uint64_t due_ms, struct room_report *out,
               struct wait *w)
{
	return store->ops->room(store, node, room, due_ms, out, w);
}

int nodes_all(struct store *store, struct arena *arena, uint64_t due_ms, struct nodes_all *out, struct wait *w)
{
	return store->ops->nodes_all(store, arena, due_ms, out, w);
}

int nodes_scan(struct store *store, const char *cursor, struct arena *arena, uint64_t due_ms, struct nodes_page *out, struct wait *w)
{
	if (store->ops->nodes_scan)
		return store->ops->nodes_scan(store, cursor, arena, due_ms, out, w);
	*out = (struct nodes_page){ 0 };
	return NEXT;
}

void nodes_relist(struct store *store, const char *node)
{
	if (store->ops->relist)
		store->ops->relist(store, node);
}

int routers_announce(struct store *store, const char *id, struct str info, uint64_t due_ms, struct wait *w)
{
	return store->ops->announce(store, id, info, due_ms, w);
}

int routers_leave(struct store *store, const char *id, uint64_t due_ms, struct wait *w)
{
	return store->ops->leave_router(store, id, due_ms, w);
}

int routers_all(struct store *store, struct arena *arena, uint64_t due_ms, struct routers_all *out, struct wait *w)
{
	return store->ops->routers_all(store, arena, due_ms, out, w);
}
