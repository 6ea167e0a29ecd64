/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <string.h>

#include "base/origin.h"
#include "router/edge.h"
#include "router/site.h"
#include "router/request.h"
#include "router/router.h"
#include "router/worker.h"

static bool is_secure(struct request *rq)
{
	const char *url = rq->worker->router->public_url;

	return str_is(edge_forwarded_proto(rq), "https") || (url && !strncmp(url, "https:", 6));
}

static bool passes(struct request *rq, bool any)
{
	struct origin_rules rules = { atomic_load(&rq->worker->router->origins), any, edge_forwarded_host(rq), is_secure(rq) };

	return origin_passes(rq->x, &rules);
}

bool site_listed(const struct request *rq, struct str origin)
{
	return origin_listed(atomic_load(&rq->worker->router->origins), origin, true);
}

bool site_allowed(struct request *rq)
{
	return passes(rq, true);
}

bool site_trusted(struct request *rq)
{
	return passes(rq, false);
}
