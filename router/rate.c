/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "registry/hash.h"
#include "router/rate.h"

#define ROWS 2
#define RATE_MIN 0.001 /* one in a quarter of an hour */
#define SLOTS 16384 /* in a row: 256 KiB in all; a thousand busy names make a quiet one share both slots once in 270 */

struct rate {
	struct hash_key key; /* ours alone: nobody can choose names that share slots */
	uint64_t every_us, burst_us;
	_Atomic uint64_t due_us[ROWS][SLOTS]; /* when the next one would be on time, if all came evenly */
};
struct slots {
	size_t at[ROWS];
};

struct rate *rate_new(double per_s, double burst)
{
	struct rate *rate = per_s > 0 ? calloc(1, sizeof(*rate)) : NULL;
	double every_us = 1e6 / fmax(per_s, RATE_MIN);

	if (per_s > 0 && !rate)
		abort();
	if (rate) {
		rate->key = hash_key_new();
		rate->every_us = (uint64_t)ceil(every_us);
		rate->burst_us = (uint64_t)(fmax(burst - 1, 0) * every_us);
	}
	return rate;
}

void rate_free(struct rate *rate)
{
	free(rate);
}

static struct slots slots_of(const struct rate *rate, struct str name)
{
	uint64_t hash = hash_name(rate->key, name);

	return (struct slots){ { (size_t)(hash % SLOTS), (size_t)((hash >> 32) % SLOTS) } };
}

static uint64_t due_of(const struct rate *rate, const struct slots *slots)
{
	uint64_t a = atomic_load_explicit(&rate->due_us[0][slots->at[0]], memory_order_relaxed);
	uint64_t b = atomic_load_explicit(&rate->due_us[1][slots->at[1]], memory_order_relaxed);

	return a < b ? a : b;
}

static bool on_time(const struct rate *rate, uint64_t due_us, uint64_t now_us, uint64_t *retry_ms)
{
	if (due_us <= now_us + rate->burst_us)
		return true;
	*retry_ms = (due_us - now_us - rate->burst_us) / 1000 + 1;
	return false;
}

static void raise_to(_Atomic uint64_t *due, uint64_t to_us)
{
	uint64_t old = atomic_load_explicit(due, memory_order_relaxed);

	while (old < to_us && !atomic_compare_exchange_weak_explicit(due, &old, to_us, memory_order_relaxed, memory_order_relaxed))
		;
}

bool rate_allows(const struct rate *rate, struct str name, uint64_t now_ms, uint64_t *retry_ms)
{
	if (!rate)
		return true;
	struct slots slots = slots_of(rate, name);
	return on_time(rate, due_of(rate, &slots), now_ms * 1000, retry_ms);
}

bool rate_take(struct rate *rate, struct str name, uint64_t now_ms, uint64_t *retry_ms)
{
	uint64_t now_us = now_ms * 1000;

	if (!rate)
		return true;
	struct slots slots = slots_of(rate, name);
	uint64_t due_us = due_of(rate, &slots);
	if (!on_time(rate, due_us, now_us, retry_ms))
		return false;
	due_us = (due_us > now_us ? due_us : now_us) + rate->every_us;
	for (int row = 0; row < ROWS; row++)
		raise_to(&rate->due_us[row][slots.at[row]], due_us);
	return true;
}
