/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drains that this router sees in its view of the fleet, and the walk over the rooms of each that are to move.
 *
 * The pace: with policy move and a deadline, even over its first half; else as fast as drain.moves_per_second lets all routers
 * together, of all drains. A room that could not be moved is tried again in the next walk, and stays in use where it is.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet.h"
#include "router/events.h"
#include "router/mover_private.h"
#include "router/router.h"

#define TICK_MS 50      /* as often as drains_tick() is called, about */
#define STORE_MS 1000
#define PAGE 200        /* rooms read at once */
#define WALK_MS 1000    /* from the end of one walk over a node's rooms to the next */
#define SLOWEST_MS 1000 /* between two moves, also where there is time enough */

/* -- the walk over a node's rooms ------------------------------------------------------------------------------------------------------------ */
static bool begins_now(const struct drain *drain, uint64_t elapsed_ms)
{
	return drain->wish.policy == DRAIN_MOVE || (drain->wish.deadline_ms && elapsed_ms >= drain->wish.deadline_ms);
}

static uint64_t elapsed(const struct drain *drain)
{
	const struct router *router = drain->mover->router;
	uint64_t now = fleet_store_ms(router->fleet, loop_now_ms(router->loop));

	return now > drain->since_ms ? now - drain->since_ms : 0;
}

/* Between two moves of this router. */
static uint64_t gap_ms(const struct drain *drain, uint64_t rooms)
{
	const struct mover *mover = drain->mover;
	size_t rank, n = mover_routers(mover, &rank);
	double fastest = 1000 / mover->router->conf.drain.moves_per_second * (double)mover->ndrains, gap = 0;
	uint64_t aim = drain->wish.deadline_ms / 2, now = elapsed(drain);

	if (now < aim)
		gap = (double)(aim - now) / (double)(rooms ? rooms : 1);
	gap = gap < SLOWEST_MS ? gap : SLOWEST_MS;
	return (uint64_t)((gap > fastest ? gap : fastest) * (double)n);
}

static bool is_to_move(struct drain *drain, const struct rooms_row *row)
{
	struct mover *mover = drain->mover;

	if (mover_find(mover, row->name))
		return false;
	if (row->room.state == ROOM_MOVING)
		return mover_is_ours(mover, row->name) || mover_met(mover, row->name, row->room.epoch);
	return row->room.state == ROOM_OPEN && mover_is_ours(mover, row->name);
}

static void listed(struct drain *drain, int err)
{
	uint64_t now = loop_now_ms(drain->mover->router->loop);

	drain->listing = false;
	drain->row = 0;
	if (err)
		drain->page.count = 0;
	memcpy(drain->cursor, err ? "" : drain->page.next, err ? 1 : sizeof(drain->cursor));
	if (!*drain->cursor)
		drain->walk_ms = now + WALK_MS;
}

static void list_woken(struct wait *w, int err)
{
	listed(container_of(w, struct drain, wait), err);
}

static void list(struct drain *drain)
{
	struct rooms_query query = { .node = drain->node, .cursor = drain->cursor, .limit = PAGE };
	const struct router *router = drain->mover->router;

	arena_reset(&drain->arena);
	drain->page.count = 0;
	drain->listing = true;
	int err = rooms_list(router->store, &query, &drain->arena, loop_now_ms(router->loop) + STORE_MS, &drain->page, &drain->wait);
	if (err != WAIT)
		listed(drain, err);
}

static const struct rooms_row *next_row(struct drain *drain)
{
	while (drain->row < drain->page.count) {
		const struct rooms_row *row = &drain->page.rows[drain->row++];
		if (is_to_move(drain, row))
			return row;
	}
	return NULL;
}

static bool still_drains(const struct moving *m)
{
	const struct node *node = fleet_find(m->router->fleet, m->from.node);

	return node && node->record.wish == WISH_DRAINING;
}

