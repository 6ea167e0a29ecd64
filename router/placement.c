/* SPDX-License-Identifier: Apache-2.0 */
/* Why a room is where it is (GET /v1/rooms/{room}/placement), and where one would go (POST /v1/placement/simulate). */
#include "base/arena.h"
#include "router/keeper.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/wish.h"
#include "router/worker.h"

struct explaining {
	struct buf json;
};

static int answer(struct request *rq)
{
	struct explaining *ex = rq->state;
	struct buf json = ex->json;

	return request_json(rq, 200, &json);
}

static int explain(struct request *rq)
{
	struct explaining *ex = rq->state;

	return keeper_explain(rq->worker, rq->names[NAME_ROOM], NULL, &ex->json, &rq->wait);
}

static int not_kept(struct request *rq, int err)
{
	if (err == ERR_NOT_FOUND)
		return request_fail(rq, ERR_NOT_FOUND, "this router did not place the room, or it is not among its last placements");
	return -err;
}

static const struct step explain_steps[] = {
	{ "explain", explain, NULL, not_kept, false },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};
const struct verb placement_verb = { explain_steps, sizeof(struct explaining), NULL };

static int simulate(struct request *rq)
{
	struct explaining *ex = rq->state;
	struct place_wish *wish = wish_read(rq, rq->body);

	wish->room = STR("(simulated)");
	return keeper_explain(rq->worker, wish->room, wish, &ex->json, &rq->wait);
}

static const struct step simulate_steps[] = {
	{ "simulate", simulate, NULL, NULL, false },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};
const struct verb simulate_verb = { simulate_steps, sizeof(struct explaining), &join_shape };
