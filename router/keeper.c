/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots are kept by room name in a small hash table on the keeper's loop. A slot has a deadline, longer than any request's:
 * whatever becomes of its holder, the room's next join goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/ask.h"
#include "base/error.h"
#include "base/log.h"
#include "registry/hash.h"
#include "router/keeper.h"
#include "router/metrics.h"
#include "router/router.h"
#include "router/worker.h"

#define BUCKETS 4096
#define SLOT_MS 30000 /* over the longest deadline of a request that holds one */

struct choosing { /* one question of a worker */
	struct ask ask;
	struct arena arena; /* of the wish's strings */
	struct worker *worker;
	struct place_wish wish;
	enum choose_how how;
	struct choice choice, *out;
	struct choosing *next; /* waiting for the slot */
};
struct slot {
	struct slot *next;
	struct keeper *keeper;
	struct timer timer;
	struct choosing *first, **last;
	char node[NODE_MAX + 1]; /* whose open is counted as under way; "" none */
	size_t len;
	char room[];
};
struct keeper {
	struct router *router;
	_Atomic bool refreshing;
	struct task refresh;
	struct hash_key key;
	struct slot *slots[BUCKETS];
};

static struct slot **slot_place(struct keeper *k, struct str room)
{
	struct slot **at = &k->slots[hash_name(k->key, room) % BUCKETS];
	while (*at && !((*at)->len == room.len && !memcmp((*at)->room, room.at, room.len)))
		at = &(*at)->next;
	return at;
}

static void slot_opened(struct slot *s)
{
	struct router *router = s->keeper->router;

	if (*s->node)
		place_opened(router->place, s->node, loop_now_ms(router->loop));
	*s->node = '\0';
}

/* Whoever waited looks again: the room is in the table by now, or free to be tried. */
static void slot_end(struct slot **at)
{
	struct slot *s = *at;

	*at = s->next;
	timer_clear(s->keeper->router->loop, &s->timer);
	slot_opened(s);
	for (struct choosing *c = s->first, *next; c; c = next) {
		next = c->next;
		c->choice.look_again = true;
		ask_reply(&c->ask, 0);
	}
	free(s);
}

static void slot_overdue(struct timer *t)
{
	struct slot *s = container_of(t, struct slot, timer);

	log_warn("placing_overdue", "room", LOG_B(s->room, s->len));
	slot_end(slot_place(s->keeper, (struct str){ s->room, s->len }));
}

static struct slot *slot_new(struct keeper *k, struct str room, struct slot **at)
{
	struct slot *s = calloc(1, sizeof(*s) + room.len);

	if (!s)
		abort();
	s->keeper = k;
	s->last = &s->first;
	s->len = room.len;
	memcpy(s->room, room.at, room.len);
	*at = s;
	timer_set(k->router->loop, &s->timer, SLOT_MS, slot_overdue);
	return s;
}

static void choose(struct slot *s, struct choosing *c)
{
	struct router *router = s->keeper->router;

	slot_opened(s);
	c->choice.err = place_choose(router->place, &c->wish, loop_now_ms(router->loop), &c->choice.placed, &c->choice.wait_helps,
	                             &c->choice.retry_ms);
	metric_add(router->sheet, M_PLACEMENTS, c->choice.err ? error_info(c->choice.err)->slug : "chosen", NULL, 1);
	if (!c->choice.err)
		memcpy(s->node, c->choice.placed.node, sizeof(s->node));
}

static void serve_choice(struct ask *ask)
{
	struct choosing *c = container_of(ask, struct choosing, ask);
	struct keeper *k = c->worker->router->keeper;
	struct slot **at = slot_place(k, c->wish.room);

	if (*at && c->how != CHOOSE_AGAIN) {
		c->next = NULL;
		*(*at)->last = c;
		(*at)->last = &c->next;
		return;
	}
	struct slot *s = *at ? *at : slot_new(k, c->wish.room, at);
	c->choice.holds = true;
	if (c->how != CHOOSE_HELP)
		choose(s, c);
	ask_reply(ask, 0);
}

static void choice_back(struct ask *ask, bool asked)
{
	struct choosing *c = container_of(ask, struct choosing, ask);

	if (asked)
		*c->out = c->choice;
	else if (c->choice.holds)
		keeper_done(c->worker, c->wish.room); /* the request left meanwhile: nobody else would give it back */
	arena_reset(&c->arena);
	free(c);
}

static const char *keep(struct arena *arena, const char *s)
{
	return s ? arena_copy(arena, s, strlen(s)) : NULL;
}

