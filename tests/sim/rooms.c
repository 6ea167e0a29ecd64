/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins and ends are in a wheel of ticks: each room has one next event and is linked into the slot of that, so that an event costs
 * the same with a thousand rooms and with a million. What is further ahead goes round more than once.
 */
#include <stdlib.h>

#include "tests/sim/world_private.h"

static void wheel_put(struct world *w, struct room *room, uint64_t due_ms)
{
	uint64_t tick = due_ms / TICK, next = w->now_ms / TICK + 1;
	struct room **slot = &w->wheel[(tick < next ? next : tick) % WHEEL_SLOTS];

	room->due_ms = due_ms;
	room->next = *slot;
	*slot = room;
}

static struct room *room_unused(struct world *w)
{
	struct room *room = w->unused;

	if (!room) {
		struct room *many = make(BLOCK, sizeof(*many));
		for (size_t i = 1; i < BLOCK; i++) /* the first is not used: it chains the blocks */
			many[i].next = i + 1 < BLOCK ? &many[i + 1] : NULL;
		many[0].next = w->blocks;
		w->blocks = &many[0];
		room = &many[1];
	}
	w->unused = room->next;
	return room;
}

static struct room *room_new(struct world *w)
{
	struct room *room = room_unused(w);

	*room = (struct room){ .number = ++w->room_number };
	room->chance = chance_of(w->seed, room->number);
	return room;
}

static void room_unuse(struct world *w, struct room *room)
{
	room->number = 0; /* whoever still points to it sees that */
	room->next = w->unused;
	w->unused = room;
}

static void expect(struct world *w, const struct room *room, double sign)
{
	const struct meetings *m = &w->workload->meetings;
	double others = MEETING_PEOPLE * (room->large ? LARGE_TIMES : 1) * (m->people > 0 ? m->people : 1) - 1;

	if (room->parted)
		return;
	w->sites[room->node].to_come += sign * others * exp((double)room->start_ms / join_tau_ms());
}

static void hold(struct world *w, struct room *room, size_t at, uint64_t now_ms)
{
	struct site *site = &w->sites[at];

	room->node = (uint32_t)at;
	room->placed_ms = room->changed_ms = now_ms;
	room->before = NULL;
	room->after = site->held;
	if (site->held)
		site->held->before = room;
	site->held = room;
	site->rooms++;
	site->people += room->people;
	expect(w, room, 1);
}

static void let_go(struct world *w, struct room *room)
{
	struct site *site = &w->sites[room->node];

	*(room->before ? &room->before->after : &site->held) = room->after;
	if (room->after)
		room->after->before = room->before;
	site->rooms--;
	site->people -= room->people;
	expect(w, room, -1);
}

static void schedule(struct world *w, struct room *room)
{
	uint64_t due_ms = room->end_ms;

	if (room->to_come) {
		room->joined = next_join(room->joined, room->to_come, &room->chance);
		due_ms = room->start_ms + join_ms(room->joined, room->end_ms - room->start_ms);
	}
	wheel_put(w, room, due_ms);
}

static void room_end(struct world *w, struct room *room)
{
	if (w->policy->ended)
		w->policy->ended(w->chooser, w, room);
	let_go(w, room);
	room_unuse(w, room);
}

/* Who is in it stays to its end. The rest is the same room, with its number and chance: no other room is drawn differently for it. */
static struct room *room_split(struct world *w, struct room *room, size_t at)
{
	struct room *rest = room_unused(w);

	*rest = *room;
	rest->people = 0;
	hold(w, rest, at, w->now_ms);
	expect(w, room, -1);
	room->parted = true;
	room->to_come = 0;
	wheel_put(w, room, room->end_ms);
	w->splits += w->measures;
	return rest;
}

static struct room *room_to_join(struct world *w, struct room *room)
{
	const struct policy *policy = w->policy;

	if (!policy->stays || policy->stays(w->chooser, w, room, w->now_ms))
		return room;
	int at = policy->choose(w->chooser, w, room, w->now_ms);
	return at < 0 || (size_t)at == room->node ? room : room_split(w, room, (size_t)at);
}

static void room_happens(struct world *w, struct room *room)
{
	w->events++;
	if (!room->to_come) {
		room_end(w, room);
		return;
	}
	room = room_to_join(w, room);
	room->people++;
	room->to_come--;
	room->changed_ms = w->now_ms;
	w->sites[room->node].people++;
	if (w->policy->joined)
		w->policy->joined(w->chooser, w, room);
	schedule(w, room);
}

