/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing and refusing. Among those that fulfil the most wishes the least effective load wins, ties at random; a new node that
 * has had its part (slow start) comes last. While other routers place rooms too, what we see is a little behind: then, in a fleet
 * with enough nodes, the choice is made at random among the few best, so that routers that see the same minimum do not all take
 * it. In a small fleet the second best would cost more balance than a collision does.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "router/place_private.h"

#define SLOW_PART 2.0     /* times a fair share: what a new node may have at most (livekit#4591) */
#define OTHERS_MS 2000    /* another router's charge so young: others are placing now */
#define NODES_PER_BEST 8  /* one of so many nodes is among "the few best" … */
#define FEW_MAX 12        /* … of which there are at most so many */
_Static_assert(FEW_MAX <= BEST_MAX, "they are found together");

/* -- refusing ------------------------------------------------------------------------------------------------------------- */
/* The reasons fall in stages; the refusal is of the first stage that leaves nobody. */
#define NOT_HERE (WHY_NOT(JOINING) | WHY_NOT(LATE) | WHY_NOT(LOST))
#define NOT_ASKED_FOR (WHY_NOT(POOL) | WHY_NOT(REGION) | WHY_NOT(LABELS))
#define NOT_WISHED (WHY_NOT(CORDONED) | WHY_NOT(DRAINING))

static size_t free_of(const struct field *field, unsigned reasons)
{
	size_t n = 0;

	for (size_t i = 0; i < field->n; i++)
		n += !(field->at[i].why_not & reasons);
	return n;
}

/* Is there a node that only this keeps out? The shortest wait of those that know one. */
static bool only_by(const struct field *field, unsigned reasons, uint64_t *retry_ms)
{
	bool found = false;

	for (size_t i = 0; i < field->n; i++) {
		const struct candidate *c = &field->at[i];
		if (!(c->why_not & reasons) || c->why_not & ~reasons)
			continue;
		if (!found || c->retry_ms < *retry_ms)
			*retry_ms = c->retry_ms;
		found = true;
	}
	return found;
}

static int refuse(const struct field *field, bool *wait_helps, uint64_t *retry_ms)
{
	*wait_helps = !field->view->ready || only_by(field, WHY_NOT(JOINING) | WHY_NOT(LATE), retry_ms) ||
		      only_by(field, WHY_NOT(OPENS), retry_ms);
	if (!free_of(field, NOT_HERE))
		return -ERR_NO_NODES;
	if (!free_of(field, NOT_ASKED_FOR))
		return -ERR_REGION_UNAVAILABLE;
	if (!free_of(field, NOT_HERE | NOT_ASKED_FOR))
		return -ERR_NO_NODES;
	if (!free_of(field, NOT_HERE | NOT_ASKED_FOR | NOT_WISHED))
		return -ERR_ALL_DRAINING;
	if (only_by(field, WHY_NOT(BREAKER), retry_ms))
		return -ERR_BREAKER_OPEN;
	only_by(field, WHY_NOT(FULL) | WHY_NOT(BREAKER), retry_ms);
	return -ERR_NO_CAPACITY;
}

/* -- choosing ------------------------------------------------------------------------------------------------------------- */
static size_t how_many_best(const struct place *place, const struct field *field, uint64_t now_ms)
{
	uint64_t others_ms = fleet_others_ms(place->fleet);
	size_t few = field->left / NODES_PER_BEST;

	if (!others_ms || now_ms > others_ms + OTHERS_MS || few < 1)
		return 1;
	return few < FEW_MAX ? few : FEW_MAX;
}

static struct best find_best(struct place *place, struct field *field, uint64_t now_ms)
{
	struct best best = { 0 };

	if (field->order)
		order_best(place, field, now_ms, &best);
	else
		for (size_t i = 0; i < field->n; i++)
			if (!field->at[i].why_not)
				best_take(&best, &field->at[i]);
	return best;
}

