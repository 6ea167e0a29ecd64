/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a node: registers, beats, leaves. One thing at a time, each begun by one timer, so that the owner may call
 * anything from its callbacks: calls change what is to be done and set the timer, and never act themselves.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/url.h"
#include "client/lib/node.h"
#include "client/lib/node_make.h"
#include "client/lib/turn.h"

#define REGISTER_MS 2000     /* deadline of one call */
#define REGISTER_CAP_MS 5000 /* longest wait between tries: a fleet that comes back must not wait long for its nodes */
#define REFUSED_CAP_MS 15000 /* of a registration that a router finds wrong: a person has to look */
#define LEAVE_MS 2000
#define BACKOFF_FIRST_MS 50
#define HEARTBEAT_MS 1000    /* until a router has said its own */
#define CONNECT_MS 1000

static void act(struct timer *);

/* -- phases ----------------------------------------------------------------------------------------------------------------- */
const char *usher_node_phase_name(enum usher_node_phase phase)
{
	static const char *const names[] = { "joining", "admits", "refuses", "taken", "stale", "left" };

	return (unsigned)phase < sizeof(names) / sizeof(*names) ? names[phase] : "unknown";
}

void node_set_phase(struct usher_node *node, enum usher_node_phase phase, const char *detail)
{
	if (node->phase == phase)
		return;
	node->phase = phase;
	if (node->ops.changed)
		node->ops.changed(node->ops.arg, phase, detail);
}

bool usher_node_admits(const struct usher_node *node)
{
	return node->doing == NODE_BEATS && node->lease.confirmed && lease_holds(&node->lease, node->boot_ms());
}

int64_t usher_node_lease_left_ms(const struct usher_node *node)
{
	const struct lease *lease = &node->lease;
	uint64_t end = lease->until_ms > lease->covered_ms ? lease->until_ms : lease->covered_ms;

	return usher_node_admits(node) ? (int64_t)(end - lease_margin_ms(lease) - node->boot_ms()) : 0;
}

enum usher_node_phase usher_node_phase(const struct usher_node *node)
{
	if (node->phase == USHER_NODE_ADMITS && !usher_node_admits(node))
		return USHER_NODE_REFUSES;
	return node->phase;
}

static void lease_ended(struct timer *t)
{
	node_judge_phase(container_of(t, struct usher_node, lease_timer), "the lease ended without a renewal");
}

void node_judge_phase(struct usher_node *node, const char *detail)
{
	if (node->doing != NODE_BEATS)
		return;
	if (usher_node_admits(node)) {
		timer_set(node->loop, &node->lease_timer, (uint64_t)usher_node_lease_left_ms(node) + 1, lease_ended);
		node_set_phase(node, USHER_NODE_ADMITS, detail);
	} else if (node->phase == USHER_NODE_ADMITS) {
		node_set_phase(node, USHER_NODE_REFUSES, detail);
	}
}

/* -- what is next ------------------------------------------------------------------------------------------------------------ */
void node_next(struct usher_node *node, uint64_t after_ms)
{
	timer_set(node->loop, &node->timer, after_ms, act);
}

uint64_t node_backoff_ms(const struct usher_node *node, uint64_t cap_ms)
{
	uint64_t top = (uint64_t)BACKOFF_FIRST_MS << (node->attempts < 16 ? node->attempts : 16);

	return 1 + (uint64_t)(random_unit() * (double)(top < cap_ms ? top : cap_ms));
}

static void stop_all(struct usher_node *node)
{
	node_round_drop(node);
	wait_drop(&node->wait);
	timer_clear(node->loop, &node->timer);
}

static void begin_to(struct usher_node *node, enum node_doing doing)
{
	stop_all(node);
	lease_end(&node->lease);
	timer_clear(node->loop, &node->lease_timer);
	node->doing = doing;
	node->attempts = 0;
	node->tried = 0;
	node->degraded = false;
	node_next(node, 0);
}

void node_register_again(struct usher_node *node, const char *detail)
{
	begin_to(node, NODE_REGISTERS);
	if (node->phase == USHER_NODE_ADMITS)
		node_set_phase(node, USHER_NODE_REFUSES, detail);
}

