/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our own page is one whose origin is the host that it asks. On https that page came by https, too: http://host may be the word of
 * anybody on the network, and must not use what https protects. The other way round is no loss: TLS may have ended before us.
 */
#include <string.h>

#include "base/origin.h"

static bool is_listed(const char *list, struct str origin, bool any)
{
	struct str rest = str_of(list), piece;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if ((any && str_is(piece, "*")) || (piece.len && str_eq(piece, origin)))
			return true;
	}
	return false;
}

bool origin_listed(const char *list, struct str origin)
{
	return is_listed(list, origin, true);
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

static bool is_own(const struct origins *origins, struct str origin)
{
	bool https = cut_front(&origin, "https://");

	if (!https && (origins->secure || !cut_front(&origin, "http://")))
		return false;
	struct str own = without(origins->host, https ? ":443" : ":80"), theirs = without(origin, https ? ":443" : ":80");
	return own.len && own.len == theirs.len && !strncasecmp(own.at, theirs.at, own.len);
}

static bool passes(const struct origins *origins, const struct exchange *x, bool any)
{
	size_t n, found = 0;
	const struct header *headers = exchange_headers(x, &n);
	struct str origin = exchange_header(x, "Origin");

	for (size_t i = 0; i < n; i++)
		found += str_is_nocase(headers[i].name, "Origin");
	return !found || (found == 1 && (is_listed(origins->list, origin, any) || is_own(origins, origin)));
}

bool origin_allowed(const struct origins *origins, const struct exchange *x)
{
	return passes(origins, x, true);
}

bool origin_trusted(const struct origins *origins, const struct exchange *x)
{
	return passes(origins, x, false);
}
