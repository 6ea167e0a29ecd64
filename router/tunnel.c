/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket signaling. The handshake is the client's own: its key, subprotocols and extensions go to the node untouched and
 * the node's answer comes back, so that the two agree with each other and usher with neither.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/wire/offer.h"
#include "router/metrics.h"
#include "router/router.h"
#include "router/signal.h"
#include "router/tunnel.h"
#include "router/worker.h"

int dial_node(struct request *rq)
{
	struct signaling *sg = rq->state;
	const struct router_conf *conf = &rq->worker->router->conf;
	struct dial_plan *plan = arena_alloc(request_arena(rq), sizeof(*plan));

	signal_headers(rq, plan->headers, &plan->nheaders);
	if (!forward_handshake_headers(rq->x, signal_passes(rq), plan->headers, &plan->nheaders))
		return request_fail(rq, ERR_HEADERS_TOO_LARGE, "more headers than may cross with a WebSocket handshake");
	offer_hide(request_arena(rq), plan->headers, &plan->nheaders);
	plan->url = sg->url;
	plan->connect_timeout_ms = conf->sfu.connect_timeout_ms;
	plan->answer_timeout_ms = conf->sfu.call_timeout_ms;
	return tunnel_dial(rq->worker->tunnels, plan, request_arena(rq), &sg->dial, &rq->wait);
}

static struct str answer_header(const struct dial_answer *dial, const char *name)
{
	for (size_t i = 0; i < dial->nheaders; i++)
		if (str_is_nocase(dial->headers[i].name, name))
			return dial->headers[i].value;
	return (struct str){ 0 };
}

/* -- the open tunnel ----------------------------------------------------------------------------------------------------------- */
static void ended(void *arg, const struct tunnel_end *end)
{
	struct carried *carried = arg;
	struct worker *worker = carried->worker;
	struct str room = carried_room(carried);
	struct sockaddr_storage from = { 0 };

	metric_add(worker->sheet, M_TUNNEL_BYTES, "up", NULL, end->bytes_up);
	metric_add(worker->sheet, M_TUNNEL_BYTES, "down", NULL, end->bytes_down);
	if (end->fault)
		metric_add(worker->sheet, M_TUNNEL_FAULTS, end->offender, end->fault, 1);
	log_info("tunnel_closed", "request", LOG_S(carried->text + carried->id_at), "room", LOG_B(room.at, room.len), "node",
	         LOG_S(carried_node(carried)), "why", LOG_S(end->why), "offender", LOG_S(end->offender), "fault", LOG_S(end->fault),
	         "up", LOG_U(end->bytes_up), "down", LOG_U(end->bytes_down), "lived_ms", LOG_U(end->lived_ms));
	memcpy(&from, &carried->from, sizeof(carried->from));
	worker_release_connection(worker, &from);
	free(carried);
}

static struct carried *carried_new(struct request *rq)
{
	const struct resolve *rs = rq->state;
	size_t node = strlen(rs->room.node) + 1, id = strlen(rq->id) + 1;
	struct carried *carried = malloc(sizeof(*carried) + node + id + rs->name.len);

	if (!carried)
		abort();
	*carried = (struct carried){ .worker = rq->worker, .epoch = rs->room.epoch };
	memcpy(&carried->from, exchange_peer(rq->x), sizeof(carried->from));
	carried->id_at = (uint16_t)node;
	carried->room_at = (uint16_t)(node + id);
	carried->room_len = (uint16_t)rs->name.len;
	memcpy(carried->text, rs->room.node, node);
	memcpy(carried->text + carried->id_at, rq->id, id);
	memcpy(carried->text + carried->room_at, rs->name.at, rs->name.len);
	return carried;
}

/* The request is over soon after; if the client leaves before, its peer goes with it. */
static void given(void *arg, struct link *client, struct str extra)
{
	struct request *rq = arg;
	struct signaling *sg = rq->state;
	struct dialed *peer = sg->dial.peer;

	sg->dial.peer = NULL;
	tunnel_join(rq->worker->tunnels, peer, client, extra, ended, carried_new(rq));
	/* A tunnel that opens while the router leaves was missed by the round that closes them. */
	if (atomic_load(&rq->worker->closing_tunnels))
		worker_close_late_tunnel(rq->worker);
}

static int upgrade(struct request *rq)
{
	static const char *const pass[] = { "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions" };
	struct signaling *sg = rq->state;

	for (size_t i = 0; i < sg->dial.nheaders; i++)
		for (size_t name = 0; name < sizeof(pass) / sizeof(*pass); name++)
			if (str_is_nocase(sg->dial.headers[i].name, pass[name]))
				exchange_add(rq->x, pass[name], sg->dial.headers[i].value);
	/* Browsers insist that one of those offered is taken; where it was the ticket alone, that one. */
	struct str ticket = offer_protocol(rq->x);
	if (ticket.at && !answer_header(&sg->dial, "Sec-WebSocket-Protocol").len)
		exchange_add(rq->x, "Sec-WebSocket-Protocol", ticket);
	exchange_add(rq->x, "Upgrade", STR("websocket"));
	exchange_add(rq->x, "X-Request-Id", str_of(rq->id));
	rq->status = 101;
	exchange_upgrade(rq->x, given, rq);
	return DONE;
}

/* The node would rather not: its own words go to the client. */
static int relay_refusal(struct request *rq)
{
	struct signaling *sg = rq->state;
	struct str type = answer_header(&sg->dial, "Content-Type");

	if (type.len)
		exchange_add(rq->x, "Content-Type", type);
	exchange_add(rq->x, "X-Request-Id", str_of(rq->id));
	rq->status = sg->dial.status;
	exchange_answer(rq->x, sg->dial.status, sg->dial.body);
	return DONE;
}

int dialed_node(struct request *rq)
{
	struct signaling *sg = rq->state;
	struct dial_answer *dial = &sg->dial;
	struct str refused = answer_header(dial, "X-Usher-Refused");

	guard_leave(rq->worker->router->fleet, &sg->guard, refused.len ? HTTP_ANSWERED : dial->outcome, refused.len ? 409 : dial->status,
	            dial->retry_after_ms, sg->resolve.name);
	if (dial->outcome != HTTP_ANSWERED)
		return request_fail(rq, ERR_NODE_UNAVAILABLE, "node %s: %s", sg->resolve.room.node, http_outcome_name(dial->outcome));
	if (dial->peer)
		return upgrade(rq);
	if (refused.len)
		return signal_refused(rq, refused);
	return relay_refusal(rq);
}
