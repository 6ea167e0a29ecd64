/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of what the store keeps; the meter, which fills the time until the next reading, is in meter.c. */
#include "health/charges.h"

static double fade(uint64_t at_ms, uint64_t now_ms, uint64_t ramp_ms)
{
	uint64_t age = now_ms > at_ms ? now_ms - at_ms : 0;

	return age < ramp_ms ? 1 - (double)age / (double)ramp_ms : 0;
}

double charges_sum(const struct charge *charges, size_t n, uint64_t seen, double shown, uint64_t store_now_ms, uint64_t ramp_ms)
{
	double unseen_sum = 0, seen_sum = 0;

	for (size_t i = 0; i < n; i++) {
		double cost = charges[i].cost * fade(charges[i].at_ms, store_now_ms, ramp_ms);
		if (charges[i].number > seen)
			unseen_sum += cost;
		else
			seen_sum += cost;
	}
	return unseen_sum + (seen_sum > shown ? seen_sum - shown : 0);
}

double charges_shown(double room_cost, double participant_cost, const struct shown_room *rooms, size_t n_rooms, uint64_t ramp_ms)
{
	double shown = 0;

	for (size_t i = 0; i < n_rooms; i++) {
		double cost = participant_cost * (double)rooms[i].participants;
		shown += (cost < room_cost ? cost : room_cost) * fade(0, rooms[i].age_ms, ramp_ms);
	}
	return shown;
}
