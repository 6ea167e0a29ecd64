/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that is shown is one by each key, the one that signs first: while keys change, the node may have heard only from a router that
 * signs by another, and nobody is to be refused for that. What an open and an answer bring replaces what the node had.
 */
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "health/sfu.h"
#include "registry/rooms.h"
#include "router/access.h"
#include "router/grants.h"
#include "router/request.h"
#include "router/router.h"
#include "router/worker.h"

bool grants_on(const struct router *router)
{
	return access_grant_keys(router) != NULL;
}

void grants_name(const struct router *router, char out[static GRANTS_MAX])
{
	const struct secret_keys *keys = access_grant_keys(router);

	memcpy(out, "none", sizeof("none"));
	if (keys)
		keys_name(keys, out);
}

bool grants_demanded(const struct router *router)
{
	return router->conf.auth.demand_grants && grants_on(router);
}

void grants_prove(void *arg, const struct sfu_room *room, struct sfu_proof *out)
{
	const struct secret_keys *keys = access_grant_keys(arg);
	struct granted_room granted = { room->room, room->node, room->incarnation, room->epoch };

	if (!keys)
		return;
	grant_write_all(keys, &granted, out->grants);
	call_key_write_all(keys, room->node, room->incarnation, out->call_key);
}

struct str grants_of_request(struct request *rq, struct str name, const struct room *room)
{
	const struct secret_keys *keys = access_grant_keys(rq->worker->router);
	struct granted_room granted = { name, room->node, room->incarnation, room->epoch };
	char *text = keys ? arena_alloc(request_arena(rq), GRANTS_MAX) : NULL;

	if (!text)
		return (struct str){ "", 0 };
	grant_write_all(keys, &granted, text);
	return str_of(text);
}

enum grant_worth grants_judge(const struct router *router, const struct granted_room *room, const char *grant)
{
	const struct secret_keys *keys = access_grant_keys(router);
	int by = !keys || !grant ? -1 : grant_signer(keys, room, str_of(grant));

	return !keys || by == 0 ? GRANT_RIGHT : by > 0 ? GRANT_OLD : GRANT_WRONG;
}

void grants_write_call_key(const struct router *router, const char *node, const char *incarnation, struct json_out *json)
{
	const struct secret_keys *keys = access_grant_keys(router);
	char text[GRANTS_MAX];

	if (!keys || !grants_demanded(router))
		return;
	call_key_write_all(keys, node, incarnation, text);
	json_str(json, "call_key", text);
}
