/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times in steps that grow with them: 32 to each doubling, so that a quantile is at most 3 % over the truth, from 1 µs to an hour.
 * None is dropped: what is longer counts as the longest.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_STEPS 1024

static inline size_t histogram_step(uint64_t ns)
{
	uint64_t us = ns / 1000 + 1;
	unsigned log = 63 - (unsigned)__builtin_clzll(us);
	uint64_t step = log * 32 + (log >= 5 ? (us >> (log - 5)) & 31 : (us << (5 - log)) & 31);

	return step < HISTOGRAM_STEPS ? step : HISTOGRAM_STEPS - 1;
}

static inline double histogram_ms(size_t step)
{
	return (double)(32 + step % 32) / 32 * (double)(1ull << (step / 32)) / 1000;
}
