/* SPDX-License-Identifier: Apache-2.0 */
/* fault.at=verb/step: ends there without a word to anyone, as a crash would; 86 tells the test that it was this. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "router/fault.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/worker.h"

const bool faults_built = true;

void fault_point(const struct request *rq)
{
	const char *at = rq->worker->router->conf.fault.at;
	char here[128];

	if (!*at)
		return;
	snprintf(here, sizeof(here), "%s/%s", rq->route->name, rq->at->name);
	if (strcmp(at, here))
		return;
	log_error("fault_point", "at", LOG_S(here));
	log_close();
	_exit(86);
}
