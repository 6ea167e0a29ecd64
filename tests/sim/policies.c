/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is used instead, each as its project does it, with its defaults; where a default is of one kind of node (how much a
 * participant costs), the true value is given. Nodes that drain or are away are known to all at once, and nobody is refused. What a
 * project does about reports that do not come is as in its source: LiveKit pkg/service/roomallocator.go and pkg/routing/selector,
 * Scalelite lib/tasks/poll.rake, Jicofo reference.conf.
 *
 *   random, round robin (counted in each router), consistent hashing (160 points for each node)
 *   LiveKit    load of the last report, each 2 s, of nodes whose report was taken within 5 s, and below 0.9 (else of all); nothing
 *              is charged. `lowest`: the least; `twochoice`: the better of two at random. At each join a room whose node's report
 *              is older is placed anew for those who come from now on, and split: who is in it stays
 *   Jicofo     load of the last report, each 10 s, and those who joined in the last 20 s, as this process has counted them. Missing
 *              reports mean nothing (use-presence is off); its health checks are requests of their own and are not modelled
 *   Scalelite  a poll each 60 s: people, a meeting of less than 15 minutes counted as 15 at least; one more for each create; one
 *              table for all routers. Two polls in a row that fail: off, its meetings are ended, and on again at the next poll
 *   oracle     no router could do it: the least expected load at this moment
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_private.h"

#define LIVEKIT_REPORT_MS 2000
#define LIVEKIT_GONE_S 5
#define LIVEKIT_LIMIT 0.9
#define JICOFO_REPORT_MS 10000
#define JICOFO_WINDOW_MS 20000
#define JICOFO_BUCKETS (JICOFO_WINDOW_MS / TICK)
#define SCALELITE_POLL_MS 60000
#define SCALELITE_FAILURES 2
#define SCALELITE_YOUNG_MS (15 * 60000)
#define SCALELITE_YOUNG_PEOPLE 15
#define HASH_POINTS 160
#define SLOW_MS 10000 /* reports of a slow node take up to so long; a lossy one loses every other */

struct heard { /* of one node */
	double load, on_the_way;
	uint64_t at_ms, on_the_way_at_ms, arrives_ms; /* at: when the node took it */
	unsigned failures; /* Scalelite: in a row */
};
struct point {
	uint64_t at;
	uint32_t node;
};
struct chooser {
	struct chance chance;
	struct heard *heard;
	size_t *turn;             /* round robin: of each router */
	struct point *ring;
	size_t npoints;
	uint32_t *joined, *recent; /* Jicofo: [router][node][bucket], and their sums */
	uint64_t bucket, reported_ms;
	size_t nnodes, nrouters;
};

static bool is_open(const struct world *w, size_t i, const struct room *room)
{
	const struct site *site = &w->sites[i];

	return site->up && !site->draining && site->pool == room->pool;
}

static void *open_any(struct world *w)
{
	struct chooser *c = make(1, sizeof(*c));

	c->chance = chance_of(w->seed, 11);
	c->heard = make(w->nsites, sizeof(*c->heard));
	c->turn = make(w->nrouters, sizeof(*c->turn));
	c->nnodes = w->nsites;
	c->nrouters = w->nrouters;
	for (size_t i = 0; i < w->nrouters; i++)
		c->turn[i] = chance_below(&c->chance, w->nsites);
	return c;
}

static void close_any(void *arg)
{
	struct chooser *c = arg;

	free(c->heard);
	free(c->turn);
	free(c->ring);
	free(c->joined);
	free(c->recent);
	free(c);
}

static void pass_nothing(void *arg, struct world *w, uint64_t now_ms)
{
	(void)arg;
	(void)w;
	(void)now_ms;
}

/* -- without looking ------------------------------------------------------------------------------------------------------- */
static int choose_random(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	size_t i;

	(void)now_ms;
	do
		i = chance_below(&c->chance, w->nsites);
	while (!is_open(w, i, room));
	return (int)i;
}

static int choose_in_turn(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	size_t *turn = &c->turn[room->router];

	(void)now_ms;
	do
		*turn = (*turn + 1) % w->nsites;
	while (!is_open(w, *turn, room));
	return (int)*turn;
}

static int by_point(const void *a, const void *b)
{
	uint64_t x = ((const struct point *)a)->at, y = ((const struct point *)b)->at;

	return (x > y) - (x < y);
}

static void *open_ring(struct world *w)
{
	struct chooser *c = open_any(w);

	c->npoints = w->nsites * HASH_POINTS;
	c->ring = make(c->npoints, sizeof(*c->ring));
	for (size_t i = 0; i < c->npoints; i++)
		c->ring[i] = (struct point){ chance_next(&c->chance), (uint32_t)(i / HASH_POINTS) };
	qsort(c->ring, c->npoints, sizeof(*c->ring), by_point);
	return c;
}

