/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kind of store follows from the URL's scheme. What is known and not there is refused by name.
 */
#include <stdlib.h>
#include <string.h>

#include "registry/store_private.h"

static const struct {
	const char *prefix;
	const struct registry_kind *kind;
	const char *why; /* kind NULL: refused with these words */
} schemes[] = {
	{ "redis://", &registry_redis, NULL },
	{ "rediss://", NULL, "rediss:// (TLS to Redis) is not in this version" },
	{ "redis+sentinel://", &registry_redis, NULL },
	{ "redis+cluster://", &registry_redis, NULL },
};

static const struct registry_kind *kind_of(const char *url, const char **why)
{
	if (strcmp(url, "memory:") == 0)
		return &registry_memory;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		if (strncmp(url, schemes[i].prefix, strlen(schemes[i].prefix)) != 0)
			continue;
		*why = schemes[i].why;
		return schemes[i].kind;
	}
	*why = "must be memory:, redis://[[user]:password@]host:port[/db], redis+sentinel://host:port,host:port/master-name or "
	       "redis+cluster://host:port,host:port";
	return NULL;
}

bool registry_url_valid(const char *url, const char **why)
{
	const struct registry_kind *kind = kind_of(url, why);

	return kind && (!kind->reads || kind->reads(url, why));
}

static char *copied(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

static void registry_release(struct registry *registry)
{
	table_free(registry->table);
	free((void *)(uintptr_t)registry->conf.url);
	free((void *)(uintptr_t)registry->conf.prefix);
	free((void *)(uintptr_t)registry->conf.router);
	free(registry);
}

struct registry *registry_new(struct loop *keeper, struct retire *retire, const struct registry_conf *conf, const char **why)
{
	const struct registry_kind *kind = kind_of(conf->url, why);
	struct registry *registry;

	if (!kind)
		return NULL;
	registry = calloc(1, sizeof *registry);
	if (!registry)
		abort();
	registry->kind = kind;
	registry->keeper = keeper;
	registry->retire = retire;
	registry->conf = *conf;
	registry->conf.url = copied(conf->url);
	registry->conf.prefix = copied(conf->prefix);
	registry->conf.router = copied(conf->router);
	registry->table = table_new(keeper, retire, conf->table_max, conf->trust_ms);
	registry->own = kind->open(registry, why);
	registry->conf.sentinel_user = registry->conf.sentinel_password = NULL; /* the caller's */
	if (registry->own)
		return registry;
	registry_release(registry);
	return NULL;
}

void registry_free(struct registry *registry)
{
	if (!registry)
		return;
	registry->kind->close(registry->own);
	registry_release(registry);
}

const char *registry_kind(const struct registry *registry)
{
	return registry->kind->name;
}

bool registry_up(const struct registry *registry)
{
	return registry->kind->up(registry->own);
}

struct table *registry_table(struct registry *registry)
{
	return registry->table;
}

/* -- a loop's handle -------------------------------------------------------------------------------------------------------- */

struct store *store_new(struct registry *registry, struct loop *loop)
{
	return registry->kind->store_new(registry, loop);
}

void store_free(struct store *store)
{
	if (store)
		store->ops->free(store);
}

bool store_up(const struct store *store)
{
	return store->ops->up(store);
}

uint64_t store_connections(const struct store *store)
{
	return store->ops->connections ? store->ops->connections(store) : 0;
}

/* -- the mark --------------------------------------------------------------------------------------------------------------- */

int registry_look_at_mark(struct store *store, bool knows_nodes, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return store->ops->mark_look(store, knows_nodes, due_ms, out, w);
}

int registry_read_mark(struct store *store, struct str room, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return store->ops->mark_read(store, room, due_ms, out, w);
}

int registry_read_marks(struct store *store, uint64_t due_ms, struct store_mark *out, struct wait *w)
{
	return store->ops->marks_read(store, due_ms, out, w);
}

bool registry_mark_counts(const struct registry *registry, const struct store_mark *mark)
{
	return mark->whole && mark->generation && mark->generation == registry_generation(registry);
}

int registry_doubt(struct store *store, uint64_t generation, uint64_t young_ms, uint64_t due_ms, bool *done, struct wait *w)
{
	return store->ops->mark_doubt(store, generation, young_ms, due_ms, done, w);
}

int registry_call_whole(struct store *store, uint64_t generation, uint64_t due_ms, bool *done, struct wait *w)
{
	return store->ops->mark_whole(store, generation, due_ms, done, w);
}

void registry_trust_mark(struct registry *registry, const struct store_mark *mark)
{
	atomic_store(&registry->whole, false); /* readers look at `whole` first: never the old word with the new number */
	atomic_store(&registry->generation, mark->generation);
	atomic_store(&registry->whole, mark->whole);
}

uint64_t registry_generation(const struct registry *registry)
{
	return atomic_load(&registry->generation);
}

bool registry_whole(const struct registry *registry)
{
	return atomic_load(&registry->whole);
}

/* -- once ------------------------------------------------------------------------------------------------------------------- */

int registry_use_once(struct store *store, struct str name, uint64_t lives_ms, uint64_t due_ms, bool *first, struct wait *w)
{
	return store->ops->use_once(store, name, lives_ms, due_ms, first, w);
}

/* -- the floor -------------------------------------------------------------------------------------------------------------- */

/* Beyond EPOCH_MAX there is no epoch: such a number comes from a broken node, and would end all claims. */
void registry_met_epoch(struct registry *registry, uint64_t epoch)
{
	uint64_t floor = atomic_load_explicit(&registry->floor, memory_order_relaxed);

	if (epoch > EPOCH_MAX)
		return;
	while (floor < epoch && !atomic_compare_exchange_weak(&registry->floor, &floor, epoch))
		;
}

uint64_t registry_floor(const struct registry *registry)
{
	return atomic_load(&registry->floor);
}
