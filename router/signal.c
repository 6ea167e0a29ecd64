/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ANY /v1/rooms/{room}/signal: finds (or places) the room, then hands the exchange to a tunnel (WebSocket) or a forward
 * (everything else); those two carry the bytes and have limits of their own. A gate that refuses the epoch says so in
 * X-Usher-Refused: the record is then asked anew, and the request follows it, unless its body has been given away already.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "router/address.h"
#include "router/edge.h"
#include "router/resolve.h"
#include "router/router.h"
#include "router/signal.h"
#include "router/verbs.h"
#include "router/worker.h"

static int begin(struct request *);
static int enter_node(struct request *);

static const struct step steps[] = {
	{ "begin", begin, NULL, NULL, false },
	RESOLVE_STEPS,
	{ "enter-node", enter_node, NULL, NULL, false },
	{ "dial", dial_node, dialed_node, NULL, false },
	{ "await-body", await_body, NULL, NULL, false },
	{ "forward", forward_request, forwarded_request, NULL, false },
	STEPS_END
};

static void signal_leave(struct request *rq)
{
	struct signaling *sg = rq->state;

	resolve_leave(rq);
	if (sg->guard.entered)
		guard_leave(rq->worker->router->fleet, &sg->guard, HTTP_CANCELLED, 0, 0, (struct str){ 0 });
	if (sg->dial.peer)
		dialed_free(sg->dial.peer);
	carried_drop(sg->carried);
}

static bool has_one(const struct request *rq, const char *name)
{
	size_t n, found = 0;
	const struct header *headers = exchange_headers(rq->x, &n);

	for (size_t i = 0; i < n; i++)
		found += str_is_nocase(headers[i].name, name);
	return found == 1;
}

static int begin(struct request *rq)
{
	struct signaling *sg = rq->state;

	sg->websocket = exchange_asks_websocket(rq->x);
	if (sg->websocket && !edge_origin_allowed(rq))
		return request_fail(rq, ERR_FORBIDDEN, "Origin: not in server.origins");
	if (sg->websocket && exchange_has_body(rq->x))
		return request_fail(rq, ERR_BAD_REQUEST, "a WebSocket handshake has no body");
	if (sg->websocket && (!has_one(rq, "Sec-WebSocket-Key") || !has_one(rq, "Sec-WebSocket-Version")))
		return request_fail(rq, ERR_BAD_REQUEST, "Sec-WebSocket-Key, Sec-WebSocket-Version: exactly one of each");
	resolve_begin(rq, true, enter_node);
	rq->leave = signal_leave;
	return NEXT;
}

static int enter_node(struct request *rq)
{
	struct signaling *sg = rq->state;
	struct resolve *rs = &sg->resolve;
	const struct node *node = resolve_node(rq);

	if (!node)
		return resolve_anew(rq);
	sg->url = address_upstream(rq, node, sg->websocket);
	if (!sg->url)
		return request_fail(rq, ERR_NODE_UNAVAILABLE, "node %s has no URL for this", node->record.id);
	int err = guard_enter(rq->worker->router->fleet, rs->room.node, rs->room.incarnation,
	                      sg->websocket ? CALL_TUNNEL : CALL_PROXY, request_now(rq), &sg->guard, &rq->retry_ms);
	if (err < 0)
		return err;
	rooms_touch(rq->worker->store, rs->name, &rs->room);
	resolve_first_call(rq);
	return request_go(rq, sg->websocket ? dial_node : await_body);
}

int signal_refused(struct request *rq, struct str why)
{
	log_info("gate_refused", "request", LOG_S(rq->id), "why", LOG_B(why.at, why.len));
	rooms_distrust(rq->worker->store, ((struct resolve *)rq->state)->name);
	if (!resolve_may_retry(rq, "refused"))
		return request_fail(rq, ERR_ROOM_MOVING, "the room's node has just changed; come again");
	((struct resolve *)rq->state)->fresh = true;
	return request_park(rq, find_room, ERR_ROOM_MOVING);
}

/* -- headers that cross to the node ----------------------------------------------------------------------------------------- */
static void add(struct header *headers, size_t *n, const char *name, struct str value)
{
	assert(*n < HTTP_HEADERS_MAX);
	headers[(*n)++] = (struct header){ str_of(name), value };
}

/* What showed us who it is would let a node ask as that one; a Referer may have the ticket in its query. */
static bool is_for_nodes(struct str name)
{
	return forward_standard_header(name) && !str_is_nocase(name, "Authorization") && !str_is_nocase(name, "Referer");
}

bool (*signal_passes(const struct request *rq))(struct str)
{
	return rq->worker->router->conf.auth.mode == AUTH_NONE ? forward_standard_header : is_for_nodes;
}

void signal_headers(struct request *rq, struct header *headers, size_t *n)
{
	const struct resolve *rs = rq->state;
	struct str traceparent = exchange_header(rq->x, "traceparent");

	add(headers, n, "X-Usher-Room", address_room(rq, rs->name));
	add(headers, n, "X-Usher-Epoch", str_of(arena_printf(request_arena(rq), "%llu", (unsigned long long)rs->room.epoch)));
	add(headers, n, "X-Forwarded-For", edge_forwarded_for(rq));
	add(headers, n, "X-Forwarded-Proto", edge_forwarded_proto(rq));
	add(headers, n, "X-Forwarded-Host", edge_forwarded_host(rq));
	add(headers, n, "X-Request-Id", str_of(rq->id));
	if (traceparent.len)
		add(headers, n, "traceparent", traceparent);
}

const struct verb signal_verb = { steps, sizeof(struct signaling), NULL };
