/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP signaling. A request whose room is known is streamed from its first byte; one whose room must first be found or placed
 * is collected meanwhile, up to limits.body_bytes. Either way it is sent once: a node that fails it gets no second try.
 */
#include <string.h>

#include "base/arena.h"
#include "router/edge.h"
#include "router/problem.h"
#include "router/router.h"
#include "router/session.h"
#include "router/signal.h"
#include "router/worker.h"

int await_body(struct request *rq)
{
	if (rq->body_here || rq->in_begin || !exchange_has_body(rq->x))
		return NEXT;
	return request_await_body(rq);
}

static struct str find_header(const struct forward_head *answer, const char *name)
{
	for (size_t i = 0; i < answer->nheaders; i++)
		if (str_is_nocase(answer->headers[i].name, name))
			return answer->headers[i].value;
	return (struct str){ 0 };
}

/* Only to an answer that goes on: one that is discarded is followed by another, or by a refusal with headers of its own. */
static void add_headers(struct request *rq, const struct forward_head *answer)
{
	exchange_add(rq->x, "X-Request-Id", str_of(rq->id));
	if (!find_header(answer, "Access-Control-Allow-Origin").at)
		edge_cors(rq);
}

static enum forward_verdict head(void *arg, const struct forward_head *answer)
{
	struct request *rq = arg;
	struct signaling *sg = rq->state;

	struct str refused = find_header(answer, "X-Usher-Refused");
	if (refused.len)
		sg->refused = (struct str){ arena_copy(request_arena(rq), refused.at, refused.len), refused.len };
	guard_leave(rq->worker->router->fleet, &sg->guard, answer->outcome, sg->refused.len ? 409 : answer->status,
	            answer->retry_after_ms, sg->resolve.name);
	sg->outcome = answer->outcome;
	if (answer->outcome != HTTP_ANSWERED || sg->refused.len)
		return FORWARD_DISCARD;
	sg->passed = true;
	session_begin(rq);
	add_headers(rq, answer);
	rq->status = answer->status;
	return FORWARD_PASS;
}

static void end(void *arg, enum http_outcome outcome)
{
	struct request *rq = arg;
	struct signaling *sg = rq->state;

	(void)outcome; /* a broken stream has been seen by the client as such */
	sg->forward = NULL;
	wait_wake(op_detach(&sg->op), 0);
}

static void dropped(struct op *op)
{
	struct signaling *sg = container_of(op, struct signaling, op);

	if (sg->forward)
		forward_cancel(sg->forward);
	sg->forward = NULL;
}

int forward_request(struct request *rq)
{
	static const struct forward_ops ops = { .head = head, .end = end };
	struct signaling *sg = rq->state;
	const struct router_conf *conf = &rq->worker->router->conf;
	struct forward_to *to = arena_alloc(request_arena(rq), sizeof(*to));

	to->url = sg->url;
	to->pass = signal_passes(rq);
	to->connect_timeout_ms = conf->sfu.connect_timeout_ms;
	to->response_timeout_ms = conf->sfu.response_timeout_ms;
	to->stream_idle_ms = conf->sfu.stream_idle_ms;
	signal_headers(rq, to->headers, &to->nheaders);
	request_stream(rq);
	sg->refused = (struct str){ 0 }; /* of the try before */
	sg->forward = forward_start(rq->worker->http, rq->x, to, &ops, rq);
	if (!sg->forward)
		return request_fail(rq, ERR_INTERNAL, "out of memory or descriptors");
	sg->op = (struct op){ .dropped = dropped };
	op_attach(&sg->op, &rq->wait);
	return WAIT;
}

int forwarded_request(struct request *rq)
{
	struct signaling *sg = rq->state;

	if (sg->passed)
		return DONE;
	if (sg->refused.len && !exchange_has_body(rq->x))
		return signal_refused(rq, sg->refused);
	if (sg->refused.len)
		return signal_lost(rq, sg->refused);
	return request_fail(rq, ERR_NODE_UNAVAILABLE, "node %s: %s", sg->resolve.room.node, http_outcome_name(sg->outcome));
}
