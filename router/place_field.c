/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters, wishes and effective loads. effective = score of the last report + charges + slow start, where
 *   charges     what was placed and may not be in the report yet (health/charges.h)
 *   slow start  (1 − age / slow_start_ms) · mean score of the pool, for a node that is new among old ones; where rooms cost so
 *               little that this is soon filled, it waits for its turn all the same (place.c)
 *   cost        of one room, scaled by the node's size: half as large a node feels it twice
 * A node's size is its capacity over the pool's mean, by the scarcest of the capacities that the whole pool states.
 */
#include <stdlib.h>
#include <string.h>

#include "router/place_private.h"
#include "router/wish.h"

#define WISH_COLOCATE 10000u /* outweighs a region, which outweighs any number of labels */
#define WISH_REGION 1000u

const char *field_pool(const struct place_wish *wish)
{
	if (wish->require_pool && *wish->require_pool)
		return wish->require_pool;
	return wish->pool && *wish->pool ? wish->pool : "default";
}

static double cap_of(const struct node *node, int cap)
{
	const struct capacity *capacity = &node->info.capacity;

	return cap == CAP_BANDWIDTH ? capacity->bandwidth_mbps : cap == CAP_ROOMS ? capacity->rooms : capacity->participants;
}

static bool is_here(const struct node *node)
{
	return *node->record.incarnation && !node->record.lost && node->record.seq;
}

static bool is_fresh(const struct place *place, const struct node *node, uint64_t now_ms)
{
	return now_ms < node->registered_ms + place->conf.slow_start_ms;
}

static void pool_add(struct pool *pool, const struct place *place, const struct node *node, uint64_t now_ms)
{
	pool->members++;
	pool->fresh += is_fresh(place, node, now_ms);
	if (node->score.known) {
		pool->scored++;
		pool->score_sum += node->score.value;
	}
	for (int cap = 0; cap < CAPS; cap++) {
		pool->cap_sum[cap] += cap_of(node, cap);
		pool->cap_stated[cap] &= cap_of(node, cap) > 0;
	}
}

static void pool_read(struct pool *pool, const struct place *place, const struct fleet_view *view, uint64_t now_ms)
{
	for (int cap = 0; cap < CAPS; cap++)
		pool->cap_stated[cap] = true;
	for (size_t i = 0; i < view->count; i++)
		if (is_here(&view->nodes[i]) && !strcmp(view->nodes[i].info.pool, pool->name))
			pool_add(pool, place, &view->nodes[i], now_ms);
}

static double size_in(const struct pool *pool, const struct node *node)
{
	double size = 0;

	for (int cap = 0; cap < CAPS; cap++) {
		if (!pool->members || !pool->cap_stated[cap])
			continue;
		double here = cap_of(node, cap) * (double)pool->members / pool->cap_sum[cap];
		size = size > 0 && size < here ? size : here;
	}
	return size > 0 ? size : 1;
}

static bool starts_slowly(const struct pool *pool, const struct candidate *c, uint64_t now_ms)
{
	return now_ms < c->new_until_ms && 2 * pool->fresh < pool->members;
}

static double slow_start(const struct place *place, const struct pool *pool, const struct candidate *c, uint64_t now_ms)
{
	if (!pool->scored)
		return 0;
	double left = (double)(c->new_until_ms - now_ms) / (double)place->conf.slow_start_ms;
	return left * pool->score_sum / (double)pool->scored;
}

/* -- reasons against ------------------------------------------------------------------------------------------------------ */
static unsigned bit(bool is, unsigned why_not)
{
	return is ? why_not : 0;
}

static bool was_tried(const struct place_wish *wish, const struct node *node)
{
	for (size_t i = 0; i < wish->ntried; i++)
		if (!strcmp(wish->tried[i], node->record.id))
			return true;
	return false;
}

static unsigned broken_condition(const struct place_wish *wish, const struct node *node)
{
	const char *broken = wish_broken(wish, node);

	if (!broken)
		return 0;
	return !strcmp(broken, "region") ? WHY_NOT(REGION) : !strcmp(broken, "pool") ? WHY_NOT(POOL) : WHY_NOT(LABELS);
}

