/* SPDX-License-Identifier: Apache-2.0 */
/* The sums of what the store keeps; the meter, which fills the time until the next reading, is in meter.c. */
#include "health/charges.h"

static uint64_t age_ms(uint64_t at_ms, uint64_t now_ms)
{
	return now_ms > at_ms ? now_ms - at_ms : 0;
}

static double fade(uint64_t age_ms, uint64_t ramp_ms)
{
	return age_ms < ramp_ms ? 1 - (double)age_ms / (double)ramp_ms : 0;
}

/* Until now the sum of costs, and of costs times ages: one division for all. */
static void fade_all(struct fading *sum, uint64_t ramp_ms)
{
	double moment = sum->lost;

	sum->lost = sum->cost / (double)ramp_ms;
	sum->cost -= moment / (double)ramp_ms;
}

void charges_draw(const struct charge *charges, size_t n, uint64_t seen, double shown, uint64_t store_now_ms, uint64_t ramp_ms,
                  struct charges_line *out)
{
	*out = (struct charges_line){ .shown = shown, .from_ms = store_now_ms, .until_ms = UINT64_MAX };
	for (size_t i = 0; i < n; i++) {
		const struct charge *charge = &charges[i];
		struct fading *sum = charge->number > seen ? &out->unseen : &out->seen;
		uint64_t age = age_ms(charge->at_ms, store_now_ms);
		if (age >= ramp_ms)
			continue;
		sum->cost += charge->cost;
		sum->lost += charge->cost * (double)age;
		/* One from a clock that is ahead begins to fade later: no straight line beyond now. */
		uint64_t until_ms = charge->at_ms > store_now_ms ? store_now_ms : charge->at_ms + ramp_ms - 1;
		out->until_ms = until_ms < out->until_ms ? until_ms : out->until_ms;
	}
	fade_all(&out->unseen, ramp_ms);
	fade_all(&out->seen, ramp_ms);
}

static double fading_at(const struct fading *sum, double later_ms)
{
	return sum->cost - sum->lost * later_ms;
}

double charges_at(const struct charges_line *line, uint64_t store_now_ms)
{
	double later_ms = (double)(store_now_ms - line->from_ms), seen = fading_at(&line->seen, later_ms);

	return fading_at(&line->unseen, later_ms) + (seen > line->shown ? seen - line->shown : 0);
}

double charges_sum(const struct charge *charges, size_t n, uint64_t seen, double shown, uint64_t store_now_ms, uint64_t ramp_ms)
{
	struct charges_line line;

	charges_draw(charges, n, seen, shown, store_now_ms, ramp_ms, &line);
	return charges_at(&line, store_now_ms);
}

double charges_shown(double room_cost, double participant_cost, const struct shown_room *rooms, size_t n_rooms, uint64_t ramp_ms)
{
	double shown = 0;

	for (size_t i = 0; i < n_rooms; i++) {
		double cost = participant_cost * (double)rooms[i].participants;
		shown += (cost < room_cost ? cost : room_cost) * fade(rooms[i].age_ms, ramp_ms);
	}
	return shown;
}
