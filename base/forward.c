/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two streams between a server that pulls and a client that pushes, with a ring of FORWARD_BUFFER between them each way. A full
 * ring stops the side that fills it (curl is paused, the exchange suspended), a drained one wakes it. The caller's ops are
 * never called from inside curl, since they may end any transfer. The forward lives in the exchange's memory: what the server
 * still asks of it after its end finds an empty one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/forward_private.h"
#include "base/wait.h"

struct ring {
	char *at; /* NULL until something is put */
	size_t start, len;
};
struct forward {
	struct transfer transfer;
	struct loop *loop;
	struct exchange *x;
	struct sink sink;
	struct source source;
	const struct forward_ops *ops;
	void *arg;
	uint64_t response_timeout_ms, stream_idle_ms;
	struct ring up, down;
	struct str collected;     /* the body, if it came whole; what is left of it */
	struct answer_head *head; /* until the caller was told */
	struct later told_later;
	struct timer silence;
	uint64_t heard_ms;        /* when something last moved */
	bool streaming;           /* the body comes by the sink */
	bool body_over;           /* and all of it has come */
	bool sink_waits, up_paused, down_paused;
	bool head_here, told, passed, bodiless;
	int64_t left;  /* of the answer's announced length, to be given to the server; below 0: not announced */
	bool over;     /* curl is done: `outcome` is final */
	bool released; /* nothing is held any more */
	enum http_outcome outcome;
};

static size_t ring_put(struct ring *r, const char *bytes, size_t len)
{
	size_t room = FORWARD_BUFFER - r->len, end = (r->start + r->len) % FORWARD_BUFFER;

	len = len < room ? len : room;
	if (!r->at && !(r->at = malloc(FORWARD_BUFFER)))
		abort();
	size_t first = len < FORWARD_BUFFER - end ? len : FORWARD_BUFFER - end;
	memcpy(r->at + end, bytes, first);
	memcpy(r->at, bytes + first, len - first);
	r->len += len;
	return len;
}

static size_t ring_take(struct ring *r, char *out, size_t max)
{
	size_t len = r->len < max ? r->len : max;
	size_t first = len < FORWARD_BUFFER - r->start ? len : FORWARD_BUFFER - r->start;

	if (!len)
		return 0;
	memcpy(out, r->at + r->start, first);
	memcpy(out + first, r->at, len - first);
	r->start = (r->start + len) % FORWARD_BUFFER;
	r->len -= len;
	return len;
}

static void moved(struct forward *f)
{
	f->heard_ms = loop_now_ms(f->loop);
}

/* The mask says what is paused from now on, so both directions are in each call. */
static void set_pauses(struct forward *f)
{
	if (f->transfer.easy)
		curl_easy_pause(f->transfer.easy, (f->down_paused ? CURLPAUSE_RECV : 0) | (f->up_paused ? CURLPAUSE_SEND : 0));
}

/* -- the end ------------------------------------------------------------------------------------------------------- */
static void release(struct forward *f)
{
	f->released = true;
	transfer_end(&f->transfer);
	timer_clear(f->loop, &f->silence);
	loop_later_drop(f->loop, &f->told_later);
	free(f->up.at);
	free(f->down.at);
	free(f->head);
	f->up = f->down = (struct ring){ 0 };
	f->head = NULL;
	if (f->sink_waits)
		exchange_more(f->x); /* the rest is swallowed */
	f->sink_waits = false;
}

/*
 * The server asks for no more than the length it was told, so the end is noticed by whoever sees the last of it; and at once, as
 * the exchange may end in the same turn.
 */
static void check_end(struct forward *f)
{
	if (!f->passed || !f->over || f->released || (f->down.len && !f->bodiless))
		return;
	release(f);
	f->ops->end(f->arg, f->outcome);
}

void forward_cancel(struct forward *f)
{
	if (f->released)
		return;
	f->outcome = HTTP_CANCELLED;
	release(f);
}

/* -- the head of the answer ---------------------------------------------------------------------------------------- */
static void pass_answer(struct forward *f)
{
	int status = f->head->status;
	bool head_only = !strcmp(exchange_method(f->x), "HEAD");

	forward_answer_headers(f->x, f->head);
	f->passed = true;
	f->left = f->head->length;
	f->bodiless = head_only || status == 204 || status == 304;
	if (f->bodiless && !head_only) {
		exchange_answer(f->x, status, STR(""));
	} else if (f->over && !head_only) {
		/* All of it is here, and the ring has not wrapped: one write for head and body. */
		char *body = arena_copy(exchange_arena(f->x), f->down.len ? f->down.at : "", f->down.len);
		exchange_answer(f->x, status, (struct str){ body, f->down.len });
		f->down.len = 0;
	} else {
		exchange_answer_stream(f->x, status, f->head->length, &f->source);
	}
	free(f->head);
	f->head = NULL;
	check_end(f);
}

