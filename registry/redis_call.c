/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on one connection. What hiredis holds for a command is a slot, not the call: a call that expired or was cancelled
 * leaves an empty slot behind, and hiredis may outlive the link itself (a free inside a callback is deferred): then
 * context->data is NULL and the slots are all that is left to free.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_error.h"
#include "registry/redis_private.h"
#include "registry/redis_read.h"

#define PENDING_MAX 65536 /* calls under way */
#define QUEUED_MAX 4096   /* calls waiting for the first connection */
#define PARK_MS 50        /* between two attempts of a parked call */

struct redis_slot {
	struct redis_call *call; /* NULL: nobody waits any more */
};

static void call_unlink(struct redis_call *call)
{
	struct redis *link = call->link;

	*(call->prev ? &call->prev->next : &link->first) = call->next;
	*(call->next ? &call->next->prev : &link->last) = call->prev;
	call->next = call->prev = NULL;
	link->pending--;
}

static void call_append(struct redis *link, struct redis_call *call)
{
	call->link = link;
	call->next = NULL;
	call->prev = link->last;
	*(link->last ? &link->last->next : &link->first) = call;
	link->last = call;
	link->pending++;
}

/* The call is over: nothing points to it any more. */
static void call_end(struct redis_call *call)
{
	if (call->slot)
		call->slot->call = NULL;
	call->slot = NULL;
	timer_clear(call->link->loop, &call->timer);
	call_unlink(call);
	buf_free(&call->text);
	call->text = (struct buf){ 0 };
	call->link = NULL;
	call->parked = false;
}

void call_done(struct redis_call *call, const struct redisReply *reply)
{
	call_end(call);
	call->done(call, reply);
}

void redis_cancel(struct redis_call *call)
{
	if (call->link)
		call_end(call);
}

static void call_reply(struct redisAsyncContext *context, void *reply, void *arg);

/* False: hiredis does not take it (the context is ending). */
static bool call_transmit(struct redis *link, struct redis_call *call)
{
	struct redis_slot *slot = calloc(1, sizeof *slot);

	if (!slot)
		abort();
	if (call->before)
		call->before(call);
	if (redisAsyncFormattedCommand(link->context, call_reply, slot, call->text.at, call->text.len) != REDIS_OK) {
		free(slot);
		return false;
	}
	slot->call = call;
	call->slot = slot;
	call->sent_ms = loop_now_ms(link->loop);
	call->heard_before = link->heard;
	return true;
}

/* The store does not know the script (it was restarted, or flushed): once more with its text. */
static bool call_eval(struct redis *link, struct redis_call *call)
{
	struct buf text = { 0 };

	if (call->evaled || call->script >= SCRIPT_COUNT)
		return false;
	command_eval(&text, &call->text, call->script);
	buf_free(&call->text);
	call->text = text;
	call->evaled = true;
	call_unlink(call);
	call_append(link, call);
	return call_transmit(link, call);
}

/* A server that says of itself that it is of no use now: the primary may be elsewhere, and is looked for. */
static bool reply_ends_link(const struct redisReply *reply)
{
	enum redis_cure cure;

	if (!reply || !reply_failed(reply))
		return false;
	cure = redis_error_of(reply_str(reply).at)->cure;
	return cure == CURE_LEAVE || cure == CURE_LOGIN;
}

static void call_answered(struct redis *link, struct redis_call *call, const struct redisReply *reply)
{
	bool ends = reply_ends_link(reply), gone = false, *outer = link->gone;
	char why[sizeof link->why];

	if (ends)
		snprintf(why, sizeof why, "%s", reply_str(reply).at);
	link->gone = &gone;
	call_done(call, reply);
	if (gone) {
		if (outer)
			*outer = true;
		return;
	}
	link->gone = outer;
	if (ends)
		redis_leave(link, why);
}

static bool call_rescued(struct redis *link, struct redis_call *call, const struct redisReply *reply)
{
	if (!reply_failed(reply))
		return false;
	if (reply_error_is(reply, "NOSCRIPT"))
		return call_eval(link, call);
	return call->routed && link->events->failed && link->events->failed(link->arg, call, reply);
}

/* Who was held up takes an answer that came meanwhile, but not as news if much may have changed since. */
static bool is_stale(const struct redis *link, const struct redis_call *call)
{
	return loop_now_ms(link->loop) >= call->due_ms + link->how.target->timeout_ms;
}

