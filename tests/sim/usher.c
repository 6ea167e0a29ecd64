/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usher's own code on the simulated clock: the embedded store with its charges and announcements, and for each router a
 * struct fleet (reading, liveness, meters) and a struct place (filters, effective load, learned cost, slow start, choice).
 * Nothing of these is modelled. What is:
 *
 *   - all routers share one loop and one embedded store; what the store announces reaches each router after a delay of its own
 *   - a join is choose, reserve, open; the verbs' other steps, the network and the breakers' calls are left out
 *   - random_u64() and wall_ms() are the simulation's (--wrap), so that a run can be repeated
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/loop.h"
#include "base/retire.h"
#include "base/str.h"
#include "base/wait.h"
#include "health/charges.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "router/place.h"
#include "tests/sim/usher.h"
#include "tests/sim/world_private.h"

#define BASE_MS 1000000
#define WALL_MS UINT64_C(1790000000000)
#define SHOWN_MAX 1024
#define SLOW_MS 10000        /* a slow node's report takes up to so much longer */
#define RESERVE_MS 2         /* from the choice to the charge, at most */
#define STORE_MS 20          /* until another router hears of a charge, at most */
#define OPEN_MS 20
#define RING 64              /* ms; more than any of these takes */
#define ROUTERS_MAX 16
#define WAKE_TICKS 128       /* more than a node sleeps; one that is woken too early sleeps on */

struct way { /* of setting it up */
	double room_cost;                        /* < 0: learned */
	uint64_t ramp_ms, heartbeat_ms;
	uint64_t report_old_ms, report_pause_ms; /* a report is so old when it arrives, and the next sample up to so long after … */
	uint64_t report_each_ms;                 /* … or, if not 0, samples are so far apart */
	bool uncharged;                          /* no charge is told to anybody: to see that the asserts can fail */
	bool untold;                             /* nobody says how many people are expected */
	bool asks_one;                           /* nodes leave it at a message that was lost: to see what libusher's asking all is worth */
};
/* Reports 2 to 10 s old, and read up to 5 s later: as bad as the figures ask for. usher's own defaults are a report and two readings
 * a second. */
#define OLD .heartbeat_ms = 10000, .report_old_ms = 2000, .report_pause_ms = 6000
#define RAMP .ramp_ms = 180000
static const struct way usual = { -1, RAMP, OLD };
static const struct way short_ramp = { -1, .ramp_ms = 20000, OLD };
static const struct way cost_start = { 0.01, RAMP, OLD };
static const struct way cost_true = { MEETING_PEOPLE / PEOPLE_SERVED, RAMP, OLD };
static const struct way untold = { -1, RAMP, OLD, .untold = true };
static const struct way asks_one = { -1, RAMP, OLD, .asks_one = true };
static const struct way uncharged = { -1, RAMP, OLD, .uncharged = true };
static const struct way each_10s = { -1, RAMP, OLD, .report_each_ms = 10000 };

struct due { /* what happens within the next milliseconds */
	enum { DUE_RESERVE, DUE_HEAR, DUE_OPENED } what;
	size_t router, site;
	uint64_t number, registration;
	double cost;
};
struct dues {
	size_t n, size;
	struct due *at;
};
struct change { /* that room's, unless the room is another one by now */
	const struct room *room;
	uint64_t number;
};
struct told { /* what a node knows of itself, and the report it is about to send */
	char id[24], incarnation[24];
	uint64_t registration, seq, charged, starts, sample_ms, send_ms;
	uint64_t seen, people, rooms, told_ms;
	double shown; /* load, of young rooms */
	bool sampled, fanned_out, lost;
	struct change *changes; /* since the last sample */
	size_t nchanges, size;
};
struct usher {
	struct world *world;
	const struct way *way;
	struct loop *loop;
	struct retire *retire;
	struct registry *registry;
	struct store *store;
	struct fleet *fleets[ROUTERS_MAX];
	struct place *places[ROUTERS_MAX];
	size_t nrouters;
	struct told *nodes;
	uint64_t *wake;    /* a ring of WAKE_TICKS sets of nodes, a bit for each, of nwake words: who does something in that tick */
	size_t nwake;
	struct chance chance;
	uint64_t now_ms; /* of the world */
	struct dues ring[RING];
};

