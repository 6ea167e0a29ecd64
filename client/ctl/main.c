/* SPDX-License-Identifier: Apache-2.0 */
/* The program, apart from ctl.c so that tests can run it whole with streams and an environment of their own. */
#include <signal.h>
#include <stdlib.h>

#include "client/ctl/ctl.h"

static const char *from_environment(const char *name)
{
	return getenv(name);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN); /* a router that hangs up; a pager that leaves */
	return ctl_main(argc, argv, from_environment, stdout, stderr);
}
