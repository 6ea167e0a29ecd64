/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store in one Redis: for each process an invalidation link, for each loop a data connection, and, where replicas must
 * confirm, a second one for what they confirm: WAIT holds up everything that comes after it on its connection.
 */
#include <stdlib.h>
#include <string.h>

#include "registry/redis_store.h"
#include "registry/redis_watch.h"

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

struct redis_shared *redis_shared_new(struct registry *registry, struct loop *keeper, struct table *table,
                                      const struct registry_conf *conf, const char **why)
{
	struct redis_shared *shared = calloc(1, sizeof *shared);

	if (!shared)
		abort();
	if (!redis_target_parse(conf->url, &shared->target, why) || !prefix_keeps_slots(conf->prefix, why)) {
		free(shared);
		return NULL;
	}
	shared->target.timeout_ms = conf->timeout_ms;
	shared->registry = registry;
	shared->table = table;
	shared->prefix = strdup(conf->prefix);
	shared->router = strdup(conf->router);
	shared->wait_replicas = conf->wait_replicas;
	shared->wait_ms = conf->wait_ms;
	if (!shared->prefix || !shared->router)
		abort();
	shared->watch = redis_watch_new(keeper, &(struct redis_watch_conf){
		.target = &shared->target, .prefix = shared->prefix, .table = table, .trust_ms = conf->trust_ms,
		.charged = conf->charged, .store_changed = conf->store_changed, .arg = conf->arg });
	return shared;
}

void redis_shared_free(struct redis_shared *shared)
{
	redis_watch_free(shared->watch);
	free(shared->prefix);
	free(shared->router);
	free(shared);
}

bool redis_shared_up(const struct redis_shared *shared)
{
	return redis_watch_up(shared->watch);
}

struct redis_store *redis_store_new(const struct redis_shared *shared, struct loop *loop)
{
	struct redis_store *store = calloc(1, sizeof *store);

	if (!store)
		abort();
	store->loop = loop;
	store->shared = shared;
	conn_open(&store->data, store);
	if (shared->wait_replicas)
		conn_open(&store->acked, store);
	return store;
}

void redis_store_free(struct redis_store *store)
{
	conn_close(&store->data);
	conn_close(&store->acked);
	free(store);
}

uint64_t redis_store_connections(const struct redis_store *store)
{
	return store->data.connections;
}

bool redis_store_up(const struct redis_store *store)
{
	return redis_up(store->data.link) && (!store->acked.link || redis_up(store->acked.link));
}
