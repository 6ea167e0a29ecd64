/* SPDX-License-Identifier: Apache-2.0 */
/* Which pages of browsers may use a server: the Origin that the browser adds, against a list with commas; "*": any. */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

bool origin_listed(const char *list, struct str origin);
bool origin_allowed(const char *list, const struct exchange *); /* … or no browser asks, or a page of this very host */
