/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/origin.h"

bool origin_listed(const char *list, struct str origin)
{
	struct str rest = str_of(list), piece;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if (str_is(piece, "*") || (piece.len && str_eq(piece, origin)))
			return true;
	}
	return false;
}

bool origin_allowed(const char *list, const struct exchange *x)
{
	struct str origin = exchange_header(x, "Origin"), host = exchange_header(x, "Host");

	if (!origin.at || origin_listed(list, origin))
		return true;
	/* The page that we are part of: the browser's Origin is the Host that it asked. */
	return origin.len > host.len + 3 && str_eq((struct str){ origin.at + origin.len - host.len, host.len }, host) &&
	       !memcmp(origin.at + origin.len - host.len - 3, "://", 3);
}
