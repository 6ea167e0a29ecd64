/* SPDX-License-Identifier: Apache-2.0 */
/* The store in a cluster keeps what both stores promise: the suite once more, against three primaries that share the slots. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/registry/redis_server.h"
#include "tests/unit/registry/suite.h"
#include "tests/unit/registry/turning.h"

#define PRIMARIES 3

static struct redis_server servers[PRIMARIES];
static char files[PRIMARIES][64];
static uint16_t bus[PRIMARIES];

static void server_start(int i)
{
	char bus_text[8];
	const char *const words[] = { "--cluster-enabled", "yes", "--cluster-config-file", files[i], "--cluster-port", bus_text,
		                      "--cluster-node-timeout", "5000", NULL };

	bus[i] = redis_server_free_port();
	snprintf(bus_text, sizeof bus_text, "%u", bus[i]);
	snprintf(files[i], sizeof files[i], "usher-test-nodes-%d-%d.conf", getpid(), i);
	redis_server_start(&servers[i], words);
}

static bool serves(int i)
{
	redis_server_ask(&servers[i], "WAIT 1 20"); /* a pause */
	return strncmp(redis_server_ask(&servers[i], "GET x"), "-CLUSTERDOWN", 12) != 0;
}

static void once(void)
{
	for (int i = 0; i < PRIMARIES; i++)
		server_start(i);
	for (int i = 0; i < PRIMARIES; i++) {
		redis_server_ask(&servers[i], "CLUSTER ADDSLOTSRANGE %d %d", 16384 * i / PRIMARIES, 16384 * (i + 1) / PRIMARIES - 1);
		redis_server_ask(&servers[0], "CLUSTER MEET 127.0.0.1 %u %u", servers[i].port, bus[i]);
	}
	for (int i = 0; i < PRIMARIES; i++)
		while (!serves(i))
			;
	turning_primaries = PRIMARIES;
}

static void at_end(void)
{
	char path[256];

	for (int i = 0; i < PRIMARIES; i++) {
		redis_server_stop(&servers[i]);
		snprintf(path, sizeof path, "/tmp/%s", files[i]);
		unlink(path);
	}
}

static const char *begin(void)
{
	static char url[64];

	for (int i = 0; i < PRIMARIES; i++)
		redis_server_ask(&servers[i], "FLUSHALL");
	snprintf(url, sizeof url, "redis+cluster://127.0.0.1:%u", servers[1].port);
	return url;
}

int main(void)
{
	static const struct suite_host host = { "registry/redis cluster", begin };

	return suite_run(&host, once, at_end) ? 1 : 0;
}
