/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request with a body is judged and passed on before the body comes, so that it can stream; one without is judged when it
 * is complete. What is under way is known by room, so that an evicted room has nobody left in it: a tunnel, a handshake in
 * between, a long poll.
 *
 * Two ways in: a router says room and epoch and shows a grant of the room, or a participant comes by itself with a ticket that is signed
 * with one. What such a participant says in headers of ours counts for nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/forward.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/origin.h"
#include "base/tunnel.h"
#include "base/url.h"
#include "base/wait.h"
#include "base/wire/direct_ticket.h"
#include "base/wire/grant.h"
#include "base/wire/limits.h"
#include "base/wire/offer.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate.h"
#include "client/agent/rooms.h"

#define CLOSE_MS 2000 /* a polite Close may take so long */
#define TURN_MS 100   /* of closing slowly */
#define REASON_MAX 64

struct gate {
	struct gate_conf conf;
	struct tunnels *tunnels;
	struct passage *passages; /* requests under way */
	struct timer farewell;
	uint64_t farewell_until_ms;
	bool closing;
	unsigned farewell_code;
	char farewell_reason[REASON_MAX];
};
struct carried { /* the arg of each tunnel */
	struct gate *gate;
	struct passage *passage; /* until the tunnel has the socket */
	struct dialed *peer;
	uint64_t epoch;
	unsigned doomed; /* its room ended in between: the code to close with */
	char reason[REASON_MAX];
	char id[65]; /* X-Request-Id */
	size_t room_len;
	char room[];
};
struct passage { /* one request, in its exchange's arena */
	struct gate *gate;
	struct exchange *x;
	struct passage *next, **at;
	struct str room, rest, grant;
	struct direct_ticket ticket; /* where direct */
	uint64_t epoch;
	bool websocket, direct, entered, passed;
	struct forward *forward;
	struct dial_answer dial;
	struct wait wait;
	struct carried *rising;
};

/* -- may it pass ------------------------------------------------------------------------------------------------------------- */
struct refusal {
	int err;
	const char *why;    /* X-Usher-Refused: looking again can help. NULL: it cannot */
	const char *detail;
};

static void refuse(struct passage *p, const struct refusal *refusal)
{
	log_debug("gate_refuses", "room", LOG_B(p->room.at, p->room.len), "epoch", LOG_U(p->epoch), "why",
	          LOG_S(refusal->why ? refusal->why : refusal->detail));
	if (refusal->why)
		exchange_add(p->x, "X-Usher-Refused", str_of(refusal->why));
	answer_problem(p->x, refusal->err, refusal->detail);
}

static bool read_path(struct passage *p)
{
	struct str path = exchange_path(p->x);
	size_t len = strlen(GATE_PATH);

	if (path.len < len || memcmp(path.at, GATE_PATH, len) || (path.len > len && path.at[len] != '/'))
		return false;
	p->rest = (struct str){ path.at + len, path.len - len };
	return true;
}

static bool read_room(struct passage *p)
{
	struct str said = exchange_header(p->x, "X-Usher-Room");
	char *name = arena_alloc(exchange_arena(p->x), said.len + 1);
	long len = said.len && said.len <= 3 * ROOM_MAX ? percent_decode(said, name) : -1;

	if (len <= 0 || !room_valid(name, (size_t)len))
		return false;
	p->room = (struct str){ name, (size_t)len };
	p->grant = exchange_header(p->x, "X-Usher-Grant");
	return parse_u64(exchange_header(p->x, "X-Usher-Epoch"), &p->epoch) && p->epoch && p->epoch <= EPOCH_MAX;
}

/* A ticket: room and epoch are what it says, as soon as one of the room's grants vouches for it. */
static bool read_ticket(struct passage *p, struct str text)
{
	if (!direct_ticket_read(text, exchange_arena(p->x), &p->ticket))
		return false;
	p->room = p->ticket.room;
	p->epoch = p->ticket.epoch;
	return true;
}

