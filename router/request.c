/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine. It never calls a step from inside that step's own call, and never wakes before a step has returned, so a
 * step function can be read as straight code. What a request may hold across its end is cut in one place: request_gone().
 */
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "router/edge.h"
#include "router/fault.h"
#include "router/metrics.h"
#include "router/problem.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/worker.h"

#define JUMPS_MAX 24      /* steps back in one request; a flapping fleet cannot spin us */
#define PARK_FIRST_MS 20  /* first pause of a parked request; grows by half each time, jittered */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

struct arena *request_arena(struct request *rq)
{
	return exchange_arena(rq->x);
}

uint64_t request_now(const struct request *rq)
{
	return loop_now_ms(rq->worker->loop);
}

uint64_t request_store_due(const struct request *rq)
{
	return request_now(rq) + rq->store_left_ms;
}

/* The wait that has just ended: who pays for it. */
static void account_wait(struct request *rq)
{
	uint64_t waited = request_now(rq) - rq->waited_from_ms;

	metric_time(rq->worker->sheet, M_STEP_SECONDS, rq->at->name, NULL, waited * 1000000u);
	if (!rq->at->store)
		return;
	metric_time(rq->worker->sheet, M_STORE_SECONDS, NULL, NULL, waited * 1000000u);
	rq->store_left_ms -= waited < rq->store_left_ms ? waited : rq->store_left_ms;
}

static void finish(struct request *rq, int verdict)
{
	timer_clear(rq->worker->loop, &rq->deadline);
	if (verdict < 0 && !exchange_answered(rq->x))
		request_refuse(rq, -verdict);
}

static int judged(struct request *rq, int verdict)
{
	const struct step *step = rq->at;

	if (verdict == NEXT && step->judge)
		verdict = step->judge(rq);
	if (verdict < 0 && step->rescue)
		verdict = step->rescue(rq, -verdict);
	return verdict;
}

/* Runs on until something must be waited for or the request has its answer. `verdict` is that of the present step. */
static void settle(struct request *rq, int verdict)
{
	while (verdict == NEXT) {
		rq->at = rq->resume ? rq->resume : rq->at + 1;
		rq->resume = NULL;
		fault_point(rq);
		verdict = rq->at->run(rq);
		if (verdict != WAIT)
			verdict = judged(rq, verdict);
	}
	if (verdict == WAIT) {
		assert(rq->wait.op);
		rq->waited_from_ms = request_now(rq);
		return;
	}
	finish(rq, verdict);
}

static void woken(struct wait *w, int err)
{
	struct request *rq = container_of(w, struct request, wait);

	account_wait(rq);
	settle(rq, judged(rq, err < 0 ? err : NEXT));
}

static void unpark(struct request *rq)
{
	if (rq->parked)
		atomic_fetch_sub(&rq->worker->router->parked, 1);
	rq->parked = false;
}

static void deadline_passed(struct timer *t)
{
	struct request *rq = container_of(t, struct request, deadline);
	bool on_store = rq->at->store;

	timer_clear(rq->worker->loop, &rq->pause_timer);
	wait_drop(&rq->wait);
	unpark(rq);
	log_warn("request_deadline", "request", LOG_S(rq->id), "route", LOG_S(rq->route->name), "step", LOG_S(rq->at->name));
	finish(rq, on_store ? -ERR_STORE_UNAVAILABLE : -ERR_TIMEOUT);
}

/* A request may use its whole store budget, three calls to SFUs (a dial, a grant that the gate lacked, a dial again) and its parking
 * time; more is a fault of ours. */
static uint64_t deadline_ms(const struct router_conf *conf)
{
	return conf->server.park_ms + conf->registry.timeout_ms + conf->registry.wait_ms + 3 * conf->sfu.call_timeout_ms + 500;
}

void request_start(struct request *rq, const struct route *route)
{
	const struct router_conf *conf = &rq->worker->router->conf;

	rq->route = route;
	rq->steps = route->verb->steps;
	rq->resume = rq->at = rq->steps;
	rq->wait.wake = woken;
	rq->started_ms = request_now(rq);
	rq->started_ns = clock_ns();
	rq->store_left_ms = conf->registry.timeout_ms;
	rq->park_until_ms = rq->started_ms + conf->server.park_ms;
	if (route->verb->state_size)
		rq->state = arena_alloc(request_arena(rq), route->verb->state_size);
	timer_set(rq->worker->loop, &rq->deadline, deadline_ms(conf), deadline_passed);
	settle(rq, NEXT);
}

void request_gone(struct request *rq)
{
	struct loop *loop = rq->worker->loop;

	timer_clear(loop, &rq->deadline);
	timer_clear(loop, &rq->pause_timer);
	wait_drop(&rq->wait);
	unpark(rq);
	if (rq->leave)
		rq->leave(rq);
	if (rq->route) {
		char code[U64_TEXT_MAX];

		u64_text(code, (uint64_t)rq->status);
		metric_add(rq->worker->sheet, M_REQUESTS, rq->route->name, code, 1);
		if (rq->steps) /* who was refused before had nothing done that could take time */
			metric_time(rq->worker->sheet, M_REQUEST_SECONDS, rq->route->name, NULL, clock_ns() - rq->started_ns);
	}
}

