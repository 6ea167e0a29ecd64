/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's rooms against the store's. For each that it reports:
 *
 *   no record                       restored as reported (the store lost it), but for a tombstone of that epoch: evicted
 *   its own record, that epoch      as it should be; one that is moving or closing: evicted (the call may not have come through);
 *                                   one of an earlier registration takes this one, so that no claim from before takes it
 *   its own record, a lower epoch   raised: the store lost its last writes
 *   a higher epoch, whoever's       evicted
 *   another's record, lower epoch   a conflict: evicted, and told as owner_conflict, once the store is seen to be whole after that
 *                                   reading; else its record may be from before a loss, and the highest epoch wins
 *   no epoch                        foreign: counted, never touched
 *
 * With auth.grant_keys nothing is restored or raised without a right grant: such rooms are as foreign ones. An agent that started anew
 * has none for the rooms that it finds, and one that was granted by an old key should have a new one: their rooms are opened again at
 * their epochs, GRANTS_RENEWED_MAX for each report, until the node has told none of UNECHOED_MAX; a participant's request brings the
 * others theirs (signal.c).
 *
 * A node whose lease has lapsed since its rooms were confirmed may report what another one has by now. In a whole store that one's
 * record says so. Before that its rooms are restored all the same, so that they are not placed anew, but it is asked for its list
 * until the store is whole: a list that is wanted again confirms nothing.
 *
 * And for each that a complete list does not have, though the node had confirmed it: a ghost, opened again at its epoch; or, if it
 * is moving, what its mover waits for: the node has let go of it (mover.c), as with one that it says has closed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "health/fleet.h"
#include "health/sfu.h"
#include "registry/table.h"
#include "router/errands.h"
#include "router/events.h"
#include "router/grants.h"
#include "router/heartbeat.h"
#include "router/metrics.h"
#include "router/rebuild.h"
#include "router/router.h"
#include "router/worker.h"

#define GHOSTS_PAGE 1000
#define GRANTS_RENEWED_MAX 100 /* a node tells all of its rooms in 32 reports at the latest */
#define UNECHOED_MAX 300       /* what a first report began may not have come when the second is here */

static const char *node_of(const struct request *rq)
{
	return rq->names[NAME_NODE].at;
}

static void count(struct request *rq, const char *what, size_t n)
{
	if (n)
		metric_add(rq->worker->sheet, M_RECONCILED, what, NULL, n);
}

const struct json_list *heartbeat_list(const struct heartbeat_body *body)
{
	return body->has_rooms ? &body->rooms : &body->changed;
}

bool heartbeat_tells_rooms(const struct heartbeat_body *body)
{
	return body->has_rooms || body->has_changed || body->closed.count || body->rooms_digest;
}

bool heartbeat_ends_list(const struct heartbeat_body *body)
{
	const uint64_t *part = body->rooms_part.items;

	return body->has_rooms && (!body->rooms_part.count || part[0] == part[1]);
}

/* -- check-rooms ------------------------------------------------------------------------------------------------------------- */
int check_rooms(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct json_list *list = heartbeat_list(rq->body);
	const struct reported_room *rooms = list->items;

	hb->generation = registry_generation(rq->worker->router->registry);
	if (!list->count)
		return NEXT;
	hb->names = arena_alloc(request_arena(rq), list->count * sizeof(*hb->names));
	hb->records = arena_alloc(request_arena(rq), list->count * sizeof(*hb->records));
	hb->evict = arena_alloc(request_arena(rq), list->count * sizeof(*hb->evict));
	hb->lost = arena_alloc(request_arena(rq), list->count * sizeof(*hb->lost));
	hb->lost_as = arena_alloc(request_arena(rq), list->count * sizeof(struct reported_room *));
	hb->conflicts = arena_alloc(request_arena(rq), list->count * sizeof(*hb->conflicts));
	for (size_t i = 0; i < list->count; i++)
		hb->names[i] = str_of(rooms[i].room);
	/* A list that the store's present data has not seen gives a node its rooms back: not by what this process knows of them. */
	bool fresh = hb->renewed.listed != hb->generation;
	return rooms_find_all(rq->worker->store, hb->names, list->count, fresh, request_store_due(rq), hb->records, &rq->wait);
}