/* -- what is not usher's own clock and chance any more ---------------------------------------------------------------------- */
static uint64_t wall_now_ms;
static struct chance usher_chance;
uint64_t __wrap_random_u64(void), __wrap_wall_ms(void);

uint64_t __wrap_random_u64(void)
{
	return chance_next(&usher_chance);
}

uint64_t __wrap_wall_ms(void)
{
	return wall_now_ms;
}

static void move_clock(struct usher *u, uint64_t now_ms)
{
	u->now_ms = now_ms;
	wall_now_ms = WALL_MS + now_ms;
	loop_fake_clock(u->loop, BASE_MS + now_ms);
}

static uint64_t loop_ms(const struct usher *u)
{
	return BASE_MS + u->now_ms;
}

/* -- the next milliseconds -------------------------------------------------------------------------------------------------- */
static void later(struct usher *u, uint64_t after_ms, struct due due)
{
	struct dues *slot = &u->ring[(u->now_ms + after_ms) % RING];

	if (slot->n == slot->size) {
		slot->size = slot->size ? 2 * slot->size : 16;
		slot->at = realloc(slot->at, slot->size * sizeof(*slot->at));
		if (!slot->at)
			abort();
	}
	slot->at[slot->n++] = due;
}

static uint64_t up_to(struct usher *u, uint64_t ms)
{
	return 1 + chance_below(&u->chance, ms);
}

static uint64_t pause_until(struct usher *u, uint64_t up_to_ms)
{
	return u->now_ms + chance_below(&u->chance, up_to_ms);
}

static size_t site_of(const char *node)
{
	return strtoul(node + 1, NULL, 10);
}

static void on_charged(void *arg, const char *node, uint64_t number, double cost)
{
	struct usher *u = arg;

	for (size_t r = 0; r < u->nrouters; r++)
		later(u, up_to(u, STORE_MS), (struct due){ DUE_HEAR, .router = r, .site = site_of(node), .number = number, .cost = cost });
}

/* Names and reports are written without printf, which would be felt. */
static struct str name_of(uint64_t number, char text[static 1 + U64_TEXT_MAX])
{
	text[0] = 'r';
	return (struct str){ text, 1 + u64_text(text + 1, number).len };
}

static void reserve(struct usher *u, const struct due *due)
{
	const char *node = u->nodes[due->site].id;
	char text[1 + U64_TEXT_MAX];
	struct reserve want = { .room = name_of(due->number, text), .registration = due->registration,
		                .cost = u->way->uncharged ? 0 : due->cost };
	struct reserved got;
	struct wait w = { 0 };

	if (!nodes_reserve(u->store, node, &want, loop_ms(u) + 500, &got, &w) && got.granted)
		nodes_index(u->store, node, want.room, due->number);
}

static void happen(struct usher *u, const struct due *due)
{
	const char *node = u->nodes[due->site].id;

	if (due->what == DUE_RESERVE)
		reserve(u, due);
	else if (due->what == DUE_HEAR)
		fleet_charged(u->fleets[due->router], node, due->number, due->cost);
	else
		place_opened(u->places[due->router], node, loop_ms(u));
}

/* Also those of the slot that come while it is gone through: none, as all is at least a millisecond ahead. */
static void go_on(struct usher *u, uint64_t now_ms)
{
	while (u->now_ms < now_ms) {
		struct dues *slot = &u->ring[(u->now_ms + 1) % RING];
		if (slot->n || u->now_ms + 1 == now_ms)
			move_clock(u, u->now_ms + 1);
		else
			u->now_ms++;
		for (size_t i = 0; i < slot->n; i++)
			happen(u, &slot->at[i]);
		slot->n = 0;
	}
}

