/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations, leases and wishes in the embedded store. A record without an incarnation is a wish that outlived its
 * node: nothing else of it is left.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "registry/memory_private.h"

struct node_call {
	struct memory_call base;
	const char *node;
	union {
		struct registration_request registration;
		struct renewal renewal;
		struct {
			const char *incarnation;
			uint64_t registration_watched, seq;
			enum node_wish wish;
			struct str drain;
			uint64_t generation;
		};
	};
	union {
		struct registered registered;
		struct renewed renewed;
		bool flag;
	} got;
	void *out;
};

/* -- records --------------------------------------------------------------------------------------------------------------- */

struct memory_node *memory_node_find(struct memory *memory, const char *id)
{
	struct map_item *item = map_find(&memory->nodes, str_of(id));

	return item ? container_of(item, struct memory_node, item) : NULL;
}

static void text_set(struct str *at, struct str text)
{
	char *copy = malloc(text.len + 1);

	if (!copy)
		abort();
	if (text.len)
		memcpy(copy, text.at, text.len);
	copy[text.len] = '\0';
	free((void *)(uintptr_t)at->at);
	*at = (struct str){ copy, text.len };
}

static void text_clear(struct str *at)
{
	free((void *)(uintptr_t)at->at);
	*at = (struct str){ NULL, 0 };
}

static struct memory_node *node_make(struct memory *memory, const char *id)
{
	struct memory_node *node = memory_node_find(memory, id);

	if (node)
		return node;
	node = calloc(1, sizeof *node);
	if (!node)
		abort();
	snprintf(node->record.id, sizeof node->record.id, "%s", id);
	map_add(&memory->nodes, &node->item, str_of(node->record.id));
	return node;
}

static void node_free(struct map_item *item)
{
	struct memory_node *node = container_of(item, struct memory_node, item);

	memory_places_clear(node);
	text_clear(&node->info);
	text_clear(&node->load);
	text_clear(&node->drain);
	text_clear(&node->routers);
	free(node);
}

static void node_delete(struct memory *memory, struct memory_node *node)
{
	map_remove(&memory->nodes, &node->item);
	node_free(&node->item);
}

void memory_nodes_free(struct memory *memory)
{
	map_free(&memory->nodes, node_free);
}

static bool is_held(const struct memory_node *node)
{
	return node && node->record.incarnation[0];
}

static struct node_call *node_call(struct memory_call *call)
{
	return container_of(call, struct node_call, base);
}

static struct node_call *node_call_new(struct store *store, const char *node, int (*run)(struct memory *, struct memory_call *),
                                       void (*give)(struct memory_call *), void *out)
{
	struct node_call *call = call_new(store, sizeof *call, run, give);

	call->node = call_keep_z(&call->base, node);
	call->out = out;
	return call;
}

/* -- register -------------------------------------------------------------------------------------------------------------- */

/* One that was not used yet is given again: else a copy of the request that the process gave up on, and that runs late, would
 * make the process itself stale. */
static uint64_t registration_after(const struct node_record *r, bool again, uint64_t now)
{
	if (again && !r->lost && r->seq == 0)
		return r->registration;
	return r->registration + 1 > now ? r->registration + 1 : now;
}

static void registration_write(struct memory_node *node, const struct registration_request *request, bool again)
{
	struct node_record *r = &node->record;
	uint64_t now = wall_ms();

	r->registration = registration_after(r, again, now);
	r->seq = 0;
	r->lost = false;
	r->lease_ms = request->lease_ms;
	r->heard_ms = now;
	r->listed = 0;
	text_set(&node->info, request->info);
	text_clear(&node->routers);
	if (again)
		return;
	snprintf(r->incarnation, sizeof r->incarnation, "%s", request->incarnation);
	r->since_ms = now;
	r->reported = REPORTED_READY;
	r->seen = 0;
	r->shown = 0;
	text_clear(&node->load);
	memory_places_clear(node);
}

static bool starts_with(struct str text, struct str start)
{
	return text.len >= start.len && !memcmp(text.at, start.at, start.len);
}

/* The process's own drain ends with it. */
static void end_own_drain(struct node_record *record, struct str *drain)
{
	if (record->wish != WISH_DRAINING || !starts_with(*drain, STR(DRAIN_OWN)))
		return;
	record->wish = starts_with(*drain, STR(DRAIN_OWN_CORDONED)) ? WISH_CORDONED : WISH_ENABLED;
	record->wished_ms = wall_ms();
	text_clear(drain);
}

