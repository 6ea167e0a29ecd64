/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: a thread with its loop and everything that serves requests on it: an HTTP server, a store connection, an HTTP
 * client, tunnels, the SFU caller, a sheet of metrics. Workers share nothing that a request writes.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/loop.h"
#include "base/metric.h"

struct accepted;
struct http;
struct httpd;
struct request;
struct router;
struct sfu;
struct store;
struct tunnels;

struct worker {
	struct router *router;
	unsigned index;
	pthread_t thread;
	bool running;
	struct loop *loop;
	struct sheet *sheet;
	struct store *store;
	struct http *http;
	struct httpd *httpd;
	struct tunnels *tunnels;
	struct sfu *sfu;
	struct timer tick;
	_Atomic size_t connections, open_tunnels; /* published each tick, for gauges and the stop */
	struct task stop_task, lame_task, polite_task;
};

struct worker *worker_new(struct router *, unsigned index); /* NULL: out of memory or descriptors; logged */
bool worker_start(struct worker *);                         /* its thread */
void worker_give(struct worker *, const struct accepted *); /* any thread */
void worker_lame_duck(struct worker *);                     /* any thread: answers say Connection: close */
void worker_close_tunnels(struct worker *);                 /* any thread: politely, spread over server.drain_ms */
void worker_stop(struct worker *);                          /* ends and joins the thread */
void worker_free(struct worker *);

void worker_cors(struct request *); /* adds the CORS headers an answer needs */
