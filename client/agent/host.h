/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How busy the machine is, from /proc: cpu and memory as fractions, bandwidth of all interfaces but loopback. Of the machine,
 * not of a cgroup: in a container with a CPU limit the SFU should tell its own load (an adapter may). Reads only, never waits.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct usher_load;

struct host_counts {
	uint64_t busy, total; /* jiffies of all cores */
	uint64_t in, out;     /* bytes */
	uint64_t at_ms;
};
struct host {
	const char *proc; /* "/proc"; tests have their own */
	struct host_counts last;
	double cpu, in_mbps, out_mbps; /* between the last two readings */
	bool has_cpu, has_bandwidth;
};
void host_init(struct host *, const char *proc);
/* Fills what can be read. The first cpu is the average since boot; bandwidth needs two readings, HOST_MIN_MS apart. */
#define HOST_MIN_MS 200
void host_sample(struct host *, uint64_t now_ms, struct usher_load *out);
