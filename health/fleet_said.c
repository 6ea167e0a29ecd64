/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes said, parsed once. A reading brings every record again and few have changed, so a seat keeps what was read of `info`
 * and of `load` beside the bytes that it was read from: the same bytes are not read again. Views point into what was read of an
 * info, so that is never changed: other bytes make another one, and the old one ends by way of retire once no published view
 * shows it. A load has no strings, and each view has a copy. What a seat keeps ends with it, so nothing passes from one process
 * of a node to the next.
 */
#include <stdlib.h>
#include <string.h>

#include "base/egress.h"
#include "base/url.h"
#include "health/fleet_private.h"

#define STRINGS 256 /* more than an info without labels takes beside its strings, which are no longer than its text */

struct said { /* of an info */
	struct retired retired;
	struct arena arena;
	struct str text;
	struct node_info info;
	unsigned why_not;
};

static void said_free(struct said *said)
{
	arena_reset(&said->arena);
	free(said);
}

static void free_retired(struct retired *retired)
{
	said_free(container_of(retired, struct said, retired));
}

/* Names are judged at each connect; an address can be told now. */
static bool address_allowed(const struct fleet *fleet, const char *text)
{
	struct url url;

	return !text || !*text || !url_parse(text, &url, NULL) || egress_host_allowed(fleet->egress, url.host);
}

static struct said *said_new(const struct fleet *fleet, const struct node_record *record)
{
	struct said *said = calloc(1, sizeof(*said));
	const char *fault;

	if (!said)
		abort();
	said->arena.block = 2 * record->info.len + STRINGS;
	said->text = (struct str){ arena_copy(&said->arena, record->info.at, record->info.len), record->info.len };
	if (*record->incarnation && json_read(said->text, &node_info_shape, &said->arena, &said->info, &fault) < 0)
		said->why_not |= WHY_NOT(UNREADABLE);
	/* One text for all that are in it: a choice in a large fleet compares each node's. */
	if (!said->info.pool || !*said->info.pool || !strcmp(said->info.pool, "default"))
		said->info.pool = "default";
	if (!address_allowed(fleet, said->info.signal_url) || !address_allowed(fleet, said->info.control_url))
		said->why_not |= WHY_NOT(ADDRESS);
	return said;
}

static void hear_info(struct fleet *fleet, struct seat *seat, const struct node_record *record)
{
	if (seat->said)
		fleet_end(fleet, &seat->said->retired, free_retired);
	seat->said = said_new(fleet, record);
	fleet->shape++; /* a seat that is new has said nothing yet */
}

static void hear_load(struct seat *seat, struct str text)
{
	struct arena arena = { 0 };
	const char *fault;

	seat->load_text.len = 0;
	buf_add(&seat->load_text, text.at, text.len);
	seat->load = (struct load){ 0 };
	seat->load_why_not = text.len && json_read(text, &load_shape, &arena, &seat->load, &fault) < 0 ? WHY_NOT(UNREADABLE) : 0;
	arena_reset(&arena);
}

void seat_hear(struct fleet *fleet, struct seat *seat, const struct node_record *record)
{
	bool info = !seat->said || !str_eq(seat->said->text, record->info);
	bool load = !str_eq((struct str){ seat->load_text.at, seat->load_text.len }, record->load);

	if (info)
		hear_info(fleet, seat, record);
	if (load)
		hear_load(seat, record->load);
	if (info || load)
		score_of(&seat->load, &seat->said->info.capacity, &seat->score);
}

void seat_say(const struct seat *seat, struct node *node)
{
	node->info = seat->said->info;
	node->load = seat->load;
	node->score = seat->score;
	node->why_not = seat->said->why_not | seat->load_why_not;
}

void seat_forget(struct seat *seat)
{
	if (seat->said)
		said_free(seat->said);
	buf_free(&seat->load_text);
}
