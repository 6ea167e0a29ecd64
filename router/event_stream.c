/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/events: Server-Sent Events (WHATWG HTML, 9.2). A follower that does not read is cut once its text is over
 * PENDING_MAX: it comes back with Last-Event-ID and misses nothing that is still kept. A comment each PING_MS keeps proxies from
 * taking silence for the end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/ask.h"
#include "router/events.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

#define PENDING_MAX 1048576 /* all that is kept fits: 1024 events of at most about 900 bytes */
#define PING_MS 15000

struct event_stream { /* in the request's arena */
	struct event_stream *next, **at; /* of its worker; at NULL: does not follow yet */
	struct source source;
	struct request *rq;
	struct op op;
	struct timer ping;
	struct buf pending;
	size_t sent;
	bool overrun, ended;
	struct str last_id;
	struct buf backlog;
};

/* -- the backlog: asked of the keeper, which counts us as a follower in the same step ---------------------------------------- */
struct following {
	struct ask ask;
	struct worker *worker;
	struct buf id, text, *out;
};

static void serve_following(struct ask *ask)
{
	struct following *f = container_of(ask, struct following, ask);
	struct events *events = f->worker->router->events;

	events_since(events, (struct str){ f->id.at, f->id.len }, &f->text);
	events_follow(events, f->worker->index, 1);
	ask_reply(ask, 0);
}

struct unfollowing {
	struct task task;
	struct worker *worker;
};

static void serve_unfollowing(struct task *task)
{
	struct unfollowing *u = container_of(task, struct unfollowing, task);

	events_follow(u->worker->router->events, u->worker->index, -1);
	free(u);
}

static void unfollow(struct worker *worker)
{
	struct unfollowing *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->worker = worker;
	loop_post(worker->router->loop, &u->task, serve_unfollowing);
}

static void following(struct ask *ask, bool asked)
{
	struct following *f = container_of(ask, struct following, ask);

	if (asked) {
		*f->out = f->text;
	} else {
		buf_free(&f->text);
		unfollow(f->worker);
	}
	buf_free(&f->id);
	free(f);
}

/* -- the stream ----------------------------------------------------------------------------------------------------------- */
static long read_stream(struct source *source, char *out, size_t max)
{
	struct event_stream *es = container_of(source, struct event_stream, source);
	size_t left = es->pending.len - es->sent, n = left < max ? left : max;

	if (es->overrun)
		return SOURCE_BROKEN;
	if (!n)
		return es->ended ? SOURCE_END : SOURCE_WAIT;
	memcpy(out, es->pending.at + es->sent, n);
	es->sent += n;
	if (es->sent == es->pending.len)
		es->pending.len = es->sent = 0;
	return (long)n;
}

static void add_text(struct event_stream *es, struct str text)
{
	if (es->pending.len - es->sent + text.len > PENDING_MAX)
		es->overrun = true;
	else
		buf_add(&es->pending, text.at, text.len);
	exchange_more(es->rq->x);
}

void event_streams_take(struct worker *worker, struct str text)
{
	for (struct event_stream *es = worker->event_streams; es; es = es->next)
		add_text(es, text);
}

void event_streams_end(struct worker *worker)
{
	for (struct event_stream *es = worker->event_streams; es; es = es->next) {
		es->ended = true;
		exchange_more(es->rq->x);
	}
}

static void send_ping(struct timer *t)
{
	struct event_stream *es = container_of(t, struct event_stream, ping);

	timer_set(es->rq->worker->loop, t, PING_MS, send_ping);
	if (!es->pending.len)
		add_text(es, STR(":\n\n"));
}

static void leave_stream(struct request *rq)
{
	struct event_stream *es = rq->state;

	timer_clear(rq->worker->loop, &es->ping);
	if (es->at) {
		*es->at = es->next;
		if (es->next)
			es->next->at = es->at;
		unfollow(rq->worker);
	}
	buf_free(&es->pending);
	buf_free(&es->backlog);
}

/* -- steps ---------------------------------------------------------------------------------------------------------------- */
static int ask_backlog(struct request *rq)
{
	struct event_stream *es = rq->state;
	struct str id = exchange_header(rq->x, "Last-Event-ID");

	if (!strcmp(exchange_method(rq->x), "HEAD"))
		return request_empty(rq, 200);
	struct following *f = calloc(1, sizeof(*f));
	if (!f)
		abort();
	es->rq = rq;
	rq->leave = leave_stream;
	buf_add(&f->id, id.at, id.len);
	f->ask = (struct ask){ .serve = serve_following, .finish = following };
	f->worker = rq->worker;
	f->out = &es->backlog;
	return ask_send(&f->ask, rq->worker->loop, rq->worker->router->loop, &rq->wait);
}

static int stream(struct request *rq)
{
	struct event_stream *es = rq->state;
	struct worker *worker = rq->worker;

	es->next = worker->event_streams;
	es->at = &worker->event_streams;
	if (es->next)
		es->next->at = &es->next;
	worker->event_streams = es;
	es->pending = es->backlog;
	es->backlog = (struct buf){ 0 };
	buf_adds(&es->pending, ":\n\n"); /* so that the head goes out at once */
	es->source.read = read_stream;
	timer_set(worker->loop, &es->ping, PING_MS, send_ping);
	request_stream(rq);
	rq->status = 200;
	exchange_add(rq->x, "Content-Type", STR("text/event-stream"));
	exchange_add(rq->x, "Cache-Control", STR("no-store"));
	exchange_add(rq->x, "X-Request-Id", str_of(rq->id));
	exchange_answer_stream(rq->x, 200, -1, &es->source);
	op_attach(&es->op, &rq->wait); /* until the client leaves */
	return WAIT;
}

static const struct step steps[] = {
	{ "ask-backlog", ask_backlog, NULL, NULL, false },
	{ "stream", stream, NULL, NULL, false },
	STEPS_END
};
const struct verb events_verb = { steps, sizeof(struct event_stream), NULL };
