/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.admin_once: a token of an operator names the one change that it is for, and lets it happen once at all routers together, so
 * that whoever hears it can change nothing with it. The first step of every verb that operators change something with.
 */
#pragma once

#include "router/request.h"

#define USE_TOKEN { "use-token", use_token, used_token, NULL, true }

int use_token(struct request *);
int used_token(struct request *);
/* Is this the request that the token names, as far as it names one? NULL: it does not. */
bool token_fits(struct request *, const char *method, const char *target);
/* Of an operator's change: keeps by what its token is known again. NULL, or why it does not serve. */
const char *token_hold(struct request *, struct str token, uint64_t ends_ms);
