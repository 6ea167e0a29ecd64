/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLUSTER SLOTS is known to every version. A node that was cut off goes on giving the map of before, and may do so for as
 * long as it likes: hence CLUSTER INFO first. A map counts if its node is at the highest epoch that we met, and sees the
 * cluster as a whole; without any map yet, whatever a node says is better than nothing.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/wait.h"
#include "registry/redis_command.h"
#include "registry/redis_cluster.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"
#include "registry/redis_watch.h"

#define TICK_MS 100
#define ASK_MS 1000 /* while all is well; else each tick */

struct redis_cluster {
	struct redis_shared *shared;
	struct redis_place place; /* of the node that is asked */
	struct redis *link;
	struct redis_call info, slots;
	struct timer tick;
	uint64_t asked_ms, epoch; /* the highest we met */
	size_t turn;              /* whose turn it is: first the URL's nodes, then the primaries */
	bool doubted, credible;   /* credible: the node's map may be taken */
	char told[160];
};
struct slot_range {
	unsigned first, last;
	struct redis_endpoint at;
};

/* Each reason once. */
static void complain(struct redis_cluster *c, const char *why)
{
	if (strcmp(c->told, why) == 0)
		return;
	snprintf(c->told, sizeof c->told, "%s", why);
	if (why[0])
		log_warn("cluster_fails", "host", LOG_S(redis_at(c->link)->host), "port", LOG_U(redis_at(c->link)->port), "why",
		         LOG_S(why));
}

/* -- who is asked ------------------------------------------------------------------------------------------------------------------ */

static bool candidate(const struct redis_cluster *c, size_t i, struct redis_endpoint *out)
{
	const struct redis_target *target = &c->shared->target;
	uint64_t version;

	if (i < target->nseeds) {
		*out = target->seeds[i];
		return true;
	}
	return redis_place_read(&c->shared->shards.at[i - target->nseeds]->place, out, &version);
}

static void next_node(struct redis_cluster *c)
{
	size_t count = c->shared->target.nseeds + c->shared->shards.count;
	struct redis_endpoint at;

	do
		c->turn = (c->turn + 1) % count;
	while (!candidate(c, c->turn, &at));
	if (redis_place_set(&c->place, NULL, &at))
		redis_drop(c->link, "another node's turn");
}

/* -- the map ------------------------------------------------------------------------------------------------------------------------- */

static size_t shard_at(const struct redis_shared *shared, const struct redis_endpoint *at)
{
	struct redis_endpoint place;
	uint64_t version;

	for (size_t i = 0; i < shared->shards.count; i++)
		if (redis_place_read(&shared->shards.at[i]->place, &place, &version) && redis_endpoint_is(&place, at))
			return i;
	return REDIS_NO_SHARD;
}

static bool is_primary(const struct slot_range *ranges, size_t n, const struct redis_shared *shared, size_t shard)
{
	struct redis_endpoint place;
	uint64_t version;

	if (!redis_place_read(&shared->shards.at[shard]->place, &place, &version))
		return false;
	for (size_t i = 0; i < n; i++)
		if (redis_endpoint_is(&ranges[i].at, &place))
			return true;
	return false;
}

/* A primary that we did not know takes the number of the one whose slots it has (a failover); else one that is free. */
static size_t shard_for(struct redis_shared *shared, const struct slot_range *ranges, size_t n, const struct slot_range *range)
{
	const struct redis_map *map = shared->shards.map;
	size_t shard = shard_at(shared, &range->at);

	if (shard != REDIS_NO_SHARD)
		return shard;
	if (map && map->shard[range->first] != REDIS_NO_SHARD && !is_primary(ranges, n, shared, map->shard[range->first]))
		shard = map->shard[range->first];
	for (size_t i = 0; shard == REDIS_NO_SHARD && i < shared->shards.count; i++)
		if (!is_primary(ranges, n, shared, i))
			shard = i;
	if (shard == REDIS_NO_SHARD)
		shard = redis_shard_add(shared);
	if (shard == REDIS_NO_SHARD)
		log_error("cluster_too_large", "primaries", LOG_U(REDIS_SHARDS_MAX));
	else
		redis_shard_move(shared, shard, &range->at);
	return shard;
}

static void ranges_take(struct redis_cluster *c, const struct slot_range *ranges, size_t n)
{
	static uint16_t map[REDIS_SLOTS]; /* the keeper's */
	struct redis_shared *shared = c->shared;

	memset(map, 0xff, sizeof map);
	for (size_t i = 0; i < n; i++) {
		uint16_t shard = (uint16_t)shard_for(shared, ranges, n, &ranges[i]);

		for (unsigned slot = ranges[i].first; slot <= ranges[i].last; slot++)
			map[slot] = shard;
	}
	for (size_t i = 0; i < shared->shards.count; i++)
		if (!is_primary(ranges, n, shared, i))
			redis_shard_move(shared, i, NULL);
	redis_map_publish(shared, map);
}