/* Takes as long for a room that is not here. */
static bool vouched(const struct passage *p)
{
	static const struct known_grants none;
	const struct known_grants *grants = rooms_grants(p->gate->conf.rooms, p->room);
	bool found = false;

	grants = grants ? grants : &none;
	for (size_t i = 0; i < sizeof(grants->texts) / sizeof(*grants->texts); i++)
		found |= direct_ticket_genuine(&p->ticket, str_of(grants->texts[i])) && *grants->texts[i];
	return found;
}

static bool granted(const struct passage *p)
{
	const struct gate_conf *conf = &p->gate->conf;
	const struct known_grants *grants = rooms_grants(conf->rooms, p->room);

	if (p->direct)
		return vouched(p);
	return !conf->demands_grants(conf->arg) || (grants && known_grants_match(grants, p->grant));
}

static bool admitted(const struct passage *p, struct refusal *out)
{
	const struct gate_conf *conf = &p->gate->conf;
	const char *shut = p->gate->closing ? "leaving" : conf->shut(conf->arg);

	if (shut) {
		*out = (struct refusal){ ERR_OWNER_LOST, shut, "this node admits nobody at present" };
		return false;
	}
	switch (rooms_admit(conf->rooms, p->room, p->epoch)) {
	case ROOM_HELD:
		*out = (struct refusal){ ERR_FORBIDDEN, "stale_grant", "X-Usher-Grant: not one of this room's; come through a router" };
		return granted(p);
	case ROOM_UNKNOWN:
		*out = (struct refusal){ ERR_NOT_FOUND, "unknown_room", "this node does not hold the room" };
		return false;
	case ROOM_OTHER_EPOCH:
		break;
	}
	*out = (struct refusal){ ERR_STALE_EPOCH, "stale_epoch", "the room is not held at this epoch" };
	return false;
}

/* Whatever does not fit is one answer, so that nobody learns by guessing which rooms are here. */
static bool refuse_ticket(struct refusal *out)
{
	if (out->err != ERR_OWNER_LOST)
		*out = (struct refusal){ ERR_UNAUTHORIZED, NULL, "the ticket is over, not for this node, or its room has left: join again" };
	return false;
}

static bool admitted_by_ticket(struct passage *p, struct str text, struct refusal *out)
{
	return (read_ticket(p, text) && vouched(p) && p->ticket.ends_ms > wall_ms() && admitted(p, out)) || refuse_ticket(out);
}

static bool page_allowed(const struct passage *p)
{
	const struct agent_conf *settings = p->gate->conf.settings;
	struct origin_rules pages = { settings->origins, true, exchange_header(p->x, "Host"), !strncmp(settings->advertise_url, "wss:", 4) };

	return origin_passes(p->x, &pages);
}

static bool judge_direct(struct passage *p, struct str ticket, struct refusal *out)
{
	p->direct = true;
	*out = (struct refusal){ ERR_BAD_REQUEST, NULL, "a ticket of the gate opens a WebSocket and nothing else" };
	if (!p->websocket || !forward_handshake_whole(p->x))
		return false;
	out->detail = "the path must not have . or .. as a name, control characters, or a bad %XX";
	if (!url_path_stays(p->rest, arena_alloc(exchange_arena(p->x), p->rest.len + 1)))
		return false;
	*out = (struct refusal){ ERR_FORBIDDEN, NULL, "Origin: not in agent.origins" };
	if (!page_allowed(p))
		return false;
	*out = (struct refusal){ 0 };
	return admitted_by_ticket(p, ticket, out);
}

static bool judge(struct passage *p, struct refusal *out)
{
	const struct gate_conf *conf = &p->gate->conf;
	struct str ticket;

	if (!read_path(p)) {
		*out = (struct refusal){ ERR_NOT_FOUND, NULL, "no such path at the gate" };
		return false;
	}
	if (conf->demands_grants(conf->arg) && offer_ticket(p->x, &ticket))
		return judge_direct(p, ticket, out);
	if (!read_room(p)) {
		*out = (struct refusal){ ERR_BAD_REQUEST, NULL, "X-Usher-Room and X-Usher-Epoch: required; come through a router" };
		return false;
	}
	return admitted(p, out);
}

