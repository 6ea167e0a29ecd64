/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP/1.1 server of one loop, on accepted sockets. The adapter of libmicrohttpd: nothing else includes its header.
 * An exchange is one request and its answer. The handler gets `begin` when the head is complete, `ready` when the body
 * was collected (at once if there is none), unless it was answered before; and `end` exactly once for each begin, last
 * of all.
 *
 * What libmicrohttpd lets through is checked here before `begin` (RFC 9112): origin-form target, token header names,
 * no control bytes in values, exactly one valid Host on HTTP/1.1, never both or twice Content-Length and
 * Transfer-Encoding, limits of the head. Refusals are made by the `refuse` op so that they look like all other errors.
 *
 * A WebSocket handshake that came whole with its connection is read without libmicrohttpd, as strictly (httpd_early.c).
 *
 * With the op `tls` connections begin with a handshake, which is part of the time for the first head (httpd_tls.c).
 *
 * Limits: body collected at most conf.body_bytes; head conf.header_bytes and conf.headers; time to send a head or a
 * body, idle time between requests, time a client may not read: conf. The time for a body is the whole body's if it is
 * collected; a stream may go on as long as it brings 500 bytes a second. Nothing waits in here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/str.h"

struct accepted;
struct arena;
struct httpd;
struct exchange;
struct link;
struct loop;
struct tls;
struct tls_peer;

struct header {
	struct str name, value;
};
struct httpd_conf {
	uint64_t body_bytes, header_bytes, headers, connections;
	uint64_t header_ms, body_ms, idle_ms, write_stall_ms;
};
enum exchange_end {
	EXCHANGE_SENT, /* the answer went out whole */
	EXCHANGE_GONE, /* the client left, or was too slow; nothing more can be sent */
	EXCHANGE_GIVEN /* upgraded: the link now belongs to whoever took it */
};
struct httpd_ops {
	/* May answer (a refusal before the body: the connection then closes), choose how the body comes, or do nothing
	 * (it is collected). Set the handler's own state with exchange_set(). */
	void (*begin)(void *arg, struct exchange *);
	void (*ready)(void *arg, struct exchange *); /* answer now, or later from the loop */
	void (*end)(void *arg, struct exchange *, enum exchange_end);
	void (*refuse)(void *arg, struct exchange *, int err, const char *detail); /* must exchange_answer() */
	/* A connection left httpd's count; given: it lives on, with whoever took its link. */
	void (*closed)(void *arg, const struct sockaddr_storage *peer, bool given);
	/* What a new connection is met with; read within this call alone. The op or its answer at the start NULL: plain HTTP. */
	const struct tls *(*tls)(void *arg);
	void (*shaken)(void *arg, const char *outcome); /* a handshake: done, failed, late, plain (HTTP); may be NULL */
};
/* NULL: out of memory or descriptors. */
struct httpd *httpd_new(struct loop *, const struct httpd_conf *, const struct httpd_ops *, void *arg);
void httpd_add(struct httpd *, const struct accepted *); /* takes the descriptor; who has left by now, without a word, is closed */
void httpd_close_idle(struct httpd *);   /* from now on every answer says Connection: close; idle connections close */
size_t httpd_connections(const struct httpd *);
void httpd_free(struct httpd *);         /* cuts what is left; `end` comes for each */

/* -- the request ----------------------------------------------------------------------------------------------------- */
/* Valid until `end`. Views point into memory of the exchange. */
const char *exchange_method(const struct exchange *);
struct str exchange_path(const struct exchange *);  /* raw, undecoded, from '/' */
struct str exchange_query(const struct exchange *); /* raw, without '?' */
struct str exchange_header(const struct exchange *, const char *name); /* the first of that name; absent: at == NULL */
const struct header *exchange_headers(const struct exchange *, size_t *count); /* all, in order */
const struct sockaddr_storage *exchange_peer(const struct exchange *);
int exchange_tag(const struct exchange *);          /* of the listener */
bool exchange_http10(const struct exchange *);
bool exchange_tls(const struct exchange *);
const struct tls_peer *exchange_certificate(const struct exchange *); /* the client's; NULL: it has shown none */
bool exchange_asks_websocket(const struct exchange *); /* GET with Upgrade and Connection */
bool exchange_has_body(const struct exchange *);    /* a Content-Length over 0, or chunked */
int64_t exchange_body_length(const struct exchange *); /* -1: chunked */
struct str exchange_body(const struct exchange *);  /* collected */
bool exchange_body_here(const struct exchange *);   /* all of it has come: `ready` was told, or is just now */
struct arena *exchange_arena(struct exchange *);
void exchange_set(struct exchange *, void *state);
void *exchange_get(const struct exchange *);

/* -- the body as a stream, instead of collected: call in `begin`; `ready` then comes when it has all been taken --------- */
struct sink {
	/* Takes up to len bytes and says how many; less than len: no more until exchange_more(). len 0: that was all. */
	size_t (*write)(struct sink *, const char *bytes, size_t len);
};
void exchange_stream_body(struct exchange *, struct sink *);

/* -- the answer: exactly one of these four, once ------------------------------------------------------------------------ */
/* A response header. The value is copied, the name must stay: a constant, or in its arena. */
void exchange_add(struct exchange *, const char *name, struct str value);
/* `body` is borrowed until `end`: put it in the arena. HEAD requests send the length only. */
void exchange_answer(struct exchange *, int status, struct str body);
enum { SOURCE_WAIT = 0, SOURCE_END = -1, SOURCE_BROKEN = -2 };
struct source {
	long (*read)(struct source *, char *out, size_t max); /* bytes given, or SOURCE_… */
};
/* length -1: unknown, sent chunked. If the body was streamed and is not all taken yet, the rest is swallowed (bounded)
 * and the connection closes after the answer. */
void exchange_answer_stream(struct exchange *, int status, int64_t length, struct source *);
/* 101: `given` takes the client's link, and gets what was read beyond the head; the rest is still in the link. */
typedef void given_fn(void *arg, struct link *client, struct str extra);
/* With the headers added; Connection: Upgrade is added. */
void exchange_upgrade(struct exchange *, given_fn *given, void *arg);
void exchange_cut(struct exchange *); /* closes the connection without an answer */

void exchange_more(struct exchange *);  /* the sink can take, or the source can give, again */
void exchange_close(struct exchange *); /* Connection: close after this answer */
bool exchange_answered(const struct exchange *);