int request_go(struct request *rq, int (*run)(struct request *))
{
	const struct step *to = rq->steps;

	while (to->name && to->run != run)
		to++;
	assert(to->name);
	if (to <= rq->at && rq->jumps++ >= JUMPS_MAX)
		return -ERR_CONTENTION;
	rq->resume = to;
	return NEXT;
}

static void pause_over(struct timer *t)
{
	struct request *rq = container_of(t, struct request, pause_timer);

	unpark(rq);
	op_detach(&rq->pause);
	settle(rq, NEXT);
}

int request_park(struct request *rq, int (*run)(struct request *), int err)
{
	struct router *router = rq->worker->router;
	uint64_t now = request_now(rq);
	uint64_t pause = PARK_FIRST_MS + (now - rq->started_ms) / 2;

	if (now >= rq->park_until_ms || atomic_load(&router->parked) >= router->conf.limits.parked)
		return -err;
	int verdict = request_go(rq, run);
	if (verdict != NEXT)
		return -err;
	if (pause > rq->park_until_ms - now)
		pause = rq->park_until_ms - now;
	pause = pause / 2 + (uint64_t)((double)(pause / 2) * random_unit()) + 1;
	rq->parked = true;
	atomic_fetch_add(&router->parked, 1);
	/* Waiting is not the store's doing: a parked request has its whole budget again. */
	rq->store_left_ms = router->conf.registry.timeout_ms;
	op_attach(&rq->pause, &rq->wait);
	timer_set(rq->worker->loop, &rq->pause_timer, pause, pause_over);
	return WAIT;
}

int request_await_body(struct request *rq)
{
	rq->awaits_body = true;
	op_attach(&rq->pause, &rq->wait);
	return WAIT;
}

void request_body_here(struct request *rq)
{
	bool awaited = rq->awaits_body;

	rq->body_here = true;
	rq->awaits_body = false;
	if (awaited)
		wait_wake(op_detach(&rq->pause), 0);
}

void request_stream(struct request *rq)
{
	timer_clear(rq->worker->loop, &rq->deadline);
}

void request_unstream(struct request *rq)
{
	timer_set(rq->worker->loop, &rq->deadline, deadline_ms(&rq->worker->router->conf), deadline_passed);
}

int request_fail(struct request *rq, int err, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n >= (int)sizeof(text))
		n = (int)sizeof(text) - 1;
	rq->detail = arena_copy(request_arena(rq), text, (size_t)n);
	return -err;
}

static void common_headers(struct request *rq)
{
	if (rq->id)
		exchange_add(rq->x, "X-Request-Id", str_of(rq->id));
	if (rq->route && rq->route->decides)
		exchange_add(rq->x, "Cache-Control", STR("no-store"));
	edge_cors(rq);
}

int request_json(struct request *rq, int status, struct buf *json)
{
	struct str body = { arena_copy(request_arena(rq), json->at, json->len), json->len };

	buf_free(json);
	common_headers(rq);
	exchange_add(rq->x, "Content-Type", STR("application/json"));
	rq->status = status;
	exchange_answer(rq->x, status, body);
	return DONE;
}

int request_empty(struct request *rq, int status)
{
	common_headers(rq);
	rq->status = status;
	exchange_answer(rq->x, status, STR(""));
	return DONE;
}

void request_refuse(struct request *rq, int err)
{
	const struct error_info *info = error_info(err);

	common_headers(rq);
	rq->status = info->status;
	rq->refused = err;
	if (info->status >= 500 && err != ERR_OVERLOADED) /* those are counted: a line for each would be more of it */
		log_info("request_refused", "request", LOG_S(rq->id), "route", LOG_S(rq->route ? rq->route->name : NULL), "step",
		         LOG_S(rq->at ? rq->at->name : NULL), "code", LOG_S(info->slug), "detail", LOG_S(rq->detail));
	problem_answer(rq->x, err, rq->detail, rq->retry_ms);
}

static void hold_over(struct timer *t)
{
	struct request *rq = container_of(t, struct request, pause_timer);

	request_refuse(rq, rq->refusal);
}

void request_hold(struct request *rq)
{
	rq->status = error_info(rq->refusal)->status; /* also of who leaves before */
	timer_set(rq->worker->loop, &rq->pause_timer, rq->hold_ms, hold_over);
}

bool request_param(struct request *rq, const char *name, struct str *value)
{
	struct str raw;

	*value = (struct str){ 0 };
	if (!query_get(exchange_query(rq->x), name, &raw))
		return true;
	char *out = arena_alloc(request_arena(rq), raw.len + 1);
	long n = percent_decode(raw, out);
	if (n < 0 || memchr(out, 0, (size_t)n) || !utf8_valid(out, (size_t)n)) {
		request_fail(rq, ERR_BAD_REQUEST, "%s: not valid percent-encoded UTF-8", name);
		return false;
	}
	*value = (struct str){ out, (size_t)n };
	return true;
}
