/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When rooms start. Rates are Poisson, thinned from the highest; the trace's arrivals come at its times, each as so many rooms at
 * once as the rate asks for. 
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/world.h"

#define MINUTE_MS 60000
#define HALF_HOUR_MS (30 * MINUTE_MS)
#define PEAK_SHARE 0.6
#define PEAK_MS (4 * MINUTE_MS) /* from two minutes before to two minutes after */
#define TRACE_MAX 20000

const char *trace_path = "tests/sim/azure-arrivals.txt";
static uint32_t trace[TRACE_MAX]; /* ms from the first */
static size_t ntrace;

static double even(uint64_t ms)
{
	(void)ms;
	return 1;
}

/* The first peak begins a minute after the warm-up. */
static double top_of_the_hour(uint64_t ms)
{
	uint64_t in_half_hour = (ms + HALF_HOUR_MS - MINUTE_MS) % HALF_HOUR_MS;
	double peak = (double)PEAK_MS / HALF_HOUR_MS;

	return in_half_hour < PEAK_MS ? PEAK_SHARE / peak : (1 - PEAK_SHARE) / (1 - peak);
}

#define TIMES(warm, measured) (warm) * (uint64_t)MINUTE_MS, (measured) * (uint64_t)MINUTE_MS
#define USUAL TIMES(10, 20), .rate = even, .most = 1
const struct workload workloads[] = {
	{ "steady", { SHAPE_EVEN, 0 }, 0.6, USUAL },
	{ "hour", { 0 }, 0.45, TIMES(10, 25), .rate = top_of_the_hour, .most = 5 },
	{ "burst", { 0 }, 0.42, TIMES(10, 12), .rate = even, .most = 1, .burst = 500, .burst_ms = 20000 },
	{ "meetings", { 0 }, 0.6, USUAL },
	{ "trace", { 0 }, 0.6, USUAL, .trace = true },
	{ "restarts", { 0 }, 0.6, USUAL, .restarts = true },
	{ "reporting", { 0 }, 0.6, USUAL, .bad_reporters = 0.05 },
	{ "pools", { 0 }, 0.6, USUAL, .pools = true },
	{ "told", { 0 }, 0.6, USUAL, .told = true },
	{ "told-burst", { 0 }, 0.42, TIMES(10, 12), .rate = even, .most = 1, .burst = 300, .burst_ms = 20000, .told = true },
};
const size_t nworkloads = sizeof(workloads) / sizeof(*workloads);

static void read_trace(void)
{
	FILE *file = fopen(trace_path, "r");
	uint32_t ms;

	if (!file) {
		perror(trace_path);
		exit(2);
	}
	(void)!fscanf(file, "%*[^\n]"); /* whose it is */
	while (ntrace < TRACE_MAX && fscanf(file, "%u", &ms) == 1)
		trace[ntrace++] = ms;
	fclose(file);
}

static double rate_at(const struct world *w, uint64_t now_ms)
{
	const struct workload *l = w->workload;
	uint64_t ms = now_ms - (uint64_t)LENGTH_MAX_MS, warm_ms = w->warm_ms;
	bool warm = ms >= warm_ms;

	return w->rate * l->rate(warm ? ms - warm_ms : HALF_HOUR_MS - (warm_ms - ms) % HALF_HOUR_MS) +
	       (warm && ms < warm_ms + l->burst_ms ? l->burst : 0);
}

static uint64_t poisson_next(struct world *w)
{
	double most = w->rate * w->workload->most + w->workload->burst, ms = w->next_exact_ms;

	do
		ms += chance_exp(&w->starts) * 1000 / most;
	while (chance_unit(&w->starts) * most >= rate_at(w, (uint64_t)ms));
	w->next_exact_ms = ms;
	return (uint64_t)ms;
}

/* The trace goes round, from a place that the seed draws. */
static uint64_t trace_next(struct world *w)
{
	double per_arrival;

	if (!ntrace)
		read_trace();
	per_arrival = w->rate * trace[ntrace - 1] / 1000 / (double)ntrace;
	if (!w->trace_at) {
		w->trace_at = 1 + chance_below(&w->starts, ntrace - 1);
		w->trace_from_ms = (uint64_t)LENGTH_MAX_MS - trace[w->trace_at];
	}
	while (w->trace_rooms < 1) {
		if (++w->trace_at == ntrace) {
			w->trace_at = 1;
			w->trace_from_ms += trace[ntrace - 1];
		}
		w->trace_rooms += per_arrival;
	}
	w->trace_rooms--;
	return w->trace_from_ms + trace[w->trace_at];
}

uint64_t workload_next(struct world *w)
{
	return w->workload->trace ? trace_next(w) : poisson_next(w);
}
