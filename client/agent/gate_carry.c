/* SPDX-License-Identifier: Apache-2.0 */
/* To the SFU and back: HTTP streamed, WebSocket as a tunnel. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/wire/offer.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate_private.h"

/* -- what it is told -------------------------------------------------------------------------------------------------------------- */
static const char *sfu_url(struct passage *p, const char *base)
{
	struct str query = exchange_query(p->x);
	size_t len = strlen(base);
	const char *path = strchr(strstr(base, "://") + 3, '/');
	struct buf passed = { 0 };

	if (len && base[len - 1] == '/' && p->rest.len)
		len--; /* "/janus/" and "/123" make "/janus/123" */
	if (p->direct)
		offer_pass_query(&passed, query, '?');
	else if (query.at)
		buf_printf(&passed, "?%.*s", STR_ARG(query));
	const char *url = arena_printf(exchange_arena(p->x), "%.*s%.*s%s%.*s", (int)len, base, (int)p->rest.len, p->rest.at,
	                               path || p->rest.len ? "" : "/", (int)passed.len, passed.at ? passed.at : "");
	buf_free(&passed);
	return url;
}

/* What the router said of the client goes on to the SFU. */
static bool said_by_router(struct str name)
{
	static const char *const names[] = { "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_is_nocase(name, names[i]))
			return true;
	return false;
}

static bool crosses(struct str name)
{
	return said_by_router(name) || forward_standard_header(name);
}

/* The SFU is told what was judged, in words of ours: a client's may be odd (05), or twice and differ. */
static void add_judged(struct passage *p, struct header *headers, size_t *n)
{
	struct arena *arena = exchange_arena(p->x);
	struct buf room = { 0 };

	percent_encode(&room, p->room);
	headers[(*n)++] = (struct header){ STR("X-Usher-Room"), { arena_copy(arena, room.at, room.len), room.len } };
	headers[(*n)++] = (struct header){ STR("X-Usher-Epoch"), str_of(arena_printf(arena, "%llu", (unsigned long long)p->epoch)) };
	buf_free(&room);
}

/* -- HTTP: streamed -------------------------------------------------------------------------------------------------------------- */
static enum forward_verdict forward_head(void *arg, const struct forward_head *answer)
{
	struct passage *p = arg;

	p->passed = answer->outcome == HTTP_ANSWERED;
	return FORWARD_PASS;
}

static void forward_end(void *arg, enum http_outcome outcome)
{
	struct passage *p = arg;
	struct refusal silent = { outcome == HTTP_TIMEOUT ? ERR_TIMEOUT : ERR_NODE_UNAVAILABLE, NULL, "the SFU does not answer" };

	p->forward = NULL;
	if (!p->passed)
		gate_refuse(p, &silent);
}

void gate_forward(struct passage *p)
{
	static const struct forward_ops ops = { .head = forward_head, .end = forward_end };
	const struct agent_conf *settings = p->gate->conf.settings;
	struct forward_to *to = arena_alloc(exchange_arena(p->x), sizeof(*to));

	to->url = sfu_url(p, p->gate->conf.http_url);
	to->connect_timeout_ms = settings->connect_timeout_ms;
	to->response_timeout_ms = settings->response_timeout_ms;
	to->stream_idle_ms = settings->stream_idle_ms;
	to->pass = crosses;
	add_judged(p, to->headers, &to->nheaders);
	p->forward = forward_start(p->gate->conf.http, p->x, to, &ops, p);
	if (!p->forward)
		answer_problem(p->x, ERR_INTERNAL, "out of memory or descriptors");
}

/* -- WebSocket: a tunnel ----------------------------------------------------------------------------------------------------------- */
static void tunnel_ended(void *arg, const struct tunnel_end *end)
{
	struct carried *carried = arg;

	log_info("tunnel_closed", "request", LOG_S(carried->id), "room", LOG_B(carried->room, carried->room_len), "epoch",
	         LOG_U(carried->epoch), "why", LOG_S(end->why), "offender", LOG_S(end->offender), "fault", LOG_S(end->fault), "up",
	         LOG_U(end->bytes_up), "down", LOG_U(end->bytes_down), "lived_ms", LOG_U(end->lived_ms));
	free(carried);
}

static void given(void *arg, struct link *client, struct str extra)
{
	struct carried *carried = arg;
	struct gate *gate = carried->gate;

	carried->passage->rising = NULL;
	carried->passage = NULL;
	struct tunnel *tunnel = tunnel_join(gate->tunnels, carried->peer, client, extra, tunnel_ended, carried);
	if (gate->closing && !carried->doomed)
		tunnel_close(tunnel, gate->farewell_code, gate->farewell_reason);
	else if (carried->doomed)
		tunnel_close(tunnel, carried->doomed, carried->reason);
}

static struct carried *carried_new(struct passage *p)
{
	struct carried *carried = calloc(1, sizeof(*carried) + p->room.len);
	struct str id = p->direct ? STR("") : exchange_header(p->x, "X-Request-Id");

	if (!carried)
		abort();
	carried->gate = p->gate;
	carried->passage = p;
	carried->peer = p->dial.peer;
	p->dial.peer = NULL;
	carried->epoch = p->epoch;
	snprintf(carried->id, sizeof(carried->id), "%.*s", (int)(id.len < 64 ? id.len : 64), id.at ? id.at : "");
	carried->room_len = p->room.len;
	memcpy(carried->room, p->room.at, p->room.len);
	return carried;
}

static void pass_header(struct passage *p, const char *name)
{
	for (size_t i = 0; i < p->dial.nheaders; i++)
		if (str_is_nocase(p->dial.headers[i].name, name))
			exchange_add(p->x, name, p->dial.headers[i].value);
}

static bool has_header(const struct dial_answer *dial, const char *name)
{
	for (size_t i = 0; i < dial->nheaders; i++)
		if (str_is_nocase(dial->headers[i].name, name))
			return true;
	return false;
}

static void upgrade(struct passage *p)
{
	if (p->direct)
		log_info("direct", "room", LOG_B(p->room.at, p->room.len), "epoch", LOG_U(p->epoch), "holder",
		         LOG_B(p->ticket.holder.at, p->ticket.holder.len));
	pass_header(p, "Sec-WebSocket-Accept");
	pass_header(p, "Sec-WebSocket-Protocol");
	pass_header(p, "Sec-WebSocket-Extensions");
	/* Browsers insist that one of those offered is taken; where it was the ticket alone, that one. */
	if (p->direct && offer_protocol(p->x).at && !has_header(&p->dial, "Sec-WebSocket-Protocol"))
		exchange_add(p->x, "Sec-WebSocket-Protocol", offer_protocol(p->x));
	exchange_add(p->x, "Upgrade", STR("websocket"));
	p->rising = carried_new(p);
	exchange_upgrade(p->x, given, p->rising);
}

/* The SFU would rather not: its own words go to the client. */
static void relay_refusal(struct passage *p)
{
	pass_header(p, "Content-Type");
	pass_header(p, "Retry-After");
	exchange_answer(p->x, p->dial.status, p->dial.body);
}

static void dialed(struct wait *w, int err)
{
	struct passage *p = container_of(w, struct passage, wait);
	struct refusal refusal = { ERR_NODE_UNAVAILABLE, NULL, "the SFU does not answer" };

	if (err || p->dial.outcome != HTTP_ANSWERED) {
		gate_refuse(p, &refusal);
	} else if (!p->dial.peer) {
		relay_refusal(p);
	} else if (!gate_still_admits(p, &refusal)) {
		dialed_free(p->dial.peer);
		p->dial.peer = NULL;
		gate_refuse(p, &refusal);
	} else {
		upgrade(p);
	}
}

void gate_dial(struct passage *p)
{
	const struct agent_conf *settings = p->gate->conf.settings;
	struct dial_plan *plan = arena_alloc(exchange_arena(p->x), sizeof(*plan));
	struct refusal full = { ERR_NO_CAPACITY, NULL, "agent.connections: so many tunnels are open" };

	add_judged(p, plan->headers, &plan->nheaders);
	if (!forward_handshake_headers(p->x, p->direct ? forward_nameless_header : crosses, plan->headers, &plan->nheaders)) {
		answer_problem(p->x, ERR_HEADERS_TOO_LARGE, "more headers than may cross with a WebSocket handshake");
		return;
	}
	if (p->direct)
		offer_hide(exchange_arena(p->x), plan->headers, &plan->nheaders);
	plan->url = sfu_url(p, p->gate->conf.signal_url);
	plan->connect_timeout_ms = settings->connect_timeout_ms;
	plan->answer_timeout_ms = settings->call_timeout_ms;
	p->wait.wake = dialed;
	if (tunnel_dial(p->gate->tunnels, plan, exchange_arena(p->x), &p->dial, &p->wait) != WAIT)
		gate_refuse(p, &full);
}
