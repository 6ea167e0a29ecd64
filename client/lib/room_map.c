/* SPDX-License-Identifier: Apache-2.0 */
/* Chained, doubled when full. The hash is keyed: room names come from strangers, who could else make them collide. */
#include <stdlib.h>

#include "client/lib/room_map.h"

#define SIZE_FIRST 64

/* FNV-1a over a random start, mixed at the end. */
static uint64_t hash_of(const struct room_map *map, struct str name)
{
	uint64_t h = map->seed;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ (unsigned char)name.at[i]) * UINT64_C(0x100000001b3);
	h ^= h >> 32;
	return h * UINT64_C(0x9e3779b97f4a7c15);
}

static struct room_link **bucket_of(const struct room_map *map, uint64_t hash)
{
	return &map->table[(hash >> 20) & (map->size - 1)];
}

static void grow(struct room_map *map)
{
	struct room_map bigger = { .seed = map->seed, .size = map->size ? map->size * 2 : SIZE_FIRST, .count = map->count };

	if (!map->size)
		random_bytes(&bigger.seed, sizeof(bigger.seed));
	bigger.table = calloc(bigger.size, sizeof(*bigger.table));
	if (!bigger.table)
		abort();
	for (size_t i = 0; i < map->size; i++)
		for (struct room_link *link = map->table[i], *next; link; link = next) {
			struct room_link **at = bucket_of(&bigger, link->hash);
			next = link->next;
			link->next = *at;
			*at = link;
		}
	free(map->table);
	*map = bigger;
}

struct room_link *room_map_find(const struct room_map *map, struct str name)
{
	if (!map->count)
		return NULL;
	uint64_t hash = hash_of(map, name);
	struct room_link *link = *bucket_of(map, hash);

	while (link && (link->hash != hash || !str_eq(link->name, name)))
		link = link->next;
	return link;
}

void room_map_add(struct room_map *map, struct room_link *link)
{
	if (map->count >= map->size)
		grow(map);
	link->hash = hash_of(map, link->name);
	struct room_link **at = bucket_of(map, link->hash);

	link->next = *at;
	*at = link;
	map->count++;
}

void room_map_remove(struct room_map *map, struct room_link *link)
{
	struct room_link **at = bucket_of(map, link->hash);

	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	map->count--;
}

void room_map_free(struct room_map *map)
{
	free(map->table);
	*map = (struct room_map){ 0 };
}
