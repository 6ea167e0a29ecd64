/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a node stands in the view, and its seat among the seats, by its id: both are sorted by id, and a search by halves reads a
 * cache line at each step. Open addressing, at most half full. Which nodes there are changes seldom, so that an index mostly serves
 * one view after the other; it is never changed, and ends by way of retire once no published view shows it.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"
#include "registry/hash.h"

struct slot {
	uint32_t hash, place; /* place: one more than it; 0: empty */
};
struct fleet_index {
	struct retired retired;
	struct hash_key key;
	size_t mask;
	struct slot slots[];
};

static void put(struct fleet_index *index, const char *id, size_t place)
{
	uint64_t hash = hash_name(index->key, str_of(id));
	size_t at = hash & index->mask;

	while (index->slots[at].place)
		at = (at + 1) & index->mask;
	index->slots[at] = (struct slot){ (uint32_t)(hash >> 32), (uint32_t)place + 1 };
}

struct fleet_index *fleet_index_new(struct seat *const *seats, size_t n)
{
	size_t size = 2;

	while (size < 2 * n)
		size *= 2;
	struct fleet_index *index = calloc(1, sizeof(*index) + size * sizeof(*index->slots));
	if (!index)
		abort();
	index->key = hash_key_new();
	index->mask = size - 1;
	for (size_t i = 0; i < n; i++)
		put(index, seats[i]->node, i);
	return index;
}

void fleet_index_free(struct retired *retired)
{
	free(container_of(retired, struct fleet_index, retired));
}

struct retired *fleet_index_retired(struct fleet_index *index)
{
	return &index->retired;
}

bool fleet_index_find(const struct fleet_index *index, const char *id, const char *(*id_at)(const void *, size_t), const void *all,
                      size_t *place)
{
	uint64_t hash = index ? hash_name(index->key, str_of(id)) : 0;

	for (size_t at = hash; index && index->slots[at & index->mask].place; at++) {
		const struct slot *slot = &index->slots[at & index->mask];
		if (slot->hash != hash >> 32 || strcmp(id_at(all, slot->place - 1), id) != 0)
			continue;
		*place = slot->place - 1;
		return true;
	}
	return false;
}
