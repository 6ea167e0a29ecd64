/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/rooms, /v1/rooms/{room} and /v1/nodes/{node}/rooms: what the store says, page by page, asked anew each time. The
 * rooms of one node come from its index; rooms by prefix from a scan that is bounded at each call.
 */
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "router/page.h"
#include "router/request.h"
#include "router/room_view.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

void room_write(struct json_out *json, const struct router *router, struct str name, const struct room *room, int64_t participants)
{
	bool owned = room->state == ROOM_NONE || fleet_owns(router->fleet, room->node, room->incarnation) ||
		     !fleet_view(router->fleet)->ready;
	char created[25];

	time_rfc3339(room->created_ms, created);
	json_open(json, NULL, '{');
	json_view(json, "room", name);
	json_str(json, "node", room->node);
	json_u64(json, "epoch", room->epoch);
	json_str(json, "state", owned ? room_state_name(room->state) : "lost");
	json_str(json, "created_at", created);
	if (participants >= 0 && participants != ROOM_LET_GO)
		json_u64(json, "participants", (uint64_t)participants);
	else
		json_null(json, "participants");
	json_str(json, "assigned_by", room->assigned_by);
	json_close(json, '}');
}

/* -- lists ------------------------------------------------------------------------------------------------------------------------ */
struct listing {
	struct page page;
	struct str node, prefix;
	struct rooms_page answer;
};

static int read_query(struct request *rq)
{
	struct listing *ls = rq->state;

	if (!request_param(rq, "node", &ls->node) || !request_param(rq, "prefix", &ls->prefix))
		return -ERR_BAD_REQUEST;
	if (rq->names[NAME_NODE].at)
		ls->node = rq->names[NAME_NODE];
	if (ls->node.at && !node_valid(ls->node.at, ls->node.len))
		return request_fail(rq, ERR_INVALID_NODE, "node: must be 1 to %d of A-Z a-z 0-9 . _ -", NODE_MAX);
	if (ls->prefix.len > ROOM_MAX)
		return request_fail(rq, ERR_BAD_REQUEST, "prefix: at most %d bytes", ROOM_MAX);
	return page_read(rq, &ls->page);
}

static int list_rooms(struct request *rq)
{
	struct listing *ls = rq->state;
	struct rooms_query query = { .node = ls->node.at, .prefix = ls->prefix, .cursor = ls->page.cursor.at, .limit = ls->page.limit,
		                      .partial = true };

	return rooms_list(rq->worker->store, &query, request_arena(rq), request_store_due(rq), &ls->answer, &rq->wait);
}

static int not_listed(struct request *rq, int err)
{
	if (err == ERR_BAD_REQUEST)
		return request_fail(rq, ERR_BAD_REQUEST, "cursor: not one of this list");
	return -err;
}

static int answer_list(struct request *rq)
{
	struct listing *ls = rq->state;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	page_open(&json, "rooms");
	for (size_t i = 0; i < ls->answer.count; i++)
		room_write(&json, rq->worker->router, ls->answer.rows[i].name, &ls->answer.rows[i].room, ls->answer.rows[i].participants);
	page_close(&json, ls->answer.next, ls->answer.missing);
	return request_json(rq, 200, &text);
}

static const struct step list_steps[] = {
	{ "read-query", read_query, NULL, NULL, false },
	{ "list-rooms", list_rooms, NULL, not_listed, true },
	{ "answer", answer_list, NULL, NULL, false },
	STEPS_END
};
const struct verb rooms_verb = { list_steps, sizeof(struct listing), NULL };
const struct verb node_rooms_verb = { list_steps, sizeof(struct listing), NULL };

/* -- one room ----------------------------------------------------------------------------------------------------------------------- */
struct showing {
	struct room room;
	struct room_report use;
};

static int find_room(struct request *rq)
{
	struct showing *show = rq->state;

	return rooms_find(rq->worker->store, rq->names[NAME_ROOM], true, request_store_due(rq), &show->room, &rq->wait);
}

static int found_room(struct request *rq)
{
	struct showing *show = rq->state;

	return show->room.state == ROOM_NONE ? request_fail(rq, ERR_NOT_FOUND, "no node holds this room") : NEXT;
}

static int find_use(struct request *rq)
{
	struct showing *show = rq->state;

	return nodes_room(rq->worker->store, show->room.node, rq->names[NAME_ROOM], request_store_due(rq), &show->use, &rq->wait);
}

static int no_use(struct request *rq, int err)
{
	struct showing *show = rq->state;

	(void)err; /* not in the index: the node has not reported it yet */
	show->use.participants = -1;
	return NEXT;
}

static int answer_room(struct request *rq)
{
	struct showing *show = rq->state;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	room_write(&json, rq->worker->router, rq->names[NAME_ROOM], &show->room, show->use.participants);
	return request_json(rq, 200, &text);
}

static const struct step room_steps[] = {
	{ "find-room", find_room, found_room, NULL, true },
	{ "find-use", find_use, NULL, no_use, true },
	{ "answer", answer_room, NULL, NULL, false },
	STEPS_END
};
const struct verb room_verb = { room_steps, sizeof(struct showing), NULL };
