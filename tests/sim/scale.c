/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet of 10,000 nodes with a million rooms. A day of that with all of usher's own code takes a quarter of an hour (print_cost() says
 * what a choice and a reading take of it), so that is run for a minute, and for the day there is a narrower seam: the
 * real score_of(), charges_sum() and struct meter for each node, one report of each node in 10 s, and a choice among CHOICES nodes
 * at random. What is measured is the simulation, not a policy of usher's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "health/charges.h"
#include "health/load.h"
#include "tests/sim/scale.h"
#include "tests/sim/usher.h"
#include "tests/sim/world_private.h"

#define NODES 10000
#define ROOMS 1e6
#define REPORT_MS 10000
#define CHOICES 12
#define KEPT 16 /* charges of a node */
#define RAMP_MS 180000

struct seat {
	struct score score;
	struct charge charges[KEPT];
	uint64_t number, seen;
	struct meter *meter;
};
struct seam {
	struct chance chance;
	struct seat *seats;
	size_t n;
	uint64_t reported_ms;
};

static void report(struct seam *s, struct world *w, size_t i)
{
	const struct site *site = &w->sites[i];
	struct capacity capacity = { .participants = site->serves };
	struct load load = { .cpu = world_load(site), .participants = (double)site->people, .rooms = (double)site->rooms,
		             .has_cpu = true, .has_participants = true, .has_rooms = true };

	score_of(&load, &capacity, &s->seats[i].score);
	s->seats[i].seen = s->seats[i].number;
	meter_read(s->seats[i].meter, s->seats[i].number, w->now_ms);
	w->events++;
}

static void *open_seam(struct world *w)
{
	struct seam *s = make(1, sizeof(*s));

	s->chance = chance_of(w->seed, 19);
	s->n = w->nsites;
	s->seats = make(w->nsites, sizeof(*s->seats));
	for (size_t i = 0; i < w->nsites; i++) {
		s->seats[i].meter = meter_new(RAMP_MS);
		report(s, w, i);
	}
	return s;
}

static void close_seam(void *arg)
{
	struct seam *s = arg;

	for (size_t i = 0; i < s->n; i++)
		meter_free(s->seats[i].meter);
	free(s->seats);
	free(s);
}

static void pass_seam(void *arg, struct world *w, uint64_t now_ms)
{
	struct seam *s = arg;

	if (now_ms < s->reported_ms + TICK)
		return;
	s->reported_ms = now_ms / TICK * TICK;
	for (size_t i = now_ms / TICK % (REPORT_MS / TICK); i < w->nsites; i += REPORT_MS / TICK)
		report(s, w, i);
}

static double effective(const struct seat *seat, uint64_t now_ms)
{
	return seat->score.value + charges_sum(seat->charges, KEPT, seat->seen, 0, now_ms, RAMP_MS) + meter_extra(seat->meter);
}

static void charge(struct seat *seat, uint64_t now_ms)
{
	double cost = meter_pend(seat->meter, MEETING_PEOPLE / PEOPLE_SERVED, now_ms);
	uint64_t number = ++seat->number;

	meter_charged(seat->meter, number, cost, now_ms);
	meter_opened(seat->meter, now_ms);
	seat->charges[number % KEPT] = (struct charge){ number, cost, now_ms };
}

static int choose_seam(void *arg, struct world *w, const struct room *room, uint64_t now_ms)
{
	struct seam *s = arg;
	size_t best = chance_below(&s->chance, w->nsites);
	double least = effective(&s->seats[best], now_ms);

	(void)room;
	for (int k = 1; k < CHOICES; k++) {
		size_t i = chance_below(&s->chance, w->nsites);
		double load = effective(&s->seats[i], now_ms);
		best = load < least ? i : best;
		least = load < least ? load : least;
	}
	charge(&s->seats[best], now_ms);
	return (int)best;
}

static double even(uint64_t ms)
{
	(void)ms;
	return 1;
}

static double cpu_seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double run_scale(const struct policy *policy, uint64_t ms, uint64_t *events, uint64_t *rooms)
{
	struct meetings m = { 0 };
	double fill = ROOMS * mean_presence(&m) / (NODES * PEOPLE_SERVED);
	struct workload l = { "scale", { 0 }, fill, 1000, ms, .rate = even, .most = 1 };
	struct world w = { .workload = &l, .policy = policy, .seed = 1, .nsites = NODES, .nrouters = 1, .fill_nodes = NODES,
		           .warm_ms = 1000, .measured_ms = ms };

	world_open(&w);
	uint64_t before = w.events;
	double begun = cpu_seconds();
	world_go_on(&w);
	double took = cpu_seconds() - begun;
	*events = w.events - before;
	*rooms = 0;
	for (size_t i = 0; i < w.nsites; i++)
		*rooms += w.sites[i].rooms;
	policy->close(w.chooser);
	world_free(&w);
	return took;
}

static void print_speed(const char *name, uint64_t events, uint64_t rooms, double took, double seconds)
{
	printf("%-5s %llu rooms, %.0f s simulated: %llu events in %.1f s of CPU, %.3f million events/s; a day: %.0f s\n", name,
	       (unsigned long long)rooms, seconds, (unsigned long long)events, took, (double)events / 1e6 / took, took * 86400 / seconds);
}

int print_scale(uint64_t seconds, uint64_t usher_seconds)
{
	static const struct policy seam = { "seam", open_seam, close_seam, pass_seam, choose_seam };
	uint64_t events, rooms;
	double took = run_scale(&seam, seconds * 1000, &events, &rooms);

	print_speed("seam", events, rooms, took, (double)seconds);
	took = run_scale(&policy_each_10s, usher_seconds * 1000, &events, &rooms);
	print_speed("usher", events, rooms, took, (double)usher_seconds);
	return 0;
}

int print_cost(size_t only)
{
	static const size_t nodes[] = { 10, 100, 1000, 10000 };

	printf("#nodes\tus_per_choice\tns_per_node\tms_per_reading_0\tms_5_percent\tms_all\n");
	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++)
		if (!only || nodes[i] == only)
			usher_cost(nodes[i]);
	return 0;
}
