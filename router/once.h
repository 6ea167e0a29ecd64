/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.admin_once: a token lets an operator change one thing, once, at all routers together, so that whoever hears it cannot ask
 * again with it. The first step of every verb that operators change something with.
 */
#pragma once

#include "router/request.h"

#define USE_TOKEN { "use-token", use_token, used_token, NULL, true }

int use_token(struct request *);
int used_token(struct request *);
/* Of an operator's change: keeps by what its token is known again. NULL, or why it does not serve. */
const char *token_hold(struct request *, struct str token, uint64_t ends_ms);