void node_end_stale(struct usher_node *node, const char *detail)
{
	begin_to(node, NODE_DONE);
	timer_clear(node->loop, &node->timer);
	node_rooms_clear(&node->rooms);
	node_set_phase(node, USHER_NODE_STALE, detail);
}

/* -- calls --------------------------------------------------------------------------------------------------------------------- */
int node_call(struct usher_node *node, struct router_link *link, const char *method, const char *rest, struct str body,
              uint64_t timeout_ms, struct arena *arena, struct http_answer *out, struct wait *w)
{
	struct http_request *rq = arena_alloc(arena, sizeof(*rq));

	rq->method = method;
	rq->url = arena_printf(arena, "%s/v1/nodes/%s%s", link->url, node->self.node, rest);
	if (body.len)
		rq->headers[rq->nheaders++] = (struct header){ STR("Content-Type"), STR("application/json") };
	if (node->self.token)
		rq->headers[rq->nheaders++] = (struct header){ STR("Authorization"),
			                                       str_of(arena_printf(arena, "Bearer %s", node->self.token)) };
	rq->body = body;
	rq->timeout_ms = timeout_ms;
	rq->answer_max = ANSWER_MAX;
	rq->idempotent = strcmp(method, "POST");
	*out = (struct http_answer){ 0 };
	return http_fetch(node->http, rq, arena, out, w);
}

static void next_router(struct usher_node *node)
{
	node->tried++;
	node->current = node->current->next ? node->current->next : node->links;
}

/* -- registering --------------------------------------------------------------------------------------------------------------- */
static void register_node(struct usher_node *);

/* The next router at once; once round all of them, a wait. */
static void register_elsewhere(struct usher_node *node, uint64_t cap_ms)
{
	next_router(node);
	if (node->tried < node->nlinks) {
		node_next(node, 0);
		return;
	}
	node->tried = 0;
	node->attempts++;
	node_next(node, node_backoff_ms(node, cap_ms));
}

void node_take_call_key(struct usher_node *node, const char *call_key)
{
	if (call_key)
		known_grants_replace(&node->call_keys, str_of(call_key));
	else
		node->call_keys = (struct known_grants){ 0 };
}

static void take_registration(struct usher_node *node, const struct register_answer *answer)
{
	node->registration = answer->registration;
	node->seq = node->renewed_seq = 0;
	node->charged = 0;
	node->heartbeat_ms = answer->heartbeat_ms;
	node->lease = (struct lease){ .granted_ms = answer->lease_ms };
	free(node->registered);
	node->registered = strdup(node->self.incarnation);
	free(node->self.replaces);
	node->self.replaces = NULL;
	node_take_call_key(node, answer->call_key);
	node_take_routers(node, &answer->routers, false);
	for (struct router_link *link = node->links; link; link = link->next) {
		link->acked = link->named_seq = link->degraded_sent_ms = 0;
		link->full = true;
	}
	node->doing = NODE_BEATS;
	node->attempts = 0;
	node->tried = 0;
	node_next(node, 0);
	if (node->phase == USHER_NODE_TAKEN)
		node_set_phase(node, USHER_NODE_JOINING, "the node id is free again");
}

static void register_refused(struct usher_node *node)
{
	const struct http_answer *http = &node->answer;
	const char *code = http->outcome == HTTP_ANSWERED ? wire_read_code(http->body, &node->arena) : "";

	if (http->outcome == HTTP_ANSWERED && http->status == 409 && !strcmp(code, "stale_incarnation")) {
		node_end_stale(node, "a newer registration of this node exists");
	} else if (http->outcome == HTTP_ANSWERED && http->status == 409 && !strcmp(code, "node_taken")) {
		register_elsewhere(node, REGISTER_CAP_MS);
		node_set_phase(node, USHER_NODE_TAKEN, "another live process has this node id");
	} else if (http->outcome == HTTP_ANSWERED && http->status >= 400 && http->status < 500) {
		register_elsewhere(node, REFUSED_CAP_MS);
		if (node->ops.changed && node->attempts == 1 && !node->tried)
			node->ops.changed(node->ops.arg, node->phase, arena_printf(&node->arena, "a router refuses to register this node: %.*s",
			                                                           (int)(http->body.len < 300 ? http->body.len : 300), http->body.at));
	} else {
		register_elsewhere(node, REGISTER_CAP_MS);
		if (node->ops.changed && node->attempts == 1 && !node->tried && http->why && *http->why)
			node->ops.changed(node->ops.arg, node->phase, arena_printf(&node->arena, "no router is reached: %s", http->why));
	}
}