/* -- nodes ------------------------------------------------------------------------------------------------------------------ */
static const char *pool_name(int pool)
{
	return pool ? "large" : "default";
}

static void enlist(struct usher *u, size_t i)
{
	struct told *node = &u->nodes[i];
	char info[160];
	struct registered got;
	struct wait w = { 0 };

	snprintf(info, sizeof(info), "{\"signal_url\":\"ws://127.0.0.1:1/\",\"fences\":\"gate\",\"pool\":\"%s\"}",
	         pool_name(u->world->sites[i].pool));
	struct registration_request request = { .incarnation = node->incarnation, .info = str_of(info), .lease_ms = 4 * u->way->heartbeat_ms };
	if (nodes_register(u->store, node->id, &request, loop_ms(u) + 500, &got, &w))
		abort();
	node->registration = got.registration;
	node->seq = node->charged = 0;
}

/* -- what nodes name in their reports: the rooms that have changed since the last one, as libusher's heartbeats do ------------ */
static void note_change(struct told *node, const struct room *room)
{
	if (node->nchanges == node->size) {
		node->size = node->size ? 2 * node->size : 4;
		node->changes = realloc(node->changes, node->size * sizeof(*node->changes));
		if (!node->changes)
			abort();
	}
	node->changes[node->nchanges++] = (struct change){ room, room->number };
}

static int newest_first(const void *a, const void *b)
{
	const struct room *one = ((const struct change *)a)->room, *other = ((const struct change *)b)->room;

	if (one->placed_ms != other->placed_ms)
		return one->placed_ms < other->placed_ms ? 1 : -1;
	return one->number == other->number ? 0 : one->number < other->number ? 1 : -1;
}

/* Those that are still here, each once. */
static void tidy_changes(struct told *node, size_t i)
{
	size_t n = 0, once = 0;

	for (size_t k = 0; k < node->nchanges; k++)
		if (node->changes[k].room->number == node->changes[k].number && node->changes[k].room->node == i)
			node->changes[n++] = node->changes[k];
	if (n > 1)
		qsort(node->changes, n, sizeof(*node->changes), newest_first);
	for (size_t k = 0; k < n; k++)
		if (!once || node->changes[once - 1].number != node->changes[k].number)
			node->changes[once++] = node->changes[k];
	node->nchanges = once;
}

/* What else changes in this very moment is for the next report, too. */
static void forget_changes(struct usher *u, struct told *node)
{
	size_t n = 0;

	for (size_t k = 0; k < node->nchanges; k++)
		if (node->changes[k].room->changed_ms >= u->now_ms)
			node->changes[n++] = node->changes[k];
	node->nchanges = n;
}

static bool is_young(const struct usher *u, const struct room *room)
{
	return room->placed_ms + u->way->ramp_ms > u->now_ms;
}

/* Of those so young that their charge still counts, as router/heartbeat.c reads it. */
static double shown(struct usher *u, size_t i)
{
	struct shown_room rooms[SHOWN_MAX];
	const struct site *site = &u->world->sites[i];
	struct told *node = &u->nodes[i];
	size_t n = 0;

	tidy_changes(node, i);
	for (size_t k = 0; k < node->nchanges && n < SHOWN_MAX; k++) {
		const struct room *room = node->changes[k].room;
		if (is_young(u, room))
			rooms[n++] = (struct shown_room){ room->people, u->now_ms - room->placed_ms };
	}
	forget_changes(u, node);
	return charges_shown(place_room_cost(u->places[0], pool_name(site->pool)), 1 / site->serves, rooms, n, u->way->ramp_ms);
}

static void sample(struct usher *u, size_t i)
{
	const struct site *site = &u->world->sites[i];
	struct told *node = &u->nodes[i];

	node->people = site->people;
	node->rooms = site->rooms;
	node->seen = node->charged;
	node->shown = shown(u, i);
	node->told_ms = u->now_ms;
	node->sampled = true;
	node->send_ms = u->now_ms + u->way->report_old_ms + (site->slow ? chance_below(&u->chance, SLOW_MS) : 0);
}

