/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcing and reading go in turns on one timer: announce, read, publish, wait. A router not heard of for GONE_MS is left
 * out of the view; the store forgets it later. Nothing depends on this list but what nodes try next and what operators see.
 *
 * Wall clocks date tickets and tokens, so a router whose clock is off must say so. Which one it is, is for most to say: each
 * announces its clock, beside which the store puts its own, and the store counts as one more voice. One router alone cannot
 * know whether it is itself or the store.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/retire.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "registry/table.h"
#include "router/agree.h"
#include "router/events.h"
#include "router/grants.h"
#include "router/mover.h"
#include "router/peers.h"
#include "router/router.h"
#include "router/worker.h"

#define GONE_MS 5000
#define STORE_MS 1000 /* for this work; nobody waits for it */
#define CLOCK_OFF_MS 5000 /* far over what an announcement takes, far under the life of any ticket */
#define VOICES_MIN 3
#define OFF_ROW 3 /* readings in a row: while the store's clock is being set, the voices are of different times */

struct published {
	struct retired retired;
	struct arena arena;
	struct peers_view view;
};
struct peers {
	struct router *router;
	struct wait wait;
	struct timer timer;
	struct arena arena; /* of the answer under way */
	struct routers_all answer;
	bool reading;
	unsigned off_row;
	uint64_t started_ms;
	struct agree *agree; /* what was told of settings that differ */
	_Atomic(struct published *) now;
};

/* What a router says of itself: written and read by the shapes below. */
struct said {
	const char *url, *version, *grant_keys;
	uint64_t started_ms, rooms, tunnels, clock_ms;
	struct json_list breakers, drains, settings;
};
static const struct json_member breaker_members[] = {
	{ "node", JSON_STRING, offsetof(struct peer_breaker, node), JSON_NO_HAS, 0, NODE_MAX },
	{ "class", JSON_STRING, offsetof(struct peer_breaker, class), JSON_NO_HAS, 0, 32 },
	{ "state", JSON_STRING, offsetof(struct peer_breaker, state), JSON_NO_HAS, 0, 32 },
	{ "failures", JSON_U64, offsetof(struct peer_breaker, failures), JSON_NO_HAS, 0, 1e15 },
	{ "retry_in_ms", JSON_U64, offsetof(struct peer_breaker, retry_ms), JSON_NO_HAS, 0, 1e15 },
};
static const struct json_member drain_members[] = {
	{ "node", JSON_STRING, offsetof(struct peer_drain, node), JSON_NO_HAS, 0, NODE_MAX, .required = true },
	{ "since_ms", JSON_U64, offsetof(struct peer_drain, since_ms), JSON_NO_HAS, 0, 1e15 },
	{ "moved", JSON_U64, offsetof(struct peer_drain, moved), JSON_NO_HAS, 0, 1e15 },
	{ "failed", JSON_U64, offsetof(struct peer_drain, failed), JSON_NO_HAS, 0, 1e15 },
};
static const struct json_shape drain_shape = { drain_members, 4, sizeof(struct peer_drain) };
static const struct json_shape breaker_shape = { breaker_members, 5, sizeof(struct peer_breaker) };
static const struct json_member said_members[] = {
	{ "url", JSON_STRING, offsetof(struct said, url), JSON_NO_HAS, 0, URL_MAX_BYTES },
	{ "version", JSON_STRING, offsetof(struct said, version), JSON_NO_HAS, 0, 64 },
	{ "started_ms", JSON_U64, offsetof(struct said, started_ms), JSON_NO_HAS, 0, 1e15 },
	{ "rooms", JSON_U64, offsetof(struct said, rooms), JSON_NO_HAS, 0, 1e15 },
	{ "tunnels", JSON_U64, offsetof(struct said, tunnels), JSON_NO_HAS, 0, 1e15 },
	{ "clock_ms", JSON_U64, offsetof(struct said, clock_ms), JSON_NO_HAS, 0, 1e15 },
	{ "breakers", JSON_LIST, offsetof(struct said, breakers), JSON_NO_HAS, 0, 10000, .shape = &breaker_shape },
	{ "drains", JSON_LIST, offsetof(struct said, drains), JSON_NO_HAS, 0, 10000, .shape = &drain_shape },
	{ "settings", JSON_LIST, offsetof(struct said, settings), JSON_NO_HAS, 0, AGREE_MAX, .shape = &agree_shape },
	{ "grant_keys", JSON_STRING, offsetof(struct said, grant_keys), JSON_NO_HAS, 0, GRANTS_MAX },
};
static const struct json_shape said_shape = { said_members, sizeof(said_members) / sizeof(*said_members), sizeof(struct said) };