static void register_answered(struct wait *w, int err)
{
	struct usher_node *node = container_of(w, struct usher_node, wait);
	struct register_answer answer;

	(void)err;
	bool taken = node->answer.outcome == HTTP_ANSWERED && (node->answer.status == 200 || node->answer.status == 201);
	if (taken && wire_read_register(node->answer.body, &node->arena, &answer))
		take_registration(node, &answer);
	else
		register_refused(node);
}

static void register_node(struct usher_node *node)
{
	struct buf body = { 0 };

	arena_reset(&node->arena);
	wire_register(node, &body);
	node->wait.wake = register_answered;
	int verdict = node_call(node, node->current, "PUT", "", (struct str){ body.at, body.len }, REGISTER_MS, &node->arena,
	                        &node->answer, &node->wait);
	buf_free(&body);
	if (verdict != WAIT)
		register_elsewhere(node, REGISTER_CAP_MS);
}

/* -- leaving -------------------------------------------------------------------------------------------------------------------- */
static void left(struct usher_node *node, const char *detail)
{
	stop_all(node);
	node->doing = NODE_DONE;
	node_set_phase(node, USHER_NODE_LEFT, detail);
}

static void leave_answered(struct wait *w, int err)
{
	struct usher_node *node = container_of(w, struct usher_node, wait);
	const struct http_answer *http = &node->answer;

	(void)err;
	if (http->outcome == HTTP_ANSWERED && http->status < 500) {
		left(node, "deregistered");
	} else {
		next_router(node);
		node_next(node, 0);
	}
}

static void leave(struct usher_node *node)
{
	uint64_t now = loop_now_ms(node->loop);

	if (!node->registered) {
		left(node, "was never registered");
		return;
	}
	if (now >= node->leave_by_ms || node->tried >= 2 * node->nlinks) {
		left(node, "no router answered");
		return;
	}
	arena_reset(&node->arena);
	node->wait.wake = leave_answered;
	uint64_t each = (node->leave_by_ms - now) / (node->tried + 1 < node->nlinks ? 2 : 1) + 1;
	if (node_call(node, node->current, "DELETE", arena_printf(&node->arena, "?incarnation=%s", node->registered), (struct str){ 0 },
	              each, &node->arena, &node->answer, &node->wait) != WAIT)
		left(node, "out of memory or descriptors");
}

static void act(struct timer *t)
{
	struct usher_node *node = container_of(t, struct usher_node, timer);

	switch (node->doing) {
	case NODE_REGISTERS:
		register_node(node);
		break;
	case NODE_BEATS:
		node_round(node);
		break;
	case NODE_LEAVES:
		leave(node);
		break;
	case NODE_DONE:
		break;
	}
}

/* -- what the owner says --------------------------------------------------------------------------------------------------------- */
int usher_node_room_set(struct usher_node *node, const char *room, uint64_t epoch, uint64_t participants)
{
	return node->doing != NODE_DONE && node_rooms_set(&node->rooms, str_of(room), epoch, participants) ? 0 : -1;
}

int usher_node_room_grant(struct usher_node *node, const char *room, uint64_t epoch, const char *grant)
{
	struct str first, rest = str_of(grant ? grant : "");

	return str_cut(&rest, ',', &first) && node_rooms_grant(&node->rooms, str_of(room), epoch, str_trim(first)) ? 0 : -1;
}

bool usher_node_demands_grants(const struct usher_node *node)
{
	return *node->call_keys.texts[0];
}

bool usher_node_call_allowed(const struct usher_node *node, const char *call_key)
{
	if (!node->registered)
		return false; /* nobody knows yet what is demanded */
	return !usher_node_demands_grants(node) || known_grants_match(&node->call_keys, str_of(call_key ? call_key : ""));
}