/* -- to the SFU ----------------------------------------------------------------------------------------------------------------- */
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

/* What the router said of the request goes on to the SFU, but for what opens the gate. */
static bool said_by_router(struct str name)
{
	static const char *const names[] = { "X-Usher-Room", "X-Usher-Epoch", "X-Forwarded-For", "X-Forwarded-Proto",
		                             "X-Forwarded-Host", "X-Request-Id" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_is_nocase(name, names[i]))
			return true;
	return false;
}

static bool crosses(struct str name)
{
	return said_by_router(name) || forward_standard_header(name);
}

/* Of one who came with a ticket the SFU is told what that says. */
static void add_said(struct passage *p, struct dial_plan *plan)
{
	struct arena *arena = exchange_arena(p->x);
	struct buf room = { 0 };

	percent_encode(&room, p->room);
	plan->headers[plan->nheaders++] = (struct header){ STR("X-Usher-Room"), { arena_copy(arena, room.at, room.len), room.len } };
	plan->headers[plan->nheaders++] = (struct header){ STR("X-Usher-Epoch"),
		                                           str_of(arena_printf(arena, "%llu", (unsigned long long)p->epoch)) };
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
		refuse(p, &silent);
}

static void forward(struct passage *p)
{
	static const struct forward_ops ops = { .head = forward_head, .end = forward_end };
	const struct agent_conf *settings = p->gate->conf.settings;
	struct forward_to *to = arena_alloc(exchange_arena(p->x), sizeof(*to));

	to->url = sfu_url(p, p->gate->conf.http_url);
	to->connect_timeout_ms = settings->connect_timeout_ms;
	to->response_timeout_ms = settings->response_timeout_ms;
	to->stream_idle_ms = settings->stream_idle_ms;
	to->pass = crosses;
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

/* Whoever came with a ticket hears the one answer. */
static bool still_admitted(struct passage *p, struct refusal *out)
{
	bool good = admitted(p, out);

	return good || !p->direct ? good : refuse_ticket(out);
}

static void dialed(struct wait *w, int err)
{
	struct passage *p = container_of(w, struct passage, wait);
	struct refusal refusal = { ERR_NODE_UNAVAILABLE, NULL, "the SFU does not answer" };

	if (err || p->dial.outcome != HTTP_ANSWERED) {
		refuse(p, &refusal);
	} else if (!p->dial.peer) {
		relay_refusal(p);
	} else if (!still_admitted(p, &refusal)) {
		dialed_free(p->dial.peer);
		p->dial.peer = NULL;
		refuse(p, &refusal);
	} else {
		upgrade(p);
	}
}

static void dial(struct passage *p)
{
	const struct agent_conf *settings = p->gate->conf.settings;
	struct dial_plan *plan = arena_alloc(exchange_arena(p->x), sizeof(*plan));
	struct refusal full = { ERR_NO_CAPACITY, NULL, "agent.connections: so many tunnels are open" };

	if (p->direct)
		add_said(p, plan);
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
		refuse(p, &full);
}

/* -- the exchange ------------------------------------------------------------------------------------------------------------------- */
static void enter(struct passage *p)
{
	struct refusal refusal = { 0 };

	p->entered = true;
	if (!judge(p, &refusal))
		refuse(p, &refusal);
	else if (!p->websocket)
		forward(p);
	else if (exchange_has_body(p->x))
		answer_problem(p->x, ERR_BAD_REQUEST, "a WebSocket handshake has no body");
	else
		dial(p);
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
		refuse_ticket(&gone);
	if (p->passed)
		exchange_more(p->x);
	else
		refuse(p, &gone);
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
