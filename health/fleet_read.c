/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the store's answer to a view. Records and seats are both gone through by id, so that one pass pairs them; where the records
 * stood in the answer is kept, as the next one mostly has the same order and need not be sorted. Of a large fleet, which comes in
 * slices, each record goes to its seat's place as soon as it is there, and that pass is only for a reading in which a node came, went,
 * began anew or could not be read. A record that the store could not read this time (`unread`) is taken over from the last view, behind
 * what was read: a damaged key must not look like a node that left, nor hide that another one did. What a node said and cannot be read
 * is a reason against it (`unreadable`), never a reason to drop it.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"

/* -- what ends -------------------------------------------------------------------------------------------------------------- */
void fleet_end(struct fleet *fleet, struct retired *retired, void (*free_it)(struct retired *))
{
	*retired = (struct retired){ fleet->ended, free_it };
	fleet->ended = retired;
}

void fleet_retire_ended(struct fleet *fleet)
{
	for (struct retired *retired; (retired = fleet->ended);) {
		fleet->ended = retired->next;
		retire_later(fleet->retire, retired, retired->free);
	}
}

/* -- seats ------------------------------------------------------------------------------------------------------------------ */
void seat_free(struct seat *seat)
{
	for (int class = 0; class < CLASSES; class++)
		breaker_free(seat->breakers[class]);
	meter_free(seat->meter);
	seat_forget(seat);
	free(seat);
}

static void free_retired(struct retired *retired)
{
	seat_free(container_of(retired, struct seat, retired));
}

/* Nobody shall see the breaker of a process that is gone as open. */
static void seat_end(struct fleet *fleet, struct seat *seat)
{
	wait_drop(&seat->losing);
	fleet->shape++;
	for (int class = 0; class < CLASSES; class++)
		if (seat->breaker_told[class] != BREAKER_CLOSED && fleet->conf.breaker_changed)
			fleet->conf.breaker_changed(fleet->conf.arg, seat->node, (enum breaker_class)class, seat->breaker_told[class],
			                            BREAKER_CLOSED);
	for (int class = 0; class < CLASSES; class++)
		breaker_uncount(seat->breakers[class]);
	fleet_end(fleet, &seat->retired, free_retired);
}

static uint64_t ago(uint64_t now_ms, uint64_t later_ms, uint64_t earlier_ms)
{
	uint64_t age = later_ms > earlier_ms ? later_ms - earlier_ms : 0;

	return now_ms > age ? now_ms - age : 0;
}

/* The store's clock dates what happened before we saw this process for the first time: both times are the store's own. */
static struct seat *seat_new(struct fleet *fleet, const struct node_record *record, uint64_t store_ms, uint64_t now_ms)
{
	struct seat *seat = calloc(1, sizeof(*seat));

	if (!seat)
		abort();
	seat->fleet = fleet;
	memcpy(seat->node, record->id, sizeof(seat->node));
	memcpy(seat->incarnation, record->incarnation, sizeof(seat->incarnation));
	for (int class = 0; class < CLASSES; class++)
		seat->breakers[class] = breaker_new(&fleet->conf.breaker);
	seat->meter = meter_new(fleet->conf.ramp_ms);
	seat->registration = record->registration;
	seat->seq = record->seq;
	seat->watched_ms = now_ms;
	seat->changed_ms = ago(now_ms, store_ms, record->heard_ms);
	seat->registered_ms = record->seq ? ago(now_ms, store_ms, record->since_ms) : now_ms;
	seat->resets = record->resets;
	return seat;
}

static void seat_watch(struct seat *seat, const struct node_record *record, uint64_t now_ms)
{
	if (seat->registration != record->registration || seat->seq != record->seq) {
		if (!seat->seq)
			seat->registered_ms = now_ms;
		seat->registration = record->registration;
		seat->seq = record->seq;
		seat->changed_ms = now_ms;
	}
	if (seat->seen_lost != record->lost)
		seat->fleet->shape++;
	seat->seen_lost = record->lost;
	if (record->resets > seat->resets)
		seat_forgive(seat, now_ms);
	seat->resets = record->resets;
	seat->charged = record->charged;
	meter_read(seat->meter, record->charged, now_ms);
}

