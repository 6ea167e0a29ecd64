/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/rooms/{room}/join: which node, and where to send the participant's signaling. The answer rests on an open record
 * whose owner lives; capacity refuses a join to a placed room only where the node or the operator set a limit on participants.
 */
#include <string.h>

#include "base/arena.h"
#include "base/url.h"
#include "base/wire/direct_ticket.h"
#include "health/sfu.h"
#include "registry/nodes.h"
#include "router/access.h"
#include "router/address.h"
#include "router/grants.h"
#include "router/metrics.h"
#include "router/resolve.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/wish.h"
#include "router/worker.h"

#define SIGNAL_EXPIRES_MS 60000 /* of the URL in the answer */

struct join {
	struct resolve resolve; /* first */
	struct room colocated;
	struct room_report count; /* of the participants in the room */
	bool direct;              /* the participant is sent to the gate */
	uint64_t bringing;        /* the room's grant to that gate, now */
	struct sfu_answer brought;
};

static int read_wish(struct request *);
static int find_colocated(struct request *), found_colocated(struct request *), no_colocated(struct request *, int err);
static int check_node(struct request *);
static int count_participants(struct request *), counted(struct request *), not_counted(struct request *, int err);
static int bring_direct(struct request *), brought_direct(struct request *);
static int answer(struct request *);

static const struct step steps[] = {
	{ "read-wish", read_wish, NULL, NULL, false },
	{ "find-colocated", find_colocated, found_colocated, no_colocated, true },
	RESOLVE_STEPS,
	{ "check-node", check_node, NULL, NULL, false },
	{ "count-participants", count_participants, counted, not_counted, true },
	{ "bring-direct", bring_direct, brought_direct, NULL, false },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};

static void join_leave(struct request *rq)
{
	struct join *join = rq->state;
	const char *outcome = "left"; /* the client, before it had an answer */

	resolve_leave(rq);
	if (join->bringing)
		renewals_end(&rq->worker->renewals, join->bringing, false);
	if (rq->status == 200)
		outcome = join->resolve.created ? "placed" : "known";
	else if (rq->refused)
		outcome = error_info(rq->refused)->slug;
	metric_add(rq->worker->sheet, M_JOINS, outcome, NULL, 1);
}

static int read_wish(struct request *rq)
{
	struct join *join = rq->state;
	const struct join_body *body = rq->body;

	if (body && body->colocate_with && !access_covers(rq, str_of(body->colocate_with)))
		return request_fail(rq, ERR_FORBIDDEN, "colocate_with: the credential is for another room");
	resolve_begin(rq, true, check_node);
	rq->leave = join_leave;
	join->resolve.wants_hints = true;
	join->resolve.wish = wish_read(rq, rq->body);
	return NEXT;
}

static int find_colocated(struct request *rq)
{
	const struct join_body *body = rq->body;
	struct join *join = rq->state;

	if (!body || !body->colocate_with)
		return NEXT;
	return rooms_find(rq->worker->store, str_of(body->colocate_with), false, request_store_due(rq), &join->colocated, &rq->wait);
}

static int found_colocated(struct request *rq)
{
	struct join *join = rq->state;

	if (join->colocated.state == ROOM_OPEN)
		join->resolve.wish->colocate_node = join->colocated.node;
	return NEXT;
}

/* A wish: without an answer it is not fulfilled, and the join goes on. */
static int no_colocated(struct request *rq, int err)
{
	(void)rq, (void)err;
	return NEXT;
}

/* Where this router's tunnels are held back it sends nobody: another router may well reach the node, so the room stays. */
static bool out_of_reach(struct request *rq, const struct node *node)
{
	uint64_t retry_ms;

	if (!breaker_warns(node->breakers[CLASS_SIGNAL], request_now(rq), &retry_ms))
		return false;
	rq->retry_ms = retry_ms;
	return true;
}

static int check_node(struct request *rq)
{
	struct join *join = rq->state;
	const struct node *node = resolve_node(rq);

	if (!node)
		return resolve_anew(rq);
	if (join->resolve.created)
		return request_go(rq, bring_direct);
	if (out_of_reach(rq, node))
		return request_fail(rq, ERR_BREAKER_OPEN, "node %s cannot be reached from here at present", node->record.id);
	const char *broken = wish_broken(join->resolve.wish, node);
	if (broken)
		return request_fail(rq, ERR_CONFLICT, "require.%s: the room is placed on node %s, which does not have it", broken,
		                    node->record.id);
	if (node->info.capacity.participants > 0 && node->load.has_participants &&
	    node->load.participants >= node->info.capacity.participants)
		return request_fail(rq, ERR_NO_CAPACITY, "node %s has its %.0f participants", node->record.id,
		                    node->info.capacity.participants);
	return NEXT;
}

static int count_participants(struct request *rq)
{
	struct join *join = rq->state;

	if (!rq->worker->router->conf.placement.max_participants_per_room)
		return request_go(rq, bring_direct);
	return nodes_room(rq->worker->store, join->resolve.room.node, join->resolve.name, request_store_due(rq), &join->count, &rq->wait);
}

static int counted(struct request *rq)
{
	struct join *join = rq->state;
	uint64_t max = rq->worker->router->conf.placement.max_participants_per_room;

	/* The count comes also when there was no limit to check: then the step before went straight to the answer. */
	if (max && join->count.participants >= 0 && (uint64_t)join->count.participants >= max)
		return request_fail(rq, ERR_NO_CAPACITY, "the room has %lld participants; placement.max_participants_per_room is %llu",
		                    (long long)join->count.participants, (unsigned long long)max);
	return NEXT;
}