static bool is_own(const struct request *rq, const struct room *record)
{
	return !strcmp(record->node, node_of(rq)) && !strcmp(record->incarnation, ((const struct heartbeat_body *)rq->body)->incarnation);
}

static void note_eviction(struct request *rq, const struct reported_room *reported, const struct room *record)
{
	struct heartbeat *hb = rq->state;

	const char *why = record->state == ROOM_NONE ? "it has ended" :
		arena_printf(request_arena(rq), "%s has it at epoch %llu", record->node, (unsigned long long)record->epoch);

	hb->evict[hb->nevict++] = *reported;
	events_emit(rq->worker->router, &(struct event){ .type = EVENT_ROOM_TAKEN, .node = node_of(rq), .room = str_of(reported->room),
	                                                 .epoch = reported->epoch, .detail = why });
}

/* Hints that this process knows by chance; else the node is asked for them when somebody joins. One that we have not read of yet,
 * as it has just registered, may have some as well. */
static struct str hints_for(struct request *rq, const struct reported_room *reported)
{
	struct room *known = arena_alloc(request_arena(rq), sizeof(*known));
	const struct node *node = fleet_find(rq->worker->router->fleet, node_of(rq));

	if (table_find(registry_table(rq->worker->router->registry), str_of(reported->room), known) != TABLE_MISS &&
	    known->epoch == reported->epoch)
		return str_of(known->hints);
	return node && !(node->info.control_url && *node->info.control_url) ? STR("") : STR(HINTS_LOST);
}

static void note_lost(struct request *rq, struct reported_room *reported, bool rebuilding)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;

	hb->lost_as[hb->nlost] = reported;
	hb->lost[hb->nlost++] = (struct restoring){
		.name = str_of(reported->room), .epoch = reported->epoch, .registration = body->registration, .node = node_of(rq),
		.incarnation = body->incarnation, .hints = hints_for(rq, reported),
		.rebuilding = rebuilding,
	};
}

/* -- grants ------------------------------------------------------------------------------------------------------------------ */
static enum grant_worth worth_of(struct request *rq, const struct reported_room *reported)
{
	const struct heartbeat_body *body = rq->body;
	struct granted_room room = { str_of(reported->room), node_of(rq), body->incarnation, reported->epoch };

	return grants_judge(rq->worker->router, &room, reported->grant);
}

static bool is_doubtful(struct request *rq, const struct reported_room *reported)
{
	return grants_demanded(rq->worker->router) && worth_of(rq, reported) == GRANT_WRONG;
}

static struct node_told *told_by(struct request *rq)
{
	return renewals_of(&rq->worker->renewals, node_of(rq), ((const struct heartbeat_body *)rq->body)->registration);
}

/* Some nodes never tell what they were brought: after so many of them nothing more is. */
static void renew_grant(struct request *rq, const struct reported_room *reported)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	struct sfu_room room = { .node = node_of(rq), .incarnation = body->incarnation, .room = str_of(reported->room),
		                 .epoch = reported->epoch, .registration = body->registration };
	struct node_told *told = told_by(rq);
	enum grant_worth worth = worth_of(rq, reported);

	if (worth != GRANT_WRONG)
		told->unechoed = 0;
	if (worth == GRANT_RIGHT || told->unechoed >= UNECHOED_MAX || hb->nrenewed == GRANTS_RENEWED_MAX || !bring_grant(rq->worker, &room))
		return;
	hb->nrenewed++;
	told->unechoed++;
}

/* -- checked-rooms ------------------------------------------------------------------------------------------------------------ */
static void judge_held(struct request *rq, struct reported_room *reported, const struct room *record)
{
	if (record->state == ROOM_MOVING || record->state == ROOM_CLOSING)
		note_eviction(rq, reported, record);
	else if (record->registration < ((const struct heartbeat_body *)rq->body)->registration)
		note_lost(rq, reported, false);
	else if (record->state == ROOM_OPEN)
		renew_grant(rq, reported);
}

