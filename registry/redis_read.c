/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Half of the adapter of hiredis: the replies. A list that is shorter than expected, a number that is none, a name that
 * is too long: each reads as absent, so that a foreign or damaged record can at worst look like no record.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

#include "registry/nodes.h"
#include "registry/redis_place.h"
#include "registry/redis_read.h"
#include "registry/rooms.h"

const char *const room_fields[ROOM_FIELDS] = { "state", "epoch", "node", "inc", "reg", "created_at", "by", "exclusive", "hints" };

bool reply_failed(const struct redisReply *r)
{
	return !r || r->type == REDIS_REPLY_ERROR;
}

bool reply_error_is(const struct redisReply *r, const char *prefix)
{
	return r && r->type == REDIS_REPLY_ERROR && strncmp(r->str, prefix, strlen(prefix)) == 0;
}

bool reply_is_replica(const struct redisReply *r)
{
	return str_is(reply_str(reply_at(r, 0)), "slave");
}

bool reply_is_list(const struct redisReply *r)
{
	return r && r->type == REDIS_REPLY_ARRAY;
}

bool reply_is_nil(const struct redisReply *r)
{
	return r && r->type == REDIS_REPLY_NIL;
}

size_t reply_count(const struct redisReply *r)
{
	return reply_is_list(r) ? r->elements : 0;
}

const struct redisReply *reply_at(const struct redisReply *r, size_t i)
{
	return i < reply_count(r) ? r->element[i] : NULL;
}

struct str reply_str(const struct redisReply *r)
{
	if (!r || (r->type != REDIS_REPLY_STRING && r->type != REDIS_REPLY_STATUS && r->type != REDIS_REPLY_ERROR))
		return (struct str){ NULL, 0 };
	return (struct str){ r->str, (size_t)r->len };
}

uint64_t reply_u64(const struct redisReply *r)
{
	uint64_t n = 0;

	if (r && r->type == REDIS_REPLY_INTEGER)
		return r->integer > 0 ? (uint64_t)r->integer : 0;
	return r && parse_u64(reply_str(r), &n) ? n : 0;
}

double reply_real(const struct redisReply *r)
{
	struct str text = reply_str(r);
	double value = text.at ? strtod(text.at, NULL) : 0; /* hiredis ends strings with a NUL */

	return value >= -LOAD_MAX && value <= LOAD_MAX ? value : 0;
}

bool reply_copy(const struct redisReply *r, char *to, size_t size)
{
	struct str text = reply_str(r);

	to[0] = '\0';
	if (!text.at)
		return true;
	if (text.len >= size || memchr(text.at, '\0', text.len))
		return false;
	memcpy(to, text.at, text.len);
	to[text.len] = '\0';
	return true;
}

static enum room_state state_of(struct str word)
{
	for (int s = ROOM_OPENING; s <= ROOM_CLOSING; s++)
		if (str_is(word, room_state_name((enum room_state)s)))
			return (enum room_state)s;
	return ROOM_NONE;
}

/* What a record leaves out: lua/prelude.lua. */
static void room_complete(struct room *room)
{
	if (!room->created_ms)
		room->created_ms = room->epoch;
	if (!room->assigned_by[0])
		snprintf(room->assigned_by, sizeof room->assigned_by, ROOM_BY_REPORT);
}

bool reply_room(const struct redisReply *r, struct room *out)
{
	struct room room = { .source = FROM_STORE };

	if (reply_count(r) != ROOM_FIELDS)
		return false;
	room.state = state_of(reply_str(reply_at(r, 0)));
	if (room.state == ROOM_NONE) {
		if (str_is(reply_str(reply_at(r, 0)), "gone"))
			room.ended_epoch = reply_u64(reply_at(r, 1));
		*out = room;
		return true;
	}
	room.epoch = reply_u64(reply_at(r, 1));
	room.registration = reply_u64(reply_at(r, 4));
	room.created_ms = reply_u64(reply_at(r, 5));
	room.exclusive = str_is(reply_str(reply_at(r, 7)), "1");
	if (!reply_copy(reply_at(r, 2), room.node, sizeof room.node) ||
	    !reply_copy(reply_at(r, 3), room.incarnation, sizeof room.incarnation) ||
	    !reply_copy(reply_at(r, 6), room.assigned_by, sizeof room.assigned_by))
		return false;
	if (!reply_copy(reply_at(r, 8), room.hints, sizeof room.hints))
		room.hints[0] = '\0';
	room_complete(&room);
	*out = room;
	return true;
}

bool text_charge(struct str text, struct charge *out)
{
	struct str number, cost;
	struct charge c = { 0 };

	if (!str_cut(&text, ':', &number) || !str_cut(&text, ':', &cost) || !parse_u64(number, &c.number) ||
	    !parse_u64(text, &c.at_ms))
		return false;
	c.cost = strtod(cost.at, NULL); /* ends at the ':' */
	if (!(c.cost >= 0 && c.cost <= LOAD_MAX))
		return false;
	*out = c;
	return true;
}

bool text_entry(struct str text, struct room_report *out, uint64_t *uses)
{
	struct str epoch, participants;
	uint64_t n = 0;
	bool unknown;

	if (!str_cut(&text, ' ', &epoch) || !str_cut(&text, ' ', &participants))
		return false;
	unknown = participants.len && participants.at[0] == '-';
	if (!parse_u64(epoch, &out->epoch) || (!unknown && !parse_u64(participants, &n)) || n > EPOCH_MAX ||
	    !parse_u64(text, uses))
		return false;
	out->participants = unknown ? -1 : (int64_t)n;
	return true;
}

bool redis_endpoint_of_error(struct str text, const struct redis_endpoint *from, struct redis_endpoint *out)
{
	struct str word, port;
	uint64_t n;

	if (!str_cut(&text, ' ', &word) || !str_cut(&text, ' ', &word) || !text.at)
		return false;
	port = text;
	while (port.len && memchr(port.at, ':', port.len)) /* an IPv6 address has many */
		str_cut(&port, ':', &word);
	if (!parse_u64(port, &n) || n == 0 || n > 65535)
		return false;
	text.len = text.len - port.len - 1;
	if (text.len > REDIS_HOST_MAX)
		return false;
	*out = *from;
	out->port = (uint16_t)n;
	if (text.len) {
		memset(out->host, 0, sizeof out->host);
		memcpy(out->host, text.at, text.len);
	}
	return true;
}

struct str reply_info(const struct redisReply *r, const char *name)
{
	struct str rest = reply_str(r), line, key;

	while (str_cut(&rest, '\n', &line)) {
		if (line.len && line.at[line.len - 1] == '\r')
			line.len--;
		if (str_cut(&line, ':', &key) && str_is(key, name))
			return line;
	}
	return (struct str){ NULL, 0 };
}

uint64_t reply_run_id(const struct redisReply *r)
{
	struct str id = reply_info(r, "run_id");

	return id.at ? fnv1a(FNV_BEGIN, id) : 1;
}

uint64_t reply_time_ms(const struct redisReply *r)
{
	return reply_u64(reply_at(r, 0)) * 1000 + reply_u64(reply_at(r, 1)) / 1000;
}
