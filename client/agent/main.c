/* SPDX-License-Identifier: Apache-2.0 */
/* usher-agent: reads its settings, then either prints what it was asked for or stands beside its SFU. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/dump.h"
#include "base/log.h"
#include "client/agent/agent.h"

static const char about[] =
	"usher-agent - the sidecar of one SFU\n"
	"\n"
	"Registers the SFU as a node, reports its load and rooms, and is the gate in front of its signaling: participants\n"
	"get in only while the node's lease holds, and only to rooms that it holds.\n"
	"\n"
	"  usher-agent --set agent.adapter=echo                 an SFU without media, to try usher out\n"
	"  usher-agent -c /etc/usher/agent.ini --check          what is wrong with a configuration\n"
	"  usher-agent --print config                           every setting, with range, default and reason\n"
	"\n"
	"SIGTERM: deregisters, closes tunnels politely, exits 0.\n";

static int print_reference(const char *what)
{
	if (strcmp(what, "config")) {
		fprintf(stderr, "usher-agent: --print takes config\n");
		return 2;
	}
	conf_print_reference(agent_conf_keys, agent_conf_count, "Configuration of usher-agent", stdout);
	return 0;
}

/* The log starts its thread here, with the level and form that the configuration wants. */
static int serve(struct agent *agent)
{
	if (!agent->conf.core_dumps)
		dump_forbid();
	if (log_open(STDERR_FILENO, (enum log_level)agent->conf.log_level, (enum log_format)agent->conf.log_format) < 0) {
		fprintf(stderr, "usher-agent: cannot start the log\n");
		return 1;
	}
	int code = agent_run(agent);
	log_close();
	return code;
}

int main(int argc, char **argv)
{
	static struct agent agent;
	struct conf_cli cli = { .program = "usher-agent", .about = about };
	struct conf conf = { .keys = agent_conf_keys, .count = agent_conf_count, .values = &agent.conf, .env_prefix = "USHER_" };
	int code = conf_cli_parse(&cli, argc, argv);

	if (code >= 0)
		return code;
	if (cli.print) {
		free(cli.sets);
		return print_reference(cli.print);
	}
	int faults = conf_load(&conf, cli.file, cli.sets, cli.nsets, stderr);
	if (!faults)
		faults = agent_conf_check(&agent.conf, stderr);
	if (faults)
		fprintf(stderr, "usher-agent: %d fault%s in the configuration\n", faults, faults == 1 ? "" : "s");
	else if (cli.check)
		printf("configuration is good\n");
	code = faults ? 1 : cli.check ? 0 : serve(&agent);
	conf_free(&conf);
	free(cli.sets);
	return code;
}