static void walk(struct drain *drain, uint64_t rooms)
{
	struct mover *mover = drain->mover;
	uint64_t now = loop_now_ms(mover->router->loop);

	if (drain->listing)
		return;
	while (now >= drain->next_ms && mover_has_place(mover)) {
		const struct rooms_row *row = next_row(drain);
		if (!row) {
			if (*drain->cursor || now >= drain->walk_ms)
				list(drain);
			return;
		}
		/* What fell behind while there was nothing to do is not made up for at once. */
		drain->next_ms = (drain->next_ms + TICK_MS < now ? now : drain->next_ms) + gap_ms(drain, rooms);
		struct moving *m = mover_make(mover, row->name, &row->room, row->participants);
		m->wanted = row->room.state == ROOM_MOVING ? NULL : still_drains;
		moving_begin(m);
	}
}

struct drain *drains_find(const struct mover *mover, const char *node)
{
	struct drain *drain = mover->drains;

	while (drain && strcmp(drain->node, node))
		drain = drain->next;
	return drain;
}

/* -- the drains of the fleet's view ------------------------------------------------------------------------------------------------------------ */
static void end_drain(struct mover *mover, struct drain **at)
{
	struct drain *drain = *at;

	*at = drain->next;
	mover->ndrains--;
	wait_drop(&drain->wait);
	arena_reset(&drain->arena);
	free(drain);
}

static struct drain *begin_drain(struct mover *mover, const struct node_record *record)
{
	struct drain *drain = calloc(1, sizeof(*drain));

	if (!drain)
		abort();
	drain->mover = mover;
	drain->wait.wake = list_woken;
	memcpy(drain->node, record->id, sizeof(drain->node));
	drain->since_ms = record->wished_ms;
	drain_read(record->drain, &drain->arena, &drain->wish);
	drain->wish.incarnation = ""; /* it lies in the page's arena, and nobody here asks */
	drain->next = mover->drains;
	mover->drains = drain;
	mover->ndrains++;
	return drain;
}

static bool is_done(const struct node *node)
{
	return node->state == NODE_DRAINED || (node->state == NODE_LOST && !node->record.rooms);
}

/* One of the routers tells it: the one whose share the node's name would be. */
static void tell(struct drain *drain, bool *told, bool is, enum event_type type)
{
	if (*told || !is)
		return;
	*told = true;
	if (mover_is_ours(drain->mover, str_of(drain->node)))
		events_emit(drain->mover->router, &(struct event){ .type = type, .node = drain->node });
}

static void look_at(struct mover *mover, const struct node *node, const struct fleet_view *view)
{
	struct drain *drain = drains_find(mover, node->record.id);

	if (node->record.wish != WISH_DRAINING)
		return;
	bool begins = !drain || drain->since_ms != node->record.wished_ms; /* one of another beginning ends below */
	if (begins)
		drain = begin_drain(mover, &node->record);
	drain->seen_version = view->version;
	bool done = is_done(node), late = drain->wish.deadline_ms && elapsed(drain) >= drain->wish.deadline_ms;
	if (begins && drain->since_ms < view->since_ms) { /* what is over already was told by those who watched it */
		drain->told_done = done;
		drain->told_expired = late;
	}
	tell(drain, &drain->told_expired, late && !done, EVENT_DRAIN_EXPIRED);
	tell(drain, &drain->told_done, done, EVENT_DRAIN_DONE);
}

static void read_fleet(struct mover *mover)
{
	const struct fleet_view *view = fleet_view(mover->router->fleet);

	if (!view->ready || view->version == mover->version)
		return;
	mover->version = view->version;
	for (size_t i = 0; i < view->count; i++)
		look_at(mover, &view->nodes[i], view);
	for (struct drain **at = &mover->drains; *at;) {
		if ((*at)->seen_version == view->version)
			at = &(*at)->next;
		else
			end_drain(mover, at);
	}
}

void drains_tick(struct mover *mover)
{
	read_fleet(mover);
	for (struct drain *drain = mover->drains; drain; drain = drain->next) {
		const struct node *node = fleet_find(mover->router->fleet, drain->node);
		/* Of a node that is late it is not known yet whether it hears or is lost: its rooms had better not wait for that. */
		if (node && node->record.rooms && node->state != NODE_LATE && begins_now(drain, elapsed(drain)))
			walk(drain, node->record.rooms);
	}
}

void drains_end(struct mover *mover)
{
	while (mover->drains)
		end_drain(mover, &mover->drains);
}
