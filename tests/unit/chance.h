/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chance for tests of properties: each run draws other cases, from a seed that it prints and that USHER_SEED sets again. One
 * test is one stream of numbers: tests in one program do not change each other's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"

static uint64_t chance_seed, chance_state;

/* In main(), before the tests. */
static inline void chance_begin(void)
{
	const char *said = getenv("USHER_SEED");

	chance_seed = said ? strtoull(said, NULL, 10) : wall_ms() * 65537 + (uint64_t)getpid();
	chance_state = chance_seed;
	printf("USHER_SEED=%llu\n", (unsigned long long)chance_seed);
	fflush(stdout);
}

static inline uint64_t chance(void) /* splitmix64 (Vigna 2015) */
{
	uint64_t z = chance_state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline size_t chance_below(size_t n)
{
	return (size_t)(chance() % n);
}

static inline void chance_bytes(void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)to)[i] = (unsigned char)(chance() >> 40);
}
