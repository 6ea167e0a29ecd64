/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/nodes and /v1/nodes/{node}: the fleet as this router sees it. Answered from the published view, so that operators
 * can ask while the store is away; load_age_ms and lease_remaining_ms say how old the sight is.
 */
#include <string.h>

#include "base/arena.h"
#include "health/fleet.h"
#include "registry/rooms.h"
#include "router/drain.h"
#include "router/page.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/room_view.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

static void write_text(struct json_out *json, const char *name, const char *value)
{
	json_str(json, name, value && *value ? value : NULL);
}

static void write_why_not(struct json_out *json, unsigned why_not)
{
	json_open(json, "why_not", '[');
	for (unsigned bit = 0; bit < WHY_NOT_BITS; bit++)
		if (why_not & 1u << bit)
			json_str(json, NULL, why_not_words[bit]);
	json_close(json, ']');
}

static void write_labels(struct json_out *json, const struct node *node)
{
	const struct json_pair *labels = node->info.labels.items;

	json_open(json, "labels", '{');
	for (size_t i = 0; i < node->info.labels.count; i++)
		json_str(json, labels[i].key, labels[i].value);
	json_close(json, '}');
}

static void write_breaker(struct json_out *json, const char *router, const char *class, const char *state, uint64_t failures,
                          uint64_t retry_ms)
{
	json_open(json, NULL, '{');
	json_str(json, "router", router);
	json_str(json, "class", class);
	json_str(json, "state", state);
	json_u64(json, "failures", failures);
	json_u64(json, "retry_in_ms", retry_ms);
	json_close(json, '}');
}

/* Our own breakers as they are now, the others' that are not closed as they were last announced. */
static void write_breakers(struct json_out *json, const struct router *router, const struct node *node, uint64_t now_ms)
{
	const struct peers_view *peers = peers_view(router->peers);

	json_open(json, "breakers", '[');
	for (int class = 0; class < CLASSES; class++) {
		uint64_t retry_ms = 0;
		enum breaker_state state = breaker_state(node->breakers[class], now_ms, &retry_ms);
		write_breaker(json, router->id, breaker_class_words[class], breaker_state_words[state],
		              breaker_failures(node->breakers[class]), retry_ms);
	}
	for (size_t i = 0; i < peers->count; i++)
		for (size_t k = 0; strcmp(peers->peers[i].id, router->id) && k < peers->peers[i].nbreakers; k++) {
			const struct peer_breaker *b = &peers->peers[i].breakers[k];
			if (!strcmp(b->node, node->record.id))
				write_breaker(json, peers->peers[i].id, b->class, b->state, b->failures, b->retry_ms);
		}
	json_close(json, ']');
}

static void write_times(struct json_out *json, const struct node *node, uint64_t now_ms)
{
	uint64_t age = now_ms > node->changed_ms ? now_ms - node->changed_ms : 0;

	json_u64(json, "load_age_ms", node->record.seq ? age : 0);
	json_u64(json, "lease_remaining_ms", node->record.seq && age < node->record.lease_ms ? node->record.lease_ms - age : 0);
}

static void write_node(struct request *rq, struct json_out *json, const struct node *node)
{
	const struct router *router = rq->worker->router;
	uint64_t now_ms = request_now(rq);
	const struct node_record *record = &node->record;

	json_open(json, NULL, '{');
	json_str(json, "id", record->id);
	json_str(json, "wish", node_wish_words[record->wish]);
	json_str(json, "reported", record->seq ? node_report_words[record->reported] : NULL);
	json_str(json, "state", node_state_words[node->state]);
	json_bool(json, "placeable", !node->why_not);
	write_why_not(json, node->why_not);
	write_text(json, "incarnation", record->incarnation);
	json_u64(json, "registration", record->registration);
	write_text(json, "region", node->info.region);
	write_text(json, "zone", node->info.zone);
	write_text(json, "pool", node->info.pool);
	write_labels(json, node);
	write_text(json, "signal_url", node->info.signal_url);
	write_text(json, "adapter", node->info.adapter);
	write_text(json, "version", node->info.version);
	json_str(json, "fences", fences_words[node->info.fences]);
	json_raw(json, "load", record->load.len ? record->load : STR("{}"));
	if (node->score.known)
		json_real(json, "score", node->score.value);
	else
		json_null(json, "score");
	json_real(json, "charged", fleet_charges(router->fleet, node, now_ms));
	json_u64(json, "rooms", record->rooms);
	if (node->load.has_participants)
		json_u64(json, "participants", (uint64_t)node->load.participants);
	else
		json_null(json, "participants");
	write_times(json, node, now_ms);
	write_breakers(json, router, node, now_ms);
	drain_write(json, router, node, request_arena(rq));
	json_close(json, '}');
}

/* -- GET /v1/nodes ------------------------------------------------------------------------------------------------------------- */
static int list_nodes(struct request *rq)
{
	const struct router *router = rq->worker->router;
	const struct fleet_view *view = fleet_view(router->fleet);
	static const char *const not_yet[] = { "the store has not answered yet", NULL };
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	const char *next = NULL;
	struct page page;
	size_t n = 0;
	int err = page_read(rq, &page);

	if (err)
		return err;
	page_open(&json, "nodes");
	for (size_t i = 0; i < view->count; i++) {
		const char *id = view->nodes[i].record.id;
		if (page.cursor.len && strcmp(id, page.cursor.at) <= 0)
			continue;
		if (n++ == page.limit) {
			next = view->nodes[i - 1].record.id;
			break;
		}
		write_node(rq, &json, &view->nodes[i]);
	}
	page_close(&json, next, view->ready ? view->unread : not_yet);
	return request_json(rq, 200, &text);
}

static const struct step nodes_steps[] = { { "list-nodes", list_nodes, NULL, NULL, false }, STEPS_END };
const struct verb nodes_verb = { nodes_steps, 0, NULL };

/* -- GET /v1/nodes/{node} -------------------------------------------------------------------------------------------------------- */
static int show_node(struct request *rq)
{
	const struct router *router = rq->worker->router;
	const struct node *node = fleet_find(router->fleet, rq->names[NAME_NODE].at);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	if (!node && !fleet_view(router->fleet)->ready)
		return request_fail(rq, ERR_STORE_UNAVAILABLE, "the store has not answered yet");
	if (!node)
		return request_fail(rq, ERR_UNKNOWN_NODE, "no node %s", rq->names[NAME_NODE].at);
	write_node(rq, &json, node);
	return request_json(rq, 200, &text);
}

static const struct step node_steps[] = { { "show-node", show_node, NULL, NULL, false }, STEPS_END };
const struct verb node_verb = { node_steps, 0, NULL };