void usher_node_room_remove(struct usher_node *node, const char *room, uint64_t epoch)
{
	node_rooms_remove(&node->rooms, str_of(room), epoch);
}

size_t usher_node_rooms(const struct usher_node *node)
{
	return node->rooms.map.count;
}

bool usher_node_drains(const struct usher_node *node)
{
	return node->drains;
}

void usher_node_report(struct usher_node *node, enum usher_node_report report)
{
	if (node->report == report)
		return;
	node->report = report;
	if (node->doing != NODE_BEATS)
		return;
	node->hurry = true;
	if (!node->in_round)
		node_next(node, 0);
}

int usher_node_replace(struct usher_node *node, const char *incarnation)
{
	char *copy = incarnation_valid(incarnation, strlen(incarnation)) ? strdup(incarnation) : NULL;

	if (!copy || node->doing == NODE_LEAVES || node->doing == NODE_DONE) {
		free(copy);
		return -1;
	}
	if (node->registered) {
		free(node->self.replaces);
		node->self.replaces = strdup(node->registered);
	}
	free(node->self.incarnation);
	node->self.incarnation = copy;
	node_rooms_clear(&node->rooms);
	node->unbroken_until_ms = 0;
	node_register_again(node, "another SFU process has taken the place of the one before");
	return 0;
}

void usher_node_leave(struct usher_node *node)
{
	if (node->doing == NODE_LEAVES || node->phase == USHER_NODE_LEFT)
		return;
	bool stale = node->doing == NODE_DONE;
	begin_to(node, NODE_LEAVES);
	node->leave_by_ms = loop_fresh_ms(node->loop) + LEAVE_MS; /* fresh: called between turns, the loop's time is of the last one */
	if (stale) { /* what is registered now is not ours */
		free(node->registered);
		node->registered = NULL;
	}
}

/* -- construction ------------------------------------------------------------------------------------------------------------------ */
static uint64_t boot_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct usher_node *node_new_on(struct loop *loop, const struct usher_node_options *options, const char **why)
{
	struct usher_node *node = calloc(1, sizeof(*node));
	struct http_conf http = { .connect_timeout_ms = CONNECT_MS, .connections_per_host = 8, .idle_connections = 8, .idle_ms = 60000, .quiet = true };
	const char *ignored;

	why = why ? why : &ignored;
	*why = "out of memory";
	if (!node)
		return NULL;
	node->loop = loop;
	node->boot_ms = boot_now;
	node_options_read(options, &node->ops);
	node->heartbeat_ms = HEARTBEAT_MS;
	if (!node_make(node, &node->ops, why)) {
		usher_node_free(node);
		return NULL;
	}
	*why = "out of memory or descriptors";
	http.trust = &node->trust;
	node->http = http_new(loop, &http);
	if (!node->http) {
		usher_node_free(node);
		return NULL;
	}
	node_next(node, 0);
	return node;
}

struct usher_node *usher_node_new(const struct usher_node_options *options, const char **why)
{
	struct loop *loop = loop_new();
	struct usher_node *node = loop ? node_new_on(loop, options, why) : NULL;

	if (node)
		node->owns_loop = true;
	else if (loop)
		loop_free(loop);
	else if (why)
		*why = "out of memory or descriptors";
	return node;
}

void usher_node_free(struct usher_node *node)
{
	if (!node)
		return;
	stop_all(node);
	timer_clear(node->loop, &node->lease_timer);
	http_free_quietly(node->http);
	node_rooms_clear(&node->rooms);
	arena_reset(&node->arena);
	node_unmake(node);
	if (node->owns_loop)
		loop_free(node->loop);
	free(node);
}

int usher_node_fd(struct usher_node *node)
{
	return loop_backend_fd(node->loop);
}

int usher_node_timeout_ms(struct usher_node *node)
{
	return loop_backend_timeout_ms(node->loop);
}

/* From within a callback: nothing, the turn under way goes on. */
void usher_node_turn(struct usher_node *node)
{
	if (node->turning)
		return;
	node->turning = true;
	turn_quietly(node->loop);
	node->turning = false;
}
