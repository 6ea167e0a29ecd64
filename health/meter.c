/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two short lists in order of time. The keeper writes them; other threads read only their sum. An open under way stays in its
 * list after its charge was announced, as a charge of nothing, so that opens are counted and ended by the same list.
 *
 * As all fade along straight lines, their sum does: Σ cost·(1 − (now − at) / ramp) = C − (C·(now − base) − M) / ramp with C = Σ cost
 * and M = Σ cost·(at − base). So a change of the sum costs the same, however many there are. Each reading sums up anew, so that rounding
 * does not grow, and so does each look while one that has faded away is still the first of its list.
 */
#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "health/charges.h"

#define ANNOUNCED_MAX 1024  /* between two readings; past that the last entry takes the rest */
#define OPEN_LOST_MS 60000  /* an open that nobody ended: longer than any request lives */
#define TAGS 1000
#define TAG 1e-9            /* of the cost; costs travel with 15 digits */

struct entry {
	uint64_t number, at_ms; /* number 0: pending */
	double cost;
};
struct entries {
	size_t count, size;
	struct entry *at;
};
struct meter { /* what each choice reads stands first */
	_Atomic double extra;
	struct entries opens, announced;
	double allowed;
	uint64_t ramp_ms, charged; /* the highest number that the last reading had */
	uint64_t base_ms;     /* when they were summed up; those that had faded by then are not in: */
	double cost, moment;
};

struct meter *meter_new(uint64_t ramp_ms)
{
	struct meter *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->ramp_ms = ramp_ms;
	return m;
}

void meter_free(struct meter *m)
{
	if (!m)
		return;
	free(m->announced.at);
	free(m->opens.at);
	free(m);
}

static void entries_add(struct entries *list, struct entry entry)
{
	if (list->count == list->size) {
		list->size = list->size ? 2 * list->size : 16;
		list->at = realloc(list->at, list->size * sizeof(*list->at));
		if (!list->at)
			abort();
	}
	list->at[list->count++] = entry;
}

static void entries_drop(struct entries *list, size_t i)
{
	assert(i < list->count);
	memmove(list->at + i, list->at + i + 1, (--list->count - i) * sizeof(*list->at));
}

/* -- the sum --------------------------------------------------------------------------------------------------------------- */
static bool has_faded(const struct meter *m, uint64_t at_ms, uint64_t now_ms)
{
	return now_ms >= at_ms + m->ramp_ms;
}

/* One comes, or goes: below zero. */
static void count(struct meter *m, double cost, uint64_t at_ms)
{
	if (has_faded(m, at_ms, m->base_ms))
		return;
	m->cost += cost;
	m->moment += cost * ((double)at_ms - (double)m->base_ms);
}

static void count_all(struct meter *m, const struct entries *list)
{
	for (size_t i = 0; i < list->count; i++)
		count(m, list->at[i].cost, list->at[i].at_ms);
}

static void show(struct meter *m, uint64_t now_ms)
{
	double faded = (m->cost * ((double)now_ms - (double)m->base_ms) - m->moment) / (double)m->ramp_ms;
	double sum = m->cost > faded ? m->cost - faded : 0;

	atomic_store_explicit(&m->extra, sum, memory_order_relaxed);
}

static void sum_anew(struct meter *m, uint64_t now_ms)
{
	m->base_ms = now_ms;
	m->cost = m->moment = 0;
	count_all(m, &m->announced);
	count_all(m, &m->opens);
	show(m, now_ms);
}

static bool one_fades(const struct meter *m, const struct entries *list, uint64_t now_ms)
{
	return list->count && has_faded(m, list->at[0].at_ms, now_ms);
}

static void sum_up(struct meter *m, uint64_t now_ms)
{
	if (one_fades(m, &m->announced, now_ms) || one_fades(m, &m->opens, now_ms))
		sum_anew(m, now_ms);
	else
		show(m, now_ms);
}

/* -- charges --------------------------------------------------------------------------------------------------------------- */

double meter_extra(const struct meter *m)
{
	return atomic_load_explicit(&((struct meter *)(uintptr_t)m)->extra, memory_order_relaxed);
}

double meter_pend(struct meter *m, double cost, uint64_t now_ms)
{
	double tagged = cost * (1 + TAG * (double)(1 + random_u64() % TAGS));

	entries_add(&m->opens, (struct entry){ .at_ms = now_ms, .cost = tagged });
	count(m, tagged, now_ms);
	m->allowed = m->allowed >= 1 ? m->allowed - 1 : 0;
	sum_up(m, now_ms);
	return tagged;
}

static void open_drop(struct meter *m, size_t i)
{
	count(m, -m->opens.at[i].cost, m->opens.at[i].at_ms);
	entries_drop(&m->opens, i);
}

/* Which one is not said: an open whose charge was announced goes first, as it is the further on. */
void meter_opened(struct meter *m, uint64_t now_ms)
{
	size_t i = 0;

	while (i < m->opens.count && m->opens.at[i].cost > 0)
		i++;
	if (m->opens.count)
		open_drop(m, i < m->opens.count ? i : 0);
	sum_up(m, now_ms);
}

size_t meter_opens(struct meter *m, uint64_t now_ms)
{
	while (m->opens.count && now_ms > m->opens.at[0].at_ms + OPEN_LOST_MS)
		open_drop(m, 0);
	return m->opens.count;
}

static bool take_pending(struct meter *m, double cost)
{
	for (size_t i = 0; i < m->opens.count; i++) {
		if (fabs(m->opens.at[i].cost - cost) > cost * TAG / 1000)
			continue;
		count(m, -m->opens.at[i].cost, m->opens.at[i].at_ms);
		m->opens.at[i].cost = 0;
		return true;
	}
	return false;
}

bool meter_charged(struct meter *m, uint64_t number, double cost, uint64_t now_ms)
{
	bool own = cost > 0 && take_pending(m, cost);
	struct entries *list = &m->announced;

	if (number > m->charged && list->count < ANNOUNCED_MAX) {
		entries_add(list, (struct entry){ number, now_ms, cost });
		count(m, cost, now_ms);
	} else if (number > m->charged) {
		struct entry *last = &list->at[list->count - 1];
		count(m, -last->cost, last->at_ms);
		count(m, last->cost + cost, now_ms);
		*last = (struct entry){ number > last->number ? number : last->number, now_ms, last->cost + cost };
	}
	sum_up(m, now_ms);
	return own;
}

void meter_read(struct meter *m, uint64_t charged, uint64_t now_ms)
{
	struct entries *list = &m->announced;
	size_t kept = 0;

	m->charged = charged;
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i].number > charged && now_ms < list->at[i].at_ms + m->ramp_ms)
			list->at[kept++] = list->at[i];
	list->count = kept;
	sum_anew(m, now_ms);
}

void meter_allow(struct meter *m, double part)
{
	if (m->allowed < 1)
		m->allowed += part;
}

bool meter_allowed(const struct meter *m)
{
	return m->allowed >= 1;
}
