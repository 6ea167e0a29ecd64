/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the table: one room in it. What names the room and its owner never changes once the entry is published; a
 * change of the room is another entry. Only what says how sure and how used it is changes in place.
 */
#pragma once

#include <stdatomic.h>

#include "base/loop.h"
#include "base/retire.h"
#include "registry/rooms.h"

struct table;
struct table_entry {
	union {
		struct { /* on its way to the keeper */
			struct task task;
			struct table *table;
			uint64_t stamp;
			bool own; /* this process has written it */
		} flight;
		struct retired retired; /* taken out; readers may still be at it */
	};
	uint64_t hash, epoch, registration, created_ms;
	_Atomic uint64_t learned_ms, used_ms, touched_ms;
	_Atomic uint64_t generation; /* the table's when it was learned; 0: unsure since */
	bool exclusive;
	bool reported; /* by a node, while the store was away: nothing else vouches for it */
	unsigned char state; /* only `open` ones are published */
	uint16_t name_len, node_len, incarnation_len, by_len, hints_len;
	char text[]; /* the five, one after the other, without NUL */
};
struct table_entry *entry_new(struct str name, uint64_t hash, const struct room *);
bool entry_named(const struct table_entry *, uint64_t hash, struct str name);
bool entry_same(const struct table_entry *, const struct table_entry *); /* the room they tell of */
bool entry_tells(const struct table_entry *, const struct room *);       /* nothing new in `room` */
struct str entry_name(const struct table_entry *);
void entry_read(const struct table_entry *, struct room *out);
