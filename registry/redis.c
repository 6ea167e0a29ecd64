/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection, from its place to loss (redis_greet.c: the greeting). One that does not answer is given up whole:
 * redisAsyncFree, as redisAsyncDisconnect would wait for the answers. Never from onConnect or onDisconnect: there hiredis
 * frees the context itself. Whatever calls back may free the link: hence `gone`.
 *
 * Each second a connection looks whether its place has moved, and asks its server for its role: one that was demoted by
 * hand says so to nobody, and would refuse the next write only.
 */
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "registry/redis_command.h"
#include "registry/redis_private.h"
#include "registry/redis_read.h"

#define PING_MS 1000       /* a silent link is asked whether it lives */
#define BACKOFF_BASE_MS 50 /* full jitter: random in [0, base * 2^n), at most the cap */
#define BACKOFF_CAP_MS 2000
#define MOVING_CAP_MS 250  /* where somebody looks for the primary: it may be found any moment */
#define NOWHERE_MS 20      /* until the place is known, or another's login is over */

static void link_connect(struct redis *link);

/* -- life of the connection ---------------------------------------------------------------------------------------------------- */

static void retry_due(struct timer *timer)
{
	link_connect(container_of(timer, struct redis, retry));
}

static void retry_plan(struct redis *link)
{
	unsigned n = link->failures < 10 ? link->failures : 10;
	uint64_t most = (uint64_t)BACKOFF_BASE_MS << n;
	uint64_t cap = link->how.target->kind == REDIS_ONE ? BACKOFF_CAP_MS : MOVING_CAP_MS;

	if (most > cap)
		most = cap;
	link->failures++;
	timer_set(link->loop, &link->retry, 1 + (uint64_t)(random_unit() * (double)most), retry_due);
}

/* The context is gone or going: by hiredis, or by redis_abandon(). */
void redis_lost(struct redis *link, const char *why)
{
	bool was_up = link->state == LINK_UP, gone = false, *outer = link->gone;

	if (link->context)
		link->context->data = NULL;
	link->context = NULL;
	snprintf(link->why, sizeof link->why, "%s", why);
	link->state = LINK_DOWN;
	link->tried = true;
	link->subscribed = false;
	calls_forget_slots(link);
	wait_drop(&link->resolving);
	timer_clear(link->loop, &link->limit);
	timer_clear(link->loop, &link->ping);
	timer_clear(link->loop, &link->again);
	retry_plan(link);
	redis_place_doubt(link->how.place);
	if (was_up && link->how.login)
		redis_login_doubt(link->how.login);
	log_debug("redis_link_down", "host", LOG_S(link->at.host), "port", LOG_U(link->at.port), "why", LOG_S(link->why));
	link->gone = &gone;
	if (was_up && link->events->down)
		link->events->down(link->arg);
	else if (!was_up && link->events->refused)
		link->events->refused(link->arg);
	while (!gone && link->first)
		call_done(link->first, NULL);
	if (!gone)
		link->gone = outer;
	else if (outer)
		*outer = true;
}

void redis_abandon(struct redis *link, const char *why)
{
	struct redisAsyncContext *context = link->context;

	if (context) {
		calls_forget_slots(link);
		link->context = NULL;
		context->data = NULL;
		redisAsyncFree(context);
	}
	redis_lost(link, why);
}

void redis_drop(struct redis *link, const char *why)
{
	if (link->state != LINK_DOWN)
		redis_abandon(link, why);
}

void redis_leave(struct redis *link, const char *why)
{
	redis_place_leave(link->how.place, link->version);
	redis_drop(link, why);
}

static bool login_refused(const struct redis *link)
{
	struct redis_login *login = link->how.login;

	return login && atomic_load(&login->refused) && redis_login_waits(login, loop_now_ms(link->loop));
}

static const char why_login[] = "the password is refused; tried once a second";

static void limit_due(struct timer *timer)
{
	struct redis *link = container_of(timer, struct redis, limit);

	redis_abandon(link, login_refused(link) ? why_login : "not connected in time");
}

/* An answer is an answer, and without one the call is overdue. */
static void ping_done(struct redis_call *call, const struct redisReply *reply)
{
	struct redis *link = container_of(call, struct redis, alive);

	if (link->how.use == USE_STORE && reply_is_replica(reply))
		redis_leave(link, "this server is a replica now");
}

static void ping_due(struct timer *timer)
{
	struct redis *link = container_of(timer, struct redis, ping);

	if (link->version != redis_place_version(link->how.place)) {
		redis_drop(link, "the primary is elsewhere now");
		return;
	}
	timer_set(link->loop, &link->ping, PING_MS, ping_due);
	if (link->subscribed || link->alive.link || link->first)
		return;
	command_start(&link->alive.text, 1);
	command_z(&link->alive.text, link->how.use == USE_STORE ? "ROLE" : "PING");
	link->alive.script = SCRIPT_COUNT;
	link->alive.done = ping_done;
	link->alive.due_ms = loop_now_ms(link->loop) + link->how.target->timeout_ms;
	redis_send(link, &link->alive);
}

void redis_greeted(struct redis *link)
{
	bool gone = false, *outer = link->gone;

	link->state = LINK_UP;
	link->tried = true;
	link->why[0] = '\0';
	timer_clear(link->loop, &link->limit);
	timer_set(link->loop, &link->ping, PING_MS, ping_due);
	link->gone = &gone;
	if (link->events->up)
		link->events->up(link->arg);
	if (!gone && link->state == LINK_UP)
		calls_send_queued(link);
	if (!gone)
		link->gone = outer;
	else if (outer)
		*outer = true;
}