/* No count, no refusal: a limit on participants must not make known rooms depend on the store. */
static int not_counted(struct request *rq, int err)
{
	return err == ERR_NO_CAPACITY ? -err : request_go(rq, bring_direct);
}

static void write_node(struct json_out *json, const struct node *node)
{
	json_open(json, "node", '{');
	json_str(json, "id", node->record.id);
	json_str(json, "region", node->info.region && *node->info.region ? node->info.region : NULL);
	json_str(json, "incarnation", node->record.incarnation);
	json_close(json, '}');
}

static const char *holder_of(const struct request *rq)
{
	const struct join_body *body = rq->body;

	return body && body->participant ? body->participant : rq->who;
}

/* With a ticket: whoever has the URL is let in, for as long as the answer says. */
static struct str signal_url(struct request *rq)
{
	const struct resolve *rs = rq->state;
	struct str url = address_signal(rq, rs->name), ticket = access_ticket(rq, TICKET_JOIN, rs->name, str_of(holder_of(rq)), SIGNAL_EXPIRES_MS);

	return ticket.len ? str_of(arena_printf(request_arena(rq), "%.*s?ticket=%.*s", STR_ARG(url), STR_ARG(ticket))) : url;
}

/* To the gate itself, where it knows the room's grants and participants can reach it. Its tickets open WebSockets alone: plain HTTP comes
 * back for hours, and a cookie of each node's would be one more thing that others can read. */
static bool goes_direct(const struct request *rq, const struct node *node)
{
	const struct join_body *body = rq->body;
	struct url url;

	return body && body->mode == MODE_DIRECT && grants_demanded(rq->worker->router) && node->info.fences == FENCES_GATE &&
	       node->info.public_signal_url && url_parse(node->info.public_signal_url, &url, NULL) && url.websocket;
}

/* -- bring-direct: whoever goes to a gate itself has no router beside it to bring the grant that the gate may lack ---------------- */
static int bring_direct(struct request *rq)
{
	struct join *join = rq->state;
	const struct resolve *rs = &join->resolve;
	struct renewals *renewals = &rq->worker->renewals;
	const struct node *node = resolve_node(rq);

	if (!node)
		return resolve_anew(rq);
	join->direct = false;
	if (!goes_direct(rq, node))
		return NEXT;
	uint64_t mark = renewals_mark(rq, rs->name, &rs->room, node->record.registration);
	if (rs->created)
		renewals_end(renewals, mark, true);
	join->direct = renewals_brought(renewals, mark);
	if (join->direct || !renewals_begin(renewals, mark))
		return NEXT; /* by the proxy, while another one brings it */
	struct sfu_room room = { .node = rs->room.node, .incarnation = rs->room.incarnation, .room = rs->name, .epoch = rs->room.epoch,
		                 .registration = rs->room.registration, .request_id = rq->id };
	join->bringing = mark;
	return sfu_open(rq->worker->sfu, &room, request_arena(rq), &join->brought, &rq->wait);
}

static int brought_direct(struct request *rq)
{
	struct join *join = rq->state;

	if (!join->bringing)
		return NEXT;
	join->direct = join->brought.verdict == SFU_DONE;
	renewals_end(&rq->worker->renewals, join->bringing, join->direct);
	join->bringing = 0;
	return NEXT;
}

static struct str direct_url(struct request *rq, const struct node *node)
{
	const struct resolve *rs = rq->state;
	const char *base = node->info.public_signal_url;
	struct direct_ticket ticket = { wall_ms() + SIGNAL_EXPIRES_MS, rs->room.epoch, rs->name, str_of(holder_of(rq)) };
	struct buf text = { 0 };

	direct_ticket_write(&ticket, grants_of_request(rq, rs->name, &rs->room), &text);
	const char *url = arena_printf(request_arena(rq), "%s%cticket=%.*s", base, strchr(base, '?') ? '&' : '?', (int)text.len, text.at);
	buf_free(&text);
	return str_of(url);
}

static void write_signal(struct request *rq, const struct node *node, struct json_out *json)
{
	bool direct = ((const struct join *)rq->state)->direct;

	json_open(json, "signal", '{');
	json_str(json, "mode", direct ? "direct" : "proxy");
	json_view(json, "url", direct ? direct_url(rq, node) : signal_url(rq));
	json_u64(json, "expires_in_ms", SIGNAL_EXPIRES_MS);
	json_close(json, '}');
}

static int answer(struct request *rq)
{
	struct join *join = rq->state;
	const struct resolve *rs = &join->resolve;
	const struct node *node = resolve_node(rq);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	if (!node)
		return resolve_anew(rq);
	rooms_touch(rq->worker->store, rs->name, &rs->room);
	json_open(&json, NULL, '{');
	json_view(&json, "room", rs->name);
	json_bool(&json, "created", rs->created);
	json_u64(&json, "epoch", rs->room.epoch);
	json_str(&json, "source", room_source_name(rs->room.source));
	write_node(&json, node);
	write_signal(rq, node, &json);
	json_open(&json, "ice_servers", '[');
	json_close(&json, ']');
	json_raw(&json, "hints", *rs->room.hints && strcmp(rs->room.hints, HINTS_LOST) ? str_of(rs->room.hints) : STR("{}"));
	json_close(&json, '}');
	return request_json(rq, 200, &text);
}

const struct verb join_verb = { steps, sizeof(struct join), &join_shape };
