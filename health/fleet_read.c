/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the store's answer to a view. Records and seats are both sorted by id, so that one pass pairs them. A record that the
 * store could not read this time (`unread`) is taken over from the last view: a damaged key must not look like a node that
 * left, nor hide that another one did. What a node said and cannot be read is a reason against it (`unreadable`), never a reason to drop it.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"

/* -- seats ------------------------------------------------------------------------------------------------------------------ */
void seat_free(struct seat *seat)
{
	for (int class = 0; class < CLASSES; class++)
		breaker_free(seat->breakers[class]);
	meter_free(seat->meter);
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
	for (int class = 0; class < CLASSES; class++)
		if (seat->breaker_told[class] != BREAKER_CLOSED && fleet->conf.breaker_changed)
			fleet->conf.breaker_changed(fleet->conf.arg, seat->node, (enum breaker_class)class, seat->breaker_told[class],
			                            BREAKER_CLOSED);
	seat->next_ended = fleet->ended;
	fleet->ended = seat;
}

void fleet_retire_ended(struct fleet *fleet)
{
	for (struct seat *seat; (seat = fleet->ended);) {
		fleet->ended = seat->next_ended;
		retire_later(fleet->retire, &seat->retired, free_retired);
	}
}

static uint64_t ago(uint64_t now_ms, uint64_t later_ms, uint64_t earlier_ms)
{
	uint64_t age = later_ms > earlier_ms ? later_ms - earlier_ms : 0;

	return now_ms > age ? now_ms - age : 0;
}

/* The store's clock dates what happened before we saw this process for the first time: both times are the store's own. */
static struct seat *seat_new(struct fleet *fleet, const struct node_record *record, uint64_t now_ms)
{
	struct seat *seat = calloc(1, sizeof(*seat));
	uint64_t store_ms = fleet->answer.store_ms;

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
	if (record->resets > seat->resets)
		seat_forgive(seat, now_ms);
	seat->resets = record->resets;
	seat->charged = record->charged;
	meter_read(seat->meter, record->charged, now_ms);
}

static struct seat *seat_for(struct fleet *fleet, struct seat *held, const struct node_record *record, uint64_t now_ms)
{
	struct seat *seat = held;

	if (!held || strcmp(held->incarnation, record->incarnation)) {
		seat = seat_new(fleet, record, now_ms);
		seat->told = held ? held->told : NODE_JOINING;
		if (held)
			seat_end(fleet, held);
	}
	seat_watch(seat, record, now_ms);
	return seat;
}

/* One seat for each record, in order; seats without a record end. */
static void seat_all(struct fleet *fleet, const struct nodes_all *all, uint64_t now_ms)
{
	struct seat **seats = calloc(all->count + 1, sizeof(struct seat *));
	size_t held = 0;

	if (!seats)
		abort();
	for (size_t i = 0; i < all->count; i++) {
		const struct node_record *record = &all->nodes[i];
		while (held < fleet->nseats && strcmp(fleet->seats[held]->node, record->id) < 0)
			seat_end(fleet, fleet->seats[held++]);
		bool same = held < fleet->nseats && !strcmp(fleet->seats[held]->node, record->id);
		seats[i] = seat_for(fleet, same ? fleet->seats[held++] : NULL, record, now_ms);
	}
	while (held < fleet->nseats)
		seat_end(fleet, fleet->seats[held++]);
	free(fleet->seats);
	fleet->seats = seats;
	fleet->nseats = all->count;
}

/* -- records ----------------------------------------------------------------------------------------------------------------- */
static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct node_record *)a)->id, ((const struct node_record *)b)->id);
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
static void read_said(struct arena *arena, struct node *node)
{
	const char *fault;

	if (*node->record.incarnation && json_read(node->record.info, &node_info_shape, arena, &node->info, &fault) < 0)
		node->why_not |= WHY_NOT(UNREADABLE);
	if (node->record.load.len && json_read(node->record.load, &load_shape, arena, &node->load, &fault) < 0)
		node->why_not |= WHY_NOT(UNREADABLE);
	if (!node->info.pool || !*node->info.pool)
		node->info.pool = "default";
	score_of(&node->load, &node->info.capacity, &node->score);
}

static void read_node(struct arena *arena, const struct node_record *record, struct seat *seat, struct node *node)
{
	node->record = *record;
	node->changed_ms = seat->changed_ms;
	node->registered_ms = seat->registered_ms;
	node->watched_ms = seat->watched_ms;
	node->full_until_ms = seat->full_until_ms;
	for (int class = 0; class < CLASSES; class++)
		node->breakers[class] = seat->breakers[class];
	node->meter = seat->meter;
	read_said(arena, node);
}

static bool is_unread(const struct nodes_all *all, const char *id)
{
	for (size_t i = 0; i < all->nunread; i++)
		if (!strcmp(all->unread[i], id))
			return true;
	return false;
}

void fleet_build(struct fleet *fleet, struct published *p, struct nodes_all *all, uint64_t now_ms)
{
	if (all->nunread)
		take_over_unread(fleet, &p->arena, all);
	if (all->count)
		qsort(all->nodes, all->count, sizeof(*all->nodes), by_id);
	seat_all(fleet, all, now_ms);
	struct node *nodes = arena_alloc(&p->arena, (all->count + 1) * sizeof(*nodes));
	for (size_t i = 0; i < all->count; i++) {
		read_node(&p->arena, &all->nodes[i], fleet->seats[i], &nodes[i]);
		if (is_unread(all, all->nodes[i].id))
			nodes[i].why_not |= WHY_NOT(UNREADABLE);
	}
	const char **unread = arena_alloc(&p->arena, (all->nunread + 1) * sizeof(*unread));
	for (size_t i = 0; i < all->nunread; i++)
		unread[i] = all->unread[i];
	p->view = (struct fleet_view){ .count = all->count, .nodes = nodes, .seen_ms = now_ms, .version = ++fleet->version, .ready = true,
		                       .unread = unread, .since_ms = fleet->first_store_ms };
	fleet_derive(fleet, &p->view, nodes, now_ms);
}
