/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole again is the store when every node that anybody remembers has told all its rooms: those that it has now, and those
 * that this process knew before, if it ran then; at the latest after lease and grace of watching, as by then a node that did not
 * come lets nobody in any more. Every router judges for itself and the first to be satisfied writes it.
 *
 * A store without a mark is new, or has lost all. A process that knows of no node begins it as whole; who knows better doubts it:
 * another router, by the nodes that it remembers; or any router that gets a heartbeat of a node which the store does not know,
 * before it tells that node to register again. So no node from before a loss takes new rooms until all have told theirs.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/wait.h"
#include "health/fleet.h"
#include "registry/registry.h"
#include "router/events.h"
#include "router/rebuild.h"
#include "router/router.h"

struct remembered {
	size_t count;
	char (*ids)[NODE_MAX + 1];
};
struct rebuild {
	struct router *router;
	struct timer timer;
	struct wait wait;
	struct store_mark mark, seen; /* trusted; as just read */
	bool under_way, again, done;
	bool doubted;              /* this generation, and the store has heard it */
	bool was_rebuilt;          /* this generation: we have seen it rebuilding */
	bool witness;              /* we ran, and knew all nodes, when this generation began */
	_Atomic bool called;
	struct task call;
	uint64_t asked_ms;         /* when the mark was asked for */
	uint64_t watched_since_ms; /* this generation, or since we watch it again */
	struct remembered known;   /* of this generation: read before a mark that was still of it, so not cut short by a loss */
	struct remembered nodes;   /* of the generation before */
};

static uint64_t now_of(const struct rebuild *r)
{
	return loop_now_ms(r->router->loop);
}

static void forget(struct remembered *all)
{
	free(all->ids);
	*all = (struct remembered){ 0 };
}

/* Those that live by what we last saw. */
static void add_seen(struct rebuild *r, struct remembered *all)
{
	const struct fleet_view *view = fleet_view(r->router->fleet);

	all->ids = realloc(all->ids, (all->count + view->count + 1) * sizeof(*all->ids));
	if (!all->ids)
		abort();
	for (size_t i = 0; i < view->count; i++) {
		const struct node_record *record = &view->nodes[i].record;
		if (*record->incarnation && !record->lost)
			memcpy(all->ids[all->count++], record->id, sizeof(*all->ids));
	}
}

/* What is forgotten here, nobody waits for. In a cluster the list of nodes can be lost alone: then a view that was read between the
 * loss and our notice of it lacks nodes that live. */
static void remember_nodes(struct rebuild *r)
{
	forget(&r->nodes);
	r->nodes = r->known;
	r->known = (struct remembered){ 0 };
	add_seen(r, &r->nodes);
}

static void know_nodes(struct rebuild *r)
{
	const struct fleet_view *view = fleet_view(r->router->fleet);

	if (!view->ready || view->seen_ms > r->asked_ms)
		return; /* a loss may have come between the mark and the view: keep those of before */
	forget(&r->known);
	add_seen(r, &r->known);
}

/* -- whole again? --------------------------------------------------------------------------------------------------------- */
static bool has_told(const struct rebuild *r, const struct node *node)
{
	return node && (node->record.lost || !*node->record.incarnation || node->record.listed == r->mark.generation);
}

static bool all_have_told(const struct rebuild *r)
{
	const struct fleet_view *view = fleet_view(r->router->fleet);

	for (size_t i = 0; i < view->count; i++)
		if (!has_told(r, &view->nodes[i]))
			return false;
	for (size_t i = 0; i < r->nodes.count; i++)
		if (!has_told(r, fleet_find(r->router->fleet, r->nodes.ids[i])))
			return false;
	return true;
}

static bool is_whole_again(const struct rebuild *r)
{
	const struct router_conf *conf = &r->router->conf;
	const struct fleet_view *view = fleet_view(r->router->fleet);
	uint64_t watched = now_of(r) - r->watched_since_ms;

	if (watched >= conf->nodes.lease_ms + conf->nodes.grace_ms)
		return true;
	if (!r->witness)
		return false; /* there may have been nodes that only routers which are gone knew */
	/* A view from before the mark says nothing of this generation, and a node that was lost with it needs a heartbeat to show. */
	if (!view->ready || view->began_ms < r->watched_since_ms || watched < conf->nodes.heartbeat_ms + conf->nodes.heartbeat_ms / 2)
		return false;
	return all_have_told(r);
}

/* Somebody began this generation as whole, and we know nodes from before it; or called it whole again, and a node that we remember
 * has not told its rooms. Until the store has heard that: whoever calls it whole then, knows more. */
static bool is_doubtful(const struct rebuild *r)
{
	if (!r->mark.whole || !r->nodes.count || r->doubted)
		return false;
	return r->was_rebuilt ? !all_have_told(r) : !is_whole_again(r);
}

/* What the caller of `whole` has read of the nodes may be news to us. */
static bool may_doubt(const struct rebuild *r)
{
	return !r->was_rebuilt || fleet_view(r->router->fleet)->began_ms >= r->watched_since_ms;
}