/* [first, last, [host, port, …], replicas …]; a node that does not know its own address leaves it out. */
static bool range_read(const struct redis_cluster *c, const struct redisReply *reply, struct slot_range *out)
{
	const struct redisReply *node = reply_at(reply, 2);
	struct slot_range r = { (unsigned)reply_u64(reply_at(reply, 0)), (unsigned)reply_u64(reply_at(reply, 1)), { .port = 0 } };
	uint64_t port = reply_u64(reply_at(node, 1));
	struct str host = reply_str(reply_at(node, 0));

	if (r.first > r.last || r.last >= REDIS_SLOTS || port == 0 || port > 65535)
		return false;
	r.at.port = (uint16_t)port;
	if (!host.at || host.len == 0 || str_is(host, "?"))
		snprintf(r.at.host, sizeof r.at.host, "%s", redis_at(c->link)->host);
	else if (!reply_copy(reply_at(node, 0), r.at.host, sizeof r.at.host))
		return false;
	*out = r;
	return true;
}

static void slots_take(struct redis_cluster *c, const struct redisReply *reply)
{
	size_t count = reply_count(reply), n = 0;
	struct slot_range *ranges = calloc(count + 1, sizeof *ranges);

	if (!ranges)
		abort();
	while (n < count && range_read(c, reply_at(reply, n), &ranges[n]))
		n++;
	if (n == count && n > 0)
		ranges_take(c, ranges, n);
	else
		complain(c, n < count ? "its map of slots cannot be read" : "it knows of no slots");
	free(ranges);
}

/* -- asking ------------------------------------------------------------------------------------------------------------------------- */

static void slots_told(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_cluster *c = container_of(call, struct redis_cluster, slots);

	if (c->credible && reply_is_list(reply))
		slots_take(c, reply);
}

static void info_told(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_cluster *c = container_of(call, struct redis_cluster, info);
	bool whole = str_is(reply_info(reply, "cluster_state"), "ok");
	uint64_t epoch = 0;

	c->credible = false;
	if (!reply)
		return;
	if (reply_failed(reply)) {
		complain(c, reply_str(reply).at);
		if (reply_error_is(reply, "ERR This instance has cluster support disabled"))
			redis_watches_unfit(c->shared->watches, "registry.url says redis+cluster:// and this server is no cluster: use redis://");
		next_node(c);
		return;
	}
	parse_u64(reply_info(reply, "cluster_current_epoch"), &epoch);
	c->credible = (whole && epoch >= c->epoch) || !c->shared->shards.map;
	if (c->credible && epoch > c->epoch)
		c->epoch = epoch;
	complain(c, whole ? "" : "it does not see the whole cluster");
	if (!c->credible || !whole)
		next_node(c); /* after this one's map, which is on its way */
}

static void ask(struct redis_cluster *c, struct redis_call *call, const char *what,
                void (*done)(struct redis_call *, const struct redisReply *))
{
	command_start(&call->text, 2);
	command_z(&call->text, "CLUSTER");
	command_z(&call->text, what);
	call->script = SCRIPT_COUNT;
	call->done = done;
	call->due_ms = loop_now_ms(c->shared->keeper) + c->shared->target.timeout_ms;
	redis_send(c->link, call); /* refused only while the link is down */
}

static bool doubted(struct redis_cluster *c)
{
	bool some = !c->shared->shards.map;

	for (size_t i = 0; i < c->shared->shards.count; i++)
		some = redis_place_doubted(&c->shared->shards.at[i]->place) || some;
	return some;
}

static void tick(struct timer *timer)
{
	struct redis_cluster *c = container_of(timer, struct redis_cluster, tick);
	uint64_t now = loop_now_ms(c->shared->keeper);

	timer_set(c->shared->keeper, &c->tick, TICK_MS, tick);
	c->doubted = doubted(c) || c->doubted;
	if (!redis_up(c->link) || c->info.link || c->slots.link || (!c->doubted && now - c->asked_ms < ASK_MS))
		return;
	c->asked_ms = now;
	c->doubted = false;
	ask(c, &c->info, "INFO", info_told);
	ask(c, &c->slots, "SLOTS", slots_told);
}

static void node_up(void *arg)
{
	struct redis_cluster *c = arg;

	c->doubted = true; /* asks at the next tick */
}

static void node_refused(void *arg)
{
	struct redis_cluster *c = arg;

	complain(c, redis_why_down(c->link));
	next_node(c);
}

static const struct redis_events node_events = { .up = node_up, .refused = node_refused };

struct redis_cluster *redis_cluster_new(struct redis_shared *shared)
{
	struct redis_cluster *c = calloc(1, sizeof *c);
	struct redis_how how = { .target = &shared->target, .login = shared->login, .use = USE_NODE };

	if (!c)
		abort();
	c->shared = shared;
	how.place = &c->place;
	redis_place_set(&c->place, NULL, &shared->target.seeds[0]);
	c->link = redis_new(shared->keeper, &how, &node_events, c);
	timer_set(shared->keeper, &c->tick, TICK_MS, tick);
	return c;
}

void redis_cluster_free(struct redis_cluster *c)
{
	if (!c)
		return;
	timer_clear(c->shared->keeper, &c->tick);
	redis_free(c->link);
	redis_place_clear(&c->place);
	free(c);
}
