/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A router for tests of nodes: on the node's own loop, on a real socket. It keeps every request, and says what its fields
 * say at the moment when the request is whole.
 */
#pragma once

#include <inttypes.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/loop.h"
#include "tests/unit/base/peer.h"

#define ASKED_MAX 512
enum fake_does { FAKE_ANSWERS, FAKE_SILENT, FAKE_HANGS_UP };

struct asked {
	struct buf head, body; /* head: with the empty line */
};
struct fake_router {
	struct peer peer;
	char url[64];
	enum fake_does does;
	struct asked asked[ASKED_MAX];
	size_t count;
	unsigned registers, beats, leaves;
	/* answers */
	bool degraded, not_renewed, want_rooms;
	uint64_t registration, lease_ms, heartbeat_ms, charged;
	const char *wish; /* NULL: "ready" */
	const char *evict, *routers;                /* JSON lists; NULL: left out */
	const char *call_key;                       /* NULL: left out */
	const char *register_refusal, *beat_refusal; /* "409 node_taken"; NULL: none */
	void (*seen)(struct fake_router *); /* before it answers the last of asked[] */
};

static inline void fake_router_refuse(const char *refusal, struct buf *out)
{
	char body[160];

	snprintf(body, sizeof(body), "{\"title\":\"T\",\"status\":%.3s,\"code\":\"%s\"}", refusal, refusal + 4);
	buf_printf(out, "HTTP/1.1 %.3s No\r\nContent-Length: %zu\r\n\r\n%s", refusal, strlen(body), body);
}

static inline void fake_router_say(const struct buf *body, struct buf *out)
{
	buf_printf(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body->len);
	buf_add(out, body->at, body->len);
}

static inline void fake_router_register(const struct fake_router *f, struct buf *out)
{
	struct buf body = { 0 };

	buf_printf(&body, "{\"node\":\"n\",\"registration\":%" PRIu64 ",\"state\":\"joining\",\"lease_ms\":%" PRIu64
	                  ",\"heartbeat_ms\":%" PRIu64,
	           f->registration, f->lease_ms, f->heartbeat_ms);
	if (f->call_key)
		buf_printf(&body, ",\"call_key\":\"%s\"", f->call_key);
	buf_printf(&body, "%s%s,\"store\":\"memory\"}", f->routers ? ",\"routers\":" : "", f->routers ? f->routers : "");
	fake_router_say(&body, out);
	buf_free(&body);
}

static inline void fake_router_beat(const struct fake_router *f, struct buf *out)
{
	struct buf body = { 0 };

	buf_printf(&body, "{\"renewed\":%s,\"lease_ms\":%" PRIu64 ",\"heartbeat_ms\":%" PRIu64 ",\"state\":\"%s\",\"charged\":%" PRIu64,
	           f->degraded || f->not_renewed ? "false" : "true", f->lease_ms, f->heartbeat_ms, f->wish ? f->wish : "ready", f->charged);
	buf_printf(&body, ",\"evict\":%s,\"want_rooms\":%s,\"degraded\":%s", f->evict ? f->evict : "[]", f->want_rooms ? "true" : "false",
	           f->degraded ? "true" : "false");
	if (f->call_key)
		buf_printf(&body, ",\"call_key\":\"%s\"", f->call_key);
	buf_printf(&body, "%s%s}", f->routers ? ",\"routers\":" : "", f->routers ? f->routers : "");
	fake_router_say(&body, out);
	buf_free(&body);
}

static inline void fake_router_answer(struct fake_router *f, const char *head, struct buf *out)
{
	if (!strncmp(head, "PUT ", 4))
		f->registers++;
	else if (!strncmp(head, "DELETE ", 7))
		f->leaves++;
	else
		f->beats++;
	if (f->seen)
		f->seen(f);
	if (!strncmp(head, "DELETE ", 7))
		buf_adds(out, "HTTP/1.1 204 Gone\r\n\r\n");
	else if (!strncmp(head, "PUT ", 4))
		f->register_refusal ? fake_router_refuse(f->register_refusal, out) : fake_router_register(f, out);
	else
		f->beat_refusal ? fake_router_refuse(f->beat_refusal, out) : fake_router_beat(f, out);
}

/* One request off the connection's bytes; `state` counts those that are done with. */
static inline bool fake_router_take(struct peer_conn *c)
{
	struct fake_router *f = c->peer->arg;
	const char *head = c->in.at + c->state, *end = c->in.len > (size_t)c->state ? strstr(head, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(head, "\r\ncontent-length:") : NULL;
	size_t body = length && length < end ? (size_t)strtoul(length + 17, NULL, 10) : 0;
	struct buf out = { 0 };

	if (!end || c->in.len < (size_t)(end + 4 - c->in.at) + body)
		return false;
	ck_assert_uint_lt(f->count, ASKED_MAX);
	struct asked *asked = &f->asked[f->count++];
	buf_add(&asked->head, head, (size_t)(end + 4 - head));
	buf_add(&asked->body, end + 4, body);
	c->state = (int)((size_t)(end + 4 - c->in.at) + body);
	fake_router_answer(f, asked->head.at, &out);
	if (f->does == FAKE_ANSWERS)
		peer_send(c, out.at, out.len);
	else if (f->does == FAKE_HANGS_UP)
		peer_close(c);
	buf_free(&out);
	return c->fd >= 0;
}

static inline void fake_router_got(struct peer_conn *c)
{
	while (fake_router_take(c))
		;
	if (c->eof)
		peer_close(c);
}

static inline void fake_router_start(struct fake_router *f, struct loop *loop)
{
	*f = (struct fake_router){ .registration = 1000, .lease_ms = 4000, .heartbeat_ms = 1000 };
	peer_open(&f->peer, loop, fake_router_got);
	f->peer.arg = f;
	snprintf(f->url, sizeof(f->url), "http://127.0.0.1:%u", f->peer.port);
}

static inline void fake_router_stop(struct fake_router *f) /* nobody listens there any more */
{
	peer_free(&f->peer);
	for (size_t i = 0; i < f->count; i++) {
		buf_free(&f->asked[i].head);
		buf_free(&f->asked[i].body);
	}
	f->count = 0;
}

static inline const struct asked *fake_router_last(const struct fake_router *f)
{
	ck_assert_uint_gt(f->count, 0);
	return &f->asked[f->count - 1];
}
