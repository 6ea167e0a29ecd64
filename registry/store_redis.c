/* SPDX-License-Identifier: Apache-2.0 */
/* The store in Redis as a row of functions: each hands on to registry/redis_store.h, which knows no `struct store`. */
#include <stdlib.h>

#include "base/wait.h"
#include "registry/redis_store.h"
#include "registry/redis_link.h"
#include "registry/store_private.h"

struct redis_handle {
	struct store base;
	struct redis_store *redis;
};

static struct redis_store *of(const struct store *store)
{
	return container_of(store, struct redis_handle, base)->redis;
}

static void free_handle(struct store *store)
{
	redis_store_free(of(store));
	free(container_of(store, struct redis_handle, base));
}

static bool up(const struct store *store)
{
	return redis_store_up(of(store));
}

static uint64_t connections(const struct store *store)
{
	return redis_store_connections(of(store));
}

/* -- rooms ------------------------------------------------------------------------------------------------------------------- */

static int find(struct store *store, struct str name, uint64_t due_ms, struct room *out, struct wait *w)
{
	return redis_rooms_find(of(store), name, due_ms, out, w);
}

static int claim(struct store *store, struct str name, const struct claim *claim, uint64_t due_ms, struct claimed *out,
                 struct wait *w)
{
	return redis_rooms_claim(of(store), name, claim, due_ms, out, w);
}

static int confirm(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return redis_rooms_confirm(of(store), name, epoch, due_ms, out, w);
}

static int publish(struct store *store, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms,
                   struct claimed *out, struct wait *w)
{
	return redis_rooms_publish(of(store), name, epoch, hints, due_ms, out, w);
}

static int move(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return redis_rooms_move(of(store), name, epoch, due_ms, out, w);
}

static int restore(struct store *store, const struct restoring *r, uint64_t due_ms, struct restored *out, struct wait *w)
{
	return redis_rooms_restore(of(store), r, due_ms, out, w);
}

static int shut(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return redis_rooms_shut(of(store), name, epoch, due_ms, out, w);
}

static int forget(struct store *store, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *w)
{
	return redis_rooms_forget(of(store), name, epoch, due_ms, out, w);
}

static int list(struct store *store, const struct rooms_query *query, struct arena *arena, uint64_t due_ms,
                struct rooms_page *out, struct wait *w)
{
	return redis_rooms_list(of(store), query, arena, due_ms, out, w);
}

static void touch(struct store *store, struct str name, const struct room *room)
{
	redis_rooms_touch(of(store), name, room);
}

/* -- nodes ------------------------------------------------------------------------------------------------------------------- */

static int register_node(struct store *store, const char *node, const struct registration_request *request, uint64_t due_ms,
                         struct registered *out, struct wait *w)
{
	return redis_nodes_register(of(store), node, request, due_ms, out, w);
}

static int renew(struct store *store, const char *node, const struct renewal *renewal, uint64_t due_ms, struct renewed *out,
                 struct wait *w)
{
	return redis_nodes_renew(of(store), node, renewal, due_ms, out, w);
}

static int leave(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *w)
{
	return redis_nodes_leave(of(store), node, incarnation, due_ms, left, w);
}

static int lose(struct store *store, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
                struct wait *w)
{
	return redis_nodes_lose(of(store), node, registration, seq, due_ms, lost, w);
}

static int set_wish(struct store *store, const char *node, enum node_wish wish, struct str drain, uint64_t due_ms, struct wait *w)
{
	return redis_nodes_set_wish(of(store), node, wish, drain, due_ms, w);
}

static void listed(struct store *store, const char *node, uint64_t registration, uint64_t generation)
{
	redis_nodes_listed(of(store), node, registration, generation);
}

/* -- the mark ---------------------------------------------------------------------------------------------------------------- */

static int mark_look(struct store *store, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return redis_mark_look(of(store), knows_nodes, due_ms, out, w);
}

static int mark_doubt(struct store *store, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w)
{
	return redis_mark_doubt(of(store), generation, young_ms, due_ms, done, w);
}

static int mark_read(struct store *store, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return redis_mark_read(of(store), room, due_ms, out, w);
}

static int marks_read(struct store *store, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return redis_marks_read(of(store), due_ms, out, w);
}

static int mark_whole(struct store *store, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w)
{
	return redis_mark_whole(of(store), generation, due_ms, done, w);
}

static int reset_breakers(struct store *store, const char *node, uint64_t due_ms, struct wait *w)
{
	return redis_nodes_reset_breakers(of(store), node, due_ms, w);
}