/* -- looking -------------------------------------------------------------------------------------------------------------- */
static void tell(struct rebuild *r, enum event_type type)
{
	events_emit(r->router, &(struct event){ .type = type });
}

static void take_mark(struct rebuild *r)
{
	bool other = r->seen.generation != r->mark.generation, was_whole = r->mark.whole;

	if (other || was_whole != r->seen.whole)
		r->watched_since_ms = now_of(r);
	if (other) {
		r->doubted = false;
		r->witness = was_whole || (r->witness && r->mark.generation);
		if (!r->nodes.count && (r->mark.generation || !fleet_view(r->router->fleet)->ready))
			remember_nodes(r); /* else what we know was read from this very store */
	}
	r->was_rebuilt = !r->seen.whole || (r->was_rebuilt && !other);
	r->mark = r->seen;
	if (!is_doubtful(r)) /* else not for a moment: the mark of before stays, which nothing that is read now is of */
		registry_trust_mark(r->router->registry, &r->mark);
	if (!r->mark.whole && (other || was_whole))
		tell(r, EVENT_STORE_REBUILDING);
	else if (r->mark.whole && !was_whole)
		tell(r, EVENT_STORE_WHOLE);
}

static void look(struct timer *);

static void rest(struct rebuild *r)
{
	r->under_way = false;
	timer_set(r->router->loop, &r->timer, r->again ? 0 : r->router->conf.nodes.heartbeat_ms / 2, look);
	r->again = false;
}

static void called(struct wait *w, int err)
{
	struct rebuild *r = container_of(w, struct rebuild, wait);

	(void)err; /* the next look tells */
	r->again = true;
	rest(r);
}

static void doubted(struct wait *w, int err)
{
	container_of(w, struct rebuild, wait)->doubted = !err;
	called(w, err);
}

static void doubt(struct rebuild *r)
{
	const struct router_conf *conf = &r->router->conf;

	r->wait.wake = doubted;
	int err = registry_doubt(r->router->store, r->mark.generation, conf->nodes.lease_ms + conf->nodes.grace_ms,
	                         now_of(r) + conf->registry.timeout_ms, &r->done, &r->wait);
	if (err != WAIT)
		doubted(&r->wait, err);
}

static void call_whole(struct rebuild *r)
{
	r->wait.wake = called;
	int err = registry_call_whole(r->router->store, r->mark.generation, now_of(r) + r->router->conf.registry.timeout_ms, &r->done, &r->wait);
	if (err != WAIT)
		called(&r->wait, err);
}

static void judge(struct rebuild *r)
{
	bool satisfied = is_whole_again(r);

	if (is_doubtful(r) && may_doubt(r)) {
		doubt(r);
	} else if (!r->mark.whole && satisfied) {
		call_whole(r);
	} else {
		if (r->mark.whole && satisfied)
			forget(&r->nodes);
		if (r->mark.whole && !r->nodes.count)
			know_nodes(r);
		rest(r);
	}
}

static void looked(struct wait *w, int err)
{
	struct rebuild *r = container_of(w, struct rebuild, wait);

	if (err) {
		r->watched_since_ms = now_of(r); /* what we did not watch does not count */
		rest(r);
		return;
	}
	take_mark(r);
	judge(r);
}

static void look(struct timer *t)
{
	struct rebuild *r = container_of(t, struct rebuild, timer);

	r->under_way = true;
	r->asked_ms = now_of(r);
	r->wait.wake = looked;
	/* Nodes of a store whose mark we never saw are in it now: no memory of what it may have lost. */
	bool knows_nodes = r->nodes.count || r->known.count || (r->mark.generation && fleet_view(r->router->fleet)->count);
	int err = registry_look_at_mark(r->router->store, knows_nodes, now_of(r) + r->router->conf.registry.timeout_ms, &r->seen, &r->wait);
	if (err != WAIT)
		looked(&r->wait, err);
}

void rebuild_look(struct rebuild *r)
{
	if (r->under_way)
		r->again = true;
	else
		timer_set(r->router->loop, &r->timer, 0, look);
}

static void serve_call(struct task *task)
{
	struct rebuild *r = container_of(task, struct rebuild, call);

	atomic_store(&r->called, false);
	rebuild_look(r);
}

void rebuild_look_soon(struct router *router)
{
	if (!atomic_exchange(&router->rebuild->called, true))
		loop_post(router->loop, &router->rebuild->call, serve_call);
}

struct rebuild *rebuild_new(struct router *router)
{
	struct rebuild *r = calloc(1, sizeof(*r));

	if (!r)
		abort();
	r->router = router;
	return r;
}

void rebuild_start(struct rebuild *r)
{
	r->watched_since_ms = now_of(r);
	rebuild_look(r);
}

void rebuild_free(struct rebuild *r)
{
	timer_clear(r->router->loop, &r->timer);
	wait_drop(&r->wait);
	forget(&r->known);
	forget(&r->nodes);
	free(r);
}
