/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New rooms go first: they cost most (the keeper, the store, a call to an SFU), and whoever wanted one has nothing yet. Then joins;
 * then what people within calls send; then operators; then what keeps nodes alive, as a node that is lost costs more than any request
 * saves. Health checks and metrics never: who looks must see, and a balancer that took overloaded routers out would put their
 * load on the others.
 *
 * Each worker judges its own loop; the keeper's pressure it reads once in an interval.
 */
#include "base/httpd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/url.h"
#include "base/wait.h"
#include "registry/registry.h"
#include "registry/table.h"
#include "router/metrics.h"
#include "router/overload.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/shed.h"
#include "router/worker.h"

#define HARM_OF_LEASE 10 /* a wait of a tenth of a lease is a good part of what a node has */
#define RETRY_MS 1000
#define RETRY_SPREAD_MS 3000 /* or they would all be back at once */
#define HOLD_SPREAD 0.5      /* of overload.hold_ms, on top */

/* -- judging ---------------------------------------------------------------------------------------------------------------- */
static void judge(struct overload *o, struct loop *loop, struct sheet *sheet, const char *thread)
{
	uint64_t waited_us = loop_least_wait_us(loop);
	int before = o->told;

	if (overload_judge(o, waited_us))
		log_line(o->told > before ? LOG_WARN : LOG_INFO, "overload_level", "thread", LOG_S(thread), "from",
		         LOG_S(overload_level_name(before)), "to", LOG_S(overload_level_name(o->told)), "waited_us", LOG_U(waited_us), NULL);
	if (o->stale)
		log_warn("overload_stale", "thread", LOG_S(thread), "refused", LOG_U(o->stale), "waited_us", LOG_U(waited_us));
	o->stale = 0;
	metric_set(sheet, M_OVERLOAD_DELAY, thread, NULL, (double)waited_us / 1e6);
	metric_set(sheet, M_OVERLOAD_PRESSURE, thread, NULL, o->pressure);
}

static void judge_worker(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, judging);
	double keeper = (double)atomic_load_explicit(&w->router->keeper_permille, memory_order_relaxed) / 1000;

	w->overload.beside = keeper < 1 ? keeper : 1;
	judge(&w->overload, w->loop, w->sheet, w->name);
	timer_set(w->loop, t, w->router->conf.overload.interval_ms, judge_worker);
}

static void judge_keeper(struct timer *t)
{
	struct router *router = container_of(t, struct router, judging);

	judge(&router->overload, router->loop, router->sheet, "keeper");
	atomic_store_explicit(&router->keeper_permille, (int)(router->overload.pressure * 1000), memory_order_relaxed);
	timer_set(router->loop, t, router->conf.overload.interval_ms, judge_keeper);
}

void shed_start_worker(struct worker *w)
{
	w->overload.target_us = w->router->conf.overload.target_ms * 1000;
	w->overload.harm_us = w->router->conf.nodes.lease_ms * 1000 / HARM_OF_LEASE;
	timer_set(w->loop, &w->judging, w->router->conf.overload.interval_ms, judge_worker);
}

void shed_stop_worker(struct worker *w)
{
	timer_clear(w->loop, &w->judging);
}

void shed_start_keeper(struct router *router)
{
	router->overload.target_us = router->conf.overload.target_ms * 1000;
	router->overload.harm_us = router->conf.nodes.lease_ms * 1000 / HARM_OF_LEASE;
	timer_set(router->loop, &router->judging, router->conf.overload.interval_ms, judge_keeper);
}

/* -- turning away ------------------------------------------------------------------------------------------------------------ */
static enum load_class class_by_scope(unsigned scopes)
{
	if (scopes & SCOPE_JOIN)
		return LOAD_SIGNAL;
	/* To say where a room is costs no more than to refuse it. */
	if (scopes & SCOPE_ROUTE)
		return LOAD_ALWAYS;
	return scopes & SCOPE_NODE ? LOAD_NODES : scopes & SCOPE_ADMIN ? LOAD_ADMIN : LOAD_ALWAYS;
}

static bool asks_to_assign(const struct request *rq, const struct route *route)
{
	struct str assign;

	return (route->scopes & SCOPE_ROUTE) && query_get(exchange_query(rq->x), "assign", &assign) && str_is(assign, "1");
}

/* A room that this router does not know is a new one as far as it goes: to find out would cost what is to be saved. */
static enum load_class class_of(const struct request *rq, const struct route *route)
{
	bool joins = route->joins || asks_to_assign(rq, route);
	struct room room;

	if (!joins && !(route->scopes & SCOPE_JOIN))
		return class_by_scope(route->scopes);
	if (table_find(registry_table(rq->worker->router->registry), rq->names[NAME_ROOM], &room) == TABLE_MISS)
		return LOAD_ROOMS;
	return joins ? LOAD_JOINS : LOAD_SIGNAL;
}

/*
 * A refusal costs hardly less than what is refused, and who gets it at once asks for the next one at once: over a connection that is
 * kept, a balancer would have a router do nothing but refuse, and one that prefers servers with few open requests would prefer it.
 * Nodes and operators ask for themselves, and may know another router.
 */
static void hold(struct request *rq, enum load_class class)
{
	double least = (double)rq->worker->router->conf.overload.hold_ms;

	if (class < LOAD_ADMIN)
		rq->hold_ms = (uint64_t)(least * (1 + HOLD_SPREAD * random_unit()));
}

int shed_request(struct request *rq, const struct route *route)
{
	struct overload *o = &rq->worker->overload;
	uint64_t waited_us = loop_wait_us(rq->worker->loop);

	if (o->pressure <= 0 && o->beside <= 0 && waited_us <= o->target_us)
		return 0;
	enum load_class class = class_of(rq, route);
	if (!overload_stale(o, class, waited_us) && !overload_sheds(o, class))
		return 0;
	metric_add(rq->worker->sheet, M_SHED, load_class_words[class], NULL, 1);
	hold(rq, class);
	rq->retry_ms = RETRY_MS + (uint64_t)(random_unit() * RETRY_SPREAD_MS);
	return -ERR_OVERLOADED;
}
