/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token is known again by the hash of what is signed in it, not of all of it: an ES256 signature can be written in another way
 * by whoever has seen it. It is remembered until it ends, and must end soon, so that what the store keeps stays small.
 */
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/log.h"
#include "base/mac.h"
#include "registry/registry.h"
#include "router/once.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/worker.h"

#define LIVES_MAX_MS 600000
#define CLOCKS_MS 10000 /* remembered longer than it lives: other routers' clocks may be 5 s off and serve (/readyz), the store's as well */

static bool changes(const struct request *rq)
{
	const char *method = exchange_method(rq->x);

	return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static struct str name_of(struct request *rq, struct str token)
{
	unsigned char hash[MAC_BYTES];
	struct buf name = { 0 };

	while (token.len && token.at[token.len - 1] != '.')
		token.len--;
	hash_sha256(token, hash);
	base64url_add(&name, hash, sizeof(hash));
	struct str kept = { arena_copy(request_arena(rq), name.at, name.len), name.len };
	buf_free(&name);
	return kept;
}

static bool is_target(const struct request *rq, struct str target)
{
	struct str path = exchange_path(rq->x), query = exchange_query(rq->x);
	size_t len = path.len + (query.at ? 1 + query.len : 0);

	if (target.len != len || memcmp(target.at, path.at, path.len) != 0)
		return false;
	return !query.at || (target.at[path.len] == '?' && !memcmp(target.at + path.len + 1, query.at, query.len));
}

bool token_fits(struct request *rq, const char *method, const char *target)
{
	rq->once.bound = method && target;
	return (!method || !strcmp(method, exchange_method(rq->x))) && (!target || is_target(rq, str_of(target)));
}

const char *token_hold(struct request *rq, struct str token, uint64_t ends_ms)
{
	if (!rq->worker->router->conf.auth.admin_once || !changes(rq))
		return NULL;
	if (!rq->once.bound)
		return "auth.admin_once: a token that changes something must name what: method, and target (path and query)";
	if (ends_ms > wall_ms() + LIVES_MAX_MS)
		return "auth.admin_once: a token that changes something must end within 10 minutes";
	rq->once.name = name_of(rq, token);
	rq->once.ends_ms = ends_ms;
	return NULL;
}

int use_token(struct request *rq)
{
	uint64_t now_ms = wall_ms();

	if (!rq->once.name.len)
		return NEXT;
	return registry_use_once(rq->worker->store, rq->once.name, (rq->once.ends_ms > now_ms ? rq->once.ends_ms - now_ms : 0) + CLOCKS_MS,
	                         request_store_due(rq), &rq->once.first, &rq->wait);
}

int used_token(struct request *rq)
{
	if (!rq->once.name.len || rq->once.first)
		return NEXT;
	log_warn("token_replayed", "request", LOG_S(rq->id), "who", LOG_S(rq->who), "route", LOG_S(rq->route->name));
	return request_fail(rq, ERR_UNAUTHORIZED, "auth.admin_once: the token has been used already; each change needs a token of its own");
}
