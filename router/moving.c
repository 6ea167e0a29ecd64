/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   choose, reserve ─▶ move ─▶ evict ─▶ claim ─▶ open ─▶ publish
 *    nothing changed     │      │ (again and again,       │ failed: another node, claimed
 *    yet: may stay       │      │  or the node's reports) │ anew from this epoch
 *                        │      └ until the node, that lives, has let go of the room, nobody else gets it
 *                        └ from here on it leaves, whatever becomes of us: joins wait for it
 *
 * The node is found before the room is touched, so that a fleet without room for it disturbs nobody. Once `moving` is written there
 * is no way back to the old epoch: the node may have been told to let go by its heartbeat already, and refuses that epoch then.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "health/fleet.h"
#include "router/events.h"
#include "router/moving.h"
#include "router/router.h"
#include "router/worker.h"

#define STORE_MS 1000
#define AGAIN_MS 300       /* between two questions whether the node has let go */
#define LOOK_MS 50         /* for the fleet to be read */
#define PATIENCE_MS 10000  /* for that; then the room is left to the next round, and others get their turn */
#define RETURN_MS 500      /* participants are told to come back within this time … */
#define RETURN_EACH_MS 10  /* … and so much more for each … */
#define RETURN_MAX_MS 10000

static void choose(struct moving *);
static void evict(struct moving *);

/* -- waiting for one thing at a time ------------------------------------------------------------------------------------------- */
static void woken(struct wait *w, int err)
{
	struct moving *m = container_of(w, struct moving, wait);

	m->then(m, err);
}

static void wait_for(struct moving *m, int verdict, void (*then)(struct moving *, int err))
{
	m->then = then;
	if (verdict != WAIT)
		then(m, verdict);
}

static uint64_t due(const struct moving *m)
{
	return loop_now_ms(m->router->loop) + STORE_MS;
}

static void give_back(struct moving *m)
{
	if (m->reserved)
		nodes_release(m->router->store, m->placed.node, m->name, &m->reservation, m->placed.cost);
	m->reserved = false;
}

static const char *const end_words[] = { "done", "stayed", "taken", "half" };

static void end(struct moving *m, enum moving_end how, int err)
{
	if (how != MOVING_DONE)
		give_back(m);
	log_change("room_move", "room", LOG_B(m->name.at, m->name.len), "from", LOG_S(m->from.node), "to", LOG_S(m->placed.node), "epoch",
	         LOG_U(m->from.epoch), "new_epoch", LOG_U(m->epoch == m->from.epoch ? 0 : m->epoch), "end",
	         LOG_S(end_words[how]), "code", LOG_S(err ? error_info(-err)->slug : NULL));
	m->ended(m, how, err);
}

static void fail(struct moving *m, int err)
{
	end(m, m->left ? MOVING_HALF : MOVING_STAYED, err);
}

/* -- choose, reserve: nothing is changed yet ------------------------------------------------------------------------------------ */
/* What the room's first join required is not known any more; a node like the one it is on is the best guess. */
static void fill_wish(struct moving *m)
{
	const struct node *node = fleet_find(m->router->fleet, m->from.node);
	struct place_wish *wish = &m->wish;

	*wish = (struct place_wish){ .room = m->name, .exclusive = m->from.exclusive, .expected_participants = m->participants };
	wish->tried[wish->ntried++] = m->from.node;
	if (!node)
		return;
	wish->pool = arena_copy(&m->arena, node->info.pool, strlen(node->info.pool));
	if (node->info.region)
		wish->region = arena_copy(&m->arena, node->info.region, strlen(node->info.region));
}

static int choose_target(struct moving *m)
{
	const struct node *node = fleet_find(m->router->fleet, m->target);

	if (!node)
		return -ERR_UNKNOWN_NODE;
	if (node->why_not || m->err) /* it has refused or failed already */
		return -ERR_NO_CAPACITY;
	m->placed = (struct placed){ .registration = node->record.registration, .rooms_max = (uint64_t)node->info.capacity.rooms,
		                     .cost = place_room_cost(m->router->place, node->info.pool) };
	memcpy(m->placed.node, node->record.id, sizeof(m->placed.node));
	memcpy(m->placed.incarnation, node->record.incarnation, sizeof(m->placed.incarnation));
	return 0;
}

static int choose_any(struct moving *m)
{
	uint64_t now = loop_now_ms(m->router->loop);
	bool wait_helps;
	int err = place_choose(m->router->place, &m->wish, now, &m->placed, &wait_helps, &m->retry_ms);

	if (!err)
		place_opened(m->router->place, m->placed.node, now); /* ours wait for the old node first: MOVINGS_MAX bounds them */
	return err;
}

static void next_node(struct moving *m, int err)
{
	m->err = err;
	give_back(m);
	if (m->wish.ntried == TRIED_MAX) {
		fail(m, err);
		return;
	}
	m->wish.tried[m->wish.ntried++] = arena_copy(&m->arena, m->placed.node, strlen(m->placed.node));
	choose(m);
}

static void move(struct moving *);
static void claim(struct moving *);

static void reserved(struct moving *m, int err)
{
	m->reserved = !err && m->reservation.granted;
	if (err)
		fail(m, err);
	else if (!m->reserved)
		next_node(m, -ERR_NO_CAPACITY);
	else if (m->left)
		claim(m);
	else
		move(m);
}

/* Its old node, if that takes rooms again, at a new epoch: the room cannot stay, but no other takes it. */
static bool may_return(struct moving *m)
{
	bool first = !m->returns;

	m->returns = true;
	m->wish.tried[0] = "";
	return first && !*m->target && (m->left || m->from.state == ROOM_MOVING);
}

static void choose(struct moving *m)
{
	int err = *m->target ? choose_target(m) : choose_any(m);
	struct reserve want = { .room = m->name, .registration = m->placed.registration, .cost = m->placed.cost,
		                .rooms_max = m->placed.rooms_max, .exclusive = m->from.exclusive };

	if (err && may_return(m))
		choose(m);
	else if (err)
		fail(m, m->err ? m->err : err);
	else
		wait_for(m, nodes_reserve(m->router->store, m->placed.node, &want, due(m), &m->reservation, &m->wait), reserved);
}

/* -- move: it leaves ------------------------------------------------------------------------------------------------------------- */
static void moved(struct moving *m, int err)
{
	if (err) {
		end(m, MOVING_HALF, err); /* it may have been written */
		return;
	}
	if (!m->claim.won) {
		end(m, MOVING_TAKEN, -ERR_STALE_EPOCH);
		return;
	}
	m->left = true;
	m->registration = m->claim.room.registration;
	m->until_ms = loop_now_ms(m->router->loop) + PATIENCE_MS;
	/* The entry must be there, or the node's report that it has let go finds nothing to say it of. */
	nodes_index(m->router->store, m->from.node, m->name, m->from.epoch);
	m->leaves(m);
	evict(m);
}

static void move(struct moving *m)
{
	if (m->wanted && !m->wanted(m))
		end(m, MOVING_STAYED, 0);
	else
		wait_for(m, rooms_move(m->router->store, m->name, m->from.epoch, due(m), &m->claim, &m->wait), moved);
}

/* -- evict: until the node has let go --------------------------------------------------------------------------------------------- */
static void let_go(struct moving *m)
{
	uint64_t spread = RETURN_MS + m->participants * RETURN_EACH_MS;

	worker_close_room(m->router, m->name, m->from.epoch, 1012, "room_moved", spread < RETURN_MAX_MS ? spread : RETURN_MAX_MS);
	claim(m);
}

static void again(struct timer *t)
{
	evict(container_of(t, struct moving, timer));
}

/* Its reports, if not its answer. */
static void looked(struct moving *m, int err)
{
	uint64_t now = loop_now_ms(m->router->loop);

	if (!err && (m->held.epoch > m->from.epoch || (m->held.epoch == m->from.epoch && m->held.participants == ROOM_LET_GO)))
		let_go(m);
	else if (now >= m->until_ms)
		fail(m, -ERR_NODE_UNAVAILABLE);
	else
		timer_set(m->router->loop, &m->timer, AGAIN_MS, again);
}

static void evicted(struct moving *m, int err)
{
	if (!err && m->answer.verdict == SFU_DONE)
		let_go(m);
	else
		wait_for(m, nodes_room(m->router->store, m->from.node, m->name, due(m), &m->held, &m->wait), looked);
}

static void look_again(struct moving *m)
{
	if (loop_now_ms(m->router->loop) >= m->until_ms) {
		fail(m, -ERR_NODE_UNAVAILABLE);
		return;
	}
	fleet_refresh(m->router->fleet);
	timer_set(m->router->loop, &m->timer, LOOK_MS, again);
}

static void judged(struct moving *m, int err)
{
	if (!err && m->owner == OWNER_GONE)
		let_go(m); /* nobody is there to hold it */
	else
		look_again(m);
}

static void evict(struct moving *m)
{
	struct sfu_room room = { .node = m->from.node, .incarnation = m->from.incarnation, .room = m->name, .epoch = m->from.epoch,
		                 .moves = true };

	if (fleet_owns(m->router->fleet, room.node, room.incarnation)) {
		wait_for(m, sfu_evict(m->sfu, &room, &m->arena, &m->answer, &m->wait), evicted);
	} else if (fleet_misses(m->router->fleet, room.node, room.incarnation, &m->missed_since)) {
		wait_for(m, nodes_owner(m->router->store, room.node, room.incarnation, due(m), &m->owner, &m->wait), judged);
	} else {
		look_again(m);
	}
}

/* -- claim, open, publish: as any placement ----------------------------------------------------------------------------------------- */
static void published(struct moving *m, int err)
{
	struct store *store = m->router->store;

	if (err || !m->claim.won) {
		end(m, err ? MOVING_HALF : MOVING_TAKEN, err ? err : -ERR_STALE_EPOCH);
		return;
	}
	nodes_index(store, m->placed.node, m->name, m->epoch);
	events_emit(m->router, &(struct event){ .type = EVENT_ROOM_MOVED, .node = m->placed.node, .room = m->name, .epoch = m->epoch,
	                                        .detail = m->from.node });
	end(m, MOVING_DONE, 0);
}

static void opened(struct moving *m, int err)
{
	if (err || m->answer.verdict != SFU_DONE) {
		next_node(m, -ERR_NODE_UNAVAILABLE);
		return;
	}
	struct str hints = json_member(m->answer.body, "hints", &m->arena);
	if (hints.len > HINTS_MAX)
		hints.len = 0;
	wait_for(m, rooms_publish(m->router->store, m->name, m->epoch, hints, due(m), &m->claim, &m->wait), published);
}

static void claimed(struct moving *m, int err)
{
	struct sfu_room room = { .node = m->placed.node, .incarnation = m->placed.incarnation, .room = m->name,
		                 .registration = m->placed.registration, .expected_participants = m->participants, .fresh = true };

	if (err || !m->claim.won) {
		end(m, err ? MOVING_HALF : MOVING_TAKEN, err ? err : -ERR_STALE_EPOCH);
		return;
	}
	nodes_unindex(m->router->store, m->from.node, m->name, m->from.epoch);
	room.epoch = m->epoch = m->claim.room.epoch;
	m->registration = m->claim.room.registration;
	wait_for(m, sfu_open(m->sfu, &room, &m->arena, &m->answer, &m->wait), opened);
}

static void claim(struct moving *m)
{
	struct claim claim = { .from_epoch = m->epoch, .from_registration = m->registration, .released = m->epoch == m->from.epoch,
		               .node = m->placed.node, .incarnation = m->placed.incarnation,
		               .registration = m->placed.registration, .exclusive = m->from.exclusive };

	wait_for(m, rooms_claim(m->router->store, m->name, &claim, due(m), &m->claim, &m->wait), claimed);
}

/* -- life ---------------------------------------------------------------------------------------------------------------------------- */
struct moving *moving_new(struct router *router, struct sfu *sfu, struct str name, const struct room *from)
{
	struct moving *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->router = router;
	m->sfu = sfu;
	m->from = *from;
	m->name = (struct str){ arena_copy(&m->arena, name.at, name.len), name.len };
	m->epoch = from->epoch;
	m->left = from->state == ROOM_MOVING;
	m->wait.wake = woken;
	return m;
}

void moving_begin(struct moving *m)
{
	m->left = false; /* also one that is moving is written so again: as it may be another's by now */
	fill_wish(m);
	choose(m);
}

void moving_free(struct moving *m)
{
	timer_clear(m->router->loop, &m->timer);
	wait_drop(&m->wait);
	arena_reset(&m->arena);
	free(m);
}