static char *put(char *at, const char *words, uint64_t number)
{
	at = stpcpy(at, words);
	return at + u64_text(at, number).len;
}

/* A load of up to five digits after the point. */
static void write_load(const struct told *node, double serves, char *at)
{
	uint64_t cpu = (uint64_t)llround((double)node->people * 1e5 / serves);

	at = put(at, "{\"cpu\":", cpu / 100000);
	*at++ = '.';
	for (uint64_t digit = 10000; digit; digit /= 10)
		*at++ = (char)('0' + cpu / digit % 10);
	at = put(at, ",\"participants\":", node->people);
	at = put(at, ",\"rooms\":", node->rooms);
	strcpy(at, "}");
}

static void beat(struct usher *u, size_t i)
{
	struct told *node = &u->nodes[i];
	char load[4 * U64_TEXT_MAX + 40];
	struct renewed got;
	struct wait w = { 0 };

	write_load(node, u->world->sites[i].serves, load);
	struct renewal renewal = { .incarnation = node->incarnation, .registration = node->registration, .seq = ++node->seq,
		                   .lease_ms = 4 * u->way->heartbeat_ms, .load = str_of(load), .seen = node->seen, .shown = node->shown };
	if (nodes_renew(u->store, node->id, &renewal, loop_ms(u) + 500, &got, &w))
		abort();
	u->world->events += u->world->measures;
	if (got.verdict == RENEW_UNKNOWN)
		enlist(u, i);
	else
		node->charged = got.charged;
}

static uint64_t next_sample_ms(struct usher *u, const struct told *node)
{
	return u->way->report_each_ms ? node->told_ms + u->way->report_each_ms : pause_until(u, u->way->report_pause_ms);
}

/*
 * Every other message of a lossy node is lost. libusher waits for an answer a quarter of the lease, then asks all other routers at
 * once, and begins its next round, with a new sample, a moment after that has failed, too (client/lib/node_beat.c).
 */
static bool arrives(struct usher *u, size_t i)
{
	size_t asked = u->nodes[i].fanned_out ? u->nrouters - 1 : 1;

	for (; asked; asked--)
		if (!u->world->sites[i].lossy || chance_unit(&u->chance) >= 0.5)
			return true;
	return false;
}

static void send_report(struct usher *u, size_t i)
{
	struct told *node = &u->nodes[i];
	bool here = arrives(u, i);

	if (!here && !node->fanned_out && !u->way->asks_one) {
		node->fanned_out = true;
		node->send_ms = u->now_ms + u->way->heartbeat_ms; /* a quarter of the lease */
		return;
	}
	node->sample_ms = node->fanned_out && !here ? u->now_ms : next_sample_ms(u, node);
	node->sampled = node->fanned_out = false;
	if (here)
		beat(u, i);
}

static uint64_t *wake_set(struct usher *u, uint64_t tick)
{
	return u->wake + tick % WAKE_TICKS * u->nwake;
}

static void wake_at(struct usher *u, size_t i, uint64_t at_ms)
{
	uint64_t now = u->now_ms / TICK, tick = (at_ms + TICK - 1) / TICK;

	tick = tick < now ? now : tick < now + WAKE_TICKS ? tick : now + WAKE_TICKS - 1;
	wake_set(u, tick)[i / 64] |= UINT64_C(1) << i % 64;
}

static void node_goes_on(struct usher *u, size_t i)
{
	struct told *node = &u->nodes[i];

	if (!u->world->sites[i].up)
		return;
	if (node->sampled && node->send_ms <= u->now_ms)
		send_report(u, i);
	if (!node->sampled && node->sample_ms <= u->now_ms)
		sample(u, i);
	wake_at(u, i, node->sampled ? node->send_ms : node->sample_ms);
	if (!node->lost)
		return;
	node->lost = false;
	world_lost(u->world, i);
}

