/* SPDX-License-Identifier: Apache-2.0 */
/* GET /v1/routers, and the one answer of every route that is not in this version. */
#include "base/arena.h"
#include "base/json.h"
#include "router/agree.h"
#include "router/page.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

/* What must be the same and is not, as this router sees it. */
static void write_differences(struct json_out *json, const struct peer *peer)
{
	json_open(json, "config_differs", '[');
	for (size_t i = 0; i < peer->ndifferences; i++) {
		json_open(json, NULL, '{');
		json_str(json, "setting", peer->differences[i].key);
		json_str(json, "here", peer->differences[i].here);
		json_str(json, "there", peer->differences[i].there);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void write_peer(struct json_out *json, const struct peer *peer)
{
	char started[25];

	time_rfc3339(peer->started_ms, started);
	json_open(json, NULL, '{');
	json_str(json, "id", peer->id);
	json_str(json, "url", peer->url);
	json_str(json, "version", peer->version);
	json_str(json, "started_at", started);
	json_u64(json, "heard_age_ms", peer->heard_age_ms);
	json_u64(json, "rooms", peer->rooms);
	json_u64(json, "tunnels", peer->tunnels);
	json_u64(json, "breakers_not_closed", peer->nbreakers);
	write_differences(json, peer);
	json_close(json, '}');
}

static int list_routers(struct request *rq)
{
	const struct peers_view *view = peers_view(rq->worker->router->peers);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	page_open(&json, "routers");
	for (size_t i = 0; i < view->count && i < PAGE_MAX; i++)
		write_peer(&json, &view->peers[i]);
	page_close(&json, NULL, NULL);
	return request_json(rq, 200, &text);
}

static const struct step steps[] = { { "list-routers", list_routers, NULL, NULL, false }, STEPS_END };
const struct verb routers_verb = { steps, 0, NULL };

static int not_yet(struct request *rq)
{
	return request_fail(rq, ERR_NOT_IMPLEMENTED, "this route comes with a later version");
}

static const struct step later_steps[] = { { "not-yet", not_yet, NULL, NULL, false }, STEPS_END };
const struct verb later_verb = { later_steps, 0, NULL };
