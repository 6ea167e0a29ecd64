/* SPDX-License-Identifier: Apache-2.0 */
/* The store in Redis keeps what both stores promise: against a real redis-server, emptied before each test. */
#include <stdio.h>

#include "tests/unit/registry/redis_server.h"
#include "tests/unit/registry/suite.h"

static struct redis_server server;

static void once(void)
{
	redis_server_start(&server, NULL);
}

static void at_end(void)
{
	redis_server_stop(&server);
}

static const char *begin(void)
{
	static char url[64];

	redis_server_ask(&server, "FLUSHALL");
	snprintf(url, sizeof url, "redis://127.0.0.1:%u", server.port);
	return url;
}

int main(void)
{
	static const struct suite_host host = { "registry/redis suite", begin };

	return suite_run(&host, once, at_end) ? 1 : 0;
}
