/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a node stands in the view, and its seat among the seats, by its id: both are sorted by id, and a search by halves reads a
 * cache line at each step. Open addressing, at most half full. Which nodes there are changes seldom, so that an index mostly serves
 * one view after the other; it is never changed, and ends by way of retire once no published view shows it.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"

#define FEW 4 /* are looked at one after the other */

struct slot {
	uint32_t hash, place; /* place: one more than it; 0: empty */
};
struct fleet_index {
	struct retired retired;
	size_t mask;
	struct slot slots[];
};

static void put(struct fleet_index *index, const char *id, size_t place)
{
	uint64_t hash = fnv1a(FNV_BEGIN, str_of(id)); /* who names nodes has a credential for it */
	size_t at = hash & index->mask;

	while (index->slots[at].place)
		at = (at + 1) & index->mask;
	index->slots[at] = (struct slot){ (uint32_t)(hash >> 32), (uint32_t)place + 1 };
}

struct fleet_index *fleet_index_new(struct seat *const *seats, size_t n)
{
	size_t size = 2;

	if (n <= FEW)
		return NULL;
	while (size < 2 * n)
		size *= 2;
	struct fleet_index *index = calloc(1, sizeof(*index) + size * sizeof(*index->slots));
	if (!index)
		abort();
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

static bool find_of_few(const char *id, const char *(*id_at)(const void *, size_t), const void *all, size_t n, size_t *place)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(id_at(all, i), id)) {
			*place = i;
			return true;
		}
	return false;
}

bool fleet_index_find(const struct fleet_index *index, const char *id, const char *(*id_at)(const void *, size_t), const void *all,
                      size_t n, size_t *place)
{
	if (!index)
		return find_of_few(id, id_at, all, n, place);
	uint64_t hash = fnv1a(FNV_BEGIN, str_of(id));
	for (size_t at = hash; index->slots[at & index->mask].place; at++) {
		const struct slot *slot = &index->slots[at & index->mask];
		if (slot->hash != hash >> 32 || strcmp(id_at(all, slot->place - 1), id) != 0)
			continue;
		*place = slot->place - 1;
		return true;
	}
	return false;
}