static void tell_head(struct forward *f)
{
	struct forward_head head = { .outcome = f->over ? f->outcome : HTTP_ANSWERED };

	if (head.outcome == HTTP_ANSWERED) {
		head.status = f->head->status;
		head.headers = f->head->headers;
		head.nheaders = f->head->n;
		for (size_t i = 0; i < head.nheaders; i++)
			if (str_is_nocase(head.headers[i].name, "Retry-After"))
				head.retry_after_ms = retry_after_ms(head.headers[i].value);
	}
	f->told = true;
	enum forward_verdict verdict = f->ops->head(f->arg, &head);
	if (f->released)
		return;
	if (head.outcome == HTTP_ANSWERED && verdict == FORWARD_PASS) {
		pass_answer(f);
		return;
	}
	f->outcome = head.outcome;
	release(f);
	f->ops->end(f->arg, f->outcome);
}

/*
 * Not at once: if the whole answer came with its head, curl has said so before this runs, and it goes out in one piece. And an
 * answer to half a request waits for the other half, as the server takes no more of a body once it has an answer; but not
 * a refusal: curl sends no more after one either.
 */
static void head_later(struct later *later)
{
	struct forward *f = container_of(later, struct forward, told_later);

	if (f->told)
		return;
	if (!f->over && f->streaming && !f->body_over && f->head->status < 300)
		return; /* the end of the body comes by here again */
	if (f->up_paused) {
		f->up_paused = false;
		set_pauses(f);
	}
	tell_head(f);
}

/* -- curl's side --------------------------------------------------------------------------------------------------- */
static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct forward *f = arg;

	(void)one;
	if (f->head_here)
		return len;
	if (!answer_head_line(f->head, line, len))
		return 0;
	if (!f->head->status || f->head->complete) /* a head, not a line of it: lines may come in drips */
		moved(f);
	if (f->head->complete) {
		f->head_here = true;
		loop_later(f->loop, &f->told_later, head_later);
	}
	return len;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
	struct forward *f = arg;

	(void)one;
	if (!f->head_here)
		return 0;
	if (len > FORWARD_BUFFER - f->down.len) {
		f->down_paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	ring_put(&f->down, bytes, len);
	moved(f);
	if (f->passed)
		exchange_more(f->x);
	return len;
}

static size_t take_collected(struct forward *f, char *out, size_t max)
{
	size_t n = f->collected.len < max ? f->collected.len : max;

	if (n)
		memcpy(out, f->collected.at, n);
	f->collected.at += n;
	f->collected.len -= n;
	return n;
}

static size_t on_read(char *out, size_t one, size_t max, void *arg)
{
	struct forward *f = arg;

	(void)one;
	moved(f);
	if (!f->streaming)
		return take_collected(f, out, max);
	size_t n = ring_take(&f->up, out, max);
	if (f->sink_waits && f->up.len <= FORWARD_BUFFER / 2) {
		f->sink_waits = false;
		exchange_more(f->x);
	}
	if (n || f->body_over)
		return n;
	f->up_paused = true;
	return CURL_READFUNC_PAUSE;
}

/* curl is done, or we are done with it. Not from inside curl. */
static void finish(struct forward *f, enum http_outcome outcome)
{
	transfer_end(&f->transfer);
	timer_clear(f->loop, &f->silence);
	f->over = true;
	f->outcome = outcome;
	if (!f->told) {
		tell_head(f);
		return;
	}
	exchange_more(f->x);
	check_end(f);
}

static void transfer_done(struct transfer *t, CURLcode code)
{
	struct forward *f = container_of(t, struct forward, transfer);
	enum http_outcome outcome = transfer_outcome(t, code);

	finish(f, outcome == HTTP_ANSWERED && !f->head_here ? HTTP_GARBAGE : outcome);
}

/*
 * Silence is counted only while it is the SFU's: the server has its own deadlines for slow clients. What waits in a ring is its
 * taker's matter: of an answer the client's once it may read it, of a body the SFU's, whatever it has said already.
 */
