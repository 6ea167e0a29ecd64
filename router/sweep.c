/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room is idle while its node reports no participants and its count of uses stands still. Idleness is watched, never
 * computed from stored times: (epoch, uses) unchanged from one look to the next, long enough by this process's own clock, as
 * no two hosts' clocks may be compared. What is watched is bounded by WATCHED_MAX; the rest waits for its turn.
 *
 * Steps take turns: a page of one node's rooms, by its index, and a page of all rooms. A node that left, and one whose name another
 * process has now, took its index with it; what remains of its rooms is met there only, and nobody else would ever end it.
 *
 * Closing: `closing` in the store, evicted on the node, deleted. A room found `closing` (its closer died) is gone on with; one
 * whose node is lost is deleted after the same idle time, or that of unreported rooms where people were in it: there is nothing to
 * evict.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "base/arena.h"
#include "base/log.h"
#include "health/fleet.h"
#include "health/sfu.h"
#include "registry/hash.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "router/grants.h"
#include "router/mover.h"
#include "router/router.h"
#include "router/sweep.h"
#include "router/worker.h"

#define PAGE 200            /* rooms looked at in one step */
#define STEP_MS 250         /* between steps: at most 400 rooms a second and router of each kind */
#define STORE_MS 1000
#define WATCHED_MAX 65536   /* idle rooms watched at once; about 100 bytes and the name each */
#define BUCKETS 8192
#define ORPHAN UINT64_MAX   /* in place of uses: nobody counts them, and what is watched is that no process holds the room */

struct watched {
	struct watched *next;
	uint64_t epoch, uses, since_ms, seen_ms;
	size_t len;
	char room[];
};
struct sweep {
	struct router *router;
	struct timer timer;
	struct wait wait;
	struct arena arena;
	char node[NODE_MAX + 1]; /* whose rooms are looked at */
	char cursor[96];
	char cursor_all[96];     /* of all rooms */
	bool all;                /* this step's page is of those */
	struct rooms_page page;
	size_t row;              /* of the page: the next to be judged */
	uint64_t asked_ms;       /* when the page was asked for: no use after that is in it */
	struct rooms_row closing; /* the room being closed */
	enum owner_seen owner;   /* of that, where it is missed */
	struct claimed claim;
	struct sfu_answer evicted;
	struct sfu *sfu;
	void (*then)(struct sweep *, int err);
	size_t nwatched;
	struct hash_key key;
	struct watched *watched[BUCKETS];
};

static void next_page(struct timer *);
static void judge_rows(struct sweep *);

/* -- waiting for one thing at a time --------------------------------------------------------------------------------------------- */
static void woken(struct wait *w, int err)
{
	struct sweep *s = container_of(w, struct sweep, wait);

	s->then(s, err);
}

static void wait_for(struct sweep *s, int verdict, void (*then)(struct sweep *, int err))
{
	s->then = then;
	if (verdict != WAIT)
		then(s, verdict);
}

static uint64_t due(const struct sweep *s)
{
	return loop_now_ms(s->router->loop) + STORE_MS;
}

/* -- what is watched --------------------------------------------------------------------------------------------------------------- */
static struct watched **watched_place(struct sweep *s, struct str room)
{
	struct watched **at = &s->watched[hash_name(s->key, room) % BUCKETS];
	while (*at && !((*at)->len == room.len && !memcmp((*at)->room, room.at, room.len)))
		at = &(*at)->next;
	return at;
}

static void unwatch(struct sweep *s, struct watched **at)
{
	struct watched *w = *at;

	*at = w->next;
	free(w);
	s->nwatched--;
}

/* How long this room has stood still before our eyes: from when a first answer was here to when this one was asked for. */
static uint64_t still_for(struct sweep *s, const struct rooms_row *row, uint64_t uses)
{
	struct watched **at = watched_place(s, row->name), *w = *at;
	uint64_t now = loop_now_ms(s->router->loop);

	if (w && w->epoch == row->room.epoch && w->uses == uses) {
		w->seen_ms = now;
		return s->asked_ms > w->since_ms ? s->asked_ms - w->since_ms : 0;
	}
	if (!w && s->nwatched < WATCHED_MAX) {
		w = calloc(1, sizeof(*w) + row->name.len);
		if (!w)
			return 0;
		w->len = row->name.len;
		memcpy(w->room, row->name.at, row->name.len);
		*at = w;
		s->nwatched++;
	}
	if (w) {
		w->epoch = row->room.epoch;
		w->uses = uses;
		w->since_ms = w->seen_ms = now;
	}
	return 0;
}

