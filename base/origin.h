/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of browsers may use a server: the Origin that the browser adds, against a list with commas; "*": any. */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

struct origin_rules {
	const char *list;
	bool any;        /* does a * in it count? */
	struct str host; /* what was asked: the page of this very host is our own, */
	bool secure;     /* by https: http://host may be the word of anybody on the network then */
};
bool origin_listed(const char *list, struct str origin, bool any);
bool origin_passes(const struct exchange *, const struct origin_rules *); /* no Origin, our own, or a listed one */
