/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why a room went where it went. Copied at once, as what it tells of is gone a moment later, and written as JSON when somebody asks.
 * Kept for the last `placement.explained` placements, in a ring; a room's newest is found through a table of chains by name.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/place_private.h"

#define CANDIDATES_SHOWN 8

struct shown { /* of a candidate */
	char node[NODE_MAX + 1];
	struct score score;
	double charges, slow_start, effective, cost;
	unsigned wishes;
	bool waits;
};
struct account {
	uint64_t at_ms; /* of the wall clock */
	size_t nodes, n;
	bool steered, chosen; /* chosen: the first of those that are shown */
	int err;
	size_t excluded[WHY_NOT_BITS];
	struct shown shown[CANDIDATES_SHOWN];
};
struct kept {
	struct kept *chain; /* in its bucket, newest first */
	uint64_t hash;
	struct account account;
	size_t room_len;
	char room[];
};

/* -- taking -------------------------------------------------------------------------------------------------------------- */
static void show(struct account *account, const struct candidate *c)
{
	struct shown *shown = &account->shown[account->n++];

	*shown = (struct shown){ .score = c->node->score, .charges = c->charges, .slow_start = c->slow_start, .effective = c->effective,
		                 .cost = c->cost, .wishes = c->wishes, .waits = c->turn == TURN_LATER };
	memcpy(shown->node, c->node->record.id, sizeof(shown->node));
}

/* The chosen one first, then what would have been chosen next. */
static void take(struct account *account, const struct field *field, const struct best *best, const struct candidate *chosen, int err)
{
	account->at_ms = wall_ms();
	account->nodes = field->n;
	account->steered = field->steered;
	account->chosen = chosen;
	account->err = err;
	account->n = 0;
	memcpy(account->excluded, field->excluded, sizeof(account->excluded));
	if (chosen)
		show(account, chosen);
	for (size_t i = 0; i < best->n && account->n < CANDIDATES_SHOWN; i++)
		if (best->at[i] != chosen)
			show(account, best->at[i]);
}

/* -- writing -------------------------------------------------------------------------------------------------------------- */
static void write_shown(struct json_out *json, const struct shown *shown)
{
	json_open(json, NULL, '{');
	json_str(json, "node", shown->node);
	json_real(json, "effective", shown->effective);
	json_real(json, "score", shown->score.value);
	json_open(json, "terms", '{');
	for (int term = 0; term < SCORE_TERMS; term++)
		if (shown->score.term[term] >= 0)
			json_real(json, score_term_words[term], shown->score.term[term]);
	json_close(json, '}');
	json_real(json, "charges", shown->charges);
	json_real(json, "slow_start", shown->slow_start);
	json_bool(json, "waits", shown->waits);
	json_real(json, "cost", shown->cost);
	json_u64(json, "wishes", shown->wishes);
	json_close(json, '}');
}

static void write_account(const struct account *account, struct str room, struct buf *out)
{
	struct json_out json = { .to = out };
	char at[25];

	time_rfc3339(account->at_ms, at);
	json_open(&json, NULL, '{');
	json_view(&json, "room", room);
	json_str(&json, "chosen", account->chosen ? account->shown[0].node : NULL);
	json_str(&json, "refused", account->err ? error_info(account->err)->slug : NULL);
	json_str(&json, "at", at);
	json_u64(&json, "nodes", account->nodes);
	json_bool(&json, "breakers_steer", account->steered);
	json_open(&json, "candidates", '[');
	for (size_t i = 0; i < account->n; i++)
		write_shown(&json, &account->shown[i]);
	json_close(&json, ']');
	json_open(&json, "excluded", '{');
	for (int reason = 0; reason < WHY_NOT_BITS; reason++)
		if (account->excluded[reason])
			json_u64(&json, why_not_words[reason], account->excluded[reason]);
	json_close(&json, '}');
	json_close(&json, '}');
}

void field_write(const struct field *field, const struct best *best, const struct candidate *chosen, int err, struct buf *out)
{
	struct account account;

	take(&account, field, best, chosen, err);
	write_account(&account, field->wish->room, out);
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
}

void place_keep(struct place *place, const struct field *field, const struct best *best, const struct candidate *chosen)
{
	struct str room = field->wish->room;

	if (!make_tables(place))
		return;
	struct kept **slot = &place->ring[place->next++ % place->nbuckets];
	if (*slot)
		unlink_kept(place, *slot);
	struct kept *kept = *slot = realloc(*slot, sizeof(*kept) + room.len);
	if (!kept)
		abort();
	take(&kept->account, field, best, chosen, 0);
	kept->hash = hash_name(place->key, room);
	kept->room_len = room.len;
	memcpy(kept->room, room.at, room.len);
	struct kept **bucket = &place->table[kept->hash % place->nbuckets];
	kept->chain = *bucket;
	*bucket = kept;
}

bool place_explain(const struct place *place, struct str room, struct buf *json)
{
	uint64_t hash = hash_name(place->key, room);

	if (!place->ring)
		return false;
	for (const struct kept *kept = place->table[hash % place->nbuckets]; kept; kept = kept->chain) {
		if (kept->hash != hash || kept->room_len != room.len || memcmp(kept->room, room.at, room.len))
			continue;
		write_account(&kept->account, room, json);
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
