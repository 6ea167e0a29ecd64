/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All keys of one script lie in one hash slot: the suite once more, against a server in cluster mode, which refuses a script
 * whose keys do not.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/registry/redis_server.h"
#include "tests/unit/registry/suite.h"

static struct redis_server server;
static char nodes_file[64], bus_port[8];

static void bus_port_find(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&at, len) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0)
		snprintf(bus_port, sizeof bus_port, "%u", ntohs(at.sin_port));
	close(fd);
}

static void once(void)
{
	static const char *const words[] = { "--cluster-enabled", "yes", "--cluster-config-file", nodes_file, "--cluster-port", bus_port, NULL };

	snprintf(nodes_file, sizeof nodes_file, "usher-test-nodes-%d.conf", getpid());
	bus_port_find();
	redis_server_start(&server, words);
	redis_server_ask(&server, "CLUSTER ADDSLOTSRANGE 0 16383");
	while (strncmp(redis_server_ask(&server, "SET x 1"), "-CLUSTERDOWN", 12) == 0)
		redis_server_ask(&server, "WAIT 1 50"); /* it serves two seconds after its start; this answers in 50 ms */
}

static void at_end(void)
{
	char path[80];

	redis_server_stop(&server);
	snprintf(path, sizeof path, "/tmp/%s", nodes_file);
	unlink(path);
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
	static const struct suite_host host = { "registry/redis slots", begin };

	return suite_run(&host, once, at_end) ? 1 : 0;
}
