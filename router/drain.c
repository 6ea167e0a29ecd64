/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUT and DELETE /v1/nodes/{node}/drain. Only the wish is written here; the mover of each router sees it in its view of the fleet
 * and does what it says (mover.c), so that it does not matter which router was asked, or whether that one lives on. Both verbs look
 * at the fleet anew first: what is undone, or kept, is the wish as it is now.
 *
 * With `incarnation` the asker is the node itself. Its own drain ends with that process and never weakens an operator's.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "health/fleet.h"
#include "router/access.h"
#include "router/drain.h"
#include "router/events.h"
#include "router/keeper.h"
#include "router/peers.h"
#include "router/once.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

#define DEADLINE_MAX_MS 604800000.0 /* a week */

const char *const drain_policy_words[] = { "wait", "move", NULL };

/* -- as it is stored ------------------------------------------------------------------------------------------------------------- */
static bool is_incarnation(const char *s, const char **why)
{
	*why = "must be letters, digits, '.', '_', ':' or '-'";
	return incarnation_valid(s, strlen(s));
}

struct stored {
	int policy, by, was;
	uint64_t deadline_ms;
	const char *incarnation;
};
static const char *const by_words[] = { "operator", "node", "router", NULL };
static const char *const was_words[] = { "enabled", "cordoned", NULL };
/* clang-format off */
#define AT(m) offsetof(struct stored, m)
static const struct json_member stored_members[] = {
	{ "by", JSON_WORD, AT(by), JSON_NO_HAS, .words = by_words },
	{ "was", JSON_WORD, AT(was), JSON_NO_HAS, .words = was_words },
	{ "policy", JSON_WORD, AT(policy), JSON_NO_HAS, .words = drain_policy_words },
	{ "deadline_ms", JSON_U64, AT(deadline_ms), JSON_NO_HAS, 0, DEADLINE_MAX_MS },
	{ "incarnation", JSON_STRING, AT(incarnation), JSON_NO_HAS, 0, INCARNATION_MAX },
};
#undef AT
/* clang-format on */
static const struct json_shape stored_shape = { stored_members, 5, sizeof(struct stored) };

void drain_read(struct str text, struct arena *arena, struct drain_wish *out)
{
	struct stored stored = { 0 };
	const char *fault;

	if (!text.len || json_read(text, &stored_shape, arena, &stored, &fault) < 0)
		stored = (struct stored){ 0 };
	*out = (struct drain_wish){ .policy = stored.policy, .deadline_ms = stored.deadline_ms, .by = stored.by, .cordoned = stored.was,
		                    .incarnation = stored.incarnation ? stored.incarnation : "" };
}

/* By hand, as its beginning is a promise to the registry (DRAIN_OWN); no value needs an escape. */
void drain_print(const struct drain_wish *wish, char out[static DRAIN_MAX + 1])
{
	int len = snprintf(out, DRAIN_MAX + 1, "%s%s,\"policy\":\"%s\"", wish->by == BY_NODE ? DRAIN_OWN : "{\"by\":\"operator\"",
	                   wish->cordoned ? ",\"was\":\"cordoned\"" : "", drain_policy_words[wish->policy]);

	if (wish->deadline_ms)
		len += snprintf(out + len, (size_t)(DRAIN_MAX + 1 - len), ",\"deadline_ms\":%llu", (unsigned long long)wish->deadline_ms);
	if (wish->by == BY_NODE)
		len += snprintf(out + len, (size_t)(DRAIN_MAX + 1 - len), ",\"incarnation\":\"%s\"", wish->incarnation);
	snprintf(out + len, (size_t)(DRAIN_MAX + 1 - len), "}");
}