static const struct candidate *pick(const struct place *place, const struct field *field, const struct best *best, uint64_t now_ms)
{
	size_t few = how_many_best(place, field, now_ms), n = best->n < few ? best->n : few;

	while (n && (best->at[n - 1]->wishes < best->at[0]->wishes || best->at[n - 1]->turn > best->at[0]->turn))
		n--;
	return n ? best->at[random_u64() % n] : NULL;
}

static bool competes(const struct candidate *c, const struct candidate *chosen)
{
	return !c->why_not && c->wishes == chosen->wishes;
}

/* Who starts slowly has its part of each choice that could have been for it, whoever was chosen. */
static void count_choice(const struct field *field, const struct candidate *chosen)
{
	double sizes = 0;

	if (!field->starters)
		return;
	for (size_t i = 0; i < field->n; i++)
		sizes += competes(&field->at[i], chosen) ? field->at[i].size : 0;
	for (size_t i = 0; i < field->n; i++)
		if (field->at[i].starts_slowly && competes(&field->at[i], chosen))
			meter_allow(field->at[i].node->meter, SLOW_PART * field->at[i].size / sizes);
}

/* What a kept order has against its nodes may be over. */
static bool may_find_better(const struct field *field, const struct best *best, uint64_t now_ms)
{
	return field->read_ms < now_ms && (!best->n || best->at[0]->wishes < field->most_wishes);
}

int place_choose(struct place *place, const struct place_wish *wish, uint64_t now_ms, struct placed *out, bool *wait_helps,
                 uint64_t *retry_ms)
{
	struct field whole = { 0 }, *field = order_of(place, wish, now_ms);
	struct best best = { 0 };

	*wait_helps = false;
	*retry_ms = 0;
	if (field)
		best = find_best(place, field, now_ms);
	if (!field || may_find_better(field, &best, now_ms)) {
		field = &whole;
		field_read(place, wish, now_ms, field);
		best = find_best(place, field, now_ms);
	}
	place_learn(place, field, now_ms);
	const struct candidate *chosen = pick(place, field, &best, now_ms);
	if (!chosen)
		return refuse(field, wait_helps, retry_ms);
	place_keep(place, field, &best, chosen);
	*out = (struct placed){ .registration = chosen->node->record.registration,
		                .rooms_max = (uint64_t)chosen->node->info.capacity.rooms };
	memcpy(out->node, chosen->node->record.id, sizeof(out->node));
	memcpy(out->incarnation, chosen->node->record.incarnation, sizeof(out->incarnation));
	out->cost = meter_pend(chosen->node->meter, chosen->cost, now_ms);
	count_choice(field, chosen);
	return 0;
}

void place_opened(struct place *place, const char *node, uint64_t now_ms)
{
	const struct node *found = fleet_find(place->fleet, node);

	if (found)
		meter_opened(found->meter, now_ms);
}

int place_simulate(struct place *place, const struct place_wish *wish, uint64_t now_ms, struct buf *json)
{
	struct field field = { 0 };
	bool wait_helps;
	uint64_t retry_ms = 0;

	field_read(place, wish, now_ms, &field);
	struct best best = find_best(place, &field, now_ms);
	const struct candidate *chosen = pick(place, &field, &best, now_ms);
	field_write(&field, &best, chosen, chosen ? 0 : refuse(&field, &wait_helps, &retry_ms), json);
	return 0;
}

/* -- life ----------------------------------------------------------------------------------------------------------------- */
struct place *place_new(struct fleet *fleet, const struct place_conf *conf)
{
	struct place *place = calloc(1, sizeof(*place));

	if (!place)
		abort();
	place->fleet = fleet;
	place->conf = *conf;
	place->key = hash_key_new();
	return place;
}

void place_free(struct place *place)
{
	if (!place)
		return;
	place_forget_all(place);
	orders_free(place->orders);
	free(place->scratch);
	free(place);
}
