/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to records, for the embedded store. A record keeps its slot for life, so that a listing by slots meets every
 * record that is there throughout, whatever comes and goes meanwhile. One thread.
 */
#pragma once

#include "registry/hash.h"

struct map_item { /* embedded in the record, which also keeps the name's bytes */
	struct map_item *next;
	uint64_t hash;
	size_t slot;
	struct str name;
};
struct map { /* zero-initialized is empty */
	struct hash_key key;
	struct map_item **buckets, **slots;
	size_t nbuckets, buckets_size, count;
	size_t nslots, slots_size; /* slots up to nslots may hold something */
	size_t *vacant, nvacant, vacant_size;
};
struct map_item *map_find(const struct map *, struct str name);
void map_add(struct map *, struct map_item *, struct str name); /* not yet in it */
void map_remove(struct map *, struct map_item *);
struct map_item *map_at(const struct map *, size_t slot); /* NULL: vacant; slot < nslots */
void map_free(struct map *, void (*free_item)(struct map_item *)); /* empty again */
