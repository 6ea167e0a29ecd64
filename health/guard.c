/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What counts as a failure is this table and nothing else:
 *
 *   outcome, status                    usher's own calls, tunnels   participants' requests
 *   answered below 500 but 429         ok                           ok
 *   answered 429, 503 with Retry-After nothing; the node is full    nothing; the node is full
 *   answered 5xx otherwise             failure                      failure once a second room is hit
 *   not connected, reset, garbage      failure                      failure
 *   timeout                            failure                      nothing: a long poll is silent by design
 *   cancelled                          nothing                      nothing
 *
 * A tunnel's opening is a participant's request for 5xx (one room may be broken), and a call of usher's for timeouts (its
 * handshake is no long poll). Base reports connections that did not come about as refused wherever it can tell.
 */
#include <string.h>

#include "base/error.h"
#include "registry/hash.h"
#include "health/guard.h"

#define FULL_MS 1000 /* of a 429 that does not say for how long */

const char *const call_kind_words[] = { "open", "evict", "list", "probe", "proxy", "tunnel", NULL };

static const struct {
	enum breaker_class class;
	bool of_room;  /* a participant's: one broken room is not a broken node */
	bool may_wait; /* silence is no fault */
} kinds[] = {
	[CALL_OPEN] = { CLASS_CONTROL, false, false },  [CALL_EVICT] = { CLASS_CONTROL, false, false },
	[CALL_LIST] = { CLASS_CONTROL, false, false },  [CALL_PROBE] = { CLASS_CONTROL, false, false },
	[CALL_PROXY] = { CLASS_SIGNAL, true, true },    [CALL_TUNNEL] = { CLASS_SIGNAL, true, false },
};

int guard_enter(struct fleet *fleet, const char *node, const char *incarnation, enum call_kind kind, uint64_t now_ms,
                struct guard *out, uint64_t *retry_ms)
{
	const struct node *found = fleet_find(fleet, node);
	struct guard guard = { .kind = kind, .entered = true };

	if (!found || !*incarnation || strcmp(found->record.incarnation, incarnation))
		return -ERR_OWNER_LOST;
	int err = breaker_admit(found->breakers[kinds[kind].class], now_ms, &guard.admission, retry_ms);
	if (err)
		return err;
	memcpy(guard.node, found->record.id, sizeof(guard.node));
	memcpy(guard.incarnation, found->record.incarnation, sizeof(guard.incarnation));
	*out = guard;
	return 0;
}

static bool is_full(enum http_outcome outcome, int status, uint64_t retry_after_ms)
{
	return outcome == HTTP_ANSWERED && (status == 429 || (status == 503 && retry_after_ms));
}

static enum breaker_result result_of(enum call_kind kind, enum http_outcome outcome, int status, uint64_t retry_after_ms)
{
	switch (outcome) {
	case HTTP_ANSWERED:
		if (is_full(outcome, status, retry_after_ms))
			return RESULT_NOTHING;
		return status >= 100 && status < 500 ? RESULT_OK : RESULT_FAILURE;
	case HTTP_TIMEOUT:
		return kinds[kind].may_wait ? RESULT_NOTHING : RESULT_FAILURE;
	case HTTP_REFUSED:
	case HTTP_RESET:
	case HTTP_GARBAGE:
		return RESULT_FAILURE;
	case HTTP_CANCELLED:
		break;
	}
	return RESULT_NOTHING;
}

/* Never 0. The same in every worker: it tells two rooms from one, no more. */
static uint64_t hash_of(struct str room)
{
	uint64_t hash = hash_name((struct hash_key){ { 0, 0 } }, room);

	return hash ? hash : 1;
}

void guard_leave(struct fleet *fleet, struct guard *guard, enum http_outcome outcome, int status, uint64_t retry_after_ms, struct str room)
{
	struct call_result call = { .class = kinds[guard->kind].class, .admission = guard->admission };

	if (!guard->entered)
		return;
	guard->entered = false;
	memcpy(call.node, guard->node, sizeof(call.node));
	memcpy(call.incarnation, guard->incarnation, sizeof(call.incarnation));
	call.result = result_of(guard->kind, outcome, status, retry_after_ms);
	if (is_full(outcome, status, retry_after_ms))
		call.full_ms = retry_after_ms ? retry_after_ms : FULL_MS;
	if (outcome == HTTP_ANSWERED && kinds[guard->kind].of_room && room.len)
		call.room_hash = hash_of(room);
	fleet_report(fleet, &call);
}
