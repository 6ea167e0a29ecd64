/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's hand on a node: cordon (PUT), uncordon (DELETE), and closing its breakers at every router. */
#include <string.h>

#include "base/log.h"
#include "registry/nodes.h"
#include "router/keeper.h"
#include "router/once.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

static int answer(struct request *rq)
{
	keeper_refresh(rq->worker->router);
	return request_empty(rq, 204);
}

static bool cordons(const struct request *rq)
{
	return !strcmp(exchange_method(rq->x), "PUT");
}

static int set_wish(struct request *rq)
{
	return nodes_set_wish(rq->worker->store, rq->names[NAME_NODE].at, cordons(rq) ? WISH_CORDONED : WISH_ENABLED, STR(""),
	                      request_store_due(rq), &rq->wait);
}

static int wish_set(struct request *rq)
{
	log_change("node_wish", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "to",
	         LOG_S(cordons(rq) ? "cordoned" : "enabled"));
	return NEXT;
}

static const struct step cordon_steps[] = {
	USE_TOKEN,
	{ "set-wish", set_wish, wish_set, NULL, true },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};
const struct verb cordon_verb = { cordon_steps, 0, NULL };

static int reset_breakers(struct request *rq)
{
	return nodes_reset_breakers(rq->worker->store, rq->names[NAME_NODE].at, request_store_due(rq), &rq->wait);
}

static const struct step reset_steps[] = {
	USE_TOKEN,
	{ "reset-breakers", reset_breakers, NULL, NULL, true },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};
const struct verb breakers_reset_verb = { reset_steps, 0, NULL };
