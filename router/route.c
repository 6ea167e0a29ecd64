/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET and POST /v1/rooms/{room}/route: the decision and nothing else, for load balancers. The hot path: a known room is
 * answered from the process's table without leaving this call.
 */
#include <string.h>

#include "base/arena.h"
#include "router/resolve.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

static int read_assign(struct request *);
static int answer(struct request *);

static const struct step steps[] = {
	{ "read-assign", read_assign, NULL, NULL, false },
	RESOLVE_STEPS,
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};

static int read_assign(struct request *rq)
{
	struct str assign;
	bool may_place = !strcmp(exchange_method(rq->x), "POST");

	if (exchange_query(rq->x).len) {
		if (!request_param(rq, "assign", &assign))
			return -ERR_BAD_REQUEST;
		if (assign.at && !str_is(assign, "1") && !str_is(assign, "0"))
			return request_fail(rq, ERR_BAD_REQUEST, "assign: must be 0 or 1");
		may_place = may_place || str_is(assign, "1");
	}
	resolve_begin(rq, may_place, answer);
	return NEXT;
}

static int answer(struct request *rq)
{
	struct resolve *rs = rq->state;
	const struct node *node = resolve_node(rq);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	char digits[U64_TEXT_MAX];

	if (!node)
		return resolve_anew(rq);
	struct str epoch = u64_text(digits, rs->room.epoch);
	exchange_add(rq->x, "X-Usher-Node", str_of(rs->room.node));
	exchange_add(rq->x, "X-Usher-Epoch", epoch);
	exchange_add(rq->x, "X-Usher-Signal-Url", str_of(node->info.signal_url));
	json_open(&json, NULL, '{');
	json_view(&json, "room", rs->name);
	json_str(&json, "node", rs->room.node);
	json_raw(&json, "epoch", epoch);
	json_str(&json, "signal_url", node->info.signal_url);
	if (peer_room_asks(rq)) {
		json_str(&json, "incarnation", rs->room.incarnation);
		json_u64(&json, "registration", rs->room.registration);
	}
	json_close(&json, '}');
	return request_json(rq, 200, &text);
}

const struct verb route_verb = { steps, sizeof(struct resolve), NULL };
