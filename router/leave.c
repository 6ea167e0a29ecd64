/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE /v1/nodes/{node}?incarnation=…: the process leaves at once; its rooms are placed anew by their next joins. */
#include "base/arena.h"
#include "base/log.h"
#include "registry/nodes.h"
#include "router/keeper.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct leaving {
	struct str incarnation;
	bool left;
};

static int read_incarnation(struct request *);
static int leave_node(struct request *), left_node(struct request *);

static const struct step steps[] = {
	{ "read-incarnation", read_incarnation, NULL, NULL, false },
	{ "leave-node", leave_node, left_node, NULL, true },
	STEPS_END
};

static int read_incarnation(struct request *rq)
{
	struct leaving *leaving = rq->state;
	struct str force;

	if (!request_param(rq, "incarnation", &leaving->incarnation) || !request_param(rq, "force", &force))
		return -ERR_BAD_REQUEST;
	if (force.at)
		return request_fail(rq, ERR_NOT_IMPLEMENTED, "force: not in this version");
	if (!leaving->incarnation.at || !incarnation_valid(leaving->incarnation.at, leaving->incarnation.len))
		return request_fail(rq, ERR_BAD_REQUEST, "incarnation: required, letters, digits, '.', '_', ':' or '-'");
	return NEXT;
}

static int leave_node(struct request *rq)
{
	struct leaving *leaving = rq->state;

	return nodes_leave(rq->worker->store, rq->names[NAME_NODE].at, leaving->incarnation.at, request_store_due(rq), &leaving->left,
	                   &rq->wait);
}

static int left_node(struct request *rq)
{
	struct leaving *leaving = rq->state;

	keeper_refresh(rq->worker->router);
	if (!leaving->left)
		return request_fail(rq, ERR_STALE_INCARNATION, "incarnation: %s does not hold the node", leaving->incarnation.at);
	log_info("node_left", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at));
	return request_empty(rq, 204);
}

const struct verb leave_verb = { steps, sizeof(struct leaving), NULL };