static struct seat *seat_for(struct fleet *fleet, struct seat *held, const struct node_record *record, uint64_t store_ms, uint64_t now_ms)
{
	struct seat *seat;

	if (held && !strcmp(held->incarnation, record->incarnation))
		return held;
	seat = seat_new(fleet, record, store_ms, now_ms);
	seat->told = held ? held->told : NODE_JOINING;
	if (held)
		seat_end(fleet, held);
	return seat;
}

static void index_anew(struct fleet *fleet)
{
	if (fleet->index)
		fleet_end(fleet, fleet_index_retired(fleet->index), fleet_index_free);
	fleet->index = fleet_index_new(fleet->seats, fleet->nseats);
}

/* One seat for each record, in order; seats without a record end. */
static void seat_all(struct fleet *fleet, const struct nodes_all *all, bool same_nodes, uint64_t now_ms)
{
	struct seat **seats = calloc(all->count + 1, sizeof(struct seat *));
	size_t held = 0;

	if (!seats)
		abort();
	for (size_t i = 0; i < all->count; i++) {
		const struct node_record *record = &all->nodes[fleet->order[i]];
		while (held < fleet->nseats && strcmp(fleet->seats[held]->node, record->id) < 0)
			seat_end(fleet, fleet->seats[held++]);
		bool same = held < fleet->nseats && !strcmp(fleet->seats[held]->node, record->id);
		seats[i] = seat_for(fleet, same ? fleet->seats[held++] : NULL, record, all->store_ms, now_ms);
	}
	while (held < fleet->nseats)
		seat_end(fleet, fleet->seats[held++]);
	free(fleet->seats);
	fleet->seats = seats;
	fleet->nseats = all->count;
	if (fleet->next)
		fleet->next->nodes = NULL; /* places of the seats before: hearsay comes between two slices as well */
	if (!same_nodes)
		index_anew(fleet);
}

/* -- records ----------------------------------------------------------------------------------------------------------------- */
static int by_id(const void *a, const void *b, void *arg)
{
	const struct node_record *nodes = arg;

	return strcmp(nodes[*(const size_t *)a].id, nodes[*(const size_t *)b].id);
}

static bool is_ordered(const struct fleet *fleet, const struct nodes_all *all)
{
	if (all->count != fleet->nseats)
		return false;
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->nodes[fleet->order[i]].id, fleet->seats[i]->node) != 0)
			return false;
	return true;
}

/* True: they are the nodes that have seats, in the order of before. */
static bool put_in_order(struct fleet *fleet, const struct nodes_all *all)
{
	if (is_ordered(fleet, all))
		return true;
	fleet->order = realloc(fleet->order, (all->count + 1) * sizeof(*fleet->order));
	if (!fleet->order)
		abort();
	for (size_t i = 0; i < all->count; i++)
		fleet->order[i] = i;
	qsort_r(fleet->order, all->count, sizeof(*fleet->order), by_id, all->nodes);
	return false;
}

static struct str kept(struct arena *arena, struct str text)
{
	return (struct str){ arena_copy(arena, text.at, text.len), text.len };
}

static void keep_record(struct arena *arena, const struct node_record *from, struct node_record *to)
{
	*to = *from;
	to->info = kept(arena, from->info);
	to->load = kept(arena, from->load);
	to->drain = kept(arena, from->drain);
	to->routers = kept(arena, from->routers);
	to->charges = arena_alloc(arena, (from->ncharges + 1) * sizeof(*to->charges));
	if (from->ncharges)
		memcpy(to->charges, from->charges, from->ncharges * sizeof(*to->charges));
}

static void take_over_unread(const struct fleet *fleet, struct arena *arena, struct nodes_all *all)
{
	struct node_record *nodes = arena_alloc(arena, (all->count + all->nunread + 1) * sizeof(*nodes));
	size_t n = all->count;

	if (n)
		memcpy(nodes, all->nodes, n * sizeof(*nodes));
	for (size_t i = 0; i < all->nunread; i++) {
		const struct node *last = fleet_find(fleet, all->unread[i]);
		if (last)
			keep_record(arena, &last->record, &nodes[n++]);
	}
	all->nodes = nodes;
	all->count = n;
}

