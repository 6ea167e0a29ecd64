/* SPDX-License-Identifier: Apache-2.0 */
/* A million rooms are kept: strings have their own length here, not the longest possible (struct room is 850 bytes). */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "registry/table_entry.h"

static char *put_text(char *at, const char *text, size_t len)
{
	if (len)
		memcpy(at, text, len);
	return at + len;
}

static const char *get_text(const char *at, size_t len, char *out)
{
	memcpy(out, at, len);
	out[len] = '\0';
	return at + len;
}

static size_t text_len(const struct table_entry *e)
{
	return (size_t)e->name_len + e->node_len + e->incarnation_len + e->by_len + e->hints_len;
}

struct table_entry *entry_new(struct str name, uint64_t hash, const struct room *room)
{
	size_t node = strlen(room->node), incarnation = strlen(room->incarnation), by = strlen(room->assigned_by);
	size_t hints = strlen(room->hints);
	struct table_entry *e = calloc(1, sizeof *e + name.len + node + incarnation + by + hints);
	char *at;

	if (!e)
		abort();
	assert(name.len <= ROOM_MAX);
	e->hash = hash;
	e->epoch = room->epoch;
	e->registration = room->registration;
	e->created_ms = room->created_ms;
	e->exclusive = room->exclusive;
	e->reported = room->source == FROM_REPORT;
	e->state = (unsigned char)room->state;
	e->name_len = (uint16_t)name.len;
	e->node_len = (uint16_t)node;
	e->incarnation_len = (uint16_t)incarnation;
	e->by_len = (uint16_t)by;
	e->hints_len = (uint16_t)hints;
	at = put_text(e->text, name.at, name.len);
	at = put_text(at, room->node, node);
	at = put_text(at, room->incarnation, incarnation);
	at = put_text(at, room->assigned_by, by);
	put_text(at, room->hints, hints);
	return e;
}

struct str entry_name(const struct table_entry *e)
{
	return (struct str){ e->text, e->name_len };
}

bool entry_named(const struct table_entry *e, uint64_t hash, struct str name)
{
	return e->hash == hash && str_eq(entry_name(e), name);
}

bool entry_same(const struct table_entry *a, const struct table_entry *b)
{
	return a->epoch == b->epoch && a->registration == b->registration && a->created_ms == b->created_ms &&
	       a->exclusive == b->exclusive && a->reported == b->reported && a->state == b->state && a->name_len == b->name_len &&
	       a->node_len == b->node_len && a->incarnation_len == b->incarnation_len && a->by_len == b->by_len &&
	       a->hints_len == b->hints_len && memcmp(a->text, b->text, text_len(a)) == 0;
}

/* An epoch has one owner, and its hints only come, so that this is enough. */
bool entry_tells(const struct table_entry *e, const struct room *room)
{
	return e->epoch == room->epoch && e->state == room->state && e->hints_len == strlen(room->hints) &&
	       e->registration == room->registration && e->reported == (room->source == FROM_REPORT);
}

void entry_read(const struct table_entry *e, struct room *out)
{
	const char *at = e->text + e->name_len;

	out->state = (enum room_state)e->state;
	out->source = e->reported ? FROM_REPORT : FROM_TABLE;
	out->epoch = e->epoch;
	out->registration = e->registration;
	out->created_ms = e->created_ms;
	out->exclusive = e->exclusive;
	at = get_text(at, e->node_len, out->node);
	at = get_text(at, e->incarnation_len, out->incarnation);
	at = get_text(at, e->by_len, out->assigned_by);
	get_text(at, e->hints_len, out->hints);
}