static void write_breaker(void *arg, const struct breaker_line *line)
{
	struct json_out *json = arg;

	json_open(json, NULL, '{');
	json_str(json, "node", line->node);
	json_str(json, "class", breaker_class_words[line->class]);
	json_str(json, "state", breaker_state_words[line->state]);
	json_u64(json, "failures", line->failures);
	json_u64(json, "retry_in_ms", line->retry_ms);
	json_close(json, '}');
}

static void write_said(const struct peers *peers, struct buf *text)
{
	const struct router *router = peers->router;
	struct json_out json = { .to = text };
	uint64_t tunnels = 0;
	char grants[GRANTS_MAX];

	for (size_t i = 0; i < router->nworkers; i++)
		tunnels += atomic_load(&router->workers[i]->open_tunnels);
	json_open(&json, NULL, '{');
	json_str(&json, "url", router->advertise_url);
	json_str(&json, "version", USHER_VERSION);
	json_u64(&json, "started_ms", peers->started_ms);
	json_u64(&json, "rooms", table_count(registry_table(router->registry)));
	json_u64(&json, "tunnels", tunnels);
	json_u64(&json, "clock_ms", wall_ms());
	json_open(&json, "breakers", '[');
	fleet_breakers(router->fleet, write_breaker, &json);
	json_close(&json, ']');
	mover_write(router->mover, &json);
	agree_write(router_conf_keys, router_conf_count, &router->conf, &json);
	grants_name(router, grants);
	json_str(&json, "grant_keys", grants);
	json_close(&json, '}');
}

static void free_published(struct retired *retired)
{
	struct published *p = container_of(retired, struct published, retired);

	arena_reset(&p->arena);
	free(p);
}

/* The keys themselves are told to nobody. */
static void compare_grants(const struct router *router, struct published *p, const char *theirs, struct peer *peer)
{
	char ours[GRANTS_MAX];

	grants_name(router, ours);
	if (theirs && strcmp(ours, theirs))
		peer->differences[peer->ndifferences++] = (struct agree_difference){
			"auth.grant_keys", arena_copy(&p->arena, ours, strlen(ours)), theirs };
}

static void compare(const struct router *router, struct published *p, const struct said *said, struct peer *peer)
{
	const struct json_list *settings = &said->settings;

	peer->differences = arena_alloc(&p->arena, (settings->count + 1) * sizeof(*peer->differences));
	peer->ndifferences = agree_compare(router_conf_keys, router_conf_count, &router->conf, settings->items, settings->count,
	                                   &p->arena, peer->differences);
	compare_grants(router, p, said->grant_keys, peer);
}

/* False: silent, or of a version that says what we cannot read. */
static bool add_peer(const struct router *router, struct published *p, const struct router_record *record, uint64_t store_ms)
{
	struct said said = { 0 };
	const char *fault;

	if (record->heard_ms + GONE_MS < store_ms || json_read(record->info, &said_shape, &p->arena, &said, &fault) < 0)
		return false;
	struct peer *peer = &p->view.peers[p->view.count++];
	*peer = (struct peer){
		.id = arena_copy(&p->arena, record->id, strlen(record->id)),
		.url = said.url, .version = said.version, .started_ms = said.started_ms, .rooms = said.rooms, .tunnels = said.tunnels,
		.heard_age_ms = store_ms > record->heard_ms ? store_ms - record->heard_ms : 0,
		.clock_ahead_ms = said.clock_ms ? (int64_t)(said.clock_ms - record->heard_ms) : 0,
		.nbreakers = said.breakers.count, .breakers = said.breakers.items,
		.ndrains = said.drains.count, .drains = said.drains.items,
	};
	compare(router, p, &said, peer);
	return true;
}

