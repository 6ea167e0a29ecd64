/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small calls whose answer is collected. Whatever becomes of a call is an outcome, not an error: who called judges what it
 * says about the other side.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http_curl.h"
#include "base/wait.h"

#define RETRY_AFTER_MAX_S 3600 /* so that no SFU shuts itself out for good */

struct fetch {
	struct transfer transfer;
	struct op op;
	struct arena *arena;
	struct http_answer *out;
	struct buf body, request;
	size_t answer_max;
	uint64_t started_ms, retry_ms;
};

const char *http_outcome_name(enum http_outcome outcome)
{
	static const char *const names[] = { "answered", "refused", "timeout", "reset", "garbage", "cancelled" };

	return names[outcome];
}

/* Seconds, or a date (RFC 9110, 10.2.3). */
uint64_t retry_after_ms(struct str value)
{
	char text[64];
	uint64_t seconds = 0;

	if (!parse_u64(value, &seconds)) {
		snprintf(text, sizeof(text), "%.*s", STR_ARG(value));
		time_t when = curl_getdate(text, NULL), now = (time_t)(wall_ms() / 1000);
		seconds = when > now ? (uint64_t)(when - now) : 0;
	}
	return (seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : seconds) * 1000;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct fetch *f = arg;
	struct header h;

	(void)one;
	if (header_line(line, len, &h) && str_is_nocase(h.name, "Retry-After"))
		f->retry_ms = retry_after_ms(h.value);
	return len;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
	struct fetch *f = arg;

	(void)one;
	if (f->body.len + len > f->answer_max)
		return 0; /* CURLE_WRITE_ERROR: more than was asked for is garbage */
	buf_add(&f->body, bytes, len);
	return len;
}

static void free_fetch(struct fetch *f)
{
	buf_free(&f->body);
	buf_free(&f->request);
	free(f);
}

static void fetch_done(struct transfer *t, CURLcode code)
{
	struct fetch *f = container_of(t, struct fetch, transfer);
	struct wait *waiter = op_detach(&f->op);
	long status = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
	if (waiter) {
		f->out->outcome = transfer_outcome(t, code);
		f->out->status = (int)status;
		f->out->retry_after_ms = f->retry_ms;
		f->out->why = t->error[0] ? arena_copy(f->arena, t->error, strlen(t->error)) : "";
		f->out->took_ms = loop_now_ms(t->http->loop) - f->started_ms;
		f->out->body = (struct str){ arena_copy(f->arena, f->body.at, f->body.len), f->body.len };
		if (f->out->outcome == HTTP_ANSWERED && (status < 200 || status > 599))
			f->out->outcome = HTTP_GARBAGE;
	}
	transfer_end(t);
	free_fetch(f);
	wait_wake(waiter, 0);
}

static void fetch_dropped(struct op *op)
{
	struct fetch *f = container_of(op, struct fetch, op);

	/* The asker leaves from its own callbacks, never from inside one of curl's. */
	transfer_end(&f->transfer);
	free_fetch(f);
}

static void set_body(struct fetch *f, const struct http_request *request)
{
	CURL *easy = f->transfer.easy;
	bool typed = false;

	for (size_t i = 0; i < request->nheaders; i++)
		typed = typed || str_is_nocase(request->headers[i].name, "Content-Type");
	if (!typed)
		transfer_no_header(&f->transfer, "Content-Type"); /* curl would call it a form */
	buf_add(&f->request, request->body.at, request->body.len);
	bool bodiless = !strcmp(request->method, "GET") || !strcmp(request->method, "HEAD") || !strcmp(request->method, "DELETE");
	if (!request->body.len && bodiless)
		return;
	curl_easy_setopt(easy, CURLOPT_POST, 1L);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->request.len);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, f->request.at);
}

int http_fetch(struct http *http, const struct http_request *request, struct arena *arena, struct http_answer *out, struct wait *w)
{
	struct fetch *f = calloc(1, sizeof(*f));

	if (!f || !transfer_init(&f->transfer, http, request->method, request->url, http->conf.connect_timeout_ms)) {
		free(f);
		return -ERR_INTERNAL;
	}
	f->arena = arena;
	f->out = out;
	f->answer_max = request->answer_max;
	f->started_ms = loop_now_ms(http->loop);
	f->op.dropped = fetch_dropped;
	f->transfer.done = fetch_done;
	f->transfer.once = !request->idempotent;
	set_body(f, request);
	for (size_t i = 0; i < request->nheaders; i++)
		transfer_header(&f->transfer, request->headers[i].name, request->headers[i].value);
	transfer_no_header(&f->transfer, "Expect");
	curl_easy_setopt(f->transfer.easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(f->transfer.easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(f->transfer.easy, CURLOPT_HEADERDATA, f);
	curl_easy_setopt(f->transfer.easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(f->transfer.easy, CURLOPT_WRITEDATA, f);
	if (!transfer_start(&f->transfer)) {
		transfer_end(&f->transfer);
		free_fetch(f);
		return -ERR_INTERNAL;
	}
	op_attach(&f->op, w);
	return WAIT;
}
