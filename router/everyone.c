/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /livez, /readyz, /metrics. Liveness depends on nothing but the loop that answers: a store or an SFU that fails must never
 * make an orchestrator restart routers that still carry every known room.
 */
#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "health/fleet.h"
#include "registry/registry.h"
#include "registry/table.h"
#include "router/metrics.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

static int live(struct request *rq)
{
	struct buf text = { 0 };

	buf_adds(&text, "{\"status\":\"live\"}");
	return request_json(rq, 200, &text);
}

static const struct step live_steps[] = { { "answer", live, NULL, NULL, false }, STEPS_END };
const struct verb livez_verb = { live_steps, 0, NULL };

static int ready(struct request *rq)
{
	struct router *router = rq->worker->router;
	bool store = registry_up(router->registry), knows = table_count(registry_table(router->registry)) > 0;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	if (atomic_load(&router->phase) == PHASE_LEAVING)
		return request_fail(rq, ERR_SHUTTING_DOWN, "this router is stopping");
	if (!fleet_view(router->fleet)->ready && !knows)
		return request_fail(rq, ERR_STORE_UNAVAILABLE, "starting: the store has not answered yet");
	int64_t off_ms = peers_view(router->peers)->clock_off_ms;
	if (off_ms)
		return request_fail(rq, ERR_STORE_UNAVAILABLE, "the clock of this host is %lld s off those of most routers",
		                    (long long)off_ms / 1000);
	if (!store && !knows)
		return request_fail(rq, ERR_STORE_UNAVAILABLE, "neither the store answers nor is any room known");
	json_open(&json, NULL, '{');
	json_str(&json, "status", "ready");
	json_str(&json, "store", store ? "up" : "down");
	json_close(&json, '}');
	return request_json(rq, 200, &text);
}

static const struct step ready_steps[] = { { "answer", ready, NULL, NULL, false }, STEPS_END };
const struct verb readyz_verb = { ready_steps, 0, NULL };

static int expose(struct request *rq)
{
	struct buf text = { 0 };

	metrics_expose(rq->worker->router->metrics, &text);
	struct str body = { arena_copy(request_arena(rq), text.at, text.len), text.len };
	buf_free(&text);
	exchange_add(rq->x, "Content-Type", STR("text/plain; version=0.0.4; charset=utf-8"));
	rq->status = 200;
	exchange_answer(rq->x, 200, body);
	return DONE;
}

static const struct step expose_steps[] = { { "expose", expose, NULL, NULL, false }, STEPS_END };
const struct verb metrics_verb = { expose_steps, 0, NULL };