static void nodes_go_on(struct usher *u)
{
	uint64_t *now = wake_set(u, u->now_ms / TICK), *before = wake_set(u, u->now_ms / TICK - 1); /* woken after its tick was gone through */

	for (size_t k = 0; k < u->nwake; k++) {
		uint64_t set = now[k] | before[k];
		now[k] = before[k] = 0;
		for (; set; set &= set - 1)
			node_goes_on(u, 64 * k + (size_t)__builtin_ctzll(set));
	}
}

static void node_changed(void *arg, const char *id, enum node_state from, enum node_state to)
{
	struct usher *u = arg;
	size_t i = site_of(id);

	(void)from;
	if (to != NODE_LOST || !u->world->sites[i].up)
		return;
	u->nodes[i].lost = true;
	wake_at(u, i, 0);
}

static void start_node(struct usher *u, size_t i)
{
	struct told *node = &u->nodes[i];

	snprintf(node->incarnation, sizeof(node->incarnation), "i%llu", (unsigned long long)++node->starts);
	enlist(u, i);
	node->people = u->world->sites[i].people;
	node->rooms = u->world->sites[i].rooms;
	node->seen = 0;
	node->shown = 0;
	node->sampled = false;
	beat(u, i);
	node->sample_ms = pause_until(u, u->way->report_each_ms ? u->way->report_each_ms : u->way->report_pause_ms);
	wake_at(u, i, node->sample_ms);
}

static void look(struct usher *u)
{
	for (size_t r = 0; r < u->nrouters; r++)
		fleet_refresh(u->fleets[r]);
	move_clock(u, u->now_ms); /* what is due at once */
	loop_turn(u->loop);
}

/* -- a policy ---------------------------------------------------------------------------------------------------------------- */
static void open_routers(struct usher *u)
{
	struct fleet_conf fleet = { .heartbeat_ms = u->way->heartbeat_ms, .lease_ms = 4 * u->way->heartbeat_ms, .grace_ms = 500,
		                    .unfenced_ms = 60000, .unasked_ms = 600000, .timeout_ms = 500, .allow_cidr = "127.0.0.0/8",
		                    .ramp_ms = u->way->ramp_ms, .max_load = MAX_LOAD, .max_ejected = 0.5,
		                    .breaker = { .failures = 5, .window_ms = 10000, .min_calls = 20, .open_ms = 1000,
		                                 .max_open_ms = 30000, .failure_rate = 0.5, .backoff = 2 },
		                    .router = "r", .url = "", .changed = node_changed, .arg = u };
	struct place_conf place = { .max_load = MAX_LOAD, .room_cost = u->way->room_cost, .ramp_ms = u->way->ramp_ms, .slow_start_ms = 10000,
		                    .opens_per_node = 20, .explained = 100, .max_ejected = 0.5, .ordered_from = PLACE_ORDERED_FROM };

	for (size_t r = 0; r < u->nrouters; r++) {
		u->fleets[r] = fleet_new(u->loop, u->store, u->retire, &fleet);
		u->places[r] = place_new(u->fleets[r], &place);
		fleet_start(u->fleets[r]);
	}
}

static void open_nodes(struct usher *u)
{
	u->nodes = make(u->world->nsites, sizeof(*u->nodes));
	u->nwake = u->world->nsites / 64 + 1;
	u->wake = make(WAKE_TICKS * u->nwake, sizeof(*u->wake));
	for (size_t i = 0; i < u->world->nsites; i++) {
		snprintf(u->nodes[i].id, sizeof(u->nodes[i].id), "n%zu", i);
		start_node(u, i);
		for (const struct room *room = u->world->sites[i].held; room && is_young(u, room); room = room->after)
			note_change(&u->nodes[i], room);
	}
}