static int choose_by_hash(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	struct chance name = chance_of(w->seed, ~room->number);
	uint64_t at = chance_next(&name);
	size_t low = 0, high = c->npoints;

	(void)now_ms;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (c->ring[middle].at < at)
			low = middle + 1;
		else
			high = middle;
	}
	while (!is_open(w, c->ring[low % c->npoints].node, room))
		low++;
	return (int)c->ring[low % c->npoints].node;
}

/* -- by reports ------------------------------------------------------------------------------------------------------------ */
static double people_load(const struct world *w, size_t i, uint64_t now_ms)
{
	(void)now_ms;
	return world_load(&w->sites[i]);
}

/* False: nothing comes of it. */
static bool report(struct chooser *c, struct world *w, size_t i, uint64_t now_ms, double load)
{
	struct heard *heard = &c->heard[i];

	if (!w->sites[i].up || (w->sites[i].lossy && chance_unit(&c->chance) < 0.5))
		return false;
	if (!w->sites[i].slow) {
		*heard = (struct heard){ .load = load, .at_ms = now_ms };
	} else if (!heard->arrives_ms) {
		heard->on_the_way = load;
		heard->on_the_way_at_ms = now_ms;
		heard->arrives_ms = now_ms + 1 + chance_below(&c->chance, SLOW_MS);
	}
	return true;
}

static void arrive(struct heard *heard, uint64_t now_ms)
{
	if (heard->arrives_ms && heard->arrives_ms <= now_ms)
		*heard = (struct heard){ .load = heard->on_the_way, .at_ms = heard->on_the_way_at_ms };
}

/* Nodes report at moments of their own, spread over the period. */
static void reports(struct chooser *c, struct world *w, uint64_t now_ms, uint64_t period_ms,
                    double (*load_of)(const struct world *, size_t, uint64_t))
{
	if (now_ms < c->reported_ms + TICK)
		return;
	for (size_t i = 0; i < w->nsites; i++) {
		uint64_t own_ms = i * (period_ms / TICK) / w->nsites * TICK;
		arrive(&c->heard[i], now_ms);
		if (!c->reported_ms || (now_ms / TICK * TICK) % period_ms == own_ms)
			report(c, w, i, now_ms, load_of(w, i, now_ms));
	}
	c->reported_ms = now_ms / TICK * TICK;
}

static void pass_livekit(void *arg, struct world *w, uint64_t now_ms)
{
	reports(arg, w, now_ms, LIVEKIT_REPORT_MS, people_load);
}

/* In whole seconds, as both times are told in these. */
static bool livekit_available(const struct heard *heard, uint64_t now_ms)
{
	return now_ms / 1000 < heard->at_ms / 1000 + LIVEKIT_GONE_S;
}

static bool stays_livekit(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	const struct chooser *c = arg;

	(void)w;
	return livekit_available(&c->heard[room->node], now_ms);
}

/* Which nodes it takes from: 2 heard of lately and below the limit, 1 heard of, 0 any. */
static int livekit_rank(const struct chooser *c, size_t i, uint64_t now_ms)
{
	const struct heard *heard = &c->heard[i];

	return !livekit_available(heard, now_ms) ? 0 : heard->load < LIVEKIT_LIMIT ? 2 : 1;
}

static int livekit_best_rank(const struct chooser *c, const struct world *w, const struct room *room, uint64_t now_ms)
{
	int best = 0;

	for (size_t i = 0; i < w->nsites; i++)
		if (is_open(w, i, room) && livekit_rank(c, i, now_ms) > best)
			best = livekit_rank(c, i, now_ms);
	return best;
}

static int choose_lowest(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	int rank = livekit_best_rank(c, w, room, now_ms), best = -1;

	for (size_t i = 0; i < w->nsites; i++)
		if (is_open(w, i, room) && livekit_rank(c, i, now_ms) >= rank && (best < 0 || c->heard[i].load < c->heard[best].load))
			best = (int)i;
	return best;
}

static int choose_of_two(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	int rank = livekit_best_rank(c, w, room, now_ms), one, two;

	do
		one = choose_random(c, w, room, now_ms);
	while (livekit_rank(c, (size_t)one, now_ms) < rank);
	for (int tries = 0; tries < 100; tries++) {
		two = choose_random(c, w, room, now_ms);
		if (two != one && livekit_rank(c, (size_t)two, now_ms) >= rank)
			return c->heard[one].load < c->heard[two].load ? one : two;
	}
	return one;
}

/* -- Jicofo ---------------------------------------------------------------------------------------------------------------- */
static void *open_jicofo(struct world *w)
{
	struct chooser *c = open_any(w);

	c->joined = make(w->nrouters * w->nsites * JICOFO_BUCKETS, sizeof(*c->joined));
	c->recent = make(w->nrouters * w->nsites, sizeof(*c->recent));
	return c;
}

static void pass_jicofo(void *arg, struct world *w, uint64_t now_ms)
{
	struct chooser *c = arg;

	reports(c, w, now_ms, JICOFO_REPORT_MS, people_load);
	if (!c->bucket)
		c->bucket = now_ms / TICK;
	while (c->bucket < now_ms / TICK) {
		c->bucket++;
		for (size_t i = 0; i < c->nrouters * c->nnodes; i++) {
			uint32_t *oldest = &c->joined[i * JICOFO_BUCKETS + c->bucket % JICOFO_BUCKETS];
			c->recent[i] -= *oldest;
			*oldest = 0;
		}
	}
}