static int reserve(struct store *store, const char *node, const struct reserve *reserve, uint64_t due_ms,
                   struct reserved *out, struct wait *w)
{
	return redis_nodes_reserve(of(store), node, reserve, due_ms, out, w);
}

static void release(struct store *store, const char *node, struct str room, const struct reserved *reserved, double cost)
{
	redis_nodes_release(of(store), node, room, reserved, cost);
}

static void index_room(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	redis_nodes_index(of(store), node, room, epoch);
}

static void unindex(struct store *store, const char *node, struct str room, uint64_t epoch)
{
	redis_nodes_unindex(of(store), node, room, epoch);
}

static void report_rooms(struct store *store, const char *node, const struct room_report *reports, size_t n)
{
	redis_nodes_report_rooms(of(store), node, reports, n);
}

static int room_use(struct store *store, const char *node, struct str room, uint64_t due_ms, struct room_report *out,
                    struct wait *w)
{
	return redis_nodes_room(of(store), node, room, due_ms, out, w);
}

static int all_nodes(struct store *store, struct arena *arena, uint64_t due_ms, struct nodes_all *out, struct wait *w)
{
	return redis_nodes_all(of(store), arena, due_ms, out, w);
}

static int scan_nodes(struct store *store, const char *cursor, struct arena *arena, uint64_t due_ms, struct nodes_page *out,
                      struct wait *w)
{
	return redis_nodes_scan(of(store), cursor, arena, due_ms, out, w);
}

static int holds(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *out, struct wait *w)
{
	return redis_nodes_holds(of(store), node, incarnation, due_ms, out, w);
}

static void relist(struct store *store, const char *node)
{
	redis_nodes_relist(of(store), node);
}

/* -- routers ----------------------------------------------------------------------------------------------------------------- */

static int use_once(struct store *store, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w)
{
	return redis_use_once(of(store), name, lives_ms, due_ms, first, w);
}

static int announce(struct store *store, const char *id, struct str info, uint64_t due_ms, struct wait *w)
{
	return redis_routers_announce(of(store), id, info, due_ms, w);
}

static int leave_router(struct store *store, const char *id, uint64_t due_ms, struct wait *w)
{
	return redis_routers_leave(of(store), id, due_ms, w);
}

static int all_routers(struct store *store, struct arena *arena, uint64_t due_ms, struct routers_all *out, struct wait *w)
{
	return redis_routers_all(of(store), arena, due_ms, out, w);
}

static const struct store_ops redis_ops = {
	.free = free_handle, .up = up, .connections = connections,
	.find = find, .claim = claim, .confirm = confirm, .publish = publish, .move = move, .restore = restore, .shut = shut, .forget = forget,
	.list = list, .touch = touch,
	.register_node = register_node, .renew = renew, .leave = leave, .lose = lose, .set_wish = set_wish,
	.listed = listed, .mark_look = mark_look, .mark_read = mark_read, .marks_read = marks_read, .mark_whole = mark_whole, .mark_doubt = mark_doubt,
	.reset_breakers = reset_breakers, .reserve = reserve, .release = release, .index = index_room, .unindex = unindex,
	.report_rooms = report_rooms, .room = room_use, .nodes_all = all_nodes, .nodes_scan = scan_nodes, .relist = relist,
	.holds = holds,
	.use_once = use_once,
	.announce = announce, .leave_router = leave_router, .routers_all = all_routers,
};

/* -- one a process ----------------------------------------------------------------------------------------------------------- */

static void *open_shared(struct registry *registry, const char **why)
{
	return redis_shared_new(registry, why);
}

static void close_shared(void *own)
{
	redis_shared_free(own);
}

static bool shared_up(const void *own)
{
	return redis_shared_up(own);
}

static struct store *handle_new(struct registry *registry, struct loop *loop)
{
	struct redis_handle *handle = calloc(1, sizeof *handle);

	if (!handle)
		abort();
	handle->base = (struct store){ .registry = registry, .loop = loop, .ops = &redis_ops };
	handle->redis = redis_store_new(registry->own, loop);
	return &handle->base;
}

static bool reads(const char *url, const char **why)
{
	struct redis_target target;

	return redis_target_parse(url, &target, why);
}

const struct registry_kind registry_redis = {
	.name = "redis", .reads = reads, .open = open_shared, .close = close_shared, .up = shared_up, .store_new = handle_new
};