static void tell_differences(struct peers *peers, const struct peer *peer)
{
	for (size_t i = 0; i < peer->ndifferences; i++) {
		const struct agree_difference *d = &peer->differences[i];
		if (!agree_is_news(peers->agree, peer->id, d))
			continue;
		char *detail = arena_printf(&peers->arena, "%s is %s here and %s at %s (%s)", d->key, d->here, d->there, peer->id, peer->url);
		events_emit(peers->router, &(struct event){ .type = EVENT_CONFIG_DIFFERS, .detail = detail });
	}
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static int64_t clock_off(struct peers *peers, struct published *p)
{
	int64_t *voices = arena_alloc(&p->arena, (p->view.count + 2) * sizeof(*voices));
	int64_t own = (int64_t)(wall_ms() - peers->answer.store_ms);
	size_t n = 0;

	voices[n++] = 0; /* the store's */
	voices[n++] = own;
	for (size_t i = 0; i < p->view.count; i++)
		if (strcmp(p->view.peers[i].id, peers->router->id))
			voices[n++] = p->view.peers[i].clock_ahead_ms;
	if (n < VOICES_MIN)
		return 0;
	qsort(voices, n, sizeof(*voices), by_size);
	int64_t off = own - voices[n / 2];
	peers->off_row = off > CLOCK_OFF_MS || off < -CLOCK_OFF_MS ? peers->off_row + 1 : 0;
	return peers->off_row >= OFF_ROW ? off : 0;
}

static void tell_clock(const struct peers *peers, int64_t now)
{
	int64_t was = peers_view(peers)->clock_off_ms;

	if (!was != !now)
		log_line(now ? LOG_ERROR : LOG_INFO, "clock_off", "from_ms", LOG_I(was), "to_ms", LOG_I(now), NULL);
}

static void publish(struct peers *peers)
{
	struct published *p = calloc(1, sizeof(*p));

	if (!p)
		abort();
	p->view.peers = arena_alloc(&p->arena, (peers->answer.count + 1) * sizeof(*p->view.peers));
	for (size_t i = 0; i < peers->answer.count; i++) {
		if (add_peer(peers->router, p, &peers->answer.routers[i], peers->answer.store_ms))
			tell_differences(peers, &p->view.peers[p->view.count - 1]);
		else
			agree_keep(peers->agree, peers->answer.routers[i].id);
	}
	agree_end_turn(peers->agree);
	p->view.clock_off_ms = clock_off(peers, p);
	tell_clock(peers, p->view.clock_off_ms);
	struct published *old = atomic_exchange(&peers->now, p);
	if (old)
		retire_later(peers->router->retire, &old->retired, free_published);
}

static void announce(struct timer *);
static void step(struct peers *peers, int err);

static void woken(struct wait *w, int err)
{
	step(container_of(w, struct peers, wait), err);
}

static void rest(struct peers *peers)
{
	peers->reading = false;
	arena_reset(&peers->arena);
	timer_set(peers->router->loop, &peers->timer, peers->router->conf.nodes.heartbeat_ms, announce);
}

/* Announced, or read: what comes next. */
static void step(struct peers *peers, int err)
{
	struct router *router = peers->router;

	if (!peers->reading) {
		peers->reading = true;
		err = routers_all(router->store, &peers->arena, loop_now_ms(router->loop) + STORE_MS, &peers->answer, &peers->wait);
		if (err == WAIT)
			return;
	}
	if (err == 0)
		publish(peers);
	rest(peers);
}

static void announce(struct timer *t)
{
	struct peers *peers = container_of(t, struct peers, timer);
	struct router *router = peers->router;
	struct buf text = { 0 };

	write_said(peers, &text);
	int err = routers_announce(router->store, router->id, (struct str){ text.at, text.len }, loop_now_ms(router->loop) + STORE_MS,
	                           &peers->wait);
	buf_free(&text);
	if (err != WAIT)
		step(peers, err);
}

struct peers *peers_new(struct router *router)
{
	struct peers *peers = calloc(1, sizeof(*peers));

	if (!peers)
		abort();
	peers->router = router;
	peers->wait.wake = woken;
	peers->started_ms = wall_ms();
	peers->agree = agree_new();
	return peers;
}

void peers_start(struct peers *peers)
{
	timer_set(peers->router->loop, &peers->timer, 0, announce);
}

static void left(struct wait *w, int err)
{
	(void)w, (void)err;
}

void peers_leave(struct peers *peers)
{
	struct router *router = peers->router;

	timer_clear(router->loop, &peers->timer);
	wait_drop(&peers->wait);
	peers->wait.wake = left;
	routers_leave(router->store, router->id, loop_now_ms(router->loop) + STORE_MS, &peers->wait);
}

void peers_free(struct peers *peers)
{
	struct published *p = atomic_load(&peers->now);

	timer_clear(peers->router->loop, &peers->timer);
	wait_drop(&peers->wait);
	arena_reset(&peers->arena);
	if (p)
		free_published(&p->retired);
	agree_free(peers->agree);
	free(peers);
}

const struct peers_view *peers_view(const struct peers *peers)
{
	static const struct peers_view none = { 0 };
	const struct published *p = atomic_load((_Atomic(struct published *) *)(uintptr_t)&peers->now);

	return p ? &p->view : &none;
}

void peers_write_urls(const struct peers *peers, struct json_out *json)
{
	const struct peers_view *view = peers_view(peers);
	bool own = false;

	json_open(json, "routers", '[');
	for (size_t i = 0; i < view->count; i++) {
		json_str(json, NULL, view->peers[i].url);
		own = own || !strcmp(view->peers[i].id, peers->router->id);
	}
	if (!own)
		json_str(json, NULL, peers->router->advertise_url);
	json_close(json, ']');
}