/* -- nodes ------------------------------------------------------------------------------------------------------------------- */
static void fill_node(struct fleet *fleet, struct seat *seat, const struct node_record *record, struct node *node)
{
	node->record = *record;
	for (int class = 0; class < CLASSES; class++)
		node->breakers[class] = seat->breakers[class];
	node->meter = seat->meter;
	seat_hear(fleet, seat, record);
	seat_say(seat, node);
}

static struct node *fill_all(struct fleet *fleet, struct arena *arena, struct nodes_all *all, uint64_t now_ms)
{
	size_t nread = all->count;

	if (all->nunread)
		take_over_unread(fleet, arena, all);
	seat_all(fleet, all, put_in_order(fleet, all), now_ms);
	struct node *nodes = arena_alloc(arena, (all->count + 1) * sizeof(*nodes));
	for (size_t i = 0; i < all->count; i++) {
		fill_node(fleet, fleet->seats[i], &all->nodes[fleet->order[i]], &nodes[i]);
		if (fleet->order[i] >= nread)
			nodes[i].why_not |= WHY_NOT(UNREADABLE);
	}
	return nodes;
}

static void watch_node(struct seat *seat, struct node *node, uint64_t now_ms)
{
	seat_watch(seat, &node->record, now_ms);
	node->changed_ms = seat->changed_ms;
	node->registered_ms = seat->registered_ms;
	node->watched_ms = seat->watched_ms;
	node->full_until_ms = seat->full_until_ms;
}

/* -- slices ------------------------------------------------------------------------------------------------------------------- */
void fleet_make_places(const struct fleet *fleet, struct published *p)
{
	p->nodes = arena_alloc(&p->arena, (fleet->nseats + 1) * sizeof(*p->nodes));
}

static struct node *place_of(const struct fleet *fleet, struct published *p, const struct node_record *record, struct seat **seat)
{
	size_t place;

	if (!fleet_seat_place(fleet, record->id, &place))
		return NULL;
	*seat = fleet->seats[place];
	bool fits = !strcmp((*seat)->incarnation, record->incarnation) && !*p->nodes[place].record.id; /* and comes once */
	return fits ? &p->nodes[place] : NULL;
}

/* Only what has no date: seats are watched, and charges read, when the view that shows them is published. One that does not fit, and
 * all will be gone through at the end. */
void fleet_fill_places(struct fleet *fleet, struct published *p, const struct nodes_all *all)
{
	while (p->nodes && p->placed < all->count) {
		const struct node_record *record = &all->nodes[p->placed];
		struct seat *seat;
		struct node *node = place_of(fleet, p, record, &seat);
		if (!node) {
			p->nodes = NULL;
			return;
		}
		fill_node(fleet, seat, record, node);
		p->placed++;
	}
}

/* Else one has gone, or could not be read. */
static bool all_are_filled(const struct fleet *fleet, const struct published *p)
{
	return p->nodes && p->placed == fleet->nseats;
}

void fleet_build(struct fleet *fleet, struct published *p, struct nodes_all *all, uint64_t now_ms)
{
	struct node *nodes = all_are_filled(fleet, p) ? p->nodes : fill_all(fleet, &p->arena, all, now_ms);

	for (size_t i = 0; i < all->count; i++)
		watch_node(fleet->seats[i], &nodes[i], now_ms);
	const char **unread = arena_alloc(&p->arena, (all->nunread + 1) * sizeof(*unread));
	for (size_t i = 0; i < all->nunread; i++)
		unread[i] = all->unread[i];
	p->view = (struct fleet_view){ .count = all->count, .nodes = nodes, .began_ms = fleet->began_ms, .seen_ms = now_ms,
		                       .version = ++fleet->version, .shape = fleet->shape, .ready = true, .unread = unread,
		                       .since_ms = fleet->first_store_ms, .index = fleet->index, .unclosed = &fleet->unclosed };
	fleet_derive(fleet, &p->view, nodes, now_ms);
}
