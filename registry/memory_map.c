/* SPDX-License-Identifier: Apache-2.0 */
/* Linear hashing (Litwin 1980): each addition splits at most one bucket, so that no addition stalls the keeper. */
#include <stdlib.h>

#include "registry/memory_map.h"

#define SIZE_MIN 8

static void *grown(void *at, size_t *size, size_t item)
{
	*size = *size ? 2 * *size : SIZE_MIN;
	at = realloc(at, *size * item);
	if (!at)
		abort();
	return at;
}

static size_t power_below(size_t n) /* the largest power of two that is not above it */
{
	size_t power = 1;

	while (power <= n / 2)
		power *= 2;
	return power;
}

/* Buckets above the last power of two came by splitting. */
static struct map_item **bucket_of(const struct map *map, uint64_t hash)
{
	size_t power = power_below(map->nbuckets), at = hash & (2 * power - 1);

	return &map->buckets[at < map->nbuckets ? at : hash & (power - 1)];
}

static void split_next(struct map *map)
{
	size_t power = power_below(map->nbuckets);
	struct map_item **at;

	if (map->nbuckets == map->buckets_size)
		map->buckets = grown(map->buckets, &map->buckets_size, sizeof *map->buckets);
	map->buckets[map->nbuckets++] = NULL;
	at = map->nbuckets > 1 ? &map->buckets[map->nbuckets - 1 - power] : NULL;
	while (at && *at) {
		struct map_item *item = *at, **to = bucket_of(map, item->hash);

		if (to == &map->buckets[map->nbuckets - 1]) {
			*at = item->next;
			item->next = *to;
			*to = item;
		} else {
			at = &item->next;
		}
	}
}

struct map_item *map_find(const struct map *map, struct str name)
{
	uint64_t hash = hash_name(map->key, name);
	struct map_item *item = map->nbuckets ? *bucket_of(map, hash) : NULL;

	while (item && (item->hash != hash || !str_eq(item->name, name)))
		item = item->next;
	return item;
}

static size_t slot_take(struct map *map)
{
	if (map->nvacant)
		return map->vacant[--map->nvacant];
	if (map->nslots == map->slots_size)
		map->slots = grown(map->slots, &map->slots_size, sizeof *map->slots);
	return map->nslots++;
}

void map_add(struct map *map, struct map_item *item, struct str name)
{
	struct map_item **bucket;

	if (!map->nbuckets)
		map->key = hash_key_new();
	if (map->count >= map->nbuckets)
		split_next(map);
	item->name = name;
	item->hash = hash_name(map->key, name);
	bucket = bucket_of(map, item->hash);
	item->next = *bucket;
	*bucket = item;
	item->slot = slot_take(map);
	map->slots[item->slot] = item;
	map->count++;
}

void map_remove(struct map *map, struct map_item *item)
{
	struct map_item **at = bucket_of(map, item->hash);

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	if (map->nvacant == map->vacant_size)
		map->vacant = grown(map->vacant, &map->vacant_size, sizeof *map->vacant);
	map->vacant[map->nvacant++] = item->slot;
	map->slots[item->slot] = NULL;
	map->count--;
}

struct map_item *map_at(const struct map *map, size_t slot)
{
	return map->slots[slot];
}

void map_free(struct map *map, void (*free_item)(struct map_item *))
{
	for (size_t i = 0; i < map->nslots; i++)
		if (map->slots[i])
			free_item(map->slots[i]);
	free(map->buckets);
	free(map->slots);
	free(map->vacant);
	*map = (struct map){ 0 };
}
