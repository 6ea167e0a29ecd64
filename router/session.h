/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a participant shows at the signaling that a join let them in: a ticket in the URL (`ticket=`) or among the offered
 * subprotocols (`usher.ticket.<ticket>`), and, since a ticket is soon over and plain HTTP comes back for hours, the cookie that the
 * first such request is given. Neither ever reaches a node.
 */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct request;

bool session_cookie(const struct request *, struct str *ticket);
void session_begin(struct request *);         /* adds Set-Cookie, when a ticket let this request in */

