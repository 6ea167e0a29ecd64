/* SPDX-License-Identifier: Apache-2.0 */
/* The embedded store keeps what both stores promise. */
#include <stddef.h>

#include "tests/unit/registry/suite.h"

static const char *begin(void)
{
	return "memory:";
}

int main(void)
{
	static const struct suite_host host = { "registry/memory", begin };

	return suite_run(&host, NULL, NULL) ? 1 : 0;
}
