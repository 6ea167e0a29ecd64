/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages of browsers may use a server, by the Origin that the browser adds. It is compared as a whole: scheme, host and port
 * (RFC 6454), as browsers write it: in lower case, a name that is not ASCII in its xn-- form, "null" for pages that are nobody's.
 */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

struct origins {
	const char *list; /* comma-separated; "*": any */
	struct str host;  /* that the browser asked: a page from there is our own */
	bool secure;      /* we are reached by https: a page that came by http is not our own */
};
bool origin_listed(const char *list, struct str origin);
bool origin_allowed(const struct origins *, const struct exchange *); /* no Origin, our own, or one of the list */
bool origin_trusted(const struct origins *, const struct exchange *); /* the same without "*": for cookies, which browsers add by themselves */
