/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a large fleet, kept from one choice to the next. All nodes are read once for a view (at most twice in a heartbeat), or when
 * that was ORDER_MS ago; in between a choice looks only at the few that stand first. What was placed meanwhile makes a node come
 * later than it stands, so whoever stands first is read anew, and goes back to where it belongs unless it still is the first. What
 * makes a node come earlier (charges that fade, an open that ended, a breaker that closed) is seen with the next view: the choice is
 * then not the very best of a large fleet. Where nobody is left, all are read again before anybody is refused.
 *
 * One order serves all wishes for the same pool and regions. Wishes that know more of single nodes (labels, colocation, nodes that
 * were tried), or are of another size, read all: what stands against a large room stands not against the next small one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wire/limits.h"
#include "router/place_private.h"

#define ORDER_MS 500
#define ORDERS 8        /* pools and regions that are asked for in turns; the one that was not for longest goes */

struct order {
	struct field field;
	char pool[LABEL_MAX + 1], region[LABEL_MAX + 1], require_region[LABEL_MAX + 1];
	uint64_t used_ms;
	size_t size; /* of the field's tables */
};
struct orders {
	struct order at[ORDERS];
};

/* -- the heap ------------------------------------------------------------------------------------------------------------ */
static bool comes_first(const struct field *field, size_t a, size_t b)
{
	return stands_before(field->order[a].standing, field->order[b].standing);
}

static void swap(struct field *field, size_t a, size_t b)
{
	struct place_in_order held = field->order[a];

	field->order[a] = field->order[b];
	field->order[b] = held;
}

/* True: it stays where it is. */
static bool sift_down(struct field *field, size_t at)
{
	size_t from = at;

	for (size_t child; (child = 2 * at + 1) < field->norder; at = child) {
		if (child + 1 < field->norder && comes_first(field, child + 1, child))
			child++;
		if (!comes_first(field, child, at))
			break;
		swap(field, at, child);
	}
	return at == from;
}

static void set_up(struct field *field)
{
	field->norder = field->nslow = 0;
	for (uint32_t i = 0; i < field->n; i++)
		if (field->at[i].starts_slowly)
			field->slow[field->nslow++] = i;
		else
			field->order[field->norder++] = (struct place_in_order){ field->at[i].standing, i };
	for (size_t i = field->norder / 2; i-- > 0;)
		sift_down(field, i);
}

/* -- choosing ------------------------------------------------------------------------------------------------------------- */
/* Places of the heap that nobody before them is left of: below each stand only those that come after it. */
struct edge {
	size_t at[BEST_MAX + 1], n;
};

static void edge_add(struct edge *edge, const struct field *field, size_t at)
{
	if (at < field->norder)
		edge->at[edge->n++] = at;
}

static size_t edge_first(const struct edge *edge, const struct field *field)
{
	size_t first = 0;

	for (size_t i = 1; i < edge->n; i++)
		if (comes_first(field, edge->at[i], edge->at[first]))
			first = i;
	return first;
}

/* The first of those that are left, as of now; NULL: nobody is. */
static const struct candidate *take_first(struct place *place, struct field *field, uint64_t now_ms, struct edge *edge)
{
	while (edge->n) {
		size_t i = edge_first(edge, field), at = edge->at[i];
		struct candidate *c = &field->at[field->order[at].at];
		if (c->why_not)
			return NULL; /* and all that stand behind it */
		candidate_look(place, field, now_ms, c);
		field->order[at].standing = c->standing;
		if (!sift_down(field, at) || edge_first(edge, field) != i || c->why_not)
			continue;
		edge->at[i] = edge->at[--edge->n];
		edge_add(edge, field, 2 * at + 1);
		edge_add(edge, field, 2 * at + 2);
		return c;
	}
	return NULL;
}

void order_best(struct place *place, struct field *field, uint64_t now_ms, struct best *best)
{
	struct edge edge = { .n = 0 };

	edge_add(&edge, field, 0);
	for (const struct candidate *c; best->n < BEST_MAX && (c = take_first(place, field, now_ms, &edge));)
		best_take(best, c);
	for (size_t i = 0; i < field->nslow; i++) {
		struct candidate *c = &field->at[field->slow[i]];
		candidate_look(place, field, now_ms, c);
		if (!c->why_not)
			best_take(best, c);
	}
}

/* -- keeping -------------------------------------------------------------------------------------------------------------- */
static const char *word(const char *said)
{
	return said ? said : "";
}

static bool is_short(const char *said)
{
	return strlen(said) <= LABEL_MAX;
}

static bool is_plain(const struct place_wish *wish)
{
	return !wish->expected_participants && !wish->nrequire && !wish->nprefer && !wish->colocate_node && !wish->exclusive && !wish->ntried &&
	       is_short(field_pool(wish)) && is_short(word(wish->region)) && is_short(word(wish->require_region));
}

static bool is_for(const struct order *order, const struct place_wish *wish)
{
	return order->field.order && !strcmp(order->pool, field_pool(wish)) && !strcmp(order->region, word(wish->region)) &&
	       !strcmp(order->require_region, word(wish->require_region));
}

static struct order *find_or_take(struct orders *orders, const struct place_wish *wish)
{
	struct order *oldest = &orders->at[0];

	for (struct order *order = orders->at; order < orders->at + ORDERS; order++) {
		if (is_for(order, wish))
			return order;
		if (order->used_ms < oldest->used_ms)
			oldest = order;
	}
	oldest->field.read_ms = 0;
	return oldest;
}

static void make_room(struct order *order, size_t n)
{
	struct field *field = &order->field;

	if (n <= order->size)
		return;
	order->size = n + n / 8;
	field->at = realloc(field->at, order->size * sizeof(*field->at));
	field->order = realloc(field->order, order->size * sizeof(*field->order));
	field->slow = realloc(field->slow, order->size * sizeof(*field->slow));
	if (!field->at || !field->order || !field->slow)
		abort();
}

static void read_all(struct place *place, const struct place_wish *wish, uint64_t now_ms, struct order *order)
{
	make_room(order, fleet_view(place->fleet)->count);
	strcpy(order->pool, field_pool(wish));
	strcpy(order->region, word(wish->region));
	strcpy(order->require_region, word(wish->require_region));
	field_read(place, wish, now_ms, &order->field);
	order->field.pool.name = order->pool;
	set_up(&order->field);
}

static bool is_old(const struct order *order, const struct fleet_view *view, uint64_t now_ms)
{
	return !order->field.read_ms || order->field.view != view || order->field.version != view->version ||
	       now_ms >= order->field.read_ms + ORDER_MS;
}

struct field *order_of(struct place *place, const struct place_wish *wish, uint64_t now_ms)
{
	const struct fleet_view *view = fleet_view(place->fleet);

	if (view->count < place->conf.ordered_from || !is_plain(wish))
		return NULL;
	if (!place->orders && !(place->orders = calloc(1, sizeof(*place->orders))))
		abort();
	struct order *order = find_or_take(place->orders, wish);
	if (is_old(order, view, now_ms))
		read_all(place, wish, now_ms, order);
	order->used_ms = now_ms;
	order->field.wish = wish;
	order->field.cost = place_cost(place, wish);
	return &order->field;
}

void orders_free(struct orders *orders)
{
	for (size_t i = 0; orders && i < ORDERS; i++) {
		free(orders->at[i].field.at);
		free(orders->at[i].field.order);
		free(orders->at[i].field.slow);
	}
	free(orders);
}
