/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every router drives every drain, each for its share of the node's rooms: a hash of the room's name over the routers that are
 * heard of. So no router is the one whose death stops a drain, and three do not do the same thing three times. What a dead one left
 * `moving` is met again, by this walk, by the idle sweep or by a join, and gone on with after MET_MS.
 *
 * The pace: with policy move and a deadline, even over its first half; else as fast as drain.moves_per_second lets all routers
 * together, of all drains. A room that could not be moved is tried again in the next walk, and stays in use where it is.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/ask.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "registry/hash.h"
#include "health/fleet.h"
#include "router/drain.h"
#include "router/events.h"
#include "router/mover.h"
#include "router/moving.h"
#include "router/peers.h"
#include "router/router.h"
#include "router/worker.h"

#define TICK_MS 50
#define STORE_MS 1000
#define PAGE 200       /* rooms read at once */
#define WALK_MS 1000   /* from the end of one walk over a node's rooms to the next */
#define SLOWEST_MS 1000 /* between two moves, also where there is time enough */
#define MET_MS 2000    /* a room met `moving` for so long is gone on with */
#define MET_FORGET_MS 30000
#define MET_MAX 1024

struct drain { /* one draining node, since one moment */
	struct drain *next;
	struct mover *mover;
	char node[NODE_MAX + 1];
	uint64_t since_ms, seen_version;
	struct drain_wish wish;
	uint64_t moved, failed;
	uint64_t next_ms;      /* loop time of the next move */
	bool told_done, told_expired;
	/* The walk over its rooms: */
	struct wait wait;
	struct arena arena;
	struct rooms_page page;
	size_t row;
	char cursor[96];
	bool listing;
	uint64_t walk_ms;
};
struct met { /* a room seen `moving` */
	uint64_t hash, epoch, since_ms, seen_ms;
};
struct mover {
	struct router *router;
	struct sfu *sfu;
	struct timer timer;
	struct drain *drains;
	size_t ndrains;
	struct moving *movings;
	size_t nmovings;
	uint64_t version; /* of the fleet's view that the drains were read from */
	bool started;     /* it was read once: what is over already then was told by others */
	struct met met[MET_MAX];
};
struct moving_ask { /* of a worker */
	struct ask ask;
	struct router *router;
	struct room room;
	char target[NODE_MAX + 1];
	uint64_t retry_ms, *out;
	size_t len;
	char name[];
};

static void tick(struct timer *);

static const struct hash_key same_for_all = { { 0, 0 } }; /* every router must come to the same shares */

/* -- whose share ------------------------------------------------------------------------------------------------------------------ */
/* How many routers there are, and which of them, in order of their names, this one is. */
static size_t routers(const struct mover *mover, size_t *rank)
{
	const struct peers_view *view = peers_view(mover->router->peers);
	size_t others = 0;

	*rank = 0;
	for (size_t i = 0; i < view->count; i++) {
		int order = strcmp(view->peers[i].id, mover->router->id);
		others += order != 0;
		*rank += order < 0;
	}
	return others + 1;
}

static bool is_ours(const struct mover *mover, struct str name)
{
	size_t rank, n = routers(mover, &rank);

	return hash_name(same_for_all, name) % n == rank;
}

/* -- rooms met moving --------------------------------------------------------------------------------------------------------------- */
/* The oldest sight goes first when the table is full. True: it has been so for long enough. */
static bool meet(struct mover *mover, struct str name, uint64_t epoch)
{
	uint64_t now = loop_now_ms(mover->router->loop), hash = hash_name(same_for_all, name);
	struct met *oldest = &mover->met[0];

	for (size_t i = 0; i < MET_MAX; i++) {
		struct met *met = &mover->met[i];
		if (met->hash == hash && met->epoch == epoch && met->seen_ms && now - met->seen_ms < MET_FORGET_MS) {
			met->seen_ms = now;
			return now - met->since_ms >= MET_MS;
		}
		if (met->seen_ms < oldest->seen_ms)
			oldest = met;
	}
	*oldest = (struct met){ hash, epoch, now, now };
	return false;
}

/* -- one move ----------------------------------------------------------------------------------------------------------------------- */
static struct moving *find_moving(const struct mover *mover, struct str name)
{
	struct moving *m = mover->movings;

	while (m && !str_eq(m->name, name))
		m = m->next;
	return m;
}