static int register_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	const struct registration_request *request = &call->registration;
	struct memory_node *node = memory_node_find(memory, call->node);
	bool again = is_held(node) && strcmp(node->record.incarnation, request->incarnation) == 0;

	if (is_held(node) && !again && !node->record.lost && strcmp(node->record.incarnation, request->replaces) != 0) {
		call->got.registered = (struct registered){ REGISTER_TAKEN, node->record.registration, node->record.wish };
		return 0;
	}
	node = node_make(memory, call->node);
	if (!again)
		end_own_drain(&node->record, &node->drain);
	registration_write(node, request, again);
	call->got.registered = (struct registered){ again ? REGISTER_AGAIN : REGISTER_NEW, node->record.registration,
		                                    node->record.wish };
	return 0;
}

static void registered_give(struct memory_call *base)
{
	*(struct registered *)node_call(base)->out = node_call(base)->got.registered;
}

int memory_register(struct store *store, const char *node, const struct registration_request *request, uint64_t due_ms,
                    struct registered *out, struct wait *w)
{
	struct node_call *call = node_call_new(store, node, register_run, registered_give, out);

	call->registration = (struct registration_request){ .incarnation = call_keep_z(&call->base, request->incarnation),
		                                            .replaces = call_keep_z(&call->base, request->replaces),
		                                            .info = call_keep(&call->base, request->info),
		                                            .lease_ms = request->lease_ms };
	return call_start(&call->base, due_ms, w);
}

/* -- renew ----------------------------------------------------------------------------------------------------------------- */

/* A registration above the record's means that the store lost data; it is taken, for the process that the record names, but not over
 * `lost`: somebody may be placing its rooms by that. */
static enum renew_verdict renew_judge(const struct memory_node *node, const struct renewal *renewal)
{
	const struct node_record *r;

	if (!is_held(node))
		return RENEW_UNKNOWN;
	r = &node->record;
	if (renewal->registration < r->registration)
		return RENEW_STALE;
	if (strcmp(r->incarnation, renewal->incarnation) != 0)
		return RENEW_UNKNOWN;
	if (r->lost)
		return RENEW_UNKNOWN;
	if (renewal->registration > r->registration)
		return RENEW_DONE;
	return renewal->seq <= r->seq ? RENEW_REPEATED : RENEW_DONE;
}

static void renewal_write(struct memory_node *node, const struct renewal *renewal)
{
	struct node_record *r = &node->record;

	r->registration = renewal->registration;
	r->seq = renewal->seq;
	r->lease_ms = renewal->lease_ms;
	r->reported = renewal->reported;
	r->seen = renewal->seen;
	r->shown = renewal->shown;
	r->lost = false;
	r->heard_ms = wall_ms();
	text_set(&node->load, renewal->load);
	text_set(&node->routers, renewal->routers);
}

static int renew_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	struct memory_node *node = memory_node_find(memory, call->node);

	call->got.renewed.verdict = renew_judge(node, &call->renewal);
	call->got.renewed.wish = node ? node->record.wish : WISH_ENABLED;
	call->got.renewed.charged = node ? node->record.charged : 0;
	call->got.renewed.listed = node ? node->record.listed : 0;
	if (call->got.renewed.verdict == RENEW_DONE)
		renewal_write(node, &call->renewal);
	return 0;
}

static void renewed_give(struct memory_call *base)
{
	*(struct renewed *)node_call(base)->out = node_call(base)->got.renewed;
}

int memory_renew(struct store *store, const char *node, const struct renewal *renewal, uint64_t due_ms, struct renewed *out,
                 struct wait *w)
{
	struct node_call *call = node_call_new(store, node, renew_run, renewed_give, out);

	call->renewal = *renewal;
	call->renewal.incarnation = call_keep_z(&call->base, renewal->incarnation);
	call->renewal.load = call_keep(&call->base, renewal->load);
	call->renewal.routers = call_keep(&call->base, renewal->routers);
	return call_start(&call->base, due_ms, w);
}

/* -- leave, lose ------------------------------------------------------------------------------------------------------------- */

static void flag_give(struct memory_call *base)
{
	*(bool *)node_call(base)->out = node_call(base)->got.flag;
}