static const struct json_pair *keep_pairs(struct arena *arena, const struct json_pair *pairs, size_t n)
{
	struct json_pair *copy = n ? arena_alloc(arena, n * sizeof(*copy)) : NULL;

	for (size_t i = 0; i < n; i++)
		copy[i] = (struct json_pair){ keep(arena, pairs[i].key), keep(arena, pairs[i].value) };
	return copy;
}

static void keep_wish(struct arena *arena, const struct place_wish *from, struct place_wish *to)
{
	*to = *from;
	to->room.at = arena_copy(arena, from->room.at, from->room.len);
	to->pool = keep(arena, from->pool);
	to->region = keep(arena, from->region);
	to->require_region = keep(arena, from->require_region);
	to->require_pool = keep(arena, from->require_pool);
	to->colocate_node = keep(arena, from->colocate_node);
	to->require = keep_pairs(arena, from->require, from->nrequire);
	to->prefer = keep_pairs(arena, from->prefer, from->nprefer);
	for (size_t i = 0; i < from->ntried; i++)
		to->tried[i] = keep(arena, from->tried[i]);
}

int keeper_choose(struct worker *worker, const struct place_wish *wish, enum choose_how how, struct choice *out, struct wait *w)
{
	struct choosing *c = calloc(1, sizeof(*c));

	if (!c)
		abort();
	c->ask = (struct ask){ .serve = serve_choice, .finish = choice_back };
	c->worker = worker;
	c->how = how;
	c->out = out;
	keep_wish(&c->arena, wish, &c->wish);
	return ask_send(&c->ask, worker->loop, worker->router->loop, w);
}

/* -- giving the slot back ---------------------------------------------------------------------------------------------- */
struct done {
	struct task task;
	struct keeper *keeper;
	size_t len;
	char room[];
};

static void serve_done(struct task *task)
{
	struct done *done = container_of(task, struct done, task);
	struct slot **at = slot_place(done->keeper, (struct str){ done->room, done->len });

	if (*at)
		slot_end(at);
	free(done);
}

void keeper_done(struct worker *worker, struct str room)
{
	struct done *done = calloc(1, sizeof(*done) + room.len);

	if (!done)
		abort();
	done->keeper = worker->router->keeper;
	done->len = room.len;
	memcpy(done->room, room.at, room.len);
	loop_post(worker->router->loop, &done->task, serve_done);
}

/* -- reading the fleet anew ---------------------------------------------------------------------------------------------- */
static void serve_refresh(struct task *task)
{
	struct keeper *k = container_of(task, struct keeper, refresh);

	atomic_store(&k->refreshing, false);
	fleet_refresh(k->router->fleet);
}

void keeper_refresh(struct router *router)
{
	if (!atomic_exchange(&router->keeper->refreshing, true))
		loop_post(router->loop, &router->keeper->refresh, serve_refresh);
}

/* -- explanations -------------------------------------------------------------------------------------------------------- */
struct explaining {
	struct ask ask;
	struct arena arena;
	struct router *router;
	struct place_wish wish;
	bool simulate;
	struct buf json, *out;
};

static void serve_explain(struct ask *ask)
{
	struct explaining *e = container_of(ask, struct explaining, ask);
	struct router *router = e->router;
	int err = 0;

	if (e->simulate)
		err = place_simulate(router->place, &e->wish, loop_now_ms(router->loop), &e->json);
	else if (!place_explain(router->place, e->wish.room, &e->json))
		err = -ERR_NOT_FOUND;
	ask_reply(ask, err);
}

static void explained(struct ask *ask, bool asked)
{
	struct explaining *e = container_of(ask, struct explaining, ask);

	if (asked)
		*e->out = e->json;
	else
		buf_free(&e->json);
	arena_reset(&e->arena);
	free(e);
}

int keeper_explain(struct worker *worker, struct str room, const struct place_wish *wish, struct buf *json, struct wait *w)
{
	struct place_wish named = { .room = room };
	struct explaining *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	e->ask = (struct ask){ .serve = serve_explain, .finish = explained };
	e->router = worker->router;
	e->simulate = wish;
	e->out = json;
	keep_wish(&e->arena, wish ? wish : &named, &e->wish);
	return ask_send(&e->ask, worker->loop, worker->router->loop, w);
}

struct keeper *keeper_new(struct router *router)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k)
		abort();
	k->router = router;
	k->key = hash_key_new();
	return k;
}

void keeper_free(struct keeper *k)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (k->slots[i])
			slot_end(&k->slots[i]);
	free(k);
}