/* -- how far it is --------------------------------------------------------------------------------------------------------------- */
/* Each router announces what it has moved; the sum is as old as their last announcement. */
static void write_counts(struct json_out *json, const struct router *router, const struct node_record *record)
{
	const struct peers_view *view = peers_view(router->peers);
	uint64_t moved = 0, failed = 0;

	for (size_t i = 0; i < view->count; i++)
		for (size_t k = 0; k < view->peers[i].ndrains; k++) {
			const struct peer_drain *drain = &view->peers[i].drains[k];
			if (strcmp(drain->node, record->id) || drain->since_ms != record->wished_ms)
				continue;
			moved += drain->moved;
			failed += drain->failed;
		}
	json_u64(json, "moved", moved);
	json_u64(json, "failed", failed);
}

void drain_write(struct json_out *json, const struct router *router, const struct node *node, struct arena *arena)
{
	struct drain_wish wish;
	char since[25];

	if (node->record.wish != WISH_DRAINING) {
		json_null(json, "drain");
		return;
	}
	drain_read(node->record.drain, arena, &wish);
	time_rfc3339(node->record.wished_ms, since);
	json_open(json, "drain", '{');
	json_str(json, "by", by_words[wish.by]);
	json_str(json, "policy", drain_policy_words[wish.policy]);
	if (wish.deadline_ms)
		json_u64(json, "deadline_ms", wish.deadline_ms);
	else
		json_null(json, "deadline_ms");
	json_str(json, "since", since);
	json_u64(json, "rooms_left", node->record.rooms);
	if (node->load.has_participants)
		json_u64(json, "participants_left", (uint64_t)node->load.participants);
	else
		json_null(json, "participants_left");
	write_counts(json, router, &node->record);
	json_close(json, '}');
}

/* -- the verbs ------------------------------------------------------------------------------------------------------------------- */
struct drain_body {
	int policy;
	uint64_t deadline_ms;
	const char *incarnation;
};
/* clang-format off */
#define AT(m) offsetof(struct drain_body, m)
static const struct json_member body_members[] = {
	{ "policy", JSON_WORD, AT(policy), JSON_NO_HAS, .words = drain_policy_words, .help = "wait (rooms end by themselves; what is left at the deadline is moved) or move (begin at once)" },
	{ "deadline_ms", JSON_U64, AT(deadline_ms), JSON_NO_HAS, 1, DEADLINE_MAX_MS, .help = "none: no deadline" },
	{ "incarnation", JSON_STRING, AT(incarnation), JSON_NO_HAS, 1, INCARNATION_MAX, .check = is_incarnation, .help = "from the node itself: the drain ends with this process" },
};
/* clang-format on */
static const struct json_shape body_shape = { body_members, 3, sizeof(struct drain_body) };

struct draining { /* of one request */
	uint64_t version;        /* of the fleet's view when the request came; 0: not yet */
	const char *incarnation; /* who asks; NULL: an operator */
	struct drain_wish before, want;
	bool was_draining;
	enum node_wish wish;
	char text[DRAIN_MAX + 1];
};

static int look(struct request *rq), judge(struct request *rq);
static int set_wish(struct request *rq), wish_set(struct request *rq);
static int answer(struct request *rq);

static const struct step drain_steps[] = {
	USE_TOKEN,
	{ "look", look, NULL, NULL, false },
	{ "judge", judge, NULL, NULL, false },
	{ "set-wish", set_wish, wish_set, NULL, true },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};
const struct verb drain_verb = { drain_steps, sizeof(struct draining), &body_shape };
const struct verb undrain_verb = { drain_steps, sizeof(struct draining), NULL };

/* A reading that began before this request could be older than the wish that it is about. */
static int look(struct request *rq)
{
	struct draining *dr = rq->state;
	const struct fleet_view *view = fleet_view(rq->worker->router->fleet);

	if (!dr->version) {
		const struct router_conf *conf = &rq->worker->router->conf;
		/* Two readings, whatever server.park_ms. */
		uint64_t until_ms = request_now(rq) + 2 * (conf->nodes.heartbeat_ms + conf->registry.timeout_ms);
		dr->version = view->version + 1;
		rq->park_until_ms = until_ms > rq->park_until_ms ? until_ms : rq->park_until_ms;
	} else if (view->ready && view->version > dr->version) {
		return NEXT;
	}
	keeper_refresh(rq->worker->router);
	return request_park(rq, look, ERR_STORE_UNAVAILABLE);
}

