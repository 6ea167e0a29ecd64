/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ANY /v1/rooms/{room}/signal: finds (or places) the room, then hands the exchange to a tunnel (WebSocket) or a forward
 * (everything else); those two carry the bytes and have limits of their own. A gate that refuses the epoch says so in
 * X-Usher-Refused: the record is then asked anew, and the request follows it, unless its body has been given away already. One that
 * knows no grant of ours (its agent has started anew, or heard only from routers with other keys) is brought it by opening the room
 * again at its epoch, once.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "router/address.h"
#include "router/edge.h"
#include "router/errands.h"
#include "router/grants.h"
#include "router/resolve.h"
#include "router/router.h"
#include "router/site.h"
#include "router/signal.h"
#include "router/verbs.h"
#include "router/worker.h"

static int begin(struct request *);
static int enter_node(struct request *);
static int renew_grant(struct request *), renewed_grant(struct request *);

static const struct step steps[] = {
	{ "begin", begin, NULL, NULL, false },
	RESOLVE_STEPS,
	{ "enter-node", enter_node, NULL, NULL, false },
	{ "dial", dial_node, dialed_node, NULL, false },
	{ "await-body", await_body, NULL, NULL, false },
	{ "forward", forward_request, forwarded_request, NULL, false },
	{ "renew-grant", renew_grant, renewed_grant, NULL, false },
	STEPS_END
};

static void end_renewal(struct request *rq, bool brought)
{
	struct signaling *sg = rq->state;

	if (sg->renewing)
		renewals_end(&rq->worker->renewals, sg->renewing, brought);
	sg->renewing = 0;
}

static void signal_leave(struct request *rq)
{
	struct signaling *sg = rq->state;

	resolve_leave(rq);
	end_renewal(rq, false);
	if (sg->guard.entered)
		guard_leave(rq->worker->router->fleet, &sg->guard, HTTP_CANCELLED, 0, 0, (struct str){ 0 });
	if (sg->dial.peer)
		dialed_free(sg->dial.peer);
}

static int begin(struct request *rq)
{
	struct signaling *sg = rq->state;

	sg->websocket = exchange_asks_websocket(rq->x);
	if (sg->websocket && !site_allowed(rq))
		return request_fail(rq, ERR_FORBIDDEN, "Origin: not in server.origins");
	if (sg->websocket && exchange_has_body(rq->x))
		return request_fail(rq, ERR_BAD_REQUEST, "a WebSocket handshake has no body");
	if (sg->websocket && !forward_handshake_whole(rq->x))
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

static int look_again(struct request *rq)
{
	struct resolve *rs = rq->state;

	rooms_distrust(rq->worker->store, rs->name);
	if (!resolve_may_retry(rq, "refused"))
		return request_fail(rq, ERR_ROOM_MOVING, "the room's node has just changed; come again");
	rs->fresh = true;
	return request_park(rq, find_room, ERR_ROOM_MOVING);
}

/* As of the record's registration: a node that has registered again since may not have this room back. */
static struct sfu_room room_of(const struct resolve *rs)
{
	return (struct sfu_room){ .node = rs->room.node, .incarnation = rs->room.incarnation, .room = rs->name, .epoch = rs->room.epoch,
		                  .registration = rs->room.registration };
}

static bool lacks_grant(struct request *rq, struct str why)
{
	log_info("gate_refused", "request", LOG_S(rq->id), "why", LOG_B(why.at, why.len));
	return str_is(why, "stale_grant") && grants_on(rq->worker->router);
}

int signal_refused(struct request *rq, struct str why)
{
	struct signaling *sg = rq->state;

	if (!sg->websocket)
		request_unstream(rq);
	return lacks_grant(rq, why) && !sg->renewed ? request_go(rq, renew_grant) : look_again(rq);
}

int signal_lost(struct request *rq, struct str why)
{
	const struct resolve *rs = rq->state;

	struct sfu_room room = room_of(rs);

	if (lacks_grant(rq, why))
		bring_grant(rq->worker, &room);
	return request_fail(rq, ERR_ROOM_MOVING, "the room's node has just changed; send the request again");
}

/* -- renew-grant ------------------------------------------------------------------------------------------------------------ */
/* Of many that come for one room at once, one brings it. */
static int renew_grant(struct request *rq)
{
	struct signaling *sg = rq->state;
	const struct resolve *rs = &sg->resolve;
	struct sfu_room room = room_of(rs);
	uint64_t mark = renewals_mark(rq, rs->name, &rs->room, rs->room.registration);

	if (!renewals_begin(&rq->worker->renewals, mark))
		return request_park(rq, enter_node, ERR_ROOM_MOVING);
	sg->renewed = true;
	sg->renewing = mark;
	room.request_id = rq->id;
	return sfu_open(rq->worker->sfu, &room, request_arena(rq), &sg->renewal, &rq->wait);
}

static int renewed_grant(struct request *rq)
{
	struct signaling *sg = rq->state;

	end_renewal(rq, sg->renewal.verdict == SFU_DONE);
	return sg->renewal.verdict == SFU_DONE ? request_go(rq, enter_node) : look_again(rq);
}

/* -- headers that cross to the node ----------------------------------------------------------------------------------------- */
static void add(struct header *headers, size_t *n, const char *name, struct str value)
{
	assert(*n < HTTP_HEADERS_MAX);
	headers[(*n)++] = (struct header){ str_of(name), value };
}

bool (*signal_passes(const struct request *rq))(struct str)
{
	return rq->worker->router->conf.auth.mode == AUTH_NONE ? forward_standard_header : forward_nameless_header;
}

void signal_headers(struct request *rq, struct header *headers, size_t *n)
{
	const struct resolve *rs = rq->state;
	struct str grant = grants_of_request(rq, rs->name, &rs->room), traceparent = exchange_header(rq->x, "traceparent");

	add(headers, n, "X-Usher-Room", address_room(rq, rs->name));
	add(headers, n, "X-Usher-Epoch", u64_text(arena_alloc(request_arena(rq), U64_TEXT_MAX), rs->room.epoch));
	if (grant.len)
		add(headers, n, "X-Usher-Grant", grant);
	add(headers, n, "X-Forwarded-For", edge_forwarded_for(rq));
	add(headers, n, "X-Forwarded-Proto", edge_forwarded_proto(rq));
	add(headers, n, "X-Forwarded-Host", edge_forwarded_host(rq));
	add(headers, n, "X-Request-Id", str_of(rq->id));
	if (traceparent.len)
		add(headers, n, "traceparent", traceparent);
}

const struct verb signal_verb = { steps, sizeof(struct signaling), NULL };
