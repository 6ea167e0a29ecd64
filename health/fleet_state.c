/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a node is, from its record and what we watched. `state` is one word for people, the most serious that applies;
 * `why_not` has every reason, so that an operator sees all that stands in the way at once. Silence is counted from the latest
 * of the node's last change, our first sight of it, and the beginning of unbroken watching: what nobody watched is not silence,
 * and a record that comes from an old copy of the store does not say how long its node has been silent.
 */
#include <string.h>

#include "health/fleet_private.h"

const char *const node_state_words[] = { "joining", "ready", "late", "cordoned", "draining", "drained", "sick", "lost", NULL };
const char *const why_not_words[] = {
#define X(name, word) word,
	WHY_NOT_TABLE(X)
#undef X
		NULL
};

/* -- silence -------------------------------------------------------------------------------------------------------------- */
uint64_t fleet_silence_ms(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	uint64_t since = fleet->watched_since_ms;

	if (since < node->watched_ms)
		since = node->watched_ms;
	if (since < node->changed_ms)
		since = node->changed_ms;
	return now_ms > since ? now_ms - since : 0;
}

/* Late looks at the heartbeat's age itself, also where we have not watched all of it: it only turns new rooms away. */
static bool is_late(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	return now_ms > node->changed_ms + fleet->conf.heartbeat_ms + fleet->conf.heartbeat_ms / 2;
}

static struct str bare(struct str url)
{
	while (url.len && url.at[url.len - 1] == '/')
		url.len--;
	return url;
}

/* While all routers that a node knows are without the store, it goes on past its lease (client/lib/node_lease.c): who is not one of
 * them may hear nothing of a node that lives. One that names nobody does not go on. */
static bool may_be_unknown_to(const struct node_record *record, const char *url)
{
	struct str rest = record->routers, named;

	while (str_cut(&rest, ' ', &named))
		if (str_eq(bare(named), bare(str_of(url))))
			return false;
	return record->routers.len;
}

bool fleet_should_lose(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	const struct fleet_conf *conf = &fleet->conf;
	uint64_t limit = (node->record.lease_ms ? node->record.lease_ms : conf->lease_ms) + conf->grace_ms;
	uint64_t silence = fleet_silence_ms(fleet, node, now_ms);

	if (!*node->record.incarnation || node->record.lost || silence < limit)
		return false;
	if (node->info.fences == FENCES_NONE && limit < conf->unfenced_ms)
		limit = conf->unfenced_ms;
	if (may_be_unknown_to(&node->record, conf->url) && limit < conf->unasked_ms)
		limit = conf->unasked_ms;
	return silence >= limit;
}

/* -- state ------------------------------------------------------------------------------------------------------------------ */
static bool is_draining(const struct node *node)
{
	return node->record.wish == WISH_DRAINING || node->record.reported == REPORTED_DRAINING;
}

static bool is_empty(const struct node *node)
{
	return !node->record.rooms && !(node->load.has_rooms && node->load.rooms > 0);
}

static enum node_state state_of(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	const struct node_record *record = &node->record;
	bool here = *record->incarnation; /* else only a wish is left of it */

	if (record->lost)
		return NODE_LOST;
	if (here && !record->seq)
		return NODE_JOINING;
	if (here && is_late(fleet, node, now_ms))
		return NODE_LATE;
	if (here && record->reported == REPORTED_SICK)
		return NODE_SICK;
	if (is_draining(node))
		return is_empty(node) ? NODE_DRAINED : NODE_DRAINING;
	if (record->wish == WISH_CORDONED)
		return NODE_CORDONED;
	return here ? NODE_READY : NODE_LOST;
}

/* -- why not ------------------------------------------------------------------------------------------------------------------ */
static unsigned bit(bool is, unsigned why_not)
{
	return is ? why_not : 0;
}

static bool is_at(double value, double limit)
{
	return limit > 0 && value >= limit;
}

static bool is_held_back(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	uint64_t retry_ms;

	return fleet_is_unclosed(fleet) && node_held_back(node, now_ms, &retry_ms);
}

static unsigned why_not_of(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	const struct node_record *record = &node->record;
	const struct capacity *capacity = &node->info.capacity;

	if (!*record->incarnation)
		return WHY_NOT(LOST) | bit(record->wish == WISH_CORDONED, WHY_NOT(CORDONED)) | bit(record->wish == WISH_DRAINING, WHY_NOT(DRAINING));
	return bit(record->lost, WHY_NOT(LOST)) | bit(!record->seq, WHY_NOT(JOINING)) |
	       bit(record->seq && is_late(fleet, node, now_ms), WHY_NOT(LATE)) | bit(record->wish == WISH_CORDONED, WHY_NOT(CORDONED)) |
	       bit(is_draining(node), WHY_NOT(DRAINING)) | bit(record->reported == REPORTED_SICK, WHY_NOT(SICK)) |
	       bit(record->seq && !node->score.known, WHY_NOT(NO_LOAD)) | bit(is_held_back(fleet, node, now_ms), WHY_NOT(BREAKER)) |
	       bit(now_ms < node->full_until_ms, WHY_NOT(FULL)) | bit(node->score.value >= fleet->conf.max_load, WHY_NOT(MAX_LOAD)) |
	       bit(is_at((double)record->rooms, capacity->rooms), WHY_NOT(ROOMS)) |
	       bit(is_at(node->load.participants, capacity->participants), WHY_NOT(PARTICIPANTS)) |
	       bit(record->exclusive, WHY_NOT(EXCLUSIVE));
}

bool breakers_matter(const struct fleet_view *view)
{
	return view->unclosed && atomic_load_explicit(view->unclosed, memory_order_relaxed);
}

bool node_held_back(const struct node *node, uint64_t now_ms, uint64_t *retry_ms)
{
	*retry_ms = 0;
	for (int class = 0; class < CLASSES; class++) {
		uint64_t wait_ms;
		breaker_state(node->breakers[class], now_ms, &wait_ms);
		*retry_ms = wait_ms > *retry_ms ? wait_ms : *retry_ms;
	}
	return *retry_ms;
}

static bool is_here(const struct node *node)
{
	return *node->record.incarnation && !node->record.lost;
}

/* Too many open breakers in a pool are rather our own fault (or the network's): then they steer nothing. */
bool breakers_steer(const struct fleet_view *view, const char *pool, double max_ejected, uint64_t now_ms)
{
	size_t members = 0, held = 0;

	if (!breakers_matter(view))
		return true;
	for (size_t i = 0; i < view->count; i++) {
		uint64_t retry_ms;
		if (!is_here(&view->nodes[i]) || strcmp(view->nodes[i].info.pool, pool))
			continue;
		members++;
		held += node_held_back(&view->nodes[i], now_ms, &retry_ms);
	}
	return (double)held <= max_ejected * (double)members;
}

void fleet_derive(const struct fleet *fleet, const struct fleet_view *view, struct node *nodes, uint64_t now_ms)
{
	const char *pool = ""; /* the last that was asked about: it takes a look at all nodes */
	bool steered = false;

	for (size_t i = 0; i < view->count; i++) {
		struct node *node = &nodes[i];
		node->state = state_of(fleet, node, now_ms);
		node->why_not |= why_not_of(fleet, node, now_ms);
		if (!(node->why_not & WHY_NOT(BREAKER)))
			continue;
		if (strcmp(pool, node->info.pool) != 0) {
			pool = node->info.pool;
			steered = breakers_steer(view, pool, fleet->conf.max_ejected, now_ms);
		}
		if (!steered)
			node->why_not &= ~WHY_NOT(BREAKER);
	}
}
