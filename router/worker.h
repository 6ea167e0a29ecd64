/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: a thread with its loop and everything that serves requests on it: an HTTP server, a store connection, an HTTP
 * client, tunnels, the SFU caller, a sheet of metrics. Workers share nothing that a request writes.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/loop.h"
#include "base/metric.h"
#include "router/overload.h"
#include "router/renewals.h"
#include "router/retries.h"

struct access_memory;
struct accepted;
struct event_stream;
struct audits;
struct errand;
struct http;
struct httpd;
struct router;
struct sfu;
struct store;
struct str;
struct tunnels;

struct worker {
	struct router *router;
	unsigned index;
	char name[24]; /* "worker-0" */
	pthread_t thread;
	bool running;
	struct loop *loop;
	struct sheet *sheet;
	struct store *store;
	unsigned trust_read;     /* of the router's count, what this worker has followed */
	struct http *http;       /* to SFUs */
	struct http *peers_http; /* to other routers, */
	size_t questions;        /* and what they are asked, under way */
	struct httpd *httpd;
	struct tunnels *tunnels;
	struct audits *audits;
	struct access_memory *access; /* tokens verified lately */
	struct sfu *sfu;
	struct errand *errands; /* under way */
	size_t nerrands, ngrant_errands;
	struct event_stream *event_streams;
	struct renewals renewals; /* of grants */
	struct retries retries;   /* of calls to SFUs */
	struct overload overload;
	struct timer judging;
	struct timer tick, farewell; /* farewell: the next tunnel to be closed at a stop */
	uint64_t farewell_until_ms;
	_Atomic size_t connections, open_tunnels; /* published each tick, for gauges and the stop */
	_Atomic bool closing_tunnels;
	struct task stop_task, lame_task, polite_task;
};

struct worker *worker_new(struct router *, unsigned index); /* NULL: out of memory or descriptors; logged */
bool worker_start(struct worker *);                         /* its thread */
void worker_give(struct worker *, const struct accepted *); /* any thread */
/* From a worker: tells the acceptor that a connection of this peer, or the tunnel that it became, has ended. */
void worker_release_connection(struct worker *, const struct sockaddr_storage *peer);
void worker_lame_duck(struct worker *);                     /* any thread: answers say Connection: close */
void worker_close_tunnels(struct worker *);                 /* any thread: politely, spread over server.drain_ms */
void worker_close_late_tunnel(struct worker *);             /* its own: one opened after that */
/* Any thread, all workers. spread_ms > 0: each client is told when to come back, within this time. */
void worker_close_room(struct router *, struct str room, uint64_t up_to_epoch, unsigned code, const char *reason, uint64_t spread_ms);
void worker_stop(struct worker *);                          /* ends and joins the thread */
void worker_unload(struct worker *);                        /* after it: frees what it served with */
bool worker_address_allowed(void *router, const struct sockaddr_storage *); /* nodes.allow_cidr */
void worker_free(struct worker *);                          /* at last its loop */
