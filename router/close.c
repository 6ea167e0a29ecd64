/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DELETE /v1/rooms/{room}: compare, evict, close the tunnels, forget; each by compare-and-set on the epoch, so that a late
 * close of an old room touches nothing of a new one. A node that does not confirm the eviction keeps the record `closing`,
 * which the sweep goes on with; a node that is lost has nothing left to confirm.
 */
#include "base/arena.h"
#include "base/log.h"
#include "health/sfu.h"
#include "registry/nodes.h"
#include "registry/rooms.h"
#include "router/keeper.h"
#include "router/metrics.h"
#include "router/once.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct closing {
	uint64_t epoch; /* 0: any, by force */
	uint64_t missed_since;
	enum owner_seen owner;
	struct room room;
	struct claimed shut, gone;
	struct sfu_answer evicted;
};

static int read_epoch(struct request *);
static int find_room(struct request *), found_room(struct request *);
static int shut_room(struct request *), shut(struct request *);
static int evict(struct request *), evicted(struct request *);
static int confirm_loss(struct request *), confirmed_loss(struct request *);
static int forget_room(struct request *), forgotten(struct request *);

static const struct step steps[] = {
	USE_TOKEN,
	{ "read-epoch", read_epoch, NULL, NULL, false },
	{ "find-room", find_room, found_room, NULL, true },
	{ "shut-room", shut_room, shut, NULL, true },
	{ "evict", evict, evicted, NULL, false },
	{ "confirm-loss", confirm_loss, confirmed_loss, NULL, true },
	{ "forget-room", forget_room, forgotten, NULL, true },
	STEPS_END
};

static int read_epoch(struct request *rq)
{
	struct closing *cl = rq->state;
	struct str epoch, force;

	if (!request_param(rq, "epoch", &epoch) || !request_param(rq, "force", &force))
		return -ERR_BAD_REQUEST;
	if (epoch.at && (!parse_u64(epoch, &cl->epoch) || !cl->epoch || cl->epoch > EPOCH_MAX))
		return request_fail(rq, ERR_BAD_REQUEST, "epoch: must be a whole number from 1 to 2^53 - 1");
	if (!epoch.at && !str_is(force, "true"))
		return request_fail(rq, ERR_BAD_REQUEST, "epoch: required, or force=true to close whatever is there");
	return NEXT;
}

static int find_room(struct request *rq)
{
	struct closing *cl = rq->state;

	return rooms_find(rq->worker->store, rq->names[NAME_ROOM], true, request_store_due(rq), &cl->room, &rq->wait);
}

static int stale(struct request *rq, uint64_t epoch)
{
	metric_add(rq->worker->sheet, M_EPOCH_CONFLICTS, NULL, NULL, 1);
	return request_fail(rq, ERR_STALE_EPOCH, "the room is at epoch %llu", (unsigned long long)epoch);
}

static int found_room(struct request *rq)
{
	struct closing *cl = rq->state;

	if (cl->room.state == ROOM_NONE)
		return request_fail(rq, ERR_NOT_FOUND, "no node holds this room");
	if (cl->epoch && cl->room.epoch != cl->epoch)
		return stale(rq, cl->room.epoch);
	return NEXT;
}

static int shut_room(struct request *rq)
{
	struct closing *cl = rq->state;

	return rooms_shut(rq->worker->store, rq->names[NAME_ROOM], cl->room.epoch, request_store_due(rq), &cl->shut, &rq->wait);
}

static int shut(struct request *rq)
{
	struct closing *cl = rq->state;

	return cl->shut.won ? NEXT : stale(rq, cl->shut.room.epoch);
}

static int evict(struct request *rq)
{
	struct closing *cl = rq->state;
	struct sfu_room room = { .node = cl->room.node, .incarnation = cl->room.incarnation, .room = rq->names[NAME_ROOM],
		                 .epoch = cl->room.epoch, .request_id = rq->id };

	worker_close_room(rq->worker->router, rq->names[NAME_ROOM], cl->room.epoch, 1000, "room_closed", 0);
	return sfu_evict(rq->worker->sfu, &room, request_arena(rq), &cl->evicted, &rq->wait);
}

static int look_again(struct request *rq)
{
	keeper_refresh(rq->worker->router);
	return request_park(rq, evict, ERR_NODE_UNAVAILABLE);
}

static int evicted(struct request *rq)
{
	struct closing *cl = rq->state;
	const struct fleet *fleet = rq->worker->router->fleet;

	if (cl->evicted.verdict == SFU_DONE)
		return request_go(rq, forget_room);
	if (fleet_misses(fleet, cl->room.node, cl->room.incarnation, &cl->missed_since))
		return NEXT;
	if (cl->missed_since)
		return look_again(rq);
	return request_fail(rq, ERR_NODE_UNAVAILABLE, "node %s did not confirm; the room stays `closing` until it does", cl->room.node);
}

static int confirm_loss(struct request *rq)
{
	struct closing *cl = rq->state;

	return nodes_owner(rq->worker->store, cl->room.node, cl->room.incarnation, request_store_due(rq), &cl->owner, &rq->wait);
}

static int confirmed_loss(struct request *rq)
{
	return ((struct closing *)rq->state)->owner == OWNER_GONE ? NEXT : look_again(rq);
}

static int forget_room(struct request *rq)
{
	struct closing *cl = rq->state;

	return rooms_forget(rq->worker->store, rq->names[NAME_ROOM], cl->room.epoch, request_store_due(rq), &cl->gone, &rq->wait);
}

static int forgotten(struct request *rq)
{
	struct closing *cl = rq->state;

	nodes_unindex(rq->worker->store, cl->room.node, rq->names[NAME_ROOM], cl->room.epoch);
	log_change("room_closed", "request", LOG_S(rq->id), "room", LOG_B(rq->names[NAME_ROOM].at, rq->names[NAME_ROOM].len), "node",
	         LOG_S(cl->room.node), "epoch", LOG_U(cl->room.epoch));
	return request_empty(rq, 204);
}

const struct verb close_verb = { steps, sizeof(struct closing), NULL };
