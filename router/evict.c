/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An eviction outlives the request that found it necessary, so it is its own small object on the worker's loop. At most
 * EVICTIONS_MAX are under way: past that they are left to the node's next report, which names every room it holds.
 */
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "base/arena.h"
#include "base/log.h"
#include "health/sfu.h"
#include "registry/nodes.h"
#include "router/evict.h"
#include "router/worker.h"

#define EVICTIONS_MAX 1000

struct eviction {
	struct wait wait;
	struct worker *worker;
	struct eviction *next, **at;
	struct arena arena;
	struct sfu_room room;
	struct sfu_answer answer;
};

static void evicted(struct eviction *e)
{
	if (e->answer.verdict == SFU_DONE)
		nodes_unindex(e->worker->store, e->room.node, e->room.room, e->room.epoch);
	log_info("room_evicted", "room", LOG_B(e->room.room.at, e->room.room.len), "node", LOG_S(e->room.node), "epoch",
	         LOG_U(e->room.epoch), "done", LOG_S(e->answer.verdict == SFU_DONE ? "yes" : "no"));
	*e->at = e->next;
	if (e->next)
		e->next->at = e->at;
	e->worker->nevictions--;
	arena_reset(&e->arena);
	free(e);
}

static void eviction_woken(struct wait *w, int err)
{
	(void)err;
	evicted(container_of(w, struct eviction, wait));
}

void evict_room(struct worker *worker, const char *node, const char *incarnation, struct str room, uint64_t epoch)
{
	if (worker->nevictions >= EVICTIONS_MAX)
		return;
	struct eviction *e = calloc(1, sizeof(*e));
	if (!e)
		abort();
	e->worker = worker;
	e->wait.wake = eviction_woken;
	e->next = worker->evictions;
	e->at = &worker->evictions;
	if (e->next)
		e->next->at = &e->next;
	worker->evictions = e;
	worker->nevictions++;
	e->room = (struct sfu_room){
		.node = arena_copy(&e->arena, node, strlen(node)),
		.incarnation = arena_copy(&e->arena, incarnation, strlen(incarnation)),
		.room = { arena_copy(&e->arena, room.at, room.len), room.len },
		.epoch = epoch,
	};
	if (sfu_evict(worker->sfu, &e->room, &e->arena, &e->answer, &e->wait) != WAIT)
		evicted(e);
}

void evictions_drop(struct worker *worker)
{
	while (worker->evictions) {
		wait_drop(&worker->evictions->wait);
		evicted(worker->evictions);
	}
}
