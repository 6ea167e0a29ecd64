/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of one loop. The adapter of libcurl: nothing else includes its header. Two uses: http_fetch() for
 * small calls whose answer is collected, and base/forward.h for streams. A request is sent at most once on the wire
 * (curl's silent resend on a stale connection is forbidden) unless `idempotent`.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/httpd.h"
#include "base/str.h"

struct arena;
struct http;
struct loop;
struct wait;

enum http_outcome { /* what became of a call; health/ judges it */
	HTTP_ANSWERED,  /* a status came; see it */
	HTTP_REFUSED,   /* not connected: refused, unreachable, not in time, no such name, address not allowed, TLS not to be trusted */
	HTTP_TIMEOUT,   /* of the answer, or of the whole call */
	HTTP_RESET,     /* the connection broke before the answer was whole */
	HTTP_GARBAGE,   /* not HTTP, or an answer over the limit */
	HTTP_CANCELLED, /* we or our client left; or we had no descriptor left */
};
const char *http_outcome_name(enum http_outcome);

struct trust;
struct http_conf {
	uint64_t connect_timeout_ms;
	uint64_t connections_per_host, idle_connections, idle_ms;
	bool (*allowed)(void *arg, const struct sockaddr_storage *); /* each resolved address; NULL: all */
	void *arg;
	const struct trust *trust; /* of https; NULL: the system's CAs. Outlives the http */
	bool quiet;                /* no words in the log of far sides that are not to be trusted: who asks tells it */
};
struct http *http_new(struct loop *, const struct http_conf *);
void http_free(struct http *); /* cancels all */
void http_drop_pool(struct http *); /* after `allowed` or the files of `trust` changed: reused connections are not asked again */

#define HTTP_HEADERS_MAX 32
struct http_request {
	const char *method, *url;
	struct header headers[HTTP_HEADERS_MAX];
	size_t nheaders;
	struct str body; /* copied */
	uint64_t timeout_ms;
	size_t answer_max; /* bytes of the answer's body kept; more is HTTP_GARBAGE */
	bool idempotent;
};
struct http_answer {
	enum http_outcome outcome;
	int status;
	uint64_t retry_after_ms; /* 0: none said */
	struct str body;         /* in the arena given */
	uint64_t took_ms;
	const char *why;         /* in it, too: words for HTTP_REFUSED and HTTP_RESET, if there are any, else "" */
};
/* WAIT, then wakes with 0 whatever the outcome. -ERR_INTERNAL: could not be started. Dropping the wait cancels. */
int http_fetch(struct http *, const struct http_request *, struct arena *, struct http_answer *out, struct wait *);