static bool too_many_people(const struct place_wish *wish, const struct node *node)
{
	double max = node->info.capacity.participants;

	return max > 0 && node->load.has_participants && node->load.participants + (double)wish->expected_participants > max;
}

/* By what the view says. */
static unsigned why_not_ever(const struct field *field, const struct node *node)
{
	const struct place_wish *wish = field->wish;

	return (node->why_not & ~WHY_NOT(BREAKER)) | bit(strcmp(node->info.pool, field->pool.name), WHY_NOT(POOL)) |
	       broken_condition(wish, node) | bit(wish->exclusive && node->record.rooms, WHY_NOT(EXCLUSIVE)) |
	       bit(too_many_people(wish, node), WHY_NOT(PARTICIPANTS)) | bit(was_tried(wish, node), WHY_NOT(TRIED));
}

static void wait_while_full(struct candidate *c, uint64_t now_ms)
{
	uint64_t until_ms = c->node->full_until_ms;

	if (now_ms < until_ms && until_ms - now_ms > c->retry_ms)
		c->retry_ms = until_ms - now_ms;
}

/* The view is half a heartbeat old, or more of a large fleet: what this process knows better by now is asked anew. */
static unsigned why_not_now(const struct place *place, const struct field *field, struct candidate *c, uint64_t now_ms)
{
	size_t opens = meter_opens(c->meter, now_ms);

	c->retry_ms = 0;
	bool held = breakers_matter(field->view) && node_held_back(c->node, now_ms, &c->retry_ms);
	if (c->why_not_ever & WHY_NOT(FULL))
		wait_while_full(c, now_ms);
	return c->why_not_ever | bit(held && field->steered, WHY_NOT(BREAKER)) |
	       bit(field->wish->exclusive && opens, WHY_NOT(EXCLUSIVE)) | bit(opens >= place->conf.opens_per_node, WHY_NOT(OPENS));
}

/* What a new node counts as having on top takes no room on it. */
static bool is_filled(const struct place *place, const struct candidate *c)
{
	return c->effective - c->slow_start + c->cost > place->conf.max_load;
}

static enum turn turn_of(const struct place *place, const struct candidate *c)
{
	if (c->starts_slowly && !meter_allowed(c->meter))
		return TURN_LATER;
	return is_filled(place, c) ? TURN_LAST : TURN_NOW;
}

/* Where the operator has said what a room costs, a node is full by what it was charged with, too. A learned cost is a guess:
 * it steers, but refuses nobody. */
static bool over_max_load(const struct place *place, const struct candidate *c)
{
	return place->conf.room_cost >= 0 && is_filled(place, c);
}

/* -- wishes --------------------------------------------------------------------------------------------------------------- */
static unsigned wishes_met(const struct place_wish *wish, const struct node *node)
{
	unsigned met = 0;

	if (wish->colocate_node && !strcmp(wish->colocate_node, node->record.id))
		met += WISH_COLOCATE;
	if (wish->region && node->info.region && *wish->region && !strcmp(wish->region, node->info.region))
		met += WISH_REGION;
	for (size_t i = 0; i < wish->nprefer; i++)
		met += !strcmp(wish->prefer[i].value, node_label(node, wish->prefer[i].key));
	return met;
}

/* -- where it stands ------------------------------------------------------------------------------------------------------ */
#define AGAINST_BIT 63
#define WISHES_BIT 49
#define TURN_BIT 47 /* below: loads up to LOAD_MAX in steps of TIE */
#define WISHES_MAX ((1u << (AGAINST_BIT - WISHES_BIT)) - 1)
_Static_assert(WISH_COLOCATE + WISH_REGION + LABELS_MAX <= WISHES_MAX, "each has bits of its own");

/* What counts more stands in higher bits. */
static uint64_t key_of(const struct candidate *c)
{
	uint64_t key = (uint64_t)(within(c->effective, 0, LOAD_MAX) / TIE);

	key |= (uint64_t)c->turn << TURN_BIT;
	key |= (uint64_t)(WISHES_MAX - c->wishes) << WISHES_BIT;
	return key | (uint64_t)!!c->why_not << AGAINST_BIT;
}

