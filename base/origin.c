/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An origin is compared as a whole: scheme, host and port (RFC 6454), as browsers write it: in lower case, a name that is not ASCII
 * in its xn-- form, "null" for pages that are nobody's.
 */
#include <string.h>

#include "base/origin.h"

bool origin_listed(const char *list, struct str origin, bool any)
{
	struct str rest = str_of(list), piece;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if ((any && str_is(piece, "*")) || (piece.len && str_eq(piece, origin)))
			return true;
	}
	return false;
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

static bool is_own(const struct origin_rules *rules, struct str origin)
{
	bool https = cut_front(&origin, "https://");

	if (!https && (rules->secure || !cut_front(&origin, "http://")))
		return false;
	const char *port = https ? ":443" : ":80";
	struct str own = without(rules->host, port), theirs = without(origin, port);
	return own.len && own.len == theirs.len && !strncasecmp(own.at, theirs.at, own.len);
}

bool origin_passes(const struct exchange *x, const struct origin_rules *rules)
{
	size_t n, found = 0;
	const struct header *headers = exchange_headers(x, &n);
	struct str origin = exchange_header(x, "Origin");

	for (size_t i = 0; i < n; i++)
		found += str_is_nocase(headers[i].name, "Origin");
	return !found || (found == 1 && (origin_listed(rules->list, origin, rules->any) || is_own(rules, origin)));
}