static void call_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = context->data;
	struct redis_slot *slot = arg;
	struct redis_call *call = slot->call;

	if (!link) { /* given up: the calls have been told */
		free(slot);
		return;
	}
	if (call)
		call->slot = NULL;
	free(slot);
	if (!reply) { /* hiredis ends the context */
		redis_lost(link, context->errstr && context->err ? context->errstr : "closed");
		return;
	}
	link->heard++;
	link->failures = 0;
	if (call && is_stale(link, call))
		call_done(call, NULL);
	else if (call && !call_rescued(link, call, reply))
		call_answered(link, call, reply);
}

/* Nobody waits longer for this one. If the store has been silent for a good part of the usual time, it is the connection; unless it has
 * said more than we took in this turn. */
static void call_overdue(struct timer *timer)
{
	struct redis_call *call = container_of(timer, struct redis_call, timer);
	struct redis *link = call->link;
	bool silent = (link->heard == call->heard_before || call == link->first) && !redis_socket_unread(link->context);

	if (call->slot && silent && loop_now_ms(link->loop) - call->sent_ms >= link->how.target->timeout_ms / 2) {
		redis_abandon(link, "no answer in time");
		return;
	}
	call_done(call, NULL);
}

static uint64_t time_left(const struct redis *link, uint64_t due_ms)
{
	uint64_t now = loop_now_ms(link->loop);

	return due_ms > now ? due_ms - now : 0;
}

static bool link_takes(const struct redis *link, const struct redis_call *call)
{
	if (link->state == LINK_UP)
		return link->pending < PENDING_MAX;
	return call->patient && !link->tried && link->pending < QUEUED_MAX;
}

/* What is sent to where the primary was would be lost with it. */
static bool link_moved(struct redis *link)
{
	if (link->state != LINK_UP || link->version == redis_place_version(link->how.place))
		return false;
	timer_set(link->loop, &link->ping, 0, link->ping.fire);
	return true;
}

int redis_send(struct redis *link, struct redis_call *call)
{
	uint64_t left = time_left(link, call->due_ms);

	assert(!call->link && call->done);
	if (left == 0 || link_moved(link) || !link_takes(link, call) || (link->state == LINK_UP && !call_transmit(link, call))) {
		buf_free(&call->text);
		call->text = (struct buf){ 0 };
		return -ERR_STORE_UNAVAILABLE;
	}
	call_append(link, call);
	timer_set(link->loop, &call->timer, left, call_overdue);
	return 0;
}

void redis_tell(struct redis *link, struct buf *text)
{
	if (link->state == LINK_UP)
		redisAsyncFormattedCommand(link->context, NULL, NULL, text->at, text->len);
	buf_free(text);
	*text = (struct buf){ 0 };
}

/* -- parked calls ------------------------------------------------------------------------------------------------------------- */

static void again_due(struct timer *timer)
{
	struct redis *link = container_of(timer, struct redis, again);
	bool gone = false, *outer = link->gone;
	struct redis_call *call;
	size_t most = link->pending;

	link->gone = &gone;
	for (; !gone && most; most--) {
		for (call = link->first; call && !call->parked; call = call->next)
			;
		if (!call)
			break;
		call->parked = false;
		link->events->again(link->arg, call);
	}
	if (!gone)
		link->gone = outer;
	else if (outer)
		*outer = true;
}

void redis_park(struct redis_call *call)
{
	struct redis *link = call->link;

	call_unlink(call);
	call_append(link, call); /* the first is the one that has been under way longest */
	call->parked = true;
	if (!link->again.slot)
		timer_set(link->loop, &link->again, PARK_MS, again_due);
}

void redis_take(struct redis_call *call)
{
	if (call->slot)
		call->slot->call = NULL;
	call->slot = NULL;
	call->parked = false;
	timer_clear(call->link->loop, &call->timer);
	call_unlink(call);
	call->link = NULL;
}

void redis_resend(struct redis_call *call)
{
	call_transmit(call->link, call); /* refused only by a context that is ending: it will be told */
}

void calls_send_queued(struct redis *link)
{
	for (struct redis_call *call = link->first; call; call = call->next)
		if (!call->slot && !call_transmit(link, call))
			return; /* the context is ending: they will be told */
}

void calls_forget_slots(struct redis *link)
{
	for (struct redis_call *call = link->first; call; call = call->next) {
		if (call->slot)
			call->slot->call = NULL;
		call->slot = NULL;
	}
}