static void judge_room(struct request *rq, struct reported_room *reported, const struct room *record)
{
	struct heartbeat *hb = rq->state;
	bool own = is_own(rq, record), known = record->state != ROOM_NONE;

	if (!reported->epoch) {
		hb->foreign++;
	} else if (own && record->epoch == reported->epoch) {
		judge_held(rq, reported, record);
	} else if (known && record->epoch < reported->epoch && !own) {
		hb->conflicts[hb->nconflicts++] = reported;
	} else if (reported->epoch <= (known ? record->epoch : record->ended_epoch)) {
		note_eviction(rq, reported, record);
	} else if (is_doubtful(rq, reported)) {
		hb->ungranted++; /* nobody can show that usher gave it the room: perhaps nobody did */
	} else {
		note_lost(rq, reported, false);
	}
}

/* When their number changes; of a list that has not all rooms, when it has more of them than were told of. */
static void tell_foreign(struct request *rq, size_t n, uint64_t *told, const char *words)
{
	const struct heartbeat_body *body = rq->body;
	bool whole = body->has_rooms && !body->rooms_part.count, news = whole ? n != *told : n > *told;

	if (whole || news)
		*told = n;
	if (n && news)
		events_emit(rq->worker->router, &(struct event){ .type = EVENT_ROOMS_FOREIGN, .node = node_of(rq),
		                                                 .detail = arena_printf(request_arena(rq), "%zu %s", n, words) });
}

static void tell_not_ours(struct request *rq)
{
	const struct heartbeat *hb = rq->state;
	struct node_told *told = told_by(rq);

	count(rq, "foreign", hb->foreign);
	count(rq, "ungranted", hb->ungranted);
	tell_foreign(rq, hb->foreign, &told->foreign, "that usher did not place");
	tell_foreign(rq, hb->ungranted, &told->ungranted, "that the store does not know, without a grant");
}

int checked_rooms(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct json_list *list = heartbeat_list(rq->body);
	struct reported_room *rooms = list->items;

	for (size_t i = 0; i < list->count; i++)
		judge_room(rq, &rooms[i], &hb->records[i]);
	count(rq, "evicted", hb->nevict);
	return NEXT;
}

/* The store's budget is used up, or the store has gone. A node takes the answer to its full list as "all else is yours", so it
 * must send that list again; and as it takes changes as told, it must send a list for those as well. */
int unchecked_rooms(struct request *rq, int err)
{
	struct heartbeat *hb = rq->state;

	(void)err;
	hb->unchecked = true;
	hb->nlost = hb->nevict = hb->nconflicts = 0;
	return NEXT;
}

/* -- confirm-conflicts: is the store whole? Asked after its records were read, so that they are not from before a loss ----------- */
static bool may_have_lost_rooms(const struct heartbeat_body *body)
{
	return body->has_unbroken && !body->unbroken && heartbeat_list(body)->count;
}

int confirm_conflicts(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	if (!hb->nconflicts && !may_have_lost_rooms(rq->body))
		return NEXT;
	return registry_read_marks(rq->worker->store, request_store_due(rq), &hb->mark, &rq->wait);
}

static void refuse_conflict(struct request *rq, const struct reported_room *reported)
{
	const struct heartbeat *hb = rq->state;
	const struct room *record = &hb->records[reported - (const struct reported_room *)heartbeat_list(rq->body)->items];

	events_emit(rq->worker->router, &(struct event){ .type = EVENT_OWNER_CONFLICT, .node = node_of(rq), .room = str_of(reported->room),
	                                                 .epoch = reported->epoch, .detail = record->node });
	note_eviction(rq, reported, record);
}

int confirmed_conflicts(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	bool whole = registry_mark_counts(rq->worker->router->registry, &hb->mark);

	hb->waits = !whole && may_have_lost_rooms(rq->body);
	if (hb->waits || (hb->nconflicts && !whole))
		rebuild_look_soon(rq->worker->router);
	for (size_t i = 0; i < hb->nconflicts; i++) {
		if (whole)
			refuse_conflict(rq, hb->conflicts[i]);
		else if (is_doubtful(rq, hb->conflicts[i]))
			hb->ungranted++;
		else
			note_lost(rq, hb->conflicts[i], true);
	}
	if (!hb->unchecked)
		tell_not_ours(rq);
	return NEXT;
}