/* Of the node only a wish is left that somebody must take back. */
static void leave_wish(struct memory *memory, const char *id, const struct node_record *record, struct str *drain)
{
	struct memory_node *left = node_make(memory, id);

	left->record.wish = record->wish;
	left->record.wished_ms = record->wished_ms;
	left->drain = *drain;
	*drain = (struct str){ NULL, 0 };
}

static int leave_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	struct memory_node *node = memory_node_find(memory, call->node);

	call->got.flag = is_held(node) && strcmp(node->record.incarnation, call->incarnation) == 0;
	if (!call->got.flag)
		return 0;
	struct node_record record = node->record;
	struct str drain = node->drain;
	node->drain = (struct str){ NULL, 0 };
	node_delete(memory, node);
	end_own_drain(&record, &drain);
	if (record.wish != WISH_ENABLED)
		leave_wish(memory, call->node, &record, &drain);
	text_clear(&drain);
	return 0;
}

int memory_leave(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *w)
{
	struct node_call *call = node_call_new(store, node, leave_run, flag_give, left);

	call->incarnation = call_keep_z(&call->base, incarnation);
	return call_start(&call->base, due_ms, w);
}

static int holds_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	const struct memory_node *node = memory_node_find(memory, call->node);

	call->got.flag = is_held(node) && !node->record.lost && strcmp(node->record.incarnation, call->incarnation) == 0;
	return 0;
}

int memory_holds(struct store *store, const char *node, const char *incarnation, uint64_t due_ms, bool *holds, struct wait *w)
{
	struct node_call *call = node_call_new(store, node, holds_run, flag_give, holds);

	call->incarnation = call_keep_z(&call->base, incarnation);
	return call_start(&call->base, due_ms, w);
}

static int lose_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	struct memory_node *node = memory_node_find(memory, call->node);

	call->got.flag = is_held(node) && node->record.registration == call->registration_watched &&
	                 node->record.seq == call->seq;
	if (call->got.flag)
		node->record.lost = true;
	return 0;
}

int memory_lose(struct store *store, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost,
                struct wait *w)
{
	struct node_call *call = node_call_new(store, node, lose_run, flag_give, lost);

	call->registration_watched = registration;
	call->seq = seq;
	return call_start(&call->base, due_ms, w);
}

/* -- wish, reset ------------------------------------------------------------------------------------------------------------- */

static bool is_other_wish(const struct memory_node *node, enum node_wish wish, struct str drain)
{
	return node->record.wish != wish || !str_eq(node->drain, drain);
}

static int wish_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	struct memory_node *node = memory_node_find(memory, call->node);

	if (!node)
		return -ERR_UNKNOWN_NODE;
	if (is_other_wish(node, call->wish, call->drain)) {
		node->record.wish = call->wish;
		node->record.wished_ms = wall_ms();
		text_set(&node->drain, call->drain);
	}
	if (!is_held(node) && call->wish == WISH_ENABLED)
		node_delete(memory, node);
	return 0;
}

int memory_set_wish(struct store *store, const char *node, enum node_wish wish, struct str drain, uint64_t due_ms, struct wait *w)
{
	struct node_call *call = node_call_new(store, node, wish_run, NULL, NULL);

	call->wish = wish;
	call->drain = call_keep(&call->base, drain);
	return call_start(&call->base, due_ms, w);
}

static int listed_run(struct memory *memory, struct memory_call *base)
{
	struct node_call *call = node_call(base);
	struct memory_node *node = memory_node_find(memory, call->node);

	if (node && node->record.registration == call->registration_watched)
		node->record.listed = call->generation;
	return 0;
}

void memory_listed(struct store *store, const char *node, uint64_t registration, uint64_t generation)
{
	struct node_call *call = node_call_new(store, node, listed_run, NULL, NULL);

	call->registration_watched = registration;
	call->generation = generation;
	call_tell(&call->base);
}

static int resets_run(struct memory *memory, struct memory_call *base)
{
	struct memory_node *node = memory_node_find(memory, node_call(base)->node);

	if (!node)
		return -ERR_UNKNOWN_NODE;
	node->record.resets++;
	return 0;
}

int memory_reset_breakers(struct store *store, const char *node, uint64_t due_ms, struct wait *w)
{
	struct node_call *call = node_call_new(store, node, resets_run, NULL, NULL);

	return call_start(&call->base, due_ms, w);
}
