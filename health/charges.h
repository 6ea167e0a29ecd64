/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was placed on a node and may not yet be in its report. Each placement is charged as (number, cost). The heartbeat's
 * answer hands the highest number to the node, the next report echoes it (`seen`): only a sample taken after that can
 * contain the room. Unseen charges count in full; from seen ones the load that the report shows for young rooms is taken off
 * (shown); and all of them fade linearly to zero over ramp_ms, so that nothing leaks whatever goes wrong.
 *
 * charges(now) = Σ unseen cost·fade + max(0, Σ seen cost·fade − shown),  fade = max(0, 1 − age / ramp_ms)
 */
#pragma once

#include "registry/nodes.h"

double charges_sum(const struct charge *, size_t n, uint64_t seen, double shown, uint64_t store_now_ms, uint64_t ramp_ms);
/* The same, added up once for many looks: as each charge fades along a straight line, their sum does, until the first is gone. */
struct charges_line {
	struct fading {
		double cost, lost; /* at from_ms; and what goes of it in a millisecond */
	} unseen, seen;
	double shown;
	uint64_t from_ms, until_ms; /* store's clock; good for no other time */
};
void charges_draw(const struct charge *, size_t n, uint64_t seen, double shown, uint64_t store_now_ms, uint64_t ramp_ms,
                  struct charges_line *out);
double charges_at(const struct charges_line *, uint64_t store_now_ms);
/* The load that a report shows for rooms younger than ramp_ms: each at most its cost, and faded as its charge is, so that an old
 * room which is full takes nothing off the charge of a young one which is not. participant_cost: load per participant. */
struct shown_room {
	uint64_t participants, age_ms;
};
double charges_shown(double room_cost, double participant_cost, const struct shown_room *, size_t n_rooms, uint64_t ramp_ms);

/*
 * What the last reading of the store cannot contain yet, of one node: charges announced since, and those of this process
 * that the store has not announced yet. A placement passes through both:
 *
 *   chosen ── meter_pend() ──▶ pending ── announced: meter_charged() ──▶ announced ── read: meter_read() ──▶ in the record
 *                                 └── refused, or never heard of: meter_opened(), else it fades
 *
 * An announcement carries no sender, so each pending charge is made unlike any other by a billionth of its cost (the tag);
 * the announcement of exactly that cost is ours and takes its place. Announced charges are dropped by number once a reading
 * has it. So none counts twice, and what gets lost fades over ramp_ms. Keeper only, but meter_extra().
 */
struct meter;
struct meter *meter_new(uint64_t ramp_ms);
void meter_free(struct meter *);
/* One more room chosen for the node; its open counts as under way until meter_opened(). Returns the cost to charge: tagged. */
double meter_pend(struct meter *, double cost, uint64_t now_ms);
void meter_opened(struct meter *, uint64_t now_ms); /* one of the opens under way has ended, either way */
size_t meter_opens(struct meter *, uint64_t now_ms);
/* The store announced a charge. True: this process made it. */
bool meter_charged(struct meter *, uint64_t number, double cost, uint64_t now_ms);
void meter_read(struct meter *, uint64_t charged, uint64_t now_ms); /* a reading has all up to this number; also fades */
/* The sum, faded as of the last change or reading. Any thread. */
double meter_extra(const struct meter *);

/* Slow start: how many rooms a new node may still be chosen for. Each choice that it could have been allows a part of one, until
 * it is a whole one; meter_pend() takes one off. */
void meter_allow(struct meter *, double part);
bool meter_allowed(const struct meter *); /* a whole one */
