/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a daemon: few options, the same for each. Standard output for what was asked, standard error for faults. */
#include <getopt.h>
#include <stdlib.h>

#include "base/conf.h"

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' }, { "set", required_argument, NULL, 's' }, { "check", no_argument, NULL, 'k' },
	{ "print", required_argument, NULL, 'p' },  { "help", no_argument, NULL, 'h' },      { "version", no_argument, NULL, 'v' },
	{ NULL, 0, NULL, 0 },
};

static void print_help(const struct conf_cli *cli)
{
	printf("%s\n"
	       "Options:\n"
	       "  -c, --config FILE         read settings from an INI file\n"
	       "      --set SECTION.KEY=V   one setting; can be repeated; over environment and file\n"
	       "      --check               say what is wrong with the configuration; exit 0 or 1\n"
	       "      --print WHAT          print a reference page (config lists every setting)\n"
	       "      --version, --help\n",
	       cli->about);
}

int conf_cli_parse(struct conf_cli *cli, int argc, char **argv)
{
	int option;

	cli->sets = calloc((size_t)argc + 1, sizeof(*cli->sets));
	if (!cli->sets)
		abort();
	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		if (option == 'c')
			cli->file = optarg;
		else if (option == 's')
			cli->sets[cli->nsets++] = optarg;
		else if (option == 'k')
			cli->check = true;
		else if (option == 'p')
			cli->print = optarg;
		else if (option == 'h')
			return print_help(cli), 0;
		else if (option == 'v')
			return printf("%s %s\n", cli->program, USHER_VERSION), 0;
		else
			return 2; /* getopt has said why */
	}
	if (optind < argc) {
		fprintf(stderr, "%s: unexpected argument %s; see --help\n", cli->program, argv[optind]);
		return 2;
	}
	return -1;
}
