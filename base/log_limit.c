/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include "base/log_limit.h"
#include "base/str.h"

#define EVENTS_MAX 256
#define BURST_US UINT64_C(5000000)
#define DEFAULT_EVERY_US 10000 /* 100 a second */

static struct counted {
	_Atomic(const char *) event;
	_Atomic uint64_t due_us; /* of the next line, if all came evenly (as in router/rate.c) */
	_Atomic uint64_t held;
} counted[EVENTS_MAX];
static _Atomic uint64_t every_us = DEFAULT_EVERY_US, total;
static _Atomic bool holds;

void log_limit_set(double per_s)
{
	atomic_store(&every_us, per_s > 0 ? (uint64_t)(1e6 / per_s) : 0);
}

/* The same name may stand at several addresses. */
static struct counted *find(const char *event)
{
	uint64_t hash = fnv1a(FNV_BEGIN, str_of(event));

	for (size_t n = 0; n < EVENTS_MAX; n++) {
		struct counted *slot = &counted[(hash + n) % EVENTS_MAX];
		const char *name = atomic_load_explicit(&slot->event, memory_order_relaxed);
		if (!name && atomic_compare_exchange_strong(&slot->event, &name, event))
			return slot;
		if (!strcmp(name, event))
			return slot;
	}
	return NULL;
}

static bool take(struct counted *slot, uint64_t now_us, uint64_t every)
{
	uint64_t due = atomic_load_explicit(&slot->due_us, memory_order_relaxed), next;
	uint64_t ahead_us = every < BURST_US ? BURST_US - every : 0;

	do {
		if (due > now_us + ahead_us)
			return false;
		next = (due > now_us ? due : now_us) + every;
	} while (!atomic_compare_exchange_weak_explicit(&slot->due_us, &due, next, memory_order_relaxed, memory_order_relaxed));
	return true;
}

bool log_limit_takes(const char *event, uint64_t now_ms, bool *first)
{
	uint64_t every = atomic_load_explicit(&every_us, memory_order_relaxed);
	struct counted *slot = every ? find(event) : NULL;

	if (!slot || take(slot, now_ms * 1000, every))
		return true;
	atomic_fetch_add_explicit(&slot->held, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&total, 1, memory_order_relaxed);
	*first = !atomic_load_explicit(&holds, memory_order_relaxed) && !atomic_exchange(&holds, true);
	return false;
}

bool log_limit_holds(void)
{
	return atomic_load(&holds);
}

void log_limit_tell(void (*tell)(const char *event, uint64_t count))
{
	atomic_store(&holds, false);
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		uint64_t held = atomic_exchange(&counted[i].held, 0);
		if (held)
			tell(atomic_load(&counted[i].event), held);
	}
}

uint64_t log_limit_total(void)
{
	return atomic_load(&total);
}
