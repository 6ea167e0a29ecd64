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
/* The load that a report shows for rooms younger than ramp_ms: each at most its cost. participants_cost: load per participant. */
double charges_shown(double room_cost, double participant_cost, const uint64_t *participants, size_t n_rooms);

/* Charges of this process and announcements that came after the last reading of the store; replaced by the next reading. */
struct meter;