static void context_connected(const struct redisAsyncContext *context, int status)
{
	struct redis *link = context->data;

	if (!link)
		return;
	if (status != REDIS_OK) {
		redis_lost(link, context->errstr && context->err ? context->errstr : "not connected");
		return;
	}
	link->state = LINK_GREETING;
	redis_greet(link);
}

static void context_disconnected(const struct redisAsyncContext *context, int status)
{
	struct redis *link = context->data;

	(void)status;
	if (link)
		redis_lost(link, context->errstr && context->err ? context->errstr : "closed by the server");
}

/* Takes the next of the host's addresses at each attempt. */
static struct redisAsyncContext *context_open(struct redis *link)
{
	size_t i = link->attempts++ % link->addresses.count;
	struct redisAsyncContext *context;
	char ip[NI_MAXHOST];

	if (getnameinfo((struct sockaddr *)&link->addresses.at[i], link->addresses.len[i], ip, sizeof ip, NULL, 0,
	                NI_NUMERICHOST) != 0)
		return NULL;
	context = redisAsyncConnect(ip, link->at.port);
	if (!context)
		return NULL;
	if (context->err || !redis_socket_attach(link->loop, context)) {
		redisAsyncFree(context);
		return NULL;
	}
	fcntl(context->c.fd, F_SETFD, FD_CLOEXEC);
	return context;
}

static void link_open(struct redis *link)
{
	link->context = link->addresses.count ? context_open(link) : NULL;
	if (!link->context) {
		redis_lost(link, "could not start to connect");
		return;
	}
	link->state = LINK_CONNECTING;
	link->context->data = link;
	redisAsyncSetConnectCallback(link->context, context_connected);
	redisAsyncSetDisconnectCallback(link->context, context_disconnected);
}

static void link_resolved(struct wait *w, int err)
{
	struct redis *link = container_of(w, struct redis, resolving);

	if (err)
		redis_lost(link, "no such host");
	else
		link_open(link);
}

/* Not to be tried yet. Calls that would wait for the first connection do so for a while only. */
static bool link_waits(struct redis *link)
{
	uint64_t now = loop_now_ms(link->loop);
	bool refused = login_refused(link);
	bool waits = redis_as(link) && redis_login_waits(link->how.login, now);

	if (redis_place_read(link->how.place, &link->at, &link->version) && !waits)
		return false;
	link->tried = link->tried || refused || now - link->made_ms >= link->how.target->timeout_ms;
	timer_set(link->loop, &link->retry, NOWHERE_MS, retry_due);
	if (refused && strcmp(link->why, why_login) != 0) {
		snprintf(link->why, sizeof link->why, "%s", why_login);
		if (link->events->refused)
			link->events->refused(link->arg);
	}
	return true;
}

static void link_connect(struct redis *link)
{
	int err;

	if (link_waits(link))
		return;
	link->unfit = false;
	link->state = LINK_RESOLVING;
	timer_set(link->loop, &link->limit, link->how.target->timeout_ms, limit_due);
	err = loop_resolve(link->loop, link->at.host, link->at.port, &link->addresses, &link->resolving);
	if (err != WAIT)
		link_resolved(&link->resolving, err);
}

struct redis *redis_new(struct loop *loop, const struct redis_how *how, const struct redis_events *events, void *arg)
{
	struct redis *link = calloc(1, sizeof *link);

	if (!link)
		abort();
	link->loop = loop;
	link->how = *how;
	link->events = events;
	link->arg = arg;
	link->made_ms = loop_now_ms(loop);
	link->resolving.wake = link_resolved;
	timer_set(loop, &link->retry, 0, retry_due); /* not now: the owner is not ready for callbacks */
	return link;
}

void redis_free(struct redis *link)
{
	struct redisAsyncContext *context = link->context;

	if (link->gone)
		*link->gone = true;
	link->gone = NULL;
	link->state = LINK_DOWN;
	link->tried = true;
	calls_forget_slots(link);
	link->context = NULL;
	if (context) {
		context->data = NULL;
		redisAsyncFree(context);
	}
	while (link->first)
		call_done(link->first, NULL);
	wait_drop(&link->resolving);
	timer_clear(link->loop, &link->retry);
	timer_clear(link->loop, &link->limit);
	timer_clear(link->loop, &link->ping);
	timer_clear(link->loop, &link->again);
	free(link);
}

bool redis_up(const struct redis *link)
{
	return link->state == LINK_UP;
}

const char *redis_why_down(const struct redis *link)
{
	return link->why;
}

bool redis_unfit(const struct redis *link)
{
	return link->unfit;
}

const struct redis_endpoint *redis_at(const struct redis *link)
{
	return &link->at;
}

uint64_t redis_server(const struct redis *link)
{
	return link->state == LINK_UP ? link->server : 0;
}

/* -- subscriptions -------------------------------------------------------------------------------------------------------------- */

static void message_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = context->data;

	(void)arg;
	if (!link)
		return;
	if (!reply) {
		redis_lost(link, "closed by the server");
		return;
	}
	link->heard++;
	link->failures = 0;
	link->events->message(link->arg, reply);
}

void redis_subscribe(struct redis *link, const char *channel)
{
	struct buf text = { 0 };

	if (link->state != LINK_UP)
		return;
	link->subscribed = true;
	command_start(&text, 2);
	command_z(&text, "SUBSCRIBE");
	command_z(&text, channel);
	redisAsyncFormattedCommand(link->context, message_reply, NULL, text.at, text.len);
	buf_free(&text);
}
