/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every router drives every drain, each for its share of the node's rooms: a hash of the room's name over the routers that are
 * heard of. So no router is the one whose death stops a drain, and three do not do the same thing three times. What a dead one left
 * `moving` is met again, by the walk over a draining node (drains.c), by the idle sweep or by a join, and gone on with after MET_MS.
 */
#include <stdlib.h>
#include <string.h>

#include "base/ask.h"
#include "base/error.h"
#include "base/json.h"
#include "health/fleet.h"
#include "registry/hash.h"
#include "router/grants.h"
#include "router/mover.h"
#include "router/mover_private.h"
#include "router/peers.h"
#include "router/router.h"
#include "router/worker.h"

#define TICK_MS 50
#define MET_MS 2000    /* a room met `moving` for so long is gone on with */
#define MET_FORGET_MS 30000

struct moving_ask { /* of a worker */
	struct ask ask;
	struct router *router;
	struct room room;
	char target[NODE_MAX + 1];
	uint64_t retry_ms, *out;
	size_t len;
	char name[];
};

static const struct hash_key same_for_all = { { 0, 0 } }; /* every router must come to the same shares */

/* -- whose share ------------------------------------------------------------------------------------------------------------------ */
/* How many routers there are, and which of them, in order of their names, this one is. */
size_t mover_routers(const struct mover *mover, size_t *rank)
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

bool mover_is_ours(const struct mover *mover, struct str name)
{
	size_t rank, n = mover_routers(mover, &rank);

	return hash_name(same_for_all, name) % n == rank;
}

/* -- rooms met moving --------------------------------------------------------------------------------------------------------------- */
/* The oldest sight goes first when the table is full. True: it has been so for long enough. */
bool mover_met(struct mover *mover, struct str name, uint64_t epoch)
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
struct moving *mover_find(const struct mover *mover, struct str name)
{
	struct moving *m = mover->movings;

	while (m && !str_eq(m->name, name))
		m = m->next;
	return m;
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
	struct drain *drain = drains_find(mover, m->from.node);

	if (drain && how == MOVING_DONE)
		drain->moved++;
	if (drain && err && (how == MOVING_STAYED || how == MOVING_HALF))
		drain->failed++;
	answer(m, err);
	forget_moving(mover, m);
}

struct moving *mover_make(struct mover *mover, struct str name, const struct room *room, int64_t participants)
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

bool mover_has_place(const struct mover *mover)
{
	return mover->nmovings < MOVINGS_MAX && fleet_view(mover->router->fleet)->ready;
}

static void go_on_with(struct mover *mover, struct str name, const struct room *room)
{
	if (mover_has_place(mover) && !mover_find(mover, name))
		moving_begin(mover_make(mover, name, room, -1));
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

	if (mover && mover_met(mover, name, meeting->room.epoch))
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

	if (mover_find(mover, name)) {
		ask_reply(ask, 0); /* it is on its way */
	} else if (!mover_has_place(mover)) {
		ask_reply(ask, -ERR_ROOM_MOVING);
	} else {
		struct moving *m = mover_make(mover, name, &asking->room, -1);
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

static void tick(struct timer *t)
{
	struct mover *mover = container_of(t, struct mover, timer);

	drains_tick(mover);
	timer_set(mover->router->loop, t, TICK_MS, tick);
}

struct mover *mover_new(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct sfu_conf sfu = { .call_timeout_ms = conf->sfu.call_timeout_ms, .prove = grants_prove, .arg = router };
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
	drains_end(mover);
	sfu_free(mover->sfu);
	free(mover);
}
