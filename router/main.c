/* SPDX-License-Identifier: Apache-2.0 */
/* usherd: reads its settings, then either prints what it was asked for or serves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dump.h"
#include "base/log.h"
#include "router/access.h"
#include "router/checklist.h"
#include "router/conf.h"
#include "router/limits.h"
#include "router/print.h"
#include "router/router.h"

static const char about[] =
	"usherd - a room router for WebRTC SFUs\n"
	"\n"
	"Answers which SFU holds a room, places new rooms on the least-loaded SFU, and carries the signaling there.\n"
	"Without arguments it serves 127.0.0.1:8080 with the embedded store: good for trying out, one router only.\n"
	"\n"
	"  usherd --set registry.url=redis://10.0.0.5:6379      many routers, one Redis\n"
	"  usherd -c /etc/usher/usher.ini --check               what is wrong with a configuration\n"
	"  usherd --print config|metrics|errors|routes|redis-errors   the reference pages\n"
	"\n"
	"SIGHUP: reads the settings again; those that the reference calls reloadable take effect.\n"
	"SIGTERM: /readyz says 503, then no new connections, then tunnels are closed politely, then exit 0.\n";

/* The log starts its thread here, with the level and form that the configuration wants. */
static int serve(struct router *router)
{
	if (!router->conf.server.core_dumps)
		dump_forbid();
	log_set_rate(router->conf.log.event_rate);
	if (log_open(STDERR_FILENO, (enum log_level)router->conf.log.level, (enum log_format)router->conf.log.format) < 0) {
		fprintf(stderr, "usherd: cannot start the log\n");
		return 1;
	}
	int code = router_run(router);
	log_close();
	return code;
}

int main(int argc, char **argv)
{
	struct conf_cli cli = { .program = "usherd", .about = about };
	static struct router router;
	struct conf conf = { .keys = router_conf_keys, .count = router_conf_count, .values = &router.conf, .env_prefix = "USHER_" };
	int code = conf_cli_parse(&cli, argc, argv);

	if (code >= 0)
		return code;
	if (cli.print) {
		free(cli.sets);
		return print_reference(cli.print, stdout);
	}
	int faults = conf_load(&conf, cli.file, cli.sets, cli.nsets, stderr);
	if (!faults)
		faults = router_conf_check(&router.conf, stderr);
	if (!faults) {
		router.access = access_new(&router.conf, stderr);
		router.limits = limits_new(&router.conf);
		faults += !router.access;
	}
	if (faults) {
		fprintf(stderr, "usherd: %d fault%s in the configuration\n", faults, faults == 1 ? "" : "s");
	} else if (cli.check) {
		printf("configuration is good\n");
		checklist_print(&router.conf, stdout);
	}
	router.cli = &cli;
	code = faults ? 1 : cli.check ? 0 : serve(&router);
	access_free(router.access);
	limits_free(router.limits);
	conf_free(&conf);
	free(cli.sets);
	return code;
}
