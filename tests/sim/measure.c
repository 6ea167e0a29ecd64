/* SPDX-License-Identifier: Apache-2.0 */
/* Balance and overload, looked at each second. */
#include <stdlib.h>

#include "tests/sim/world_private.h"

void samples_add(struct samples *s, double value)
{
	if (s->n == s->size) {
		s->size = s->size ? 2 * s->size : 1024;
		s->at = realloc(s->at, s->size * sizeof(*s->at));
		if (!s->at)
			abort();
	}
	s->at[s->n++] = value;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double samples_at(struct samples *s, double quantile)
{
	if (!s->n)
		return 0;
	qsort(s->at, s->n, sizeof(*s->at), by_value);
	return s->at[(size_t)(quantile * (double)(s->n - 1) + 0.5)];
}

double world_load(const struct site *site)
{
	return (double)site->people / site->serves;
}

double world_to_come_part(const struct world *w)
{
	return exp(-(double)w->now_ms / join_tau_ms());
}

double world_expected(const struct site *site, double part)
{
	double to_come = site->to_come * part;

	return ((double)site->people + (to_come > 0 ? to_come : 0)) / site->serves;
}

/* Each pool by itself, the worst of them. Nodes that are to end, or away, are no part of the balance. */
static void measure_pool(struct world *w, int pool)
{
	double most = 0, sum = 0, most_expected = 0, sum_expected = 0, n = 0, part = world_to_come_part(w);

	for (size_t i = 0; i < w->nsites; i++) {
		const struct site *site = &w->sites[i];
		double load = world_load(site), expected = world_expected(site, part);
		if (!site->up || site->draining || site->pool != pool)
			continue;
		n++;
		sum += load;
		sum_expected += expected;
		most = load > most ? load : most;
		most_expected = expected > most_expected ? expected : most_expected;
	}
	if (n < 1 || sum <= 0)
		return;
	samples_add(&w->imbalance, most * n / sum);
	samples_add(&w->expected, most_expected * n / sum_expected);
	samples_add(&w->fill, sum / n);
}

static void measure_overload(struct world *w)
{
	for (size_t i = 0; i < w->nsites; i++)
		w->sites[i].overload_s += w->sites[i].people > w->sites[i].serves;
}

void measure(struct world *w)
{
	measure_overload(w);
	for (int pool = 0; pool < (w->workload->pools ? POOLS : 1); pool++)
		measure_pool(w, pool);
}
