/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look-up in the table costs a tunnel nothing; only what the table does not know for sure is asked of the store, a few at a
 * time. With very many tunnels each second takes a random part of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/tunnel.h"
#include "base/wait.h"
#include "registry/table.h"
#include "router/audit.h"
#include "router/router.h"
#include "router/tunnel.h"
#include "router/worker.h"

#define EVERY_MS 1000
#define LOOKED_AT 10000 /* tunnels each time, about */
#define ASKED 16        /* rooms under way at the store */
#define STORE_MS 500
#define RETRY_MS 2000   /* clients come back within this time */

struct asking { /* for one room of a tunnel */
	struct wait wait;
	struct audits *audits;
	struct room room;
	size_t len;
	char name[ROOM_MAX];
};
struct audits {
	struct worker *worker;
	struct timer timer;
	double share;
	uint64_t used_ms; /* when all open tunnels last counted as uses of their rooms */
	struct asking asking[ASKED];
};

static void close_with(struct tunnel *tunnel, unsigned code, const char *why)
{
	char reason[64];

	snprintf(reason, sizeof(reason), code == 1000 ? "%s" : "%s;retry=%u", why, (unsigned)(random_unit() * RETRY_MS));
	tunnel_close(tunnel, code, reason);
}

static void judge(struct tunnel *tunnel, const struct carried *carried, const struct room *room)
{
	if (room->state != ROOM_NONE && room->epoch > carried->epoch)
		close_with(tunnel, 1012, "room_moved");
	else if (room->state == ROOM_NONE && room->ended_epoch >= carried->epoch)
		close_with(tunnel, 1000, "room_closed");
}

/* -- what only the store can say ------------------------------------------------------------------------------------------ */
static void judge_if_asked(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct asking *asking = ctx;
	const struct carried *carried = arg;

	if (str_eq(carried_room(carried), (struct str){ asking->name, asking->len }))
		judge(tunnel, carried, &asking->room);
}

static void answered(struct wait *w, int err)
{
	struct asking *asking = container_of(w, struct asking, wait);

	if (!err)
		tunnels_each(asking->audits->worker->tunnels, judge_if_asked, asking);
}

static void ask(struct audits *audits, struct str room)
{
	struct worker *worker = audits->worker;
	struct asking *asking = audits->asking;

	while (asking < audits->asking + ASKED && asking->wait.op)
		asking++;
	if (asking == audits->asking + ASKED || !store_up(worker->store))
		return;
	asking->audits = audits;
	asking->wait.wake = answered;
	asking->len = room.len;
	memcpy(asking->name, room.at, room.len);
	rooms_find(worker->store, (struct str){ asking->name, asking->len }, false, loop_now_ms(worker->loop) + STORE_MS, &asking->room,
	           &asking->wait); /* an answer at once is the table's by now, and the next round's */
}

/* -- each second ---------------------------------------------------------------------------------------------------------- */
static void look_at(void *ctx, struct tunnel *tunnel, void *arg)
{
	struct audits *audits = ctx;
	const struct carried *carried = arg;
	struct table *table = registry_table(audits->worker->router->registry);
	struct str name = carried_room(carried);
	struct room room;

	if (audits->share < 1 && random_unit() > audits->share)
		return;
	enum table_hit hit = table_find(table, name, &room);
	if (hit != TABLE_MISS)
		judge(tunnel, carried, &room);
	if (hit != TABLE_SURE)
		ask(audits, name);
}

/* Of a node that reports no rooms an open tunnel is all that shows a room in use. */
static void use(void *ctx, struct tunnel *tunnel, void *arg)
{
	struct worker *worker = ctx;
	const struct carried *carried = arg;
	struct str name = carried_room(carried);
	struct room room;

	(void)tunnel;
	if (table_find(registry_table(worker->router->registry), name, &room) != TABLE_MISS && room.epoch == carried->epoch)
		rooms_touch(worker->store, name, &room);
}

static void use_all(struct audits *audits)
{
	uint64_t now = loop_now_ms(audits->worker->loop);

	if (now - audits->used_ms < audits->worker->router->conf.rooms.unreported_ttl_ms / 4)
		return;
	audits->used_ms = now;
	tunnels_each(audits->worker->tunnels, use, audits->worker);
}

static void look(struct timer *t)
{
	struct audits *audits = container_of(t, struct audits, timer);
	size_t count = tunnels_count(audits->worker->tunnels);

	audits->share = count > LOOKED_AT ? (double)LOOKED_AT / (double)count : 1;
	if (count)
		tunnels_each(audits->worker->tunnels, look_at, audits);
	use_all(audits);
	timer_set(audits->worker->loop, t, EVERY_MS, look);
}

struct audits *audits_new(struct worker *worker)
{
	struct audits *audits = calloc(1, sizeof(*audits));

	if (!audits)
		abort();
	audits->worker = worker;
	timer_set(worker->loop, &audits->timer, EVERY_MS, look);
	return audits;
}

void audits_free(struct audits *audits)
{
	timer_clear(audits->worker->loop, &audits->timer);
	for (int i = 0; i < ASKED; i++)
		wait_drop(&audits->asking[i].wait);
	free(audits);
}

/* -- a lost node ---------------------------------------------------------------------------------------------------------- */
struct losing {
	struct task task;
	struct worker *worker;
	char node[NODE_MAX + 1];
};

static void close_if_node(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct losing *losing = ctx;

	if (!strcmp(carried_node(arg), losing->node))
		close_with(tunnel, 1012, "node_lost");
}

static void lose_here(struct task *task)
{
	struct losing *losing = container_of(task, struct losing, task);

	if (losing->worker->tunnels)
		tunnels_each(losing->worker->tunnels, close_if_node, losing);
	free(losing);
}

void audit_close_node(struct router *router, const char *node)
{
	for (size_t i = 0; i < router->nworkers; i++) {
		struct losing *losing = calloc(1, sizeof(*losing));
		if (!losing)
			abort();
		losing->worker = router->workers[i];
		snprintf(losing->node, sizeof(losing->node), "%s", node);
		loop_post(losing->worker->loop, &losing->task, lose_here);
	}
}
