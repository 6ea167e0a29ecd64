/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An errand outlives the request that found it necessary, so it is its own small object on the worker's loop. At most
 * ERRANDS_MAX are under way: past that they are left to the node's next report, which names every room it holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/wait.h"
#include "health/fleet.h"
#include "health/sfu.h"
#include "registry/hash.h"
#include "registry/nodes.h"
#include "router/errands.h"
#include "router/events.h"
#include "router/router.h"
#include "router/worker.h"

#define ERRANDS_MAX 1000
#define GRANT_ERRANDS_MAX 500 /* of them: evictions must not wait for those */
#define AGAIN_MS UINT64_C(100) /* and twice as long each time: a node that has just registered is soon in our view, and soon takes rooms */
#define TRIES_MAX 5

struct errand {
	struct wait wait;
	struct worker *worker;
	struct errand *next, **at;
	struct arena arena;
	bool evicts; /* else opens again */
	bool grants; /* opens for the grant alone: nothing has happened to the room */
	bool called, waits; /* for the grant: at the node now; not yet, as so many others are */
	uint64_t node_hash;
	unsigned tries;
	struct timer timer;
	struct sfu_room room;
	struct sfu_answer answer;
};

static void evicted(const struct errand *e)
{
	nodes_unindex(e->worker->store, e->room.node, e->room.room, e->room.epoch);
	log_change("room_evicted", "room", LOG_B(e->room.room.at, e->room.room.len), "node", LOG_S(e->room.node), "epoch",
	         LOG_U(e->room.epoch));
}

static void done(struct errand *e)
{
	bool confirmed = e->answer.verdict == SFU_DONE;

	if (!confirmed && e->grants)
		log_debug("grant_failed", "room", LOG_B(e->room.room.at, e->room.room.len), "node", LOG_S(e->room.node));
	else if (!confirmed)
		log_info(e->evicts ? "evict_failed" : "reopen_failed", "room", LOG_B(e->room.room.at, e->room.room.len), "node",
		         LOG_S(e->room.node), "epoch", LOG_U(e->room.epoch));
	else if (e->evicts)
		evicted(e);
	else if (!e->grants)
		events_emit(e->worker->router, &(struct event){ .type = EVENT_ROOM_REOPENED, .node = e->room.node, .room = e->room.room,
		                                                .epoch = e->room.epoch });
	timer_clear(e->worker->loop, &e->timer);
	*e->at = e->next;
	if (e->next)
		e->next->at = e->at;
	e->worker->nerrands--;
	e->worker->ngrant_errands -= e->grants;
	arena_reset(&e->arena);
	free(e);
}

static void find_and_open(struct timer *);

/* -- so many at once at a node ------------------------------------------------------------------------------------------------ */
static bool is_beside(const struct errand *e, const struct errand *other)
{
	return other->grants && other->node_hash == e->node_hash && other != e;
}

static bool may_call(const struct errand *e)
{
	uint64_t called = 0;

	for (const struct errand *other = e->worker->errands; other; other = other->next)
		called += other->called && is_beside(e, other);
	return called < e->worker->router->conf.placement.opens_per_node;
}

static void let_next(struct errand *e)
{
	struct errand *other = e->grants ? e->worker->errands : NULL;

	e->called = false;
	while (other && !(other->waits && is_beside(e, other)))
		other = other->next;
	if (!other)
		return;
	other->waits = false;
	timer_set(e->worker->loop, &other->timer, 0, find_and_open);
}

static void open_later(struct errand *e)
{
	if (++e->tries == TRIES_MAX)
		done(e);
	else
		timer_set(e->worker->loop, &e->timer, AGAIN_MS << (e->tries - 1), find_and_open);
}

static void woken(struct wait *w, int err)
{
	struct errand *e = container_of(w, struct errand, wait);

	(void)err;
	let_next(e);
	if (e->grants && e->answer.verdict == SFU_REFUSED)
		open_later(e);
	else
		done(e);
}

static struct errand *errand_new(struct worker *worker, const char *node, const char *incarnation, struct str room, uint64_t epoch)
{
	struct errand *e = worker->nerrands < ERRANDS_MAX ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return NULL;
	e->worker = worker;
	e->wait.wake = woken;
	e->answer.verdict = SFU_FAILED; /* also when it is dropped before it is called */
	e->next = worker->errands;
	e->at = &worker->errands;
	if (e->next)
		e->next->at = &e->next;
	worker->errands = e;
	worker->nerrands++;
	e->room = (struct sfu_room){
		.node = arena_copy(&e->arena, node, strlen(node)),
		.incarnation = arena_copy(&e->arena, incarnation, strlen(incarnation)),
		.room = { arena_copy(&e->arena, room.at, room.len), room.len },
		.epoch = epoch,
	};
	return e;
}

void evict_room(struct worker *worker, const char *node, const char *incarnation, struct str room, uint64_t epoch)
{
	struct errand *e = errand_new(worker, node, incarnation, room, epoch);

	if (!e)
		return;
	e->evicts = true;
	if (sfu_evict(worker->sfu, &e->room, &e->arena, &e->answer, &e->wait) != WAIT)
		done(e);
}

void reopen_room(struct worker *worker, const char *node, const char *incarnation, struct str room, uint64_t epoch)
{
	struct errand *e = errand_new(worker, node, incarnation, room, epoch);

	if (e && sfu_open(worker->sfu, &e->room, &e->arena, &e->answer, &e->wait) != WAIT)
		done(e);
}

static void call_node(struct errand *e)
{
	e->called = true;
	if (sfu_open(e->worker->sfu, &e->room, &e->arena, &e->answer, &e->wait) == WAIT)
		return;
	let_next(e);
	done(e);
}

static void find_and_open(struct timer *timer)
{
	struct errand *e = container_of(timer, struct errand, timer);
	const struct node *node = fleet_find(e->worker->router->fleet, e->room.node);

	e->waits = !may_call(e);
	if (e->waits)
		return;
	if (node && node->record.registration >= e->room.registration) {
		call_node(e);
	} else {
		let_next(e);
		open_later(e);
	}
}

static bool is_under_way(const struct worker *worker, const struct sfu_room *room)
{
	const struct errand *e = worker->errands;

	while (e && !(e->grants && e->room.epoch == room->epoch && str_eq(e->room.room, room->room) && !strcmp(e->room.node, room->node)))
		e = e->next;
	return e;
}

bool bring_grant(struct worker *worker, const struct sfu_room *room)
{
	bool may = worker->ngrant_errands < GRANT_ERRANDS_MAX && !is_under_way(worker, room);
	struct errand *e = may ? errand_new(worker, room->node, room->incarnation, room->room, room->epoch) : NULL;

	if (!e)
		return false;
	e->grants = true;
	e->node_hash = hash_name((struct hash_key){ 0 }, str_of(room->node));
	e->room.registration = room->registration;
	worker->ngrant_errands++;
	find_and_open(&e->timer);
	return true;
}

void errands_drop(struct worker *worker)
{
	while (worker->errands) {
		wait_drop(&worker->errands->wait);
		done(worker->errands);
	}
}
