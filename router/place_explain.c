/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a room went where it went, as JSON. Written at once and kept as text: what it tells of is gone a moment later. Kept for
 * the last `placement.explained` placements, in a ring; a room's newest is found through a table of chains by name.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/place_private.h"

#define CANDIDATES_SHOWN 8

struct kept {
	struct kept *chain; /* in its bucket, newest first */
	uint64_t hash;
	size_t room_len, json_len;
	char text[]; /* room, then JSON */
};

/* -- writing -------------------------------------------------------------------------------------------------------------- */
/* The chosen one first, then what would have been chosen next. */
static size_t best_shown(const struct best *best, const struct candidate *chosen, const struct candidate **shown)
{
	size_t n = 0;

	if (chosen)
		shown[n++] = chosen;
	for (size_t i = 0; i < best->n && n < CANDIDATES_SHOWN; i++)
		if (best->at[i] != chosen)
			shown[n++] = best->at[i];
	return n;
}

static void write_candidate(struct json_out *json, const struct candidate *c)
{
	const struct score *score = &c->node->score;

	json_open(json, NULL, '{');
	json_str(json, "node", c->node->record.id);
	json_real(json, "effective", c->effective);
	json_real(json, "score", score->value);
	json_open(json, "terms", '{');
	for (int term = 0; term < SCORE_TERMS; term++)
		if (score->term[term] >= 0)
			json_real(json, score_term_words[term], score->term[term]);
	json_close(json, '}');
	json_real(json, "charges", c->charges);
	json_real(json, "slow_start", c->slow_start);
	json_bool(json, "waits", c->turn == TURN_LATER);
	json_real(json, "cost", c->cost);
	json_u64(json, "wishes", c->wishes);
	json_close(json, '}');
}

static void write_reasons(struct json_out *json, const struct field *field)
{
	json_open(json, "excluded", '{');
	for (int reason = 0; reason < WHY_NOT_BITS; reason++)
		if (field->excluded[reason])
			json_u64(json, why_not_words[reason], field->excluded[reason]);
	json_close(json, '}');
}

void field_write(const struct field *field, const struct best *best, const struct candidate *chosen, int err, struct buf *out)
{
	const struct candidate *shown[CANDIDATES_SHOWN];
	struct json_out json = { .to = out };
	size_t n = best_shown(best, chosen, shown);
	char at[25];

	time_rfc3339(wall_ms(), at);
	json_open(&json, NULL, '{');
	json_view(&json, "room", field->wish->room);
	json_str(&json, "chosen", chosen ? chosen->node->record.id : NULL);
	json_str(&json, "refused", err ? error_info(err)->slug : NULL);
	json_str(&json, "at", at);
	json_u64(&json, "nodes", field->n);
	json_bool(&json, "breakers_steer", field->steered);
	json_open(&json, "candidates", '[');
	for (size_t i = 0; i < n; i++)
		write_candidate(&json, shown[i]);
	json_close(&json, ']');
	write_reasons(&json, field);
	json_close(&json, '}');
}

/* -- keeping -------------------------------------------------------------------------------------------------------------- */
static bool make_tables(struct place *place)
{
	if (place->ring || !place->conf.explained)
		return place->ring;
	place->nbuckets = (size_t)place->conf.explained;
	place->ring = calloc(place->nbuckets, sizeof(struct kept *));
	place->table = calloc(place->nbuckets, sizeof(struct kept *));
	if (!place->ring || !place->table)
		abort();
	return true;
}

static void unlink_kept(struct place *place, struct kept *kept)
{
	struct kept **at = &place->table[kept->hash % place->nbuckets];

	while (*at != kept)
		at = &(*at)->chain;
	*at = kept->chain;
	free(kept);
}

void place_keep(struct place *place, const struct field *field, const struct best *best, const struct candidate *chosen)
{
	struct str room = field->wish->room;
	struct buf json = { 0 };

	if (!make_tables(place))
		return;
	field_write(field, best, chosen, 0, &json);
	struct kept *kept = calloc(1, sizeof(*kept) + room.len + json.len);
	if (!kept)
		abort();
	kept->hash = hash_name(place->key, room);
	kept->room_len = room.len;
	kept->json_len = json.len;
	memcpy(kept->text, room.at, room.len);
	memcpy(kept->text + room.len, json.at, json.len);
	buf_free(&json);
	struct kept **slot = &place->ring[place->next++ % place->nbuckets], **bucket = &place->table[kept->hash % place->nbuckets];
	if (*slot)
		unlink_kept(place, *slot);
	*slot = kept;
	kept->chain = *bucket;
	*bucket = kept;
}

bool place_explain(const struct place *place, struct str room, struct buf *json)
{
	uint64_t hash = hash_name(place->key, room);

	if (!place->ring)
		return false;
	for (const struct kept *kept = place->table[hash % place->nbuckets]; kept; kept = kept->chain) {
		if (kept->hash != hash || kept->room_len != room.len || memcmp(kept->text, room.at, room.len))
			continue;
		buf_add(json, kept->text + kept->room_len, kept->json_len);
		return true;
	}
	return false;
}

void place_forget_all(struct place *place)
{
	for (size_t i = 0; place->ring && i < place->nbuckets; i++)
		free(place->ring[i]);
	free(place->ring);
	free(place->table);
}
