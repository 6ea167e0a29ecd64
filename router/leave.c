/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELETE /v1/nodes/{node}?incarnation=…: the process leaves at once; its rooms are placed anew by their next joins.
 * POST /v1/nodes/{node}/remove: an operator says so of a machine that is off, whichever process of it is registered, and the log
 * says who asked. Should it live after all, it may let people in until its lease ends, and registers again.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "router/edge.h"
#include "router/events.h"
#include "router/keeper.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct leaving {
	struct str incarnation;
	bool left;
};

static int read_incarnation(struct request *), read_target(struct request *);
static int leave_node(struct request *), left_node(struct request *), removed_node(struct request *);

static const struct step steps[] = {
	{ "read-incarnation", read_incarnation, NULL, NULL, false },
	{ "leave-node", leave_node, left_node, NULL, true },
	STEPS_END
};
static const struct step remove_steps[] = {
	{ "read-target", read_target, NULL, NULL, false },
	{ "leave-node", leave_node, removed_node, NULL, true },
	STEPS_END
};

static int name_present(struct request *rq)
{
	struct leaving *leaving = rq->state;
	const struct node *node = fleet_find(rq->worker->router->fleet, rq->names[NAME_NODE].at);

	if (!node || !*node->record.incarnation)
		return request_fail(rq, ERR_UNKNOWN_NODE, "no process is registered as %s", rq->names[NAME_NODE].at);
	leaving->incarnation = str_of(arena_copy(request_arena(rq), node->record.incarnation, strlen(node->record.incarnation)));
	return NEXT;
}

static int check_incarnation(struct request *rq)
{
	const struct leaving *leaving = rq->state;

	if (!leaving->incarnation.at || !incarnation_valid(leaving->incarnation.at, leaving->incarnation.len))
		return request_fail(rq, ERR_BAD_REQUEST, "incarnation: required; letters, digits, '.', '_', ':' or '-'");
	return NEXT;
}

static int read_incarnation(struct request *rq)
{
	struct leaving *leaving = rq->state;

	return request_param(rq, "incarnation", &leaving->incarnation) ? check_incarnation(rq) : -ERR_BAD_REQUEST;
}

static int read_target(struct request *rq)
{
	struct leaving *leaving = rq->state;

	if (!request_param(rq, "incarnation", &leaving->incarnation))
		return -ERR_BAD_REQUEST;
	return leaving->incarnation.at ? check_incarnation(rq) : name_present(rq);
}

static int leave_node(struct request *rq)
{
	struct leaving *leaving = rq->state;

	return nodes_leave(rq->worker->store, rq->names[NAME_NODE].at, leaving->incarnation.at, request_store_due(rq), &leaving->left,
	                   &rq->wait);
}

static int see_left(struct request *rq)
{
	const struct leaving *leaving = rq->state;

	keeper_refresh(rq->worker->router);
	if (!leaving->left)
		return request_fail(rq, ERR_STALE_INCARNATION, "incarnation: %s does not hold the node", leaving->incarnation.at);
	return NEXT;
}

static int left_node(struct request *rq)
{
	int err = see_left(rq);

	if (err != NEXT)
		return err;
	log_info("node_left", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "incarnation",
	         LOG_S(((struct leaving *)rq->state)->incarnation.at));
	return request_empty(rq, 204);
}

static int removed_node(struct request *rq)
{
	const struct leaving *leaving = rq->state;
	int err = see_left(rq);

	if (err != NEXT)
		return err;
	log_warn("node_removed", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "incarnation",
	         LOG_S(leaving->incarnation.at), "asked_by", LOG_S(edge_peer_address(rq)));
	events_emit(rq->worker->router, &(struct event){ .type = EVENT_NODE_LOST, .node = rq->names[NAME_NODE].at,
	                                                 .detail = "an operator says that the machine is off" });
	return request_empty(rq, 204);
}

const struct verb leave_verb = { steps, sizeof(struct leaving), NULL };
const struct verb remove_verb = { remove_steps, sizeof(struct leaving), NULL };