static struct drain *find_drain(const struct mover *mover, const char *node)
{
	struct drain *drain = mover->drains;

	while (drain && strcmp(drain->node, node))
		drain = drain->next;
	return drain;
}

static void answer(struct moving *m, int err)
{
	struct moving_ask *asking = m->arg;

	m->arg = NULL;
	if (!asking)
		return;
	asking->retry_ms = m->retry_ms;
	ask_reply(&asking->ask, err);
}

static void leaves(struct moving *m)
{
	answer(m, 0);
}

static void forget_moving(struct mover *mover, struct moving *m)
{
	struct moving **at = &mover->movings;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	mover->nmovings--;
	moving_free(m);
}

/* A room that was taken over counts for whoever took it. */
static void ended(struct moving *m, enum moving_end how, int err)
{
	struct mover *mover = m->router->mover;
	struct drain *drain = find_drain(mover, m->from.node);

	if (drain && how == MOVING_DONE)
		drain->moved++;
	if (drain && err && (how == MOVING_STAYED || how == MOVING_HALF))
		drain->failed++;
	answer(m, err);
	forget_moving(mover, m);
}

static bool still_drains(const struct moving *m)
{
	const struct node *node = fleet_find(m->router->fleet, m->from.node);

	return node && node->record.wish == WISH_DRAINING;
}

static struct moving *start(struct mover *mover, struct str name, const struct room *room, int64_t participants)
{
	struct moving *m = moving_new(mover->router, mover->sfu, name, room);

	m->participants = participants > 0 && participants != ROOM_LET_GO ? (uint64_t)participants : 0;
	m->leaves = leaves;
	m->ended = ended;
	m->next = mover->movings;
	mover->movings = m;
	mover->nmovings++;
	return m;
}

static bool has_place(const struct mover *mover)
{
	return mover->nmovings < MOVINGS_MAX && fleet_view(mover->router->fleet)->ready;
}

static void go_on_with(struct mover *mover, struct str name, const struct room *room)
{
	if (has_place(mover) && !find_moving(mover, name))
		moving_begin(start(mover, name, room, -1));
}

/* -- met by others -------------------------------------------------------------------------------------------------------------------- */
struct meeting {
	struct task task;
	struct router *router;
	struct room room;
	size_t len;
	char name[];
};

static void serve_meeting(struct task *task)
{
	struct meeting *meeting = container_of(task, struct meeting, task);
	struct str name = { meeting->name, meeting->len };

	struct mover *mover = meeting->router->mover; /* NULL: at the stop */

	if (mover && meet(mover, name, meeting->room.epoch))
		go_on_with(mover, name, &meeting->room);
	free(meeting);
}

void mover_meet(struct router *router, struct str name, const struct room *room)
{
	struct meeting *meeting = calloc(1, sizeof(*meeting) + name.len);

	if (!meeting)
		abort();
	meeting->router = router;
	meeting->room = *room;
	meeting->len = name.len;
	memcpy(meeting->name, name.at, name.len);
	loop_post(router->loop, &meeting->task, serve_meeting);
}

/* -- asked for --------------------------------------------------------------------------------------------------------------------------- */
static void serve_ask(struct ask *ask)
{
	struct moving_ask *asking = container_of(ask, struct moving_ask, ask);
	struct mover *mover = asking->router->mover;
	struct str name = { asking->name, asking->len };

	if (find_moving(mover, name)) {
		ask_reply(ask, 0); /* it is on its way */
	} else if (!has_place(mover)) {
		ask_reply(ask, -ERR_ROOM_MOVING);
	} else {
		struct moving *m = start(mover, name, &asking->room, -1);
		memcpy(m->target, asking->target, sizeof(m->target));
		m->arg = asking;
		moving_begin(m);
	}
}

static void asked(struct ask *ask, bool waits)
{
	struct moving_ask *asking = container_of(ask, struct moving_ask, ask);

	if (waits)
		*asking->out = asking->retry_ms;
	free(asking);
}

