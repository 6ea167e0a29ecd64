/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cookie is a ticket of another kind: bound to the room and its holder, sent back to this room's signaling alone, out of the
 * reach of scripts. As browsers add it by themselves, it counts only where the Origin may use us.
 */
#include <string.h>

#include "base/arena.h"
#include "base/httpd.h"
#include "base/url.h"
#include "base/wire/offer.h"
#include "base/wire/ticket.h"
#include "router/access.h"
#include "router/address.h"
#include "router/request.h"
#include "router/router.h"
#include "router/session.h"
#include "router/worker.h"

#define COOKIE "usher_session"

bool session_cookie(const struct request *rq, struct str *ticket)
{
	struct str cookie = offer_piece(rq->x, "Cookie", ';', STR(COOKIE "="));

	if (cookie.at)
		*ticket = (struct str){ cookie.at + strlen(COOKIE "="), cookie.len - strlen(COOKIE "=") };
	return cookie.at != NULL;
}

/* As a browser sees it: with the path that server.public_url has before ours. */
static struct str signal_path(struct request *rq)
{
	struct str url = address_signal(rq, rq->names[NAME_ROOM]);
	const char *host = memchr(url.at, '/', url.len) + 2;
	const char *path = memchr(host, '/', url.len - (size_t)(host - url.at));

	return (struct str){ path, url.len - (size_t)(path - url.at) };
}

void session_begin(struct request *rq)
{
	const struct router *router = rq->worker->router;
	uint64_t valid_ms = router->conf.auth.session_ms;
	struct url url;

	if (rq->let_in_by != TICKET_JOIN)
		return;
	bool secure = exchange_tls(rq->x) || (router->public_url && url_parse(router->public_url, &url, NULL) && url.tls);
	struct str path = signal_path(rq), ticket = access_ticket(rq, TICKET_SESSION, rq->names[NAME_ROOM], str_of(rq->who), valid_ms);
	exchange_add(rq->x, "Set-Cookie", str_of(arena_printf(request_arena(rq), COOKIE "=%.*s; Path=%.*s; Max-Age=%llu; HttpOnly; SameSite=Lax%s",
	                                                      STR_ARG(ticket), STR_ARG(path), (unsigned long long)(valid_ms / 1000),
	                                                      secure ? "; Secure" : "")));
}
