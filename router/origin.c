/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An origin is compared as a whole: scheme, host and port (RFC 6454), as browsers write it: in lower case, a name that is not ASCII
 * in its xn-- form, "null" for pages that are nobody's. Our own page is one whose origin is the host that it asks. On https that
 * page came by https, too: http://host may be the word of anybody on the network, and must not use what https protects.
 */
#include <stdatomic.h>
#include <string.h>

#include "base/httpd.h"
#include "router/edge.h"
#include "router/origin.h"
#include "router/request.h"
#include "router/router.h"
#include "router/worker.h"

static bool listed(const struct request *rq, struct str origin, bool any)
{
	struct str rest = str_of(atomic_load(&rq->worker->router->origins)), piece;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if ((any && str_is(piece, "*")) || (piece.len && str_eq(piece, origin)))
			return true;
	}
	return false;
}

bool origin_listed(const struct request *rq, struct str origin)
{
	return listed(rq, origin, true);
}

static bool cut_front(struct str *text, const char *front)
{
	size_t len = strlen(front);

	if (text->len < len || memcmp(text->at, front, len) != 0)
		return false;
	*text = (struct str){ text->at + len, text->len - len };
	return true;
}

/* Browsers leave the scheme's own port out, of Origin and of Host alike; other clients may write it in either. */
static struct str without(struct str host, const char *port)
{
	size_t len = strlen(port);

	if (host.len > len && !memcmp(host.at + host.len - len, port, len))
		host.len -= len;
	return host;
}

static bool is_secure(struct request *rq)
{
	const char *url = rq->worker->router->public_url;

	return str_is(edge_forwarded_proto(rq), "https") || (url && !strncmp(url, "https:", 6));
}

static bool is_own(struct request *rq, struct str origin)
{
	struct str host = edge_forwarded_host(rq);
	bool https = cut_front(&origin, "https://");

	if (!https && (is_secure(rq) || !cut_front(&origin, "http://")))
		return false;
	const char *port = https ? ":443" : ":80";
	struct str own = without(host, port), theirs = without(origin, port);
	return own.len && own.len == theirs.len && !strncasecmp(own.at, theirs.at, own.len);
}

static bool passes(struct request *rq, bool any)
{
	size_t n, found = 0;
	const struct header *headers = exchange_headers(rq->x, &n);
	struct str origin = exchange_header(rq->x, "Origin");

	for (size_t i = 0; i < n; i++)
		found += str_is_nocase(headers[i].name, "Origin");
	return !found || (found == 1 && (listed(rq, origin, any) || is_own(rq, origin)));
}

bool origin_allowed(struct request *rq)
{
	return passes(rq, true);
}

bool origin_trusted(struct request *rq)
{
	return passes(rq, false);
}