/* Rooms that went away by themselves are not looked at again: forgotten after an hour. */
static void forget_unseen(struct sweep *s, uint64_t now)
{
	size_t bucket = (size_t)(random_unit() * BUCKETS);

	for (struct watched **at = &s->watched[bucket % BUCKETS]; *at;) {
		if (now - (*at)->seen_ms > 3600000)
			unwatch(s, at);
		else
			at = &(*at)->next;
	}
}

/* -- closing one room ---------------------------------------------------------------------------------------------------------------- */
static void go_on(struct sweep *s)
{
	judge_rows(s);
}

static void forgotten(struct sweep *s, int err)
{
	if (!err && s->claim.won) {
		nodes_unindex(s->router->store, s->closing.room.node, s->closing.name, s->closing.room.epoch);
		log_change("room_swept", "room", LOG_B(s->closing.name.at, s->closing.name.len), "node", LOG_S(s->closing.room.node), "epoch",
		         LOG_U(s->closing.room.epoch));
		struct watched **at = watched_place(s, s->closing.name);
		if (*at)
			unwatch(s, at);
	}
	go_on(s);
}

static void forget(struct sweep *s)
{
	wait_for(s, rooms_forget(s->router->store, s->closing.name, s->closing.room.epoch, due(s), &s->claim, &s->wait), forgotten);
}

static void evicted(struct sweep *s, int err)
{
	if (!err && s->evicted.verdict == SFU_DONE)
		forget(s);
	else
		go_on(s); /* stays `closing`: the next round tries again */
}

static void evict(struct sweep *s)
{
	struct sfu_room room = { .node = s->closing.room.node, .incarnation = s->closing.room.incarnation, .room = s->closing.name,
		                 .epoch = s->closing.room.epoch };

	worker_close_room(s->router, s->closing.name, s->closing.room.epoch, 1000, "room_closed", 0);
	if (s->owner == OWNER_GONE)
		forget(s);
	else
		wait_for(s, sfu_evict(s->sfu, &room, &s->arena, &s->evicted, &s->wait), evicted);
}

static void shut(struct sweep *s, int err)
{
	if (!err && s->claim.won)
		evict(s);
	else
		go_on(s);
}

static void shut_room(struct sweep *s)
{
	if (s->closing.room.state == ROOM_CLOSING)
		evict(s);
	else
		wait_for(s, rooms_shut(s->router->store, s->closing.name, s->closing.room.epoch, due(s), &s->claim, &s->wait), shut);
}

static void judged(struct sweep *s, int err)
{
	if (!err && s->owner == OWNER_GONE)
		shut_room(s);
	else
		go_on(s); /* it is only missing in what we read of the nodes */
}

static void close_room(struct sweep *s, const struct rooms_row *row)
{
	const struct room *room = &row->room;

	s->closing = *row;
	s->owner = OWNER_HOLDS;
	if (fleet_owns(s->router->fleet, room->node, room->incarnation))
		shut_room(s);
	else
		wait_for(s, nodes_owner(s->router->store, room->node, room->incarnation, due(s), &s->owner, &s->wait), judged);
}

/* -- rooms of a process that is gone for good ------------------------------------------------------------------------------------------- */
static bool is_unread(const struct fleet_view *view, const char *node)
{
	for (const char *const *id = view->unread; id && *id; id++)
		if (!strcmp(*id, node))
			return true;
	return false;
}

/* An old view may lack the process that has the room since. */
static bool sees_nodes(const struct sweep *s)
{
	return !fleet_is_away(s->router->fleet, s->asked_ms) && registry_whole(s->router->registry);
}

/* A lost node is none: its rooms are in its index, and it may come back for them. */
static bool is_orphan(const struct sweep *s, const struct room *room)
{
	const struct node *node = fleet_find(s->router->fleet, room->node);

	if (!sees_nodes(s) || is_unread(fleet_view(s->router->fleet), room->node))
		return false;
	return !node || strcmp(node->record.incarnation, room->incarnation) != 0;
}

/* Its node is lost: what that reported last of people in it says little, and after a day nothing. */
static bool is_abandoned(const struct sweep *s, const struct room *room)
{
	return sees_nodes(s) && !fleet_owns(s->router->fleet, room->node, room->incarnation);
}