/* -- restore-rooms ------------------------------------------------------------------------------------------------------------ */
int restore_rooms(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	if (!hb->nlost)
		return NEXT;
	hb->restored = arena_alloc(request_arena(rq), hb->nlost * sizeof(*hb->restored));
	return rooms_restore(rq->worker->store, hb->lost, hb->nlost, request_store_due(rq), hb->restored, &rq->wait);
}

static void judge_restored(struct request *rq, const struct restoring *lost, const struct reported_room *reported,
                           const struct restored *restored)
{
	if (!restored->won) {
		note_eviction(rq, reported, &restored->room);
		return;
	}
	renew_grant(rq, reported);
	nodes_index(rq->worker->store, node_of(rq), lost->name, lost->epoch);
	if (!restored->anew)
		return;
	count(rq, "restored", 1);
	events_emit(rq->worker->router, &(struct event){ .type = EVENT_ROOM_RESTORED, .node = node_of(rq), .room = lost->name,
		                                                 .epoch = lost->epoch });
}

int restored_rooms(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	for (size_t i = 0; i < hb->nlost; i++)
		judge_restored(rq, &hb->lost[i], hb->lost_as[i], &hb->restored[i]);
	count(rq, "renewed", hb->nrenewed);
	return NEXT;
}

int unrestored_rooms(struct request *rq, int err)
{
	(void)err;
	((struct heartbeat *)rq->state)->unchecked = true;
	return NEXT;
}

/* -- find-ghosts: only a list that came in one part says what is not held --------------------------------------------------------- */
static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct reported_room *)a)->room, ((const struct reported_room *)b)->room);
}

int find_ghosts(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	struct rooms_query query = { .node = node_of(rq), .cursor = hb->cursor, .limit = GHOSTS_PAGE };

	hb->page.count = 0;
	/* Not with the first list that this data sees: the index may be from before a loss. */
	if (!body->has_rooms || body->rooms_part.count || hb->unchecked || hb->renewed.listed != hb->generation)
		return NEXT;
	if (!*hb->cursor && body->rooms.count)
		qsort(body->rooms.items, body->rooms.count, sizeof(struct reported_room), by_name);
	return rooms_list(rq->worker->store, &query, request_arena(rq), request_store_due(rq), &hb->page, &rq->wait);
}

/* Once confirmed, and not held any more. */
static bool is_gone(const struct request *rq, const struct rooms_row *row)
{
	const struct heartbeat_body *body = rq->body;
	struct reported_room key = { .room = row->name.at };

	if (!is_own(rq, &row->room) || row->participants < 0)
		return false;
	return !body->rooms.count || !bsearch(&key, body->rooms.items, body->rooms.count, sizeof(key), by_name);
}

static void note_let_go(struct request *rq, struct str room, uint64_t epoch)
{
	struct room_report report = { .room = room, .epoch = epoch, .participants = ROOM_LET_GO };

	nodes_report_rooms(rq->worker->store, node_of(rq), &report, 1);
}

int found_ghosts(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	size_t ghosts = 0;

	for (size_t i = 0; i < hb->page.count; i++) {
		struct rooms_row *row = &hb->page.rows[i];
		row->name.at = arena_copy(request_arena(rq), row->name.at, row->name.len); /* with a NUL, for the comparison */
		if (!is_gone(rq, row))
			continue;
		if (row->room.state == ROOM_MOVING)
			note_let_go(rq, row->name, row->room.epoch);
		if (row->room.state != ROOM_OPEN)
			continue;
		reopen_room(rq->worker, node_of(rq), body->incarnation, row->name, row->room.epoch);
		ghosts++;
	}
	count(rq, "ghost", ghosts);
	memcpy(hb->cursor, hb->page.next, sizeof(hb->cursor));
	return hb->page.count && *hb->cursor ? request_go(rq, find_ghosts) : NEXT;
}

int unfound_ghosts(struct request *rq, int err)
{
	(void)rq, (void)err; /* the next complete list shows them as well */
	return NEXT;
}

