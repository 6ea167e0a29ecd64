/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rooms are like. Public figures of meet.jit.si (91,408 conferences): 38 minutes and 3.37 participants on average. The shapes
 * are ours: log-normal in length (sigma 1) and size (sigma 1.1, at most 75), the first participant at the start, others at
 * exponential distances from it such that 80 % of all have joined within 5 minutes; they stay to the end.
 */
#pragma once

#include <stdint.h>

#include "tests/sim/chance.h"

#define MEETING_MS (38 * 60000.0)
#define MEETING_PEOPLE 3.37
#define PEOPLE_MAX 75
#define LENGTH_MAX_MS (8 * 3600000.0)

enum shape { SHAPE_MEETINGS, SHAPE_EVEN }; /* even: three or four people, exponential lengths */
struct meetings {
	enum shape shape;
	double people; /* mean size of a room over MEETING_PEOPLE; 0: 1 */
};
void meetings_init(void);
double join_tau_ms(void); /* mean distance of the others from the start */
uint64_t meeting_length_ms(const struct meetings *, struct chance *);
uint16_t meeting_people(const struct meetings *, struct chance *);
/* When the next of `left` that are still to come joins, as a place 0 to 1 in the distribution, and in ms from the start. */
float next_join(float last, unsigned left, struct chance *);
uint64_t join_ms(float place, uint64_t length_ms);
/* How many people a room holds on average over its life, of its mean size: from how long they take to come. */
double mean_presence(const struct meetings *);
