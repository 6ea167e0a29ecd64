/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of which sites may use us from a browser: our own, and those of server.origins. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct request;

bool site_listed(const struct request *, struct str origin); /* in server.origins, * among them */
bool site_allowed(struct request *); /* no Origin, our own, or a listed one: for what carries a credential of its own */
bool site_trusted(struct request *); /* the same without *: for cookies, which browsers add by themselves */