/* -- forget-closed: rooms that ended on the node --------------------------------------------------------------------------------- */
static void note_closed(struct request *rq, const struct reported_room *room, const struct claimed *closed)
{
	if (closed->room.state == ROOM_MOVING && closed->room.epoch == room->epoch)
		note_let_go(rq, str_of(room->room), room->epoch);
	else
		nodes_unindex(rq->worker->store, node_of(rq), str_of(room->room), room->epoch);
}

int forget_closed(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	const struct reported_room *rooms = body->closed.items;
	size_t n = body->closed.count;

	if (!n)
		return NEXT;
	struct str *names = arena_alloc(request_arena(rq), n * sizeof(*names));
	uint64_t *epochs = arena_alloc(request_arena(rq), n * sizeof(*epochs));
	hb->closed = arena_alloc(request_arena(rq), n * sizeof(*hb->closed));
	for (size_t i = 0; i < n; i++) {
		names[i] = str_of(rooms[i].room);
		epochs[i] = rooms[i].epoch;
	}
	return rooms_forget_all(rq->worker->store, names, epochs, n, request_store_due(rq), hb->closed, &rq->wait);
}

int forgot_closed(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	const struct reported_room *rooms = body->closed.items;

	for (size_t i = 0; i < body->closed.count; i++)
		note_closed(rq, &rooms[i], &hb->closed[i]);
	return NEXT;
}

/* Nothing leaves the index: those that are forgotten all the same leave it when it is next read; the others are closed by the
 * idle sweep, once a full list has brought them back as ghosts. */
int unforgotten(struct request *rq, int err)
{
	(void)err;
	((struct heartbeat *)rq->state)->unchecked = true;
	return NEXT;
}

/* -- without the store ---------------------------------------------------------------------------------------------------------- */
static void hear_node(struct request *rq)
{
	const struct heartbeat_body *body = rq->body;
	struct node_record record = { .registration = body->registration, .seq = body->seq, .reported = (enum node_report)body->state,
		                      .lease_ms = rq->worker->router->conf.nodes.lease_ms, .listed = heartbeat_ends_list(body) };

	memcpy(record.id, node_of(rq), rq->names[NAME_NODE].len);
	memcpy(record.incarnation, body->incarnation, strlen(body->incarnation));
	fleet_hear(rq->worker->router->fleet, &record, &body->node);
}

/* What is known gives way to a later epoch: of several reports the highest counts; what the store once said, to one of the same node, or
 * of any other when its own owner is gone. */
static bool yields(const struct request *rq, const struct room *known, uint64_t epoch)
{
	if (known->state == ROOM_NONE)
		return known->ended_epoch < epoch;
	return known->epoch < epoch && (known->source == FROM_REPORT || !strcmp(known->node, node_of(rq)) ||
	                                !fleet_owns(rq->worker->router->fleet, known->node, known->incarnation));
}

void take_hearsay(struct request *rq)
{
	const struct heartbeat_body *body = rq->body;
	const struct json_list *list = heartbeat_list(body);
	const struct reported_room *rooms = list->items;
	struct router *router = rq->worker->router;
	struct table *table = registry_table(router->registry);

	bool heard = body->has_node && !fleet_view(router->fleet)->ready;

	if (heard)
		hear_node(rq);
	else if (!fleet_owns(router->fleet, node_of(rq), body->incarnation))
		return;
	for (size_t i = 0; i < list->count; i++) {
		struct str name = str_of(rooms[i].room);
		struct room known, told = { .state = ROOM_OPEN, .source = FROM_REPORT, .epoch = rooms[i].epoch,
			                    .registration = body->registration, .hints = HINTS_LOST };
		if (!rooms[i].epoch || is_doubtful(rq, &rooms[i]) || (table_find(table, name, &known) != TABLE_MISS && !yields(rq, &known, rooms[i].epoch)))
			continue;
		memcpy(told.node, node_of(rq), rq->names[NAME_NODE].len);
		memcpy(told.incarnation, body->incarnation, strlen(body->incarnation));
		table_learn(table, name, &told, table_stamp(table, name));
	}
}
