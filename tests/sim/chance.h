/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers that look random and are the same each time (splitmix64). Each room draws from a stream of its own, so that all policies
 * meet the same rooms, and what a policy draws changes nothing but its own choices.
 */
#pragma once

#include <math.h>
#include <stdint.h>

struct chance {
	uint64_t state;
};

static inline uint64_t chance_next(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline struct chance chance_of(uint64_t seed, uint64_t what)
{
	struct chance c = { seed * UINT64_C(0xd1342543de82ef95) + what };

	c.state = chance_next(&c);
	return c;
}

static inline double chance_unit(struct chance *c) /* 0 <= x < 1 */
{
	return (double)(chance_next(c) >> 11) * 0x1p-53;
}

static inline double chance_exp(struct chance *c) /* mean 1 */
{
	return -log1p(-chance_unit(c));
}

static inline uint64_t chance_below(struct chance *c, uint64_t n)
{
	return chance_next(c) % n;
}