static void joined_jicofo(void *arg, struct world *w, const struct room *room)
{
	struct chooser *c = arg;
	size_t i = room->router * c->nnodes + room->node;

	(void)w;
	c->joined[i * JICOFO_BUCKETS + c->bucket % JICOFO_BUCKETS]++;
	c->recent[i]++;
}

static int choose_jicofo(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	double least = 0;
	int best = -1;

	(void)now_ms;
	for (size_t i = 0; i < w->nsites; i++) {
		double load = c->heard[i].load + (double)c->recent[room->router * c->nnodes + i] / w->sites[i].serves;
		if (!is_open(w, i, room) || (best >= 0 && load >= least))
			continue;
		least = load;
		best = (int)i;
	}
	return best;
}

/* -- Scalelite ------------------------------------------------------------------------------------------------------------- */
static double scalelite_load(const struct world *w, size_t i, uint64_t now_ms)
{
	double people = 0;

	for (const struct room *room = w->sites[i].held; room; room = room->after) {
		bool young = now_ms < room->start_ms + SCALELITE_YOUNG_MS;
		people += young && room->people < SCALELITE_YOUNG_PEOPLE ? SCALELITE_YOUNG_PEOPLE : room->people;
	}
	return people;
}

/* Those who were in its meetings come back, and find no meeting: each is created anew. */
static void poll_scalelite(struct chooser *c, struct world *w, size_t i, uint64_t now_ms)
{
	if (report(c, w, i, now_ms, scalelite_load(w, i, now_ms)))
		c->heard[i].failures = 0;
	else if (++c->heard[i].failures == SCALELITE_FAILURES)
		world_lost(w, i);
}

static void pass_scalelite(void *arg, struct world *w, uint64_t now_ms)
{
	struct chooser *c = arg;

	for (size_t i = 0; i < w->nsites; i++)
		arrive(&c->heard[i], now_ms);
	/* One poller goes through all servers at once. */
	if (c->reported_ms && now_ms < c->reported_ms + SCALELITE_POLL_MS)
		return;
	for (size_t i = 0; i < w->nsites; i++)
		poll_scalelite(c, w, i, now_ms);
	c->reported_ms = now_ms;
}

static int choose_scalelite(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct chooser *c = arg;
	int best = -1;

	(void)now_ms;
	for (size_t i = 0; i < w->nsites; i++)
		if (is_open(w, i, room) && c->heard[i].failures < SCALELITE_FAILURES &&
		    (best < 0 || c->heard[i].load < c->heard[best].load))
			best = (int)i;
	if (best >= 0)
		c->heard[best].load++;
	return best;
}

/* -- oracle ---------------------------------------------------------------------------------------------------------------- */
static int choose_oracle(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	double least = 0, part = world_to_come_part(w);
	int best = -1;

	(void)arg;
	(void)now_ms;
	for (size_t i = 0; i < w->nsites; i++) {
		double load = world_expected(&w->sites[i], part);
		if (!is_open(w, i, room) || (best >= 0 && load >= least))
			continue;
		least = load;
		best = (int)i;
	}
	return best;
}

static void restarted_any(void *arg, struct world *w, size_t site, bool up)
{
	struct chooser *c = arg;

	(void)w;
	if (up)
		c->heard[site] = (struct heard){ .at_ms = w->now_ms }; /* it reports at once: nothing */
}

#define BLIND open_any, close_any, pass_nothing
static const struct policy random_ = { "random", BLIND, choose_random };
static const struct policy round_robin = { "round-robin", BLIND, choose_in_turn };
static const struct policy hashing = { "hashing", open_ring, close_any, pass_nothing, choose_by_hash };
static const struct policy lowest = { "livekit-lowest", open_any, close_any, pass_livekit, choose_lowest,
	                              .restarted = restarted_any, .stays = stays_livekit };
static const struct policy twochoice = { "livekit-twochoice", open_any, close_any, pass_livekit, choose_of_two,
	                                 .restarted = restarted_any, .stays = stays_livekit };
static const struct policy jicofo = { "jicofo", open_jicofo, close_any, pass_jicofo, choose_jicofo, .joined = joined_jicofo,
	                              .restarted = restarted_any };
static const struct policy scalelite = { "scalelite", open_any, close_any, pass_scalelite, choose_scalelite,
	                                 .restarted = restarted_any };
static const struct policy oracle = { "oracle", BLIND, choose_oracle };
const struct policy *const policies[] = { &policy_usher, &random_, &round_robin, &hashing, &lowest, &twochoice, &jicofo, &scalelite,
	                                  &oracle, &policy_short_ramp,
	                                  &policy_cost_start, &policy_cost_true, &policy_untold, &policy_asks_one, &policy_uncharged };
const size_t npolicies = sizeof(policies) / sizeof(*policies);
