/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to SFUs: every open, evict, probe, proxied request and tunnel opening enters here and leaves with its outcome.
 * guard_enter() asks the breaker; guard_leave() turns the outcome into a verdict and sends it to the keeper. What counts as a
 * failure is decided in guard.c and nowhere else.
 */
#pragma once

#include "base/http.h"
#include "health/fleet.h"

enum call_kind { CALL_OPEN, CALL_EVICT, CALL_LIST, CALL_PROBE, CALL_PROXY, CALL_TUNNEL };
extern const char *const call_kind_words[];

struct guard { /* one call under way; plain data, in its owner */
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	enum call_kind kind;
	struct admission admission;
	bool entered;
};
/* 0, -ERR_BREAKER_OPEN (with *retry_ms), or -ERR_OWNER_LOST when the fleet has no such node with this incarnation. */
int guard_enter(struct fleet *, const char *node, const char *incarnation, enum call_kind, uint64_t now_ms,
                struct guard *out, uint64_t *retry_ms);
/* status: of HTTP_ANSWERED; for tunnels 101 or what came instead. room: of participants' calls, else empty. Once. */
void guard_leave(struct fleet *, struct guard *, enum http_outcome, int status, uint64_t retry_after_ms, struct str room);
