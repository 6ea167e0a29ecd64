/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a room costs, learned as a ratio of sums over the nodes that report how many rooms they hold:
 *
 *   room_cost = Σ score · size / Σ rooms,  people = Σ participants / Σ rooms,  both smoothed over LEARN_MS
 *
 * A slope of load over rooms would leave out what a node does without rooms, but least-loaded placement makes the rooms
 * follow the load that was there before, and the slope comes out as zero. The ratio errs upwards on an idle fleet, which
 * spreads a burst more evenly and does no harm: charges fade, and a learned cost refuses nobody.
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

void place_learn(struct place *place, const struct field *field, uint64_t now_ms)
{
	double load = 0, rooms = 0, people = 0;
	uint64_t age_ms = now_ms - place->learned_ms;

	if (place->learned_version == field->view->version)
		return;
	place->learned_version = field->view->version;
	place->learned_ms = now_ms;
	for (size_t i = 0; i < field->n; i++) {
		const struct node *node = field->at[i].node;
		if (node->state != NODE_READY || !node->score.known || !node->load.has_rooms || field->at[i].why_not & WHY_NOT(POOL))
			continue;
		load += node->score.value * field->at[i].size;
		rooms += node->load.rooms;
		people += node->load.has_participants ? node->load.participants : place->people * node->load.rooms;
	}
	if (rooms < LEARN_ROOMS)
		return;
	place->people = towards(place->people, within(people / rooms, 1, 1000), age_ms);
	if (place->conf.room_cost >= 0)
		return;
	double cost = towards(atomic_load(&place->room_cost), within(load / rooms, ROOM_COST_MIN, ROOM_COST_MAX), age_ms);
	atomic_store(&place->room_cost, cost);
}

double place_cost(const struct place *place, const struct place_wish *wish)
{
	double cost = place_room_cost(place), expected = (double)wish->expected_participants;

	return within(expected > place->people ? cost * expected / place->people : cost, 0, 1);
}

double place_room_cost(const struct place *place)
{
	return atomic_load_explicit(&((struct place *)(uintptr_t)place)->room_cost, memory_order_relaxed);
}
