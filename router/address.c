/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without server.public_url the Host of the request says how participants reach us: fine on loopback, where it is checked
 * against server.hosts; elsewhere public_url is required, as a Host header can be anything.
 */
#include <string.h>

#include "base/arena.h"
#include "base/url.h"
#include "base/wire/offer.h"
#include "health/fleet.h"
#include "router/address.h"
#include "router/request.h"
#include "router/router.h"
#include "router/worker.h"

static struct str take(struct request *rq, struct buf *buf)
{
	struct str out = { arena_copy(request_arena(rq), buf->at, buf->len), buf->len };

	buf_free(buf);
	return out;
}

struct str address_room(struct request *rq, struct str room)
{
	struct buf out = { 0 };

	percent_encode(&out, room);
	return take(rq, &out);
}

struct str address_signal(struct request *rq, struct str room)
{
	const struct router *router = rq->worker->router;
	struct buf out = { 0 };
	struct url url;

	if (router->public_url && url_parse(router->public_url, &url, NULL)) {
		while (url.path.len && url.path.at[url.path.len - 1] == '/')
			url.path.len--;
		buf_printf(&out, "%s://%.*s%.*s", url.tls ? "wss" : "ws", STR_ARG(url.authority), STR_ARG(url.path));
	} else {
		struct str host = exchange_header(rq->x, "Host");
		buf_printf(&out, "ws%s://%.*s", exchange_tls(rq->x) ? "s" : "", STR_ARG(host));
	}
	buf_adds(&out, "/v1/rooms/");
	percent_encode(&out, room);
	buf_adds(&out, "/signal");
	return take(rq, &out);
}

const char *address_upstream(struct request *rq, const struct node *node, bool websocket)
{
	const char *base = node->info.http_url && *node->info.http_url && !websocket ? node->info.http_url : node->info.signal_url;
	struct buf out = { 0 };
	struct url url;

	if (!base || !url_parse(base, &url, NULL))
		return NULL;
	buf_adds(&out, websocket ? "ws" : "http");
	buf_adds(&out, url.tls ? "s://" : "://");
	buf_add(&out, url.authority.at, url.authority.len);
	if (url.path.len)
		buf_add(&out, url.path.at, url.path.len);
	else if (!rq->rest.len)
		buf_adds(&out, "/");
	if (rq->rest.len && out.at[out.len - 1] == '/')
		out.len--; /* "/janus/" and "/123" make "/janus/123" */
	buf_add(&out, rq->rest.at, rq->rest.len);
	if (url.query.len)
		buf_printf(&out, "?%.*s", STR_ARG(url.query));
	offer_pass_query(&out, exchange_query(rq->x), url.query.len ? '&' : '?');
	return take(rq, &out).at;
}
