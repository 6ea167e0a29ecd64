/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All Sentinels are asked and the highest configuration epoch wins, as among themselves: one that was cut off goes on naming
 * the primary of before. There is no subscription to +switch-master: it would only be an earlier hint of the same answer,
 * from a connection whose silence means nothing. Sentinels that were set up anew begin again at epoch 0: when nobody has
 * named the epoch we follow for FORGET_MS, what they say counts.
 *
 * Whether the server that they name is a primary, it is asked itself (redis_greet.c): they name it before it knows.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/wait.h"
#include "registry/redis_command.h"
#include "registry/redis_read.h"
#include "registry/redis_sentinel.h"
#include "registry/redis_store.h"

#define TICK_MS 100
#define ASK_MS 1000      /* while all is well */
#define ASK_AGAIN_MS 200 /* while it is not */
#define FORGET_MS 5000

struct sentinel {
	struct redis_sentinels *all;
	struct redis_place place;
	struct redis_login login; /* each may have another password, or none */
	struct redis *link;
	struct redis_call where, epoch;
	struct redis_endpoint named;
	bool known;     /* `named` is of this asking */
	char told[160]; /* what is wrong with it */
};
struct redis_sentinels {
	struct redis_shared *shared;
	struct timer tick;
	uint64_t asked_ms, followed, followed_ms; /* epoch; when somebody last named it */
	bool doubted;
	size_t count;
	struct sentinel each[REDIS_SEEDS_MAX];
};

static void complain(struct sentinel *s, const char *why)
{
	const struct redis_endpoint *at = &s->all->shared->target.seeds[s - s->all->each];

	if (strcmp(s->told, why) == 0)
		return;
	snprintf(s->told, sizeof s->told, "%s", why);
	if (why[0])
		log_warn("sentinel_fails", "host", LOG_S(at->host), "port", LOG_U(at->port), "why", LOG_S(why));
}

/* -- what they say --------------------------------------------------------------------------------------------------------------- */

static bool follows(struct redis_sentinels *all, uint64_t epoch, uint64_t now)
{
	struct redis_endpoint at;
	uint64_t version;

	if (!redis_place_read(&all->shared->shards.at[0]->place, &at, &version) || epoch > all->followed)
		return true;
	if (epoch == all->followed)
		return all->doubted; /* a name and an address of one server are two places: stay with the first that works */
	return now - all->followed_ms > FORGET_MS;
}

static void primary_named(struct sentinel *s, uint64_t epoch)
{
	struct redis_sentinels *all = s->all;
	uint64_t now = loop_now_ms(all->shared->keeper);

	if (follows(all, epoch, now)) {
		all->followed = epoch;
		redis_shard_move(all->shared, 0, &s->named);
	}
	if (epoch == all->followed)
		all->followed_ms = now;
}

static bool where_read(struct sentinel *s, const struct redisReply *reply)
{
	uint64_t port = reply_u64(reply_at(reply, 1));

	s->named = (struct redis_endpoint){ .port = (uint16_t)port };
	return reply_copy(reply_at(reply, 0), s->named.host, sizeof s->named.host) && s->named.host[0] && port && port <= 65535;
}

static void where_told(struct redis_call *call, const struct redisReply *reply)
{
	struct sentinel *s = container_of(call, struct sentinel, where);

	s->known = where_read(s, reply);
	if (!reply)
		return;
	if (reply_failed(reply))
		complain(s, reply_str(reply).at);
	else
		complain(s, s->known ? "" : "it knows no primary of this name");
}

static void epoch_told(struct redis_call *call, const struct redisReply *reply)
{
	struct sentinel *s = container_of(call, struct sentinel, epoch);
	uint64_t epoch = 0;

	for (size_t i = 0; i + 1 < reply_count(reply); i += 2)
		if (str_is(reply_str(reply_at(reply, i)), "config-epoch"))
			epoch = reply_u64(reply_at(reply, i + 1));
	if (reply_is_list(reply) && s->known)
		primary_named(s, epoch);
}

/* -- asking ---------------------------------------------------------------------------------------------------------------------- */

static void ask(struct sentinel *s, struct redis_call *call, const char *what,
                void (*done)(struct redis_call *, const struct redisReply *))
{
	const struct redis_shared *shared = s->all->shared;

	command_start(&call->text, 3);
	command_z(&call->text, "SENTINEL");
	command_z(&call->text, what);
	command_z(&call->text, shared->target.master);
	call->script = SCRIPT_COUNT;
	call->done = done;
	call->due_ms = loop_now_ms(shared->keeper) + shared->target.timeout_ms;
	redis_send(s->link, call); /* refused only while the link is down */
}

static void ask_all(struct redis_sentinels *all)
{
	for (size_t i = 0; i < all->count; i++) {
		struct sentinel *s = &all->each[i];

		if (!redis_up(s->link) || s->where.link || s->epoch.link)
			continue;
		ask(s, &s->where, "get-master-addr-by-name", where_told);
		ask(s, &s->epoch, "master", epoch_told);
	}
}

static void tick(struct timer *timer)
{
	struct redis_sentinels *all = container_of(timer, struct redis_sentinels, tick);
	struct redis_place *place = &all->shared->shards.at[0]->place;
	uint64_t now = loop_now_ms(all->shared->keeper);

	timer_set(all->shared->keeper, &all->tick, TICK_MS, tick);
	all->doubted = redis_place_doubted(place) || (all->doubted && now - all->asked_ms < ASK_AGAIN_MS);
	if (now - all->asked_ms < (all->doubted || !atomic_load(&place->spot) ? ASK_AGAIN_MS : ASK_MS))
		return;
	all->asked_ms = now;
	ask_all(all);
}

static void sentinel_up(void *arg)
{
	struct sentinel *s = arg;

	complain(s, "");
	s->all->asked_ms = 0; /* at the next tick */
}

static void sentinel_refused(void *arg)
{
	struct sentinel *s = arg;

	complain(s, redis_why_down(s->link));
}

static const struct redis_events sentinel_events = { .up = sentinel_up, .down = sentinel_refused, .refused = sentinel_refused };

struct redis_sentinels *redis_sentinels_new(struct redis_shared *shared)
{
	struct redis_sentinels *all = calloc(1, sizeof *all);

	if (!all)
		abort();
	all->shared = shared;
	all->count = shared->target.nseeds;
	for (size_t i = 0; i < all->count; i++) {
		struct sentinel *s = &all->each[i];
		struct redis_how how = { .target = &shared->target, .place = &s->place, .login = &s->login, .use = USE_SENTINEL };

		s->all = all;
		redis_place_set(&s->place, NULL, &shared->target.seeds[i]);
		s->link = redis_new(shared->keeper, &how, &sentinel_events, s);
	}
	timer_set(shared->keeper, &all->tick, TICK_MS, tick);
	return all;
}

void redis_sentinels_free(struct redis_sentinels *all)
{
	if (!all)
		return;
	timer_clear(all->shared->keeper, &all->tick);
	for (size_t i = 0; i < all->count; i++) {
		redis_free(all->each[i].link);
		redis_place_clear(&all->each[i].place);
	}
	free(all);
}
