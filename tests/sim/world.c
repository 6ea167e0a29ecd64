/* SPDX-License-Identifier: Apache-2.0 */
/* One run: nodes, the rooms that are there at first, then tick by tick until the workload has been measured. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world_private.h"

#define RESTART_EACH_MS 20000   /* rolling restarts: the next node … */
#define DRAIN_MS 60000          /* … takes no new rooms for so long, is emptied in the last … */
#define EMPTY_MS 2000
#define DOWN_MS 10000           /* … and is away for so long */

void *make(size_t n, size_t size)
{
	void *at = calloc(n ? n : 1, size);

	if (!at)
		abort();
	return at;
}

/* -- rolling restarts ------------------------------------------------------------------------------------------------------ */
static void drain_begins(struct world *w, size_t i)
{
	w->sites[i].draining = true;
	if (w->policy->drains)
		w->policy->drains(w->chooser, w, i);
}

static void turn(struct world *w, size_t i, bool up)
{
	w->sites[i].up = up;
	w->sites[i].draining = false;
	if (w->policy->restarted)
		w->policy->restarted(w->chooser, w, i, up);
}

/* What is left on the node, in equal parts until it goes. */
static void empty(struct world *w, size_t i, uint64_t left_ms)
{
	size_t n = w->sites[i].rooms * TICK / (left_ms + TICK) + 1;

	for (size_t k = 0; k < n && w->sites[i].held; k++)
		room_move(w, w->sites[i].held, w->now_ms);
}

static void restart(struct world *w, size_t i, uint64_t since_ms)
{
	if (since_ms < TICK)
		drain_begins(w, i);
	else if (since_ms >= DRAIN_MS - EMPTY_MS && since_ms < DRAIN_MS)
		empty(w, i, DRAIN_MS - TICK - since_ms);
	else if (since_ms >= DRAIN_MS && since_ms < DRAIN_MS + TICK)
		turn(w, i, false);
	else if (since_ms >= DRAIN_MS + DOWN_MS && since_ms < DRAIN_MS + DOWN_MS + TICK)
		turn(w, i, true);
}

static void restarts(struct world *w)
{
	uint64_t since_ms = world_ms(w) - w->warm_ms;

	for (size_t i = 0; i < w->nsites && i * RESTART_EACH_MS <= since_ms; i++)
		if (since_ms - i * RESTART_EACH_MS < 2 * DRAIN_MS)
			restart(w, i, since_ms - i * RESTART_EACH_MS);
}

/* Its people come back within EMPTY_MS, wherever they are sent then. */
void world_lost(struct world *w, size_t site)
{
	w->sites[site].empty_by_ms = w->empty_by_ms = w->now_ms + EMPTY_MS;
}

static void empty_lost(struct world *w)
{
	if (w->empty_by_ms <= w->now_ms)
		return;
	for (size_t i = 0; i < w->nsites; i++)
		if (w->sites[i].empty_by_ms > w->now_ms)
			empty(w, i, w->sites[i].empty_by_ms - w->now_ms - TICK);
}

/* -- a run ------------------------------------------------------------------------------------------------------------------- */
static void make_sites(struct world *w)
{
	size_t bad = (size_t)(w->workload->bad_reporters * (double)w->nsites);

	w->sites = make(w->nsites, sizeof(*w->sites));
	for (size_t i = 0; i < w->nsites; i++) {
		struct site *site = &w->sites[i];
		*site = (struct site){ .serves = PEOPLE_SERVED, .up = true, .pool = w->workload->pools && i % 2 };
		site->lossy = i < bad && i % 2 == 0;
		site->slow = i < bad && i % 2;
	}
}

static double usual_rate(const struct world *w)
{
	double mean = w->workload->pools || w->workload->told ? 1 - LARGE_SHARE + LARGE_SHARE * LARGE_TIMES : 1;
	double people = mean_presence(&w->workload->meetings) * mean;

	return w->workload->fill * PEOPLE_SERVED * (double)w->fill_nodes / people / (MEETING_MS / 1000);
}

static void arrivals(struct world *w)
{
	while (w->next_ms < w->now_ms + TICK) {
		room_start(w, w->next_ms > w->now_ms ? w->next_ms : w->now_ms);
		w->next_ms = workload_next(w);
	}
}

static void tick(struct world *w)
{
	w->now_ms += TICK;
	w->measures = world_ms(w) >= w->warm_ms;
	w->policy->pass(w->chooser, w, w->now_ms);
	rooms_tick(w);
	empty_lost(w);
	if (w->workload->restarts && w->measures)
		restarts(w);
	arrivals(w);
	if (w->measures && w->now_ms % 1000 == 0)
		measure(w);
}

uint64_t world_ms(const struct world *w)
{
	return w->now_ms - (uint64_t)LENGTH_MAX_MS;
}

void world_open(struct world *w)
{
	w->now_ms = (uint64_t)LENGTH_MAX_MS;
	w->wheel = make(WHEEL_SLOTS, sizeof(struct room *));
	w->starts = chance_of(w->seed, 1);
	w->routers = chance_of(w->seed, 2);
	make_sites(w);
	w->rate = usual_rate(w);
	w->next_exact_ms = (double)w->now_ms;
	rooms_at_first(w);
	w->chooser = w->policy->open(w);
	w->next_ms = workload_next(w);
}

void world_go_on(struct world *w)
{
	while (world_ms(w) < w->warm_ms + w->measured_ms)
		tick(w);
}

void world_run(struct world *w)
{
	world_open(w);
	world_go_on(w);
	w->policy->close(w->chooser);
}

void world_free(struct world *w)
{
	for (struct room *block = w->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(w->imbalance.at);
	free(w->expected.at);
	free(w->fill.at);
	free(w->wheel);
	free(w->sites);
}
