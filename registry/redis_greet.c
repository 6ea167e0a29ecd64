/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new connection says before calls are taken: AUTH, SELECT, ROLE, INFO and PING, all at once; the last answer says
 * that the server also serves (it may still be loading). ROLE and INFO may be forbidden by an ACL: then nothing is known
 * against this server. AUTH waits for its turn (redis_login), and the greeting with it.
 */
#include <stdio.h>

#include "base/log.h"
#include "registry/redis_command.h"
#include "registry/redis_error.h"
#include "registry/redis_private.h"
#include "registry/redis_read.h"

#define LOGIN_LOOK_MS 20

typedef void reply_fn(struct redisAsyncContext *, void *reply, void *arg);

static void say(struct redis *link, const char *word, const char *value, reply_fn *fn)
{
	struct buf text = { 0 };

	command_start(&text, value ? 2 : 1);
	command_z(&text, word);
	if (value)
		command_z(&text, value);
	redisAsyncFormattedCommand(link->context, fn, NULL, text.at, text.len);
	buf_free(&text);
}

const struct redis_credentials *redis_as(const struct redis *link)
{
	const struct redis_target *target = link->how.target;
	const struct redis_credentials *as = link->how.use == USE_SENTINEL ? &target->sentinel : &target->data;

	return as->password[0] ? as : NULL;
}

static void say_auth(struct redis *link, const struct redis_credentials *as, reply_fn *fn)
{
	struct buf text = { 0 };

	command_start(&text, as->user[0] ? 3 : 2);
	command_z(&text, "AUTH");
	if (as->user[0])
		command_z(&text, as->user);
	command_z(&text, as->password);
	redisAsyncFormattedCommand(link->context, fn, NULL, text.at, text.len);
	buf_free(&text);
}

/* NULL: there is nothing more to do with this answer. */
static struct redis *greeting(struct redisAsyncContext *context, const struct redisReply *reply)
{
	struct redis *link = context->data;

	if (link && !reply) {
		redis_lost(link, "closed while greeting");
		return NULL;
	}
	return link;
}

static bool refused(struct redis *link, const struct redisReply *reply)
{
	if (!reply_failed(reply))
		return false;
	redis_abandon(link, reply_str(reply).at);
	return true;
}

/* Forbidden, or not known to this server: its business. Anything else will not serve. */
static bool only_forbidden(const struct redisReply *reply)
{
	return reply_error_is(reply, "NOPERM") || reply_error_is(reply, "ERR unknown");
}

static void auth_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = greeting(context, reply);
	bool said;

	(void)arg;
	if (!link)
		return;
	said = reply_failed(reply) && redis_error_of(reply_str(reply).at)->cure == CURE_LOGIN;
	if (!reply_failed(reply) || said)
		redis_login_told(link->how.login, !said, loop_now_ms(link->loop));
	refused(link, reply);
}

static void select_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = greeting(context, reply);

	(void)arg;
	if (link)
		refused(link, reply);
}

static void role_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = greeting(context, reply);

	(void)arg;
	if (!link || only_forbidden(reply) || refused(link, reply))
		return;
	if (reply_is_replica(reply))
		redis_abandon(link, "this server is a replica");
	else if (str_is(reply_str(reply_at(reply, 0)), "sentinel"))
		redis_abandon(link, "this is a Sentinel: use redis+sentinel://");
}

/* Rooms and leases have no TTL: what evicts would evict them, or nothing at all. */
static void info_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = greeting(context, reply);
	struct str policy;
	char why[sizeof link->why];

	(void)arg;
	if (!link || (reply_failed(reply) && !only_forbidden(reply) && refused(link, reply)))
		return;
	link->server = reply_run_id(reply);
	policy = reply_info(reply, "maxmemory_policy");
	if (!policy.at || str_is(policy, "noeviction"))
		return;
	link->unfit = true;
	snprintf(why, sizeof why, "maxmemory-policy is %.*s: it would throw rooms and leases away when memory is short; set it to noeviction",
	         (int)policy.len, policy.at);
	redis_abandon(link, why);
}

static void ping_reply(struct redisAsyncContext *context, void *reply, void *arg)
{
	struct redis *link = greeting(context, reply);

	(void)arg;
	if (link && !refused(link, reply))
		redis_greeted(link);
}

static void say_all(struct redis *link)
{
	const struct redis_target *target = link->how.target;
	bool store = link->how.use == USE_STORE;
	char db[24];

	snprintf(db, sizeof db, "%u", (unsigned)target->db);
	link->server = 0;
	if (redis_as(link))
		say_auth(link, redis_as(link), auth_reply);
	if (target->db && store)
		say(link, "SELECT", db, select_reply);
	if (store) {
		say(link, "ROLE", NULL, role_reply);
		say(link, "INFO", NULL, info_reply);
	}
	say(link, "PING", NULL, ping_reply);
}

static void login_look(struct timer *timer)
{
	redis_greet(container_of(timer, struct redis, retry));
}

void redis_greet(struct redis *link)
{
	struct redis_login *login = redis_as(link) ? link->how.login : NULL;

	if (login && !redis_login_take(login, loop_now_ms(link->loop)))
		timer_set(link->loop, &link->retry, LOGIN_LOOK_MS, login_look); /* within the limit of connecting */
	else
		say_all(link);
}
