/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a room costs, learned for each pool by itself as a ratio of sums over those of its nodes that report how many rooms they hold:
 *
 *   room_cost = Σ score · size / Σ rooms,  people = Σ participants / Σ rooms,  both smoothed over LEARN_MS
 *
 * A slope of load over rooms would leave out what a node does without rooms, but least-loaded placement makes the rooms
 * follow the load that was there before, and the slope comes out as zero. The ratio errs upwards on an idle fleet, which
 * spreads a burst more evenly and does no harm: charges fade, and a learned cost refuses nobody.
 *
 * A pool is known from when its nodes report rooms: joins may name pools that there are not, and take no slot.
 */
#include "router/place_private.h"

#define LEARN_MS 30000
#define LEARN_ROOMS 20 /* fewer say nothing */

double within(double value, double min, double max)
{
	return value < min ? min : value > max ? max : value;
}

static double towards(double from, double to, uint64_t age_ms)
{
	double share = age_ms < LEARN_MS ? (double)age_ms / LEARN_MS : 1;

	return from + (to - from) * share;
}

/* -- pools ---------------------------------------------------------------------------------------------------------------- */
static uint64_t pool_hash(const struct place *place, const char *pool)
{
	uint64_t hash = hash_name(place->key, str_of(pool));

	return hash ? hash : 1;
}

static struct pool_cost *cost_of(const struct place *place, const char *pool)
{
	struct pool_cost *costs = ((struct place *)(uintptr_t)place)->costs;
	uint64_t hash = pool_hash(place, pool);

	for (size_t i = 0; i < POOLS_MAX; i++) {
		uint64_t held = atomic_load_explicit(&costs[i].pool, memory_order_acquire);
		if (held == hash)
			return &costs[i];
		if (!held)
			return NULL;
	}
	return NULL;
}

static struct pool_cost *cost_new(struct place *place, const char *pool)
{
	struct pool_cost *cost = &place->costs[0];

	for (size_t i = 0; i < POOLS_MAX && cost->pool; i++)
		if (!place->costs[i].pool || place->costs[i].learned_ms < cost->learned_ms)
			cost = &place->costs[i];
	cost->people = PEOPLE_START;
	cost->version = cost->learned_ms = 0;
	atomic_store(&cost->room_cost, ROOM_COST_START);
	atomic_store_explicit(&cost->pool, pool_hash(place, pool), memory_order_release);
	return cost;
}

/* -- learning ------------------------------------------------------------------------------------------------------------- */
struct sums {
	double load, rooms, people;
};

static double people_of(const struct pool_cost *cost)
{
	return cost ? cost->people : PEOPLE_START;
}

static struct sums sum_up(const struct field *field, double people)
{
	struct sums sums = { 0 };

	for (size_t i = 0; i < field->n; i++) {
		const struct node *node = field->at[i].node;
		if (node->state != NODE_READY || !node->score.known || !node->load.has_rooms || field->at[i].why_not & WHY_NOT(POOL))
			continue;
		sums.load += node->score.value * field->at[i].size;
		sums.rooms += node->load.rooms;
		sums.people += node->load.has_participants ? node->load.participants : people * node->load.rooms;
	}
	return sums;
}

/* NULL: this view was learned from, or has nothing to learn from for this pool. */
static struct pool_cost *cost_to_learn(struct place *place, const struct field *field, struct sums *sums)
{
	struct pool_cost *cost = cost_of(place, field->pool.name);
	uint64_t pool = pool_hash(place, field->pool.name), version = field->view->version;

	if (cost ? cost->version == version : place->unlearned_version == version && place->unlearned_pool == pool)
		return NULL;
	*sums = sum_up(field, people_of(cost));
	if (!cost && sums->rooms >= LEARN_ROOMS)
		return cost_new(place, field->pool.name);
	if (cost)
		return cost;
	place->unlearned_version = version;
	place->unlearned_pool = pool;
	return NULL;
}

void place_learn(struct place *place, const struct field *field, uint64_t now_ms)
{
	struct sums sums;
	struct pool_cost *cost = cost_to_learn(place, field, &sums);

	if (!cost)
		return;
	uint64_t age_ms = now_ms - cost->learned_ms;
	cost->version = field->view->version;
	cost->learned_ms = now_ms;
	if (sums.rooms < LEARN_ROOMS)
		return;
	double each = within(sums.load / sums.rooms, ROOM_COST_MIN, ROOM_COST_MAX);
	cost->people = towards(cost->people, within(sums.people / sums.rooms, 1, 1000), age_ms);
	atomic_store(&cost->room_cost, towards(atomic_load(&cost->room_cost), each, age_ms));
}

double place_cost(const struct place *place, const struct place_wish *wish)
{
	const char *pool = field_pool(wish);
	double cost = place_room_cost(place, pool), usual = people_of(cost_of(place, pool)), expected = (double)wish->expected_participants;

	return within(expected > usual ? cost * expected / usual : cost, 0, 1);
}

double place_room_cost(const struct place *place, const char *pool)
{
	const struct pool_cost *cost = place->conf.room_cost >= 0 ? NULL : cost_of(place, pool);

	if (!cost)
		return place->conf.room_cost >= 0 ? place->conf.room_cost : ROOM_COST_START;
	return atomic_load_explicit(&((struct pool_cost *)(uintptr_t)cost)->room_cost, memory_order_relaxed);
}
