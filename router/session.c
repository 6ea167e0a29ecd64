/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cookie is a ticket of another kind: bound to the room and its holder, sent back to this room's signaling alone, out of the
 * reach of scripts. As browsers add it by themselves, it counts only where the Origin may use us.
 */
#include <string.h>

#include "base/arena.h"
#include "base/httpd.h"
#include "base/url.h"
#include "base/wire/ticket.h"
#include "router/access.h"
#include "router/address.h"
#include "router/request.h"
#include "router/router.h"
#include "router/session.h"
#include "router/worker.h"

#define COOKIE "usher_session"
#define PROTOCOL "usher.ticket."

static bool begins(struct str text, struct str with)
{
	return text.len > with.len && !memcmp(text.at, with.at, with.len);
}

/* The first piece, over all headers of this name, that begins so. */
static struct str find_piece(const struct request *rq, const char *header, char separator, struct str with)
{
	size_t n;
	const struct header *all = exchange_headers(rq->x, &n);

	for (size_t i = 0; i < n; i++) {
		struct str rest = all[i].value, piece;
		while (str_is_nocase(all[i].name, header) && str_cut(&rest, separator, &piece))
			if (begins(str_trim(piece), with))
				return str_trim(piece);
	}
	return (struct str){ 0 };
}

static struct str after(struct str text, struct str with)
{
	return (struct str){ text.at + with.len, text.len - with.len };
}

struct str session_protocol(const struct request *rq)
{
	return find_piece(rq, "Sec-WebSocket-Protocol", ',', STR(PROTOCOL));
}

bool session_ticket(const struct request *rq, struct str *ticket)
{
	struct str offered = session_protocol(rq);

	if (query_get(exchange_query(rq->x), "ticket", ticket))
		return true;
	if (offered.at)
		*ticket = after(offered, STR(PROTOCOL));
	return offered.at != NULL;
}

bool session_cookie(const struct request *rq, struct str *ticket)
{
	struct str cookie = find_piece(rq, "Cookie", ';', STR(COOKIE "="));

	if (cookie.at)
		*ticket = after(cookie, STR(COOKIE "="));
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

struct str session_protocols(struct request *rq, struct str offered)
{
	char *kept = arena_alloc(request_arena(rq), offered.len + 1);
	struct str rest = offered, piece;
	size_t len = 0;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if (!piece.len || begins(piece, STR(PROTOCOL)))
			continue;
		if (len)
			kept[len++] = ',';
		memcpy(kept + len, piece.at, piece.len);
		len += piece.len;
	}
	return (struct str){ kept, len };
}
