/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELETE /v1/nodes/{node}?incarnation=…: the process leaves at once; its rooms are placed anew by their next joins.
 * With force=true an operator says so of a machine that is off, whichever process of it is registered, and the log says who asked.
 * Should it live after all, it may let people in until its lease ends, and registers again.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "router/access.h"
#include "router/edge.h"
#include "router/events.h"
#include "router/keeper.h"
#include "router/once.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct leaving {
	struct str incarnation;
	bool forced, left;
};

static int read_incarnation(struct request *);
static int leave_node(struct request *), left_node(struct request *);

static const struct step steps[] = {
	USE_TOKEN,
	{ "read-incarnation", read_incarnation, NULL, NULL, false },
	{ "leave-node", leave_node, left_node, NULL, true },
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

static int read_incarnation(struct request *rq)
{
	struct leaving *leaving = rq->state;
	struct str force;

	if (!request_param(rq, "incarnation", &leaving->incarnation) || !request_param(rq, "force", &force))
		return -ERR_BAD_REQUEST;
	if (force.at && !str_is(force, "true"))
		return request_fail(rq, ERR_BAD_REQUEST, "force: must be true, or absent");
	leaving->forced = force.at != NULL;
	if (leaving->forced && !access_is_admin(rq))
		return request_fail(rq, ERR_FORBIDDEN, "force: is for operators (scope admin)");
	if (leaving->forced && !leaving->incarnation.at)
		return name_present(rq);
	if (!leaving->incarnation.at || !incarnation_valid(leaving->incarnation.at, leaving->incarnation.len))
		return request_fail(rq, ERR_BAD_REQUEST, "incarnation: required without force=true; letters, digits, '.', '_', ':' or '-'");
	return NEXT;
}

static int leave_node(struct request *rq)
{
	struct leaving *leaving = rq->state;

	return nodes_leave(rq->worker->store, rq->names[NAME_NODE].at, leaving->incarnation.at, request_store_due(rq), &leaving->left,
	                   &rq->wait);
}

static void tell_removed(struct request *rq)
{
	const struct leaving *leaving = rq->state;
	struct str asked_by = edge_forwarded_for(rq);

	log_line(LOG_WARN, "node_removed", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "incarnation",
	         LOG_S(leaving->incarnation.at), "asked_by", LOG_B(asked_by.at, asked_by.len), NULL);
	events_emit(rq->worker->router, &(struct event){ .type = EVENT_NODE_LOST, .node = rq->names[NAME_NODE].at,
	                                                 .detail = "an operator says that the machine is off" });
}

static int left_node(struct request *rq)
{
	const struct leaving *leaving = rq->state;

	keeper_refresh(rq->worker->router);
	if (!leaving->left)
		return request_fail(rq, ERR_STALE_INCARNATION, "incarnation: %s does not hold the node", leaving->incarnation.at);
	if (leaving->forced)
		tell_removed(rq);
	else
		log_change("node_left", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "incarnation",
		         LOG_S(leaving->incarnation.at));
	return request_empty(rq, 204);
}

const struct verb leave_verb = { steps, sizeof(struct leaving), NULL };