/* Over the idle time: an owner that the list of nodes has lost enters itself again within LISTED_BEATS heartbeats. */
static uint64_t orphan_ttl_ms(const struct router_conf *conf)
{
	uint64_t back = (LISTED_BEATS + 1) * conf->nodes.heartbeat_ms;

	return conf->rooms.idle_ttl_ms + (back > conf->nodes.unfenced_ms ? back : conf->nodes.unfenced_ms);
}

/* Somebody holds it: should nobody later, that is watched from then on. */
static void end_orphan(struct sweep *s, const struct rooms_row *row)
{
	struct watched **at = watched_place(s, row->name);

	if (*at && (*at)->uses == ORPHAN)
		unwatch(s, at);
}

/* -- looking -------------------------------------------------------------------------------------------------------------------------- */
static bool is_over(struct sweep *s, const struct rooms_row *row)
{
	const struct router_conf *conf = &s->router->conf;
	uint64_t still;

	if (s->all && !is_orphan(s, &row->room)) {
		end_orphan(s, row);
		return false;
	}
	if (row->room.state == ROOM_MOVING) {
		mover_meet(s->router, row->name, &row->room);
		return false;
	}
	if (row->room.state == ROOM_CLOSING)
		return still_for(s, row, s->all ? ORPHAN : row->uses) > STORE_MS; /* its closer may be at it */
	if (row->participants > 0 && !is_abandoned(s, &row->room))
		return false;
	still = still_for(s, row, s->all ? ORPHAN : row->uses);
	if (s->all)
		return still >= orphan_ttl_ms(conf);
	return still >= (row->participants ? conf->rooms.unreported_ttl_ms : conf->rooms.idle_ttl_ms);
}

static void judge_rows(struct sweep *s)
{
	while (s->row < s->page.count) {
		const struct rooms_row *row = &s->page.rows[s->row++];
		if (is_over(s, row)) {
			close_room(s, row);
			return;
		}
	}
	timer_set(s->router->loop, &s->timer, STEP_MS, next_page);
}

static void listed(struct sweep *s, int err)
{
	s->row = 0;
	if (err)
		s->page.count = 0;
	memcpy(s->all ? s->cursor_all : s->cursor, err ? "" : s->page.next, err ? 1 : sizeof(s->cursor));
	judge_rows(s);
}

/* In turn, from a random start: routers that started together part soon. */
static bool pick_node(struct sweep *s)
{
	const struct fleet_view *view = fleet_view(s->router->fleet);

	if (!view->count)
		return false;
	size_t i = 0;
	while (i < view->count && strcmp(view->nodes[i].record.id, s->node) <= 0)
		i++;
	if (!*s->node)
		i = (size_t)(random_unit() * (double)view->count);
	memcpy(s->node, view->nodes[i % view->count].record.id, sizeof(s->node));
	return true;
}

static void next_page(struct timer *t)
{
	struct sweep *s = container_of(t, struct sweep, timer);

	arena_reset(&s->arena);
	s->page.count = 0;
	forget_unseen(s, loop_now_ms(s->router->loop));
	s->all = !s->all;
	if (!s->all && !*s->cursor && !pick_node(s))
		s->all = true;
	struct rooms_query query = { .node = s->all ? NULL : s->node, .cursor = s->all ? s->cursor_all : s->cursor, .limit = PAGE };
	s->asked_ms = loop_now_ms(s->router->loop);
	wait_for(s, rooms_list(s->router->store, &query, &s->arena, due(s), &s->page, &s->wait), listed);
}

struct sweep *sweep_new(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct sfu_conf sfu = { .call_timeout_ms = conf->sfu.call_timeout_ms, .prove = grants_prove, .arg = router };
	struct sweep *s = calloc(1, sizeof(*s));

	if (!s)
		abort();
	s->router = router;
	s->wait.wake = woken;
	s->key = hash_key_new();
	s->sfu = sfu_new(router->loop, router->fleet, router->http, &sfu);
	return s;
}

void sweep_start(struct sweep *s)
{
	timer_set(s->router->loop, &s->timer, STEP_MS + (uint64_t)(random_unit() * STEP_MS), next_page);
}

void sweep_free(struct sweep *s)
{
	timer_clear(s->router->loop, &s->timer);
	wait_drop(&s->wait);
	arena_reset(&s->arena);
	for (size_t i = 0; i < BUCKETS; i++)
		while (s->watched[i])
			unwatch(s, &s->watched[i]);
	sfu_free(s->sfu);
	free(s);
}
