/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What really happens: nodes, rooms, the people that join them, and the load they make. A policy sees of it only what its
 * project's nodes would report, when they would. Time goes in ticks of TICK_MS for what happens in rooms and on nodes, and in
 * milliseconds for what is placed.
 *
 *   load          of a node: people now / how many it can serve; over 1 is overload
 *   expected load people now, and those that are on average still to come to its rooms / how many it can serve
 *
 * Expected load is what a chooser could know at most: who comes to one room is not known before they come.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/sim/chance.h"
#include "tests/sim/meetings.h"

#define TICK 100 /* ms */
#define POOLS 2
#define MAX_LOAD 0.9

struct room {
	struct room *next; /* in its slot of the wheel */
	uint64_t number, start_ms, end_ms, due_ms, placed_ms, changed_ms;
	uint32_t node;
	uint16_t people, to_come, told; /* told: how many are expected, 0: nobody said */
	uint8_t router, pool;
	bool large, moved, parted; /* parted: who is still to come joins another part of it, on another node */
	float joined; /* how far along the distribution of arrivals the last one was, 0 to 1 */
	struct chance chance;
	struct room *before, *after; /* on its node */
};
struct site { /* one SFU */
	double serves;      /* people */
	uint64_t people, rooms;
	double to_come;     /* Σ over rooms of those still expected, as of time 0: times world_to_come_part() */
	bool up, draining, lossy, slow;
	uint8_t pool;
	uint64_t overload_s, empty_by_ms;
	struct room *held;  /* newest first */
};
struct refusals {
	uint64_t all, with_capacity_left;
};
struct samples {
	size_t n, size;
	double *at;
};
struct workload;
struct policy;
struct world {
	const struct workload *workload;
	const struct policy *policy;
	void *chooser; /* the policy's own */
	uint64_t seed, now_ms, room_number;
	size_t nsites, nrouters, fill_nodes; /* fill_nodes: the rate is for so many */
	struct site *sites;
	struct room **wheel, *unused, *blocks;
	struct chance starts, routers;
	double rate;        /* rooms a second that keep the fleet at its fill */
	uint64_t empty_by_ms;  /* of all sites, the latest */
	uint64_t next_ms, trace_at, trace_from_ms;
	double next_exact_ms, trace_rooms;
	/* measured from warm_ms on */
	struct samples imbalance, expected, fill; /* max/mean, mean; each second */
	struct refusals refused;
	uint64_t placed, moves, splits, events; /* splits: rooms whose next one was sent to another node than those in it are on */
	uint64_t warm_ms, measured_ms;
	bool measures;
};

struct policy {
	const char *name;
	void *(*open)(struct world *);
	void (*close)(void *);
	void (*pass)(void *, struct world *, uint64_t now_ms); /* time goes on; reports that are due arrive */
	int (*choose)(void *, struct world *, const struct room *, uint64_t now_ms); /* a node, or -1 */
	void (*joined)(void *, struct world *, const struct room *);  /* NULL: does not care */
	void (*ended)(void *, struct world *, const struct room *);
	void (*restarted)(void *, struct world *, size_t site, bool up);
	void (*drains)(void *, struct world *, size_t site);
	/* Whether the next one is sent to where the room is; else it is placed anew for all who come from now on. NULL: always. */
	bool (*stays)(void *, struct world *, const struct room *, uint64_t now_ms);
};
struct workload {
	const char *name;
	struct meetings meetings;
	double fill;                      /* mean load that the usual rate leads to */
	uint64_t warm_ms, measured_ms;
	double (*rate)(uint64_t ms); /* times the usual one, so long after the warm-up */
	double most;                      /* of rate() */
	double burst;                     /* rooms a second on top of it, after the warm-up, for burst_ms */
	uint64_t burst_ms;
	bool trace, restarts, pools, told; /* told: one pool, and the large rooms say how large they are */
	double bad_reporters;             /* share of nodes */
};

void world_run(struct world *);       /* opens it, runs the workload, closes the policy, leaves the measures */
void world_open(struct world *);
void world_go_on(struct world *);
void world_free(struct world *);
uint64_t world_ms(const struct world *); /* since the run began */
void world_lost(struct world *, size_t site); /* somebody calls it lost: all its rooms are placed anew */
double world_load(const struct site *);
double world_to_come_part(const struct world *); /* what is left by now of site.to_come, as a factor */
double world_expected(const struct site *, double part);   /* load */
void samples_add(struct samples *, double);
double samples_at(struct samples *, double quantile); /* sorts them */

extern const struct workload workloads[];
extern const size_t nworkloads;
extern const struct policy *const policies[];
extern const size_t npolicies;
/* usher.c */
extern const struct policy policy_usher, policy_short_ramp, policy_cost_start, policy_cost_true, policy_untold, policy_asks_one,
	policy_uncharged, policy_each_10s;
extern const char *trace_path;
uint64_t workload_next(struct world *); /* when the next room starts */
