/* SPDX-License-Identifier: Apache-2.0 */
/* Not by RLIMIT_CORE: a pipe in core_pattern is fed in spite of it, and it would be handed down to an SFU that the agent starts. */
#include <sys/prctl.h>

#include "base/dump.h"

void dump_forbid(void)
{
	prctl(PR_SET_DUMPABLE, 0);
}