void rooms_tick(struct world *w)
{
	struct room **slot = &w->wheel[w->now_ms / TICK % WHEEL_SLOTS], *room = *slot;

	*slot = NULL;
	for (struct room *next; room; room = next) {
		next = room->next;
		if (room->due_ms / TICK > w->now_ms / TICK)
			wheel_put(w, room, room->due_ms); /* another time round */
		else
			room_happens(w, room);
	}
}

static bool fleet_has_capacity(const struct world *w, int pool)
{
	for (size_t i = 0; i < w->nsites; i++) {
		const struct site *site = &w->sites[i];
		if (site->up && !site->draining && site->pool == pool && world_load(site) < MAX_LOAD)
			return true;
	}
	return false;
}

static bool room_place(struct world *w, struct room *room, uint64_t now_ms)
{
	room->router = (uint8_t)chance_below(&w->routers, w->nrouters);
	w->policy->pass(w->chooser, w, now_ms);
	int at = w->policy->choose(w->chooser, w, room, now_ms);
	w->events++;
	w->placed += w->measures;
	if (at < 0) {
		w->refused.all += w->measures;
		w->refused.with_capacity_left += w->measures && fleet_has_capacity(w, room->pool);
		return false;
	}
	hold(w, room, (size_t)at, now_ms);
	if (w->policy->joined)
		w->policy->joined(w->chooser, w, room);
	return true;
}

static void room_shape(struct world *w, struct room *room, uint64_t now_ms)
{
	struct meetings m = w->workload->meetings;

	bool large = (w->workload->pools || w->workload->told) && chance_unit(&room->chance) < LARGE_SHARE;

	room->pool = large && w->workload->pools;
	room->large = large;
	if (large)
		m.people = LARGE_TIMES;
	room->start_ms = now_ms;
	room->end_ms = now_ms + meeting_length_ms(&m, &room->chance);
	room->to_come = (uint16_t)(meeting_people(&m, &room->chance) - 1);
	room->people = 1;
	room->told = large && w->workload->told ? (uint16_t)(room->to_come + 1) : 0;
}

void room_start(struct world *w, uint64_t now_ms)
{
	struct room *room = room_new(w);

	room_shape(w, room, now_ms);
	if (room_place(w, room, now_ms))
		schedule(w, room);
	else
		room_unuse(w, room);
}

/* A room that began before time 0, with those who have come by now. */
static void room_since(struct world *w, struct room *room, size_t at)
{
	uint64_t length_ms = room->end_ms - room->start_ms;

	hold(w, room, at, room->start_ms);
	while (room->to_come) {
		room->joined = next_join(room->joined, room->to_come, &room->chance);
		if (room->start_ms + join_ms(room->joined, length_ms) > w->now_ms)
			break;
		room->people++;
		room->to_come--;
		w->sites[at].people++;
	}
	if (room->to_come)
		wheel_put(w, room, room->start_ms + join_ms(room->joined, length_ms));
	else
		wheel_put(w, room, room->end_ms);
}

/* Those that began before and still go on, in turn over the nodes: the policy has the warm-up to make the balance its own. */
void rooms_at_first(struct world *w)
{
	struct chance c = chance_of(w->seed, 7);
	size_t next[POOLS] = { 0 };

	for (double at = (double)w->now_ms - LENGTH_MAX_MS; (at += chance_exp(&c) * 1000 / w->rate) < (double)w->now_ms;) {
		struct room *room = room_new(w);
		room_shape(w, room, (uint64_t)at);
		if (room->end_ms <= w->now_ms) {
			room_unuse(w, room);
			continue;
		}
		do
			next[room->pool] = (next[room->pool] + 1) % w->nsites;
		while (w->sites[next[room->pool]].pool != room->pool);
		room_since(w, room, next[room->pool]);
	}
}

/* Wherever it finds a place; who is in it goes on. */
void room_move(struct world *w, struct room *room, uint64_t now_ms)
{
	size_t from = room->node;

	if (w->policy->ended)
		w->policy->ended(w->chooser, w, room);
	let_go(w, room);
	room->moved = true;
	w->moves += w->measures;
	if (!room_place(w, room, now_ms))
		hold(w, room, from, now_ms); /* counted as refused, and stays */
}
