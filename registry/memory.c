/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store: how a call gets to the keeper and back. It keeps the promises of a store elsewhere: the asker may
 * leave, an answer that is not there by its time is "unknown" though the write may happen, and a store that is freed
 * answers all that wait. So a router that hangs looks the same to its workers with either store.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "registry/memory_private.h"

/* -- calls ----------------------------------------------------------------------------------------------------------------- */

static struct memory_store *store_of(struct store *store)
{
	return container_of(store, struct memory_store, base);
}

static void memory_unref(struct memory *memory)
{
	if (atomic_fetch_sub(&memory->refs, 1) == 1)
		free(memory);
}

void *call_new(struct store *store, size_t size, int (*run)(struct memory *, struct memory_call *),
               void (*give)(struct memory_call *))
{
	struct memory_call *call = calloc(1, size);

	if (!call)
		abort();
	call->store = store_of(store);
	call->memory = call->store->memory;
	call->run = run;
	call->give = give;
	return call;
}

struct str call_keep(struct memory_call *call, struct str text)
{
	return (struct str){ arena_copy(&call->arena, text.at, text.len), text.len };
}

const char *call_keep_z(struct memory_call *call, const char *text)
{
	return text ? arena_copy(&call->arena, text, strlen(text)) : "";
}

static void call_free(struct memory_call *call)
{
	arena_reset(&call->arena);
	free(call);
}

static void call_unlink(struct memory_call *call)
{
	if (!call->store)
		return;
	*call->link = call->next;
	if (call->next)
		call->next->link = call->link;
	call->store = NULL;
}

static void call_serve(struct ask *ask)
{
	struct memory_call *call = container_of(ask, struct memory_call, ask);
	struct memory *memory = call->memory;

	ask_reply(ask, memory->closed ? -ERR_STORE_UNAVAILABLE : call->run(memory, call));
	memory_unref(memory);
}

static void call_finish(struct ask *ask, bool asked)
{
	struct memory_call *call = container_of(ask, struct memory_call, ask);

	timer_clear(ask->home, &call->due);
	call_unlink(call);
	if (asked && !ask->err && call->give)
		call->give(call);
	call_free(call);
}

/* Whoever waits learns that nobody knows; the answer will find nobody. */
static void call_due(struct timer *timer)
{
	struct memory_call *call = container_of(timer, struct memory_call, due);

	wait_wake(op_detach(&call->ask.op), -ERR_STORE_UNAVAILABLE);
}

static int call_here(struct memory_call *call)
{
	int err = call->run(call->memory, call);

	if (!err && call->give)
		call->give(call);
	call_free(call);
	return err;
}

static int call_send(struct memory_call *call, struct wait *w)
{
	struct memory_store *store = call->store;

	call->ask.serve = call_serve;
	call->ask.finish = call_finish;
	call->next = store->pending;
	call->link = &store->pending;
	if (call->next)
		call->next->link = &call->next;
	store->pending = call;
	atomic_fetch_add(&call->memory->refs, 1);
	return ask_send(&call->ask, store->base.loop, call->memory->keeper, w);
}

int call_start(struct memory_call *call, uint64_t due_ms, struct wait *w)
{
	struct loop *loop = call->store->base.loop;
	uint64_t now = loop_now_ms(loop);

	if (call->store->closing) {
		call_free(call);
		return -ERR_STORE_UNAVAILABLE;
	}
	if (loop == call->memory->keeper)
		return call_here(call);
	timer_set(loop, &call->due, due_ms > now ? due_ms - now : 0, call_due);
	return call_send(call, w);
}

/* Also while the store is being freed: whoever gives up then may still give back what it holds. */
void call_tell(struct memory_call *call)
{
	if (call->store->base.loop == call->memory->keeper)
		call_here(call);
	else
		call_send(call, NULL);
}

/* -- a loop's handle --------------------------------------------------------------------------------------------------------- */

static void handle_free(struct store *base)
{
	struct memory_store *store = store_of(base);

	store->closing = true;
	for (struct memory_call *call = store->pending; call; call = store->pending) {
		struct wait *w = op_detach(&call->ask.op);

		timer_clear(base->loop, &call->due);
		call_unlink(call);
		wait_wake(w, -ERR_STORE_UNAVAILABLE);
	}
	free(store);
}

static bool handle_up(const struct store *store)
{
	(void)store;
	return true;
}

/* What this process has is all there is: never less than whole. */
static int mark_look(struct store *store, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	(void)store, (void)knows_nodes, (void)due_ms, (void)w;
	*out = (struct store_mark){ .generation = 1, .whole = true };
	return NEXT;
}

static int mark_read(struct store *store, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	(void)room;
	return mark_look(store, false, due_ms, out, w);
}

static int marks_read(struct store *store, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return mark_look(store, false, due_ms, out, w);
}

static int mark_whole(struct store *store, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w)
{
	(void)store, (void)generation, (void)due_ms, (void)w;
	*done = true;
	return NEXT;
}

static int mark_doubt(struct store *store, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w)
{
	(void)store, (void)generation, (void)young_ms, (void)due_ms, (void)w;
	*done = false;
	return NEXT;
}

static const struct store_ops memory_ops = {
	.free = handle_free, .up = handle_up,
	.find = memory_find, .claim = memory_claim, .confirm = memory_confirm, .publish = memory_publish, .move = memory_move,
	.restore = memory_restore, .shut = memory_shut, .forget = memory_forget,
	.list = memory_list, .touch = memory_touch,
	.register_node = memory_register, .renew = memory_renew, .leave = memory_leave, .lose = memory_lose, .holds = memory_holds,
	.set_wish = memory_set_wish, .listed = memory_listed,
	.mark_look = mark_look, .mark_read = mark_read, .marks_read = marks_read, .mark_whole = mark_whole, .mark_doubt = mark_doubt, .reset_breakers = memory_reset_breakers, .reserve = memory_reserve,
	.release = memory_release, .index = memory_index, .unindex = memory_unindex, .report_rooms = memory_report_rooms,
	.room = memory_room, .nodes_all = memory_nodes_all,
	.use_once = memory_use_once,
	.announce = memory_announce, .leave_router = memory_leave_router, .routers_all = memory_routers_all,
};

static struct store *handle_new(struct registry *registry, struct loop *loop)
{
	struct memory_store *store = calloc(1, sizeof *store);

	if (!store)
		abort();
	store->base = (struct store){ .registry = registry, .loop = loop, .ops = &memory_ops };
	store->memory = registry->own;
	return &store->base;
}

/* -- one a process ------------------------------------------------------------------------------------------------------------ */

static void *memory_open(struct registry *registry, const char **why)
{
	struct memory *memory = calloc(1, sizeof *memory);

	(void)why;
	if (!memory)
		abort();
	memory->registry = registry;
	memory->keeper = registry->keeper;
	atomic_init(&memory->refs, 1);
	table_set_trust(registry->table, TRUST_ALWAYS);
	registry_trust_mark(registry, &(struct store_mark){ .generation = 1, .whole = true });
	return memory;
}

static void memory_close(void *own)
{
	struct memory *memory = own;

	memory->closed = true;
	memory_rooms_free(memory);
	memory_nodes_free(memory);
	memory_routers_free(memory);
	memory_once_free(memory);
	memory_unref(memory);
}

static bool memory_up(const void *own)
{
	(void)own;
	return true;
}

const struct registry_kind registry_memory = {
	.name = "memory", .open = memory_open, .close = memory_close, .up = memory_up, .store_new = handle_new
};