int mover_ask(struct worker *worker, struct str name, const struct room *room, const char *target, uint64_t *retry_ms, struct wait *w)
{
	struct moving_ask *asking = calloc(1, sizeof(*asking) + name.len);

	if (!asking)
		abort();
	asking->ask = (struct ask){ .serve = serve_ask, .finish = asked };
	asking->router = worker->router;
	asking->room = *room;
	asking->out = retry_ms;
	asking->len = name.len;
	memcpy(asking->name, name.at, name.len);
	if (target)
		memcpy(asking->target, target, strlen(target) + 1);
	return ask_send(&asking->ask, worker->loop, worker->router->loop, w);
}

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
	size_t rank, n = routers(mover, &rank);
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

	if (find_moving(mover, row->name))
		return false;
	if (row->room.state == ROOM_MOVING)
		return is_ours(mover, row->name) || meet(mover, row->name, row->room.epoch);
	return row->room.state == ROOM_OPEN && is_ours(mover, row->name);
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

static void walk(struct drain *drain, uint64_t rooms)
{
	struct mover *mover = drain->mover;
	uint64_t now = loop_now_ms(mover->router->loop);

	if (drain->listing)
		return;
	while (now >= drain->next_ms && has_place(mover)) {
		const struct rooms_row *row = next_row(drain);
		if (!row) {
			if (*drain->cursor || now >= drain->walk_ms)
				list(drain);
			return;
		}
		/* What fell behind while there was nothing to do is not made up for at once. */
		drain->next_ms = (drain->next_ms + TICK_MS < now ? now : drain->next_ms) + gap_ms(drain, rooms);
		struct moving *m = start(mover, row->name, &row->room, row->participants);
		m->wanted = row->room.state == ROOM_MOVING ? NULL : still_drains;
		moving_begin(m);
	}
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
	if (drain->mover->started && is_ours(drain->mover, str_of(drain->node)))
		events_emit(drain->mover->router, &(struct event){ .type = type, .node = drain->node });
}

static void look_at(struct mover *mover, const struct node *node, uint64_t version)
{
	struct drain *drain = find_drain(mover, node->record.id);

	if (node->record.wish != WISH_DRAINING)
		return;
	if (!drain || drain->since_ms != node->record.wished_ms) /* of another beginning: that one ends below */
		drain = begin_drain(mover, &node->record);
	drain->seen_version = version;
	bool done = is_done(node), late = drain->wish.deadline_ms && elapsed(drain) >= drain->wish.deadline_ms;
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
		look_at(mover, &view->nodes[i], view->version);
	mover->started = true;
	for (struct drain **at = &mover->drains; *at;) {
		if ((*at)->seen_version == view->version)
			at = &(*at)->next;
		else
			end_drain(mover, at);
	}
}

static void tick(struct timer *t)
{
	struct mover *mover = container_of(t, struct mover, timer);

	read_fleet(mover);
	for (struct drain *drain = mover->drains; drain; drain = drain->next) {
		const struct node *node = fleet_find(mover->router->fleet, drain->node);
		/* Of a node that is late it is not known yet whether it hears or is lost: its rooms had better not wait for that. */
		if (node && node->record.rooms && node->state != NODE_LATE && begins_now(drain, elapsed(drain)))
			walk(drain, node->record.rooms);
	}
	timer_set(mover->router->loop, t, TICK_MS, tick);
}

/* -- life -------------------------------------------------------------------------------------------------------------------------------------- */
void mover_write(const struct mover *mover, struct json_out *json)
{
	json_open(json, "drains", '[');
	for (const struct drain *drain = mover->drains; drain; drain = drain->next) {
		json_open(json, NULL, '{');
		json_str(json, "node", drain->node);
		json_u64(json, "since_ms", drain->since_ms);
		json_u64(json, "moved", drain->moved);
		json_u64(json, "failed", drain->failed);
		json_close(json, '}');
	}
	json_close(json, ']');
}

struct mover *mover_new(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct sfu_conf sfu = { .connect_timeout_ms = conf->sfu.connect_timeout_ms, .call_timeout_ms = conf->sfu.call_timeout_ms };
	struct mover *mover = calloc(1, sizeof(*mover));

	if (!mover)
		abort();
	mover->router = router;
	mover->sfu = sfu_new(router->loop, router->fleet, router->http, &sfu);
	return mover;
}

void mover_start(struct mover *mover)
{
	timer_set(mover->router->loop, &mover->timer, TICK_MS, tick);
}

void mover_free(struct mover *mover)
{
	timer_clear(mover->router->loop, &mover->timer);
	while (mover->movings) {
		answer(mover->movings, -ERR_SHUTTING_DOWN);
		forget_moving(mover, mover->movings);
	}
	while (mover->drains)
		end_drain(mover, &mover->drains);
	sfu_free(mover->sfu);
	free(mover);
}