/* -- the whole field ------------------------------------------------------------------------------------------------------ */
static double charges(const struct place *place, struct candidate *c, uint64_t now_ms)
{
	uint64_t store_ms = fleet_store_ms(place->fleet, now_ms);

	if (store_ms < c->line.from_ms || store_ms > c->line.until_ms)
		fleet_draw_charges(place->fleet, c->node, now_ms, &c->line);
	return charges_at(&c->line, store_ms) + meter_extra(c->meter);
}

void candidate_look(struct place *place, const struct field *field, uint64_t now_ms, struct candidate *c)
{
	c->cost = field->cost / c->size;
	c->charges = charges(place, c, now_ms);
	c->starts_slowly = starts_slowly(&field->pool, c, now_ms);
	c->slow_start = c->starts_slowly ? slow_start(place, &field->pool, c, now_ms) : 0;
	c->effective = c->score + c->charges + c->slow_start;
	c->turn = turn_of(place, c);
	c->why_not = why_not_now(place, field, c, now_ms);
	c->why_not |= bit(over_max_load(place, c), WHY_NOT(MAX_LOAD));
	c->standing.key = key_of(c);
}

void candidate_read(struct place *place, const struct field *field, uint64_t now_ms, struct candidate *c)
{
	const struct node *node = c->node;
	bool is_in_pool = !strcmp(node->info.pool, field->pool.name);

	c->why_not_ever = why_not_ever(field, node);
	c->wishes = wishes_met(field->wish, node);
	c->size = size_in(&field->pool, node);
	c->score = node->score.value;
	c->new_until_ms = is_in_pool ? node->registered_ms + place->conf.slow_start_ms : 0;
	c->meter = node->meter;
	fleet_draw_charges(place->fleet, node, now_ms, &c->line);
	candidate_look(place, field, now_ms, c);
}

void best_take(struct best *best, const struct candidate *c)
{
	size_t at = best->n;

	while (at && stands_before(c->standing, best->at[at - 1]->standing))
		at--;
	if (at == BEST_MAX)
		return;
	best->n += best->n < BEST_MAX;
	memmove(best->at + at + 1, best->at + at, (best->n - at - 1) * sizeof(*best->at));
	best->at[at] = c;
}

static struct candidate *scratch(struct place *place, size_t n)
{
	if (n > place->nscratch) {
		free(place->scratch);
		place->nscratch = 2 * n;
		place->scratch = calloc(place->nscratch, sizeof(*place->scratch));
		if (!place->scratch)
			abort();
	}
	return place->scratch;
}

static void count(struct field *field, const struct candidate *c)
{
	field->left += !c->why_not;
	field->starters += c->starts_slowly;
	if (!c->why_not && c->wishes > field->most_wishes)
		field->most_wishes = c->wishes;
	for (unsigned why_not = c->why_not; why_not; why_not &= why_not - 1)
		field->excluded[__builtin_ctz(why_not)]++;
}

/* What nodes of a pool have in common changes with the view, but for who is still new. */
static bool is_settled(const struct field *field, const struct fleet_view *view, const char *pool)
{
	return field->read_ms && field->view == view && field->version == view->version && !field->pool.fresh &&
	       !strcmp(field->pool.name, pool);
}

void field_read(struct place *place, const struct place_wish *wish, uint64_t now_ms, struct field *out)
{
	const struct fleet_view *view = fleet_view(place->fleet);

	bool knows_pool = is_settled(out, view, field_pool(wish));
	void (*read)(struct place *, const struct field *, uint64_t, struct candidate *) = knows_pool ? candidate_look : candidate_read;

	out->view = view;
	out->version = view->version;
	out->wish = wish;
	out->n = view->count;
	out->left = out->starters = 0;
	out->most_wishes = 0;
	out->read_ms = now_ms;
	memset(out->excluded, 0, sizeof(out->excluded));
	out->at = out->at ? out->at : scratch(place, view->count);
	out->cost = place_cost(place, wish);
	if (!knows_pool) {
		out->pool = (struct pool){ .name = field_pool(wish) };
		pool_read(&out->pool, place, view, now_ms);
	}
	out->steered = breakers_steer(view, out->pool.name, place->conf.max_ejected, now_ms);
	for (size_t i = 0; i < view->count; i++) {
		struct candidate *c = &out->at[i];
		c->node = &view->nodes[i];
		c->standing.lot = random_u64();
		read(place, out, now_ms, c);
		count(out, c);
	}
}
