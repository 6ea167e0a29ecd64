/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the adapter of libcurl: http_curl.c (the multi handle), http_sockets.c, http.c (collected calls), forward.c (streams). */
#pragma once

#include <curl/curl.h>

#include "base/http.h"
#include "base/http_line.h"
#include "base/loop.h"

/* Connections are reused within a pool only, so a new pool is how reuse of the old ones is stopped. */
struct pool {
	struct pool *next;
	struct http *http;
	CURLM *multi;
	struct timer timer;
	struct later collect, at_once;
	struct transfer *transfers;
	struct curl_socket **sockets; /* by descriptor */
	size_t fds;
};
struct http {
	struct loop *loop;
	struct http_conf conf;
	struct pool *pools; /* the first is for new transfers; others end with their last */
	CURL **spare;       /* easy handles kept for reuse */
	size_t nspare, spare_max;
	char *pinned;       /* as curl wants it; NULL: no pins */
	bool closing;
};
struct transfer { /* one easy handle under way; embedded in a fetch or a forward, zero-initialized */
	struct http *http;
	struct pool *pool;
	struct transfer *next, **at;
	CURL *easy; /* NULL: ended */
	struct curl_slist *headers, *last_header;
	unsigned sent; /* how often curl began to send it */
	bool once;     /* a second sending is refused */
	bool starved;  /* we had no descriptor for it: not the far side's fault */
	char error[CURL_ERROR_SIZE]; /* curl's words for what went wrong */
	void (*done)(struct transfer *, CURLcode); /* must call transfer_end(); never from inside one of curl's callbacks */
};
/* Takes an easy handle with all that every call needs set. False: out of memory, or closing. */
bool transfer_init(struct transfer *, struct http *, const char *method, const char *url, uint64_t connect_timeout_ms);
void transfer_header(struct transfer *, struct str name, struct str value);
void transfer_no_header(struct transfer *, const char *name); /* one that curl would add by itself */
bool transfer_start(struct transfer *);
void transfer_end(struct transfer *); /* takes it out; not from inside a callback of curl. Again: nothing */
enum http_outcome transfer_outcome(const struct transfer *, CURLcode);
void pool_act(struct pool *, curl_socket_t, int action); /* something happened to a socket of it */

/* http_sockets.c: the first and last are curl's to call. */
int socket_watch(CURL *, curl_socket_t, int what, void *pool, void *of_socket);
void socket_kept(struct transfer *); /* it is about to be taken out; if it is done, curl may have kept its connection */
int socket_close(void *pool, curl_socket_t);
