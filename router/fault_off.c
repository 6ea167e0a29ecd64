/* SPDX-License-Identifier: Apache-2.0 */
/* The build that people run: nothing here. */
#include "router/fault.h"

const bool faults_built = false;

void fault_point(const struct request *rq)
{
	(void)rq;
}
