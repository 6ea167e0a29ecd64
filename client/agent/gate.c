/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request with a body is judged and passed on before the body comes, so that it can stream; one without is judged when it
 * is complete. What is under way is known by room, so that an evicted room has nobody left in it: a tunnel, a handshake in
 * between, a long poll.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate_private.h"

#define CLOSE_MS 2000 /* a polite Close may take so long */
#define TURN_MS 100   /* of closing slowly */

/* -- the exchange ------------------------------------------------------------------------------------------------------------------- */
static void enter(struct passage *p)
{
	struct refusal refusal = { 0 };

	p->entered = true;
	if (!gate_judge(p, &refusal))
		gate_refuse(p, &refusal);
	else if (!p->websocket)
		gate_forward(p);
	else if (exchange_has_body(p->x))
		answer_problem(p->x, ERR_BAD_REQUEST, "a WebSocket handshake has no body");
	else
		gate_dial(p);
}

static void begin(void *arg, struct exchange *x)
{
	struct gate *gate = arg;
	struct passage *p = arena_alloc(exchange_arena(x), sizeof(*p));

	p->gate = gate;
	p->x = x;
	p->websocket = exchange_asks_websocket(x);
	p->next = gate->passages;
	p->at = &gate->passages;
	if (p->next)
		p->next->at = &p->next;
	gate->passages = p;
	exchange_set(x, p);
	if (exchange_has_body(x))
		enter(p);
}

static void ready(void *arg, struct exchange *x)
{
	struct passage *p = exchange_get(x);

	(void)arg;
	if (!p->entered)
		enter(p);
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	struct passage *p = exchange_get(x);

	(void)arg, (void)how;
	if (!p)
		return;
	*p->at = p->next;
	if (p->next)
		p->next->at = p->at;
	wait_drop(&p->wait);
	if (p->dial.peer)
		dialed_free(p->dial.peer);
	if (p->forward)
		forward_cancel(p->forward);
	if (p->rising) { /* the client left before it had its 101 */
		dialed_free(p->rising->peer);
		free(p->rising);
	}
}

const struct httpd_ops gate_ops = { .begin = begin, .ready = ready, .end = end };

/* -- ending --------------------------------------------------------------------------------------------------------------------------- */
struct ending {
	struct str room; /* at NULL: all */
	uint64_t up_to_epoch;
	unsigned code;
	const char *reason;
	double share; /* of those it concerns, by lot */
};

static bool concerns(const struct ending *ending, struct str room, uint64_t epoch)
{
	if (ending->share < 1 && random_unit() >= ending->share)
		return false;
	return !ending->room.at || (str_eq(room, ending->room) && epoch <= ending->up_to_epoch);
}

static void close_tunnel(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct ending *ending = ctx;
	const struct carried *carried = arg;

	if (concerns(ending, (struct str){ carried->room, carried->room_len }, carried->epoch))
		tunnel_close(tunnel, ending->code, ending->reason);
}

/* A request that has no answer yet gets one that makes the router look again; one that has is cut. */
static void end_passage(struct passage *p, const struct ending *ending)
{
	struct refusal gone = { ERR_STALE_EPOCH, "stale_epoch", "the room has left this node" };

	if (p->rising) {
		p->rising->doomed = ending->code;
		snprintf(p->rising->reason, sizeof(p->rising->reason), "%s", ending->reason);
		return;
	}
	if (!p->wait.op && !p->forward)
		return;
	wait_drop(&p->wait);
	if (p->forward)
		forward_cancel(p->forward);
	p->forward = NULL;
	if (p->direct)
		gate_refuse_ticket(&gone);
	if (p->passed)
		exchange_more(p->x);
	else
		gate_refuse(p, &gone);
}

static void end_those(struct gate *gate, struct ending *ending)
{
	tunnels_each(gate->tunnels, close_tunnel, ending);
	for (struct passage *p = gate->passages, *next; p; p = next) {
		next = p->next;
		if (p->entered && concerns(ending, p->room, p->epoch))
			end_passage(p, ending);
	}
}

void gate_close_room(struct gate *gate, struct str room, uint64_t up_to_epoch, unsigned code, const char *reason)
{
	struct ending ending = { room, up_to_epoch, code, reason, 1 };

	end_those(gate, &ending);
}

void gate_close_all(struct gate *gate, unsigned code, const char *reason)
{
	struct ending ending = { .code = code, .reason = reason, .share = 1 };

	end_those(gate, &ending);
}

/* When each client comes back is told by its retry, so that they do not all do in the same moment. */
static void close_some(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct ending *ending = ctx;
	char reason[REASON_MAX];

	(void)arg;
	if (random_unit() >= ending->share)
		return;
	snprintf(reason, sizeof(reason), "%s;retry=%u", ending->reason, (unsigned)(random_unit() * 2000));
	tunnel_close(tunnel, ending->code, reason);
}

static void farewell(struct timer *timer)
{
	struct gate *gate = container_of(timer, struct gate, farewell);
	uint64_t now = loop_now_ms(gate->conf.loop), left = gate->farewell_until_ms > now ? gate->farewell_until_ms - now : 0;
	struct ending ending = { .code = gate->farewell_code, .reason = gate->farewell_reason,
		                 .share = left <= TURN_MS ? 1 : (double)TURN_MS / (double)left };

	tunnels_each(gate->tunnels, close_some, &ending);
	if (left > TURN_MS)
		timer_set(gate->conf.loop, timer, TURN_MS, farewell);
}

void gate_close_slowly(struct gate *gate, unsigned code, const char *reason, uint64_t spread_ms)
{
	gate->closing = true;
	gate->farewell_code = code;
	snprintf(gate->farewell_reason, sizeof(gate->farewell_reason), "%.40s", reason);
	gate->farewell_until_ms = loop_now_ms(gate->conf.loop) + spread_ms;
	timer_set(gate->conf.loop, &gate->farewell, 0, farewell);
}

size_t gate_tunnels(const struct gate *gate)
{
	return tunnels_count(gate->tunnels);
}

struct gate *gate_new(const struct gate_conf *conf)
{
	const struct agent_conf *settings = conf->settings;
	struct tunnels_conf tunnels = { .buffer_bytes = settings->tunnel_buffer_bytes, .idle_ms = settings->tunnel_idle_ms,
		                        .close_ms = CLOSE_MS, .max = settings->connections, .frame_bytes = settings->frame_bytes,
		                        .message_bytes = settings->message_bytes, .trust = conf->trust };
	struct gate *gate = calloc(1, sizeof(*gate));

	if (!gate)
		return NULL;
	gate->conf = *conf;
	gate->tunnels = tunnels_new(conf->loop, &tunnels);
	if (gate->tunnels)
		return gate;
	free(gate);
	return NULL;
}

void gate_free(struct gate *gate)
{
	if (!gate)
		return;
	timer_clear(gate->conf.loop, &gate->farewell);
	tunnels_free(gate->tunnels);
	free(gate);
}