static void check_silence(struct timer *timer)
{
	struct forward *f = container_of(timer, struct forward, silence);
	uint64_t now = loop_now_ms(f->loop), limit = f->head_here ? f->stream_idle_ms : f->response_timeout_ms;
	bool clients = f->passed ? f->down.len : f->streaming && !f->body_over && !f->up.len;

	if (clients)
		f->heard_ms = now;
	if (now - f->heard_ms >= limit)
		finish(f, HTTP_TIMEOUT);
	else
		timer_set(f->loop, &f->silence, f->heard_ms + limit - now, check_silence);
}

/* -- the server's side --------------------------------------------------------------------------------------------- */
static size_t sink_write(struct sink *sink, const char *bytes, size_t len)
{
	struct forward *f = container_of(sink, struct forward, sink);
	bool paused = f->up_paused;

	if (f->released || f->over)
		return len;
	size_t taken = len ? ring_put(&f->up, bytes, len) : 0;
	f->sink_waits = taken < len;
	f->body_over = f->body_over || !len;
	moved(f);
	f->up_paused = false;
	if (paused)
		set_pauses(f);
	if (f->body_over && f->head_here && !f->told)
		loop_later(f->loop, &f->told_later, head_later);
	return taken;
}

/* The last byte is kept until curl is done: with it the exchange ends, and ends a transfer that is not, and its connection. */
static size_t take_answer(struct forward *f, char *out, size_t max)
{
	if (!f->over && f->left > 0 && (size_t)f->left <= f->down.len)
		max = max < (size_t)f->left ? max : (size_t)f->left - 1;
	size_t n = ring_take(&f->down, out, max);
	if (f->left > 0)
		f->left -= (int64_t)n;
	if (n)
		moved(f);
	return n;
}

static long source_read(struct source *source, char *out, size_t max)
{
	struct forward *f = container_of(source, struct forward, source);
	size_t n = take_answer(f, out, max);

	if (f->down_paused && f->down.len <= FORWARD_BUFFER / 2) {
		f->down_paused = false;
		set_pauses(f); /* may call on_body at once */
	}
	check_end(f);
	if (n)
		return (long)n;
	if (f->over || f->released)
		return f->outcome == HTTP_ANSWERED ? SOURCE_END : SOURCE_BROKEN;
	return SOURCE_WAIT;
}

/* -- starting ------------------------------------------------------------------------------------------------------ */
static void set_body(struct forward *f)
{
	CURL *easy = f->transfer.easy;
	const char *method = exchange_method(f->x);
	int64_t length = exchange_body_length(f->x);

	if (!exchange_has_body(f->x)) {
		if (strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0 && strcmp(method, "PATCH") != 0)
			return;
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
		return;
	}
	f->streaming = !exchange_body_here(f->x);
	f->collected = exchange_body(f->x);
	f->body_over = !f->streaming;
	if (f->streaming)
		exchange_stream_body(f->x, &f->sink);
	else
		length = (int64_t)f->collected.len;
	curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)length);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(easy, CURLOPT_READDATA, f);
}

struct forward *forward_start(struct http *http, struct exchange *x, const struct forward_to *to, const struct forward_ops *ops,
                              void *arg)
{
	struct forward *f = arena_alloc(exchange_arena(x), sizeof(*f));

	*f = (struct forward){ .loop = http->loop, .x = x, .sink = { sink_write }, .source = { source_read }, .ops = ops, .arg = arg,
		               .response_timeout_ms = to->response_timeout_ms, .stream_idle_ms = to->stream_idle_ms };
	if (!transfer_init(&f->transfer, http, exchange_method(x), to->url, to->connect_timeout_ms))
		return NULL;
	f->transfer.once = true;
	f->transfer.done = transfer_done;
	f->head = malloc(sizeof(*f->head));
	if (!f->head)
		abort();
	memset(f->head, 0, offsetof(struct answer_head, headers));
	set_body(f);
	forward_request_headers(&f->transfer, x, to);
	curl_easy_setopt(f->transfer.easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(f->transfer.easy, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(f->transfer.easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(f->transfer.easy, CURLOPT_WRITEDATA, f);
	if (!transfer_start(&f->transfer)) {
		release(f);
		return NULL;
	}
	moved(f);
	timer_set(f->loop, &f->silence, f->response_timeout_ms, check_silence);
	return f;
}
