/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in Redis, of one server or many: for each process and primary an invalidation link, for each loop and primary
 * a data connection, and, where replicas must confirm, a second one for what they confirm: WAIT holds up everything that
 * comes after it on its connection.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "registry/redis_cluster.h"
#include "registry/redis_sentinel.h"
#include "registry/redis_store.h"
#include "registry/redis_watch.h"
#include "registry/store_private.h"

/* Redis Cluster hashes what stands between the first '{' and the next '}'; with nothing between, the whole key: then a node's
 * keys would lie in different slots, and no script may touch them together. */
static bool prefix_keeps_slots(const char *prefix, const char **why)
{
	const char *open = strchr(prefix, '{');

	if (!open || open[1] != '}')
		return true;
	*why = "the prefix of keys must not begin its braces with {}";
	return false;
}

static void watches_make(struct redis_shared *shared, const struct registry_conf *conf)
{
	shared->watches = redis_watches_new(shared->keeper, &(struct redis_watch_conf){
		.prefix = shared->prefix, .table = shared->table, .trust_ms = conf->trust_ms, .charged = conf->charged,
		.store_changed = conf->store_changed, .unfit = conf->unfit, .arg = conf->arg });
}

static void primaries_find(struct redis_shared *shared)
{
	switch (shared->target.kind) {
	case REDIS_ONE:
		redis_place_set(&shared->shards.at[redis_shard_add(shared)]->place, NULL, &shared->target.seeds[0]);
		break;
	case REDIS_SENTINEL:
		redis_shard_add(shared);
		shared->sentinels = redis_sentinels_new(shared);
		break;
	case REDIS_CLUSTER:
		shared->cluster = redis_cluster_new(shared);
		break;
	}
}

struct redis_shared *redis_shared_new(struct registry *registry, const char **why)
{
	const struct registry_conf *conf = &registry->conf;
	struct redis_shared *shared = calloc(1, sizeof *shared);

	if (!shared)
		abort();
	if (!redis_target_parse(conf->url, &shared->target, why) || !prefix_keeps_slots(conf->prefix, why)) {
		free(shared);
		return NULL;
	}
	shared->target.timeout_ms = conf->timeout_ms;
	if (conf->sentinel_password)
		snprintf(shared->target.sentinel.password, sizeof shared->target.sentinel.password, "%s", conf->sentinel_password);
	if (conf->sentinel_user)
		snprintf(shared->target.sentinel.user, sizeof shared->target.sentinel.user, "%s", conf->sentinel_user);
	shared->registry = registry;
	shared->table = registry->table;
	shared->keeper = registry->keeper;
	shared->retire = registry->retire;
	shared->prefix = strdup(conf->prefix);
	shared->router = strdup(conf->router);
	shared->login = calloc(1, sizeof *shared->login);
	shared->marks = calloc(1, sizeof *shared->marks);
	shared->wait_replicas = conf->wait_replicas;
	shared->wait_ms = conf->wait_ms;
	if (!shared->prefix || !shared->router || !shared->login || !shared->marks)
		abort();
	watches_make(shared, conf);
	primaries_find(shared);
	return shared;
}

void redis_shared_free(struct redis_shared *shared)
{
	redis_sentinels_free(shared->sentinels);
	redis_cluster_free(shared->cluster);
	redis_watches_free(shared->watches);
	for (size_t i = 0; i < shared->shards.count; i++) {
		redis_place_clear(&shared->shards.at[i]->place);
		free(shared->shards.at[i]);
	}
	free(shared->shards.map);
	free(shared->login);
	free(shared->marks);
	free(shared->prefix);
	free(shared->router);
	free(shared);
}

bool redis_shared_up(const struct redis_shared *shared)
{
	return redis_watches_up(shared->watches);
}

struct redis_store *redis_store_new(const struct redis_shared *shared, struct loop *loop)
{
	struct redis_store *store = calloc(1, sizeof *store);

	if (!store)
		abort();
	store->loop = loop;
	store->shared = shared;
	store->nowhere.store = store;
	shards_open(store);
	return store;
}

void redis_store_free(struct redis_store *store)
{
	shards_close(store);
	free(store);
}

uint64_t redis_store_connections(const struct redis_store *store)
{
	return shards_connections(store);
}

bool redis_store_up(const struct redis_store *store)
{
	return shards_up(store);
}