static void *open_way(struct world *w, const struct way *way)
{
	struct usher *u = make(1, sizeof(*u));
	const char *why = NULL;
	struct registry_conf registry = { .url = "memory:", .prefix = "u:", .router = "r", .timeout_ms = 1000, .table_max = 1000,
		                          .trust_ms = 1000, .charged = on_charged, .arg = u };

	u->world = w;
	u->way = way;
	u->nrouters = w->nrouters < ROUTERS_MAX ? w->nrouters : ROUTERS_MAX;
	u->chance = chance_of(w->seed, 13);
	usher_chance = chance_of(w->seed, 17);
	u->loop = loop_new();
	move_clock(u, w->now_ms);
	u->retire = retire_new(u->loop, &u->loop, 1);
	u->registry = registry_new(u->loop, u->retire, &registry, &why);
	if (!u->registry)
		abort();
	u->store = store_new(u->registry, u->loop);
	open_nodes(u);
	open_routers(u);
	look(u);
	return u;
}

#define OPEN(way)                                                                                                      \
	static void *open_##way(struct world *w)                                                                       \
	{                                                                                                              \
		return open_way(w, &way);                                                                              \
	}
OPEN(usual) OPEN(short_ramp) OPEN(cost_start) OPEN(cost_true) OPEN(untold) OPEN(asks_one) OPEN(uncharged) OPEN(each_10s)

static void close_usher(void *arg)
{
	struct usher *u = arg;

	for (size_t r = 0; r < u->nrouters; r++) {
		place_free(u->places[r]);
		fleet_free(u->fleets[r]);
	}
	store_free(u->store);
	for (int i = 0; i < 4; i++)
		loop_turn(u->loop);
	retire_free(u->retire);
	registry_free(u->registry);
	loop_turn(u->loop);
	loop_free(u->loop);
	for (size_t i = 0; i < RING; i++)
		free(u->ring[i].at);
	for (size_t i = 0; i < u->world->nsites; i++)
		free(u->nodes[i].changes);
	free(u->nodes);
	free(u->wake);
	free(u);
}

static void pass(void *arg, struct world *w, uint64_t now_ms)
{
	struct usher *u = arg;

	go_on(u, now_ms);
	if (now_ms != w->now_ms)
		return;
	nodes_go_on(u);
	loop_turn(u->loop);
}

static int choose(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct usher *u = arg;
	char text[1 + U64_TEXT_MAX];
	struct place_wish wish = { .room = name_of(room->number, text), .pool = pool_name(room->pool) };
	struct due due = { DUE_RESERVE, .router = room->router % u->nrouters, .number = room->number };
	struct placed placed;
	uint64_t retry_ms, takes_ms = up_to(u, RESERVE_MS);
	bool wait_helps;

	(void)now_ms;
	if (!u->way->untold)
		wish.expected_participants = room->moved ? room->people : room->told;
	if (room->moved)
		note_change(&u->nodes[room->node], room); /* stays there if it finds no other */
	if (place_choose(u->places[due.router], &wish, loop_ms(u), &placed, &wait_helps, &retry_ms))
		return -1;
	if (u->way->uncharged)
		place_opened(u->places[due.router], placed.node, loop_ms(u)); /* takes the pending charge off again */
	due.site = site_of(placed.node);
	due.registration = placed.registration;
	due.cost = placed.cost;
	later(u, takes_ms, due);
	due.what = DUE_OPENED;
	later(u, takes_ms + OPEN_MS, due);
	(void)w;
	return (int)due.site;
}

static void joined(void *arg, struct world *w, const struct room *room)
{
	struct usher *u = arg;

	(void)w;
	note_change(&u->nodes[room->node], room);
}

static void ended(void *arg, struct world *w, const struct room *room)
{
	struct usher *u = arg;
	char text[1 + U64_TEXT_MAX];

	(void)w;
	nodes_unindex(u->store, u->nodes[room->node].id, name_of(room->number, text), room->number);
}

static void drains(void *arg, struct world *w, size_t i)
{
	struct usher *u = arg;
	struct wait wait = { 0 };

	(void)w;
	nodes_set_wish(u->store, u->nodes[i].id, WISH_DRAINING, STR("{}"), loop_ms(u) + 500, &wait);
	look(u);
}