static bool drains(const struct request *rq)
{
	return !strcmp(exchange_method(rq->x), "PUT");
}

static int read_asker(struct request *rq)
{
	struct draining *dr = rq->state;
	const struct drain_body *body = rq->body;
	struct str incarnation = { 0 };

	if (drains(rq)) {
		dr->incarnation = body ? body->incarnation : NULL;
		return 0;
	}
	if (!request_param(rq, "incarnation", &incarnation) ||
	    (incarnation.at && !incarnation_valid(incarnation.at, incarnation.len)))
		return request_fail(rq, ERR_BAD_REQUEST, "incarnation: must be letters, digits, '.', '_', ':' or '-'");
	dr->incarnation = incarnation.at;
	return 0;
}

static int judge_drain(struct request *rq, const struct node_record *record)
{
	struct draining *dr = rq->state;
	const struct drain_body *body = rq->body;

	if (dr->incarnation && dr->was_draining && dr->before.by != BY_NODE)
		return request_go(rq, answer); /* an operator's stands */
	dr->want = (struct drain_wish){ .by = dr->incarnation ? BY_NODE : BY_OPERATOR, .incarnation = dr->incarnation ? dr->incarnation : "",
		                        .cordoned = dr->was_draining ? dr->before.cordoned : record->wish == WISH_CORDONED };
	if (body) {
		dr->want.policy = body->policy;
		dr->want.deadline_ms = body->deadline_ms;
	}
	dr->wish = WISH_DRAINING;
	drain_print(&dr->want, dr->text);
	return NEXT;
}

static int judge_undrain(struct request *rq)
{
	struct draining *dr = rq->state;

	if (!dr->was_draining)
		return request_go(rq, answer);
	if (dr->incarnation && dr->before.by != BY_NODE)
		return request_fail(rq, ERR_CONFLICT, "an operator drains this node");
	dr->wish = dr->before.cordoned ? WISH_CORDONED : WISH_ENABLED;
	return NEXT;
}

static int judge(struct request *rq)
{
	struct draining *dr = rq->state;
	const struct node *node = fleet_find(rq->worker->router->fleet, rq->names[NAME_NODE].at);
	int err = read_asker(rq);

	if (err)
		return err;
	if (!dr->incarnation && !access_is_admin(rq))
		return request_fail(rq, ERR_FORBIDDEN, "incarnation: required of the node itself; without it an operator drains");
	if (!node)
		return request_fail(rq, ERR_UNKNOWN_NODE, "no node %s", rq->names[NAME_NODE].at);
	if (dr->incarnation && strcmp(dr->incarnation, node->record.incarnation))
		return request_fail(rq, ERR_STALE_INCARNATION, "another incarnation of %s is registered", rq->names[NAME_NODE].at);
	dr->was_draining = node->record.wish == WISH_DRAINING;
	if (dr->was_draining)
		drain_read(node->record.drain, request_arena(rq), &dr->before);
	return drains(rq) ? judge_drain(rq, &node->record) : judge_undrain(rq);
}

static int set_wish(struct request *rq)
{
	struct draining *dr = rq->state;

	return nodes_set_wish(rq->worker->store, rq->names[NAME_NODE].at, dr->wish, str_of(dr->text), request_store_due(rq), &rq->wait);
}

static int wish_set(struct request *rq)
{
	struct draining *dr = rq->state;
	const char *node = rq->names[NAME_NODE].at;

	log_change("node_wish", "request", LOG_S(rq->id), "node", LOG_S(node), "to", LOG_S(node_wish_words[dr->wish]), "drain",
	         LOG_S(dr->text));
	if (dr->wish == WISH_DRAINING && !dr->was_draining)
		events_emit(rq->worker->router, &(struct event){ .type = EVENT_DRAIN_STARTED, .node = node,
		                                                 .detail = drain_policy_words[dr->want.policy] });
	return NEXT;
}

static int answer(struct request *rq)
{
	keeper_refresh(rq->worker->router);
	return request_empty(rq, 204);
}
