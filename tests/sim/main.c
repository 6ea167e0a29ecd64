/* SPDX-License-Identifier: Apache-2.0 */
/* usher-sim: runs policies over workloads and prints one line for each run; report.py makes tables of them. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/scale.h"
#include "tests/sim/world_private.h"

#define QUICK_WARM_MS (8 * 60000)
#define QUICK_MS (6 * 60000)

struct options {
	const char *workload, *policy; /* NULL: all */
	size_t seeds, nodes, filled, routers;
	bool quick, series;
};

static const char usage[] =
	"usher-sim [-w WORKLOAD] [-p POLICY] [-s SEEDS] [-n NODES] [-f NODES] [-r ROUTERS] [-q] [-t]\n"
	"  -f NODES  as much load as so many nodes have by the workload's fill; default: -n\n"
	"  -q        quick: eight minutes to warm up, six measured\n"
	"  -t        in place of results: load and expected load, max/mean, each second\n"
	"usher-sim cost [NODES]   what place_choose() and a reading cost with so many nodes, or 10 to 10,000\n"
	"usher-sim scale [SECONDS [SECONDS]]  10,000 nodes, a million rooms: events a second; the second of usher's own code\n";

static double p99_overload_minutes(const struct world *w)
{
	struct samples s = { 0 };

	for (size_t i = 0; i < w->nsites; i++)
		samples_add(&s, (double)w->sites[i].overload_s / 60);
	double p99 = samples_at(&s, 0.99);
	free(s.at);
	return p99;
}

static void print_series(const struct world *w)
{
	for (size_t i = 0; i < w->imbalance.n; i++)
		printf("%zu\t%.4f\t%.4f\t%.4f\n", i, w->fill.at[i], w->imbalance.at[i], w->expected.at[i]);
}

static void print_result(struct world *w)
{
	printf("%s\t%s\t%llu\t%zu\t%.3f\t%.4f\t%.4f\t%.4f\t%.4f\t%.3f\t%llu\t%llu\t%llu\t%llu\t%llu\n", w->workload->name, w->policy->name,
	       (unsigned long long)w->seed, w->nsites, samples_at(&w->fill, 0.5), samples_at(&w->imbalance, 0.5),
	       samples_at(&w->imbalance, 0.99), samples_at(&w->expected, 0.5), samples_at(&w->expected, 0.99), p99_overload_minutes(w),
	       (unsigned long long)w->refused.all, (unsigned long long)w->refused.with_capacity_left, (unsigned long long)w->moves,
	       (unsigned long long)w->splits, (unsigned long long)w->placed);
	fflush(stdout);
}

static void run_one(const struct options *o, const struct workload *workload, const struct policy *policy, uint64_t seed)
{
	struct world w = { .workload = workload, .policy = policy, .seed = seed, .nsites = o->nodes, .nrouters = o->routers,
		           .fill_nodes = o->filled ? o->filled : o->nodes };

	w.warm_ms = o->quick ? QUICK_WARM_MS : workload->warm_ms;
	w.measured_ms = o->quick ? QUICK_MS : workload->measured_ms;
	world_run(&w);
	if (o->series)
		print_series(&w);
	else
		print_result(&w);
	world_free(&w);
}

static void run(const struct options *o)
{
	if (!o->series)
		printf("#workload\tpolicy\tseed\tnodes\tfill\tload_median\tload_p99\texpected_median\texpected_p99\toverload_p99\t"
		       "refused\trefused_with_capacity\tmoves\tsplits\tplaced\n");
	for (size_t l = 0; l < nworkloads; l++)
		for (size_t p = 0; p < npolicies; p++)
			for (uint64_t seed = 1; seed <= o->seeds; seed++)
				if ((!o->workload || !strcmp(o->workload, workloads[l].name)) && (!o->policy || !strcmp(o->policy, policies[p]->name)))
					run_one(o, &workloads[l], policies[p], seed);
}

static bool read_options(int argc, char **argv, struct options *o)
{
	for (int c; (c = getopt(argc, argv, "w:p:s:n:f:r:qt")) >= 0;) {
		size_t n = optarg ? strtoul(optarg, NULL, 10) : 0;
		switch (c) {
		case 'w': o->workload = optarg; break;
		case 'p': o->policy = optarg; break;
		case 's': o->seeds = n; break;
		case 'n': o->nodes = n; break;
		case 'f': o->filled = n; break;
		case 'r': o->routers = n; break;
		case 'q': o->quick = true; break;
		case 't': o->series = true; break;
		default: return false;
		}
	}
	return o->nodes && o->routers;
}

int main(int argc, char **argv)
{
	struct options o = { .seeds = 1, .nodes = 100, .routers = 8 };

	meetings_init();
	if (argc > 1 && !strcmp(argv[1], "cost"))
		return print_cost(argc > 2 ? strtoul(argv[2], NULL, 10) : 0);
	if (argc > 1 && !strcmp(argv[1], "scale"))
		return print_scale(argc > 2 ? strtoul(argv[2], NULL, 10) : 60, argc > 3 ? strtoul(argv[3], NULL, 10) : 60);
	if (!read_options(argc, argv, &o)) {
		fputs(usage, stderr);
		return 2;
	}
	run(&o);
	return 0;
}