static void restarted(void *arg, struct world *w, size_t i, bool up)
{
	struct usher *u = arg;
	struct wait wait = { 0 };
	bool left;

	(void)w;
	if (up) {
		nodes_set_wish(u->store, u->nodes[i].id, WISH_ENABLED, STR(""), loop_ms(u) + 500, &wait);
		start_node(u, i);
	} else {
		nodes_leave(u->store, u->nodes[i].id, u->nodes[i].incarnation, loop_ms(u) + 500, &left, &wait);
	}
	look(u);
}

#define REST close_usher, pass, choose, joined, ended, restarted, drains
const struct policy policy_usher = { "usher", open_usual, REST };
const struct policy policy_short_ramp = { "usher-ramp-20s", open_short_ramp, REST };
const struct policy policy_cost_start = { "usher-cost-0.01", open_cost_start, REST };
const struct policy policy_cost_true = { "usher-cost-true", open_cost_true, REST };
const struct policy policy_untold = { "usher-untold", open_untold, REST };
const struct policy policy_each_10s = { "usher", open_each_10s, REST }; /* of scale.c */
const struct policy policy_asks_one = { "usher-asks-one", open_asks_one, REST };
const struct policy policy_uncharged = { "usher-uncharged", open_uncharged, REST };

/* -- what it costs ----------------------------------------------------------------------------------------------------------- */
static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void charge_all(struct usher *u, size_t times)
{
	struct due due = { DUE_RESERVE, .cost = 0.003 };

	for (size_t k = 0; k < times; k++) {
		for (size_t i = 0; i < u->world->nsites; i++) {
			due.site = i;
			due.registration = u->nodes[i].registration;
			due.number++;
			reserve(u, &due);
		}
		go_on(u, u->now_ms + CHARGE_BUCKET_MS);
	}
}

static double choices_us(struct usher *u, size_t times)
{
	struct place_wish wish = { .room = STR("r") };
	struct placed placed;
	bool wait_helps;
	uint64_t retry_ms;
	double begun = cpu_us();

	for (size_t k = 0; k < times; k++) {
		if (place_choose(u->places[0], &wish, loop_ms(u), &placed, &wait_helps, &retry_ms))
			abort();
		place_opened(u->places[0], placed.node, loop_ms(u));
	}
	return (cpu_us() - begun) / (double)times;
}

/* Of so many in a hundred nodes a report has come since the reading before. */
static double reading_us(struct usher *u, size_t percent)
{
	double us = 0;

	for (size_t k = 0; k < 5; k++) {
		for (size_t i = 0; i < u->world->nsites; i++) {
			u->nodes[i].people = 400 + (i + k) % 200;
			if (i * 100 < percent * u->world->nsites)
				beat(u, i);
		}
		double begun = cpu_us();
		look(u);
		us += (cpu_us() - begun) / 5;
	}
	return us;
}

void usher_cost(size_t nodes)
{
	struct workload l = { "cost", { 0 } };
	struct world w = { .workload = &l, .policy = &policy_usher, .seed = 1, .nsites = nodes, .nrouters = 1, .now_ms = (uint64_t)LENGTH_MAX_MS };
	struct usher *u;

	w.sites = make(nodes, sizeof(*w.sites));
	for (size_t i = 0; i < nodes; i++)
		w.sites[i] = (struct site){ .serves = PEOPLE_SERVED, .up = true, .people = 400 + i % 200, .rooms = 150 };
	w.chooser = u = open_way(&w, &usual);
	charge_all(u, 8);
	look(u);
	double us = choices_us(u, 2000000 / nodes);
	printf("%zu\t%.1f\t%.0f\t%.2f\t%.2f\t%.2f\n", nodes, us, us * 1000 / (double)nodes, reading_us(u, 0) / 1000,
	       reading_us(u, 5) / 1000, reading_us(u, 100) / 1000);
	fflush(stdout);
	close_usher(u);
	world_free(&w);
}
