/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters are read at each heartbeat and compared with the reading before. Two readings close to each other would say more
 * about the tick of the kernel than about load, so the older one is kept until HOST_MIN_MS have passed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/agent/host.h"
#include "client/lib/usher/usher.h"

#define MBIT 1e6

static FILE *open_file(const struct host *host, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/%s", host->proc, name);
	return fopen(path, "re");
}

/* cpu  user nice system idle iowait irq softirq steal …; guests are in user already */
static bool read_cpu(const struct host *host, struct host_counts *counts)
{
	uint64_t n[8] = { 0 };
	FILE *file = open_file(host, "stat");

	if (!file)
		return false;
	int got = fscanf(file, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &n[0],
	                 &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7]);
	fclose(file);
	for (int i = 0; i < got; i++)
		counts->total += n[i];
	counts->busy = counts->total - n[3] - n[4];
	return got >= 4;
}

/* Two lines of headings, then "  eth0: in packets errs drop fifo frame compressed multicast out …" */
static bool read_bandwidth(const struct host *host, struct host_counts *counts)
{
	char line[512], name[64];
	uint64_t in, out;
	FILE *file = open_file(host, "net/dev");

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, " %63[^: ]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name, &in, &out) != 3 || !strcmp(name, "lo"))
			continue;
		counts->in += in;
		counts->out += out;
	}
	fclose(file);
	return true;
}

static bool read_memory(const struct host *host, double *used)
{
	char line[256];
	uint64_t total = 0, available = 0;
	FILE *file = open_file(host, "meminfo");

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "MemTotal: %" SCNu64, &total);
		sscanf(line, "MemAvailable: %" SCNu64, &available);
	}
	fclose(file);
	if (!total || available > total)
		return false;
	*used = 1 - (double)available / (double)total;
	return true;
}

static double mbps(uint64_t from, uint64_t to, uint64_t ms)
{
	return to > from ? (double)(to - from) * 8 * 1000 / (double)ms / MBIT : 0; /* a lower count: an interface went */
}

static void measure(struct host *host, uint64_t now_ms)
{
	struct host_counts now = { .at_ms = now_ms }, *last = &host->last;
	bool cpu = read_cpu(host, &now), net = read_bandwidth(host, &now);
	uint64_t total = now.total - last->total;

	host->has_cpu = cpu && now.total > last->total;
	if (host->has_cpu)
		host->cpu = now.busy > last->busy ? (double)(now.busy - last->busy) / (double)total : 0;
	host->has_bandwidth = net && last->at_ms;
	if (host->has_bandwidth) {
		host->in_mbps = mbps(last->in, now.in, now_ms - last->at_ms);
		host->out_mbps = mbps(last->out, now.out, now_ms - last->at_ms);
	}
	*last = now;
}

void host_init(struct host *host, const char *proc)
{
	*host = (struct host){ .proc = proc };
}

void host_sample(struct host *host, uint64_t now_ms, struct usher_load *out)
{
	if (!host->last.at_ms || now_ms - host->last.at_ms >= HOST_MIN_MS)
		measure(host, now_ms);
	out->has_cpu = host->has_cpu;
	out->cpu = host->cpu;
	out->has_memory = read_memory(host, &out->memory);
	out->has_bandwidth_in = out->has_bandwidth_out = host->has_bandwidth;
	out->bandwidth_in_mbps = host->in_mbps;
	out->bandwidth_out_mbps = host->out_mbps;
}
