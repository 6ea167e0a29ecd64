/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map by room name, embedded in what it maps: used for the rooms a node reports, the rooms a gate knows, and the
 * tombstones of rooms that left. Names are bytes. Owns only its table.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct room_link { /* embedded; the owner keeps the name's memory */
	struct room_link *next;
	uint64_t hash;
	struct str name;
};
struct room_map { /* zero-initialized: empty */
	uint64_t seed; /* of its hashes; its own, as the map may change threads */
	struct room_link **table;
	size_t size, count;
};
struct room_link *room_map_find(const struct room_map *, struct str name);
void room_map_add(struct room_map *, struct room_link *); /* its name is set and not in the map */
void room_map_remove(struct room_map *, struct room_link *);
void room_map_free(struct room_map *); /* the table; links are their owners' */
