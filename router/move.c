/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/rooms/{room}/move: to the node that is named, or to the one that placement chooses. 202 once the room is `moving`: it
 * leaves then, and the mover goes on by itself (moving.c). What can be refused is refused before, with the room as it was. A room
 * that is on its way already gets 202 as well, but not to another node than is asked for: that one is not known.
 */
#include <string.h>

#include "base/log.h"
#include "health/fleet.h"
#include "registry/rooms.h"
#include "router/metrics.h"
#include "router/mover.h"
#include "router/once.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct move_body {
	const char *node;
	uint64_t epoch;
};
struct move {
	struct room room;
	uint64_t retry_ms;
};

static bool is_node(const char *s, const char **why)
{
	*why = "must be a node's name";
	return node_valid(s, strlen(s));
}

/* clang-format off */
#define AT(m) offsetof(struct move_body, m)
static const struct json_member members[] = {
	{ "node", JSON_STRING, AT(node), JSON_NO_HAS, 1, NODE_MAX, .check = is_node, .help = "where to; else where placement finds best" },
	{ "epoch", JSON_U64, AT(epoch), JSON_NO_HAS, 1, (double)EPOCH_MAX, .help = "only if the room is at this epoch" },
};
/* clang-format on */
static const struct json_shape shape = { members, 2, sizeof(struct move_body) };

static int find_room(struct request *), found_room(struct request *);
static int check_node(struct request *);
static int move_room(struct request *), not_moved(struct request *, int err);
static int answer(struct request *);

static const struct step steps[] = {
	USE_TOKEN,
	{ "find-room", find_room, found_room, NULL, true },
	{ "check-node", check_node, NULL, NULL, false },
	{ "move-room", move_room, NULL, not_moved, false },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};

static int find_room(struct request *rq)
{
	struct move *mv = rq->state;

	return rooms_find(rq->worker->store, rq->names[NAME_ROOM], true, request_store_due(rq), &mv->room, &rq->wait);
}

static int found_room(struct request *rq)
{
	const struct move *mv = rq->state;
	const struct move_body *body = rq->body;

	if (mv->room.state == ROOM_NONE)
		return request_fail(rq, ERR_NOT_FOUND, "no node holds this room");
	if (body && body->epoch && body->epoch != mv->room.epoch) {
		metric_add(rq->worker->sheet, M_EPOCH_CONFLICTS, NULL, NULL, 1);
		return request_fail(rq, ERR_STALE_EPOCH, "the room is at epoch %llu", (unsigned long long)mv->room.epoch);
	}
	if (mv->room.state == ROOM_OPENING || mv->room.state == ROOM_CLOSING)
		return request_fail(rq, ERR_CONFLICT, "the room is %s", room_state_name(mv->room.state));
	return NEXT;
}

static const char *first_word(unsigned why_not)
{
	for (unsigned bit = 0; bit < WHY_NOT_BITS; bit++)
		if (why_not & 1u << bit)
			return why_not_words[bit];
	return "";
}

static int check_node(struct request *rq)
{
	const struct move *mv = rq->state;
	const struct move_body *body = rq->body;
	const struct node *node;

	if (!body || !body->node)
		return NEXT;
	node = fleet_find(rq->worker->router->fleet, body->node);
	if (!node)
		return request_fail(rq, ERR_UNKNOWN_NODE, "no node %s", body->node);
	if (!strcmp(body->node, mv->room.node))
		return request_fail(rq, ERR_CONFLICT, "the room is on %s", body->node);
	if (node->why_not)
		return request_fail(rq, ERR_CONFLICT, "%s takes no new rooms: %s", body->node, first_word(node->why_not));
	return NEXT;
}

static int move_room(struct request *rq)
{
	struct move *mv = rq->state;
	const struct move_body *body = rq->body;

	return mover_ask(rq->worker, rq->names[NAME_ROOM], &mv->room, body ? body->node : NULL, &mv->retry_ms, &rq->wait);
}

static int not_moved(struct request *rq, int err)
{
	rq->retry_ms = ((struct move *)rq->state)->retry_ms;
	return err == ERR_STALE_EPOCH ? request_fail(rq, ERR_STALE_EPOCH, "the room has changed meanwhile") : -err;
}

static int answer(struct request *rq)
{
	const struct move *mv = rq->state;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	json_open(&json, NULL, '{');
	json_view(&json, "room", rq->names[NAME_ROOM]);
	json_str(&json, "from", mv->room.node);
	json_u64(&json, "epoch", mv->room.epoch);
	json_close(&json, '}');
	return request_json(rq, 202, &text);
}

const struct verb move_verb = { steps, sizeof(struct move), &shape };
