/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker is built by the main thread before it runs and taken apart by it after it has stopped; in between only its own
 * thread touches it, and others send messages. What others may read (counts) it publishes each tick.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "base/egress.h"
#include "base/http.h"
#include "base/httpd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/tunnel.h"
#include "health/sfu.h"
#include "registry/registry.h"
#include "router/access.h"
#include "router/audit.h"
#include "router/edge.h"
#include "router/events.h"
#include "router/errands.h"
#include "router/grants.h"
#include "router/metrics.h"
#include "router/router.h"
#include "router/shed.h"
#include "router/tunnel.h"
#include "router/worker.h"

#define TICK_MS 200
#define STOP_TICK_MS 20      /* once the process waits for us to be empty */
#define HEAD_MS 10000        /* to send a request's head, or its body */
#define IDLE_MS 75000        /* between requests: over the usual 60 s of load balancers, so that they close first */
#define WRITE_STALL_MS 30000 /* a client that does not read */
#define CLOSE_MS 2000        /* a polite Close may take so long */
#define UPSTREAMS_PER_HOST 256
#define PEERS_PER_HOST 8
#define PEERS_CONNECT_MS 80

bool worker_address_allowed(void *arg, const struct sockaddr_storage *address)
{
	const struct router *router = arg;

	return egress_allowed(router->egress, address);
}

static void publish_counts(struct worker *w)
{
	atomic_store(&w->connections, httpd_connections(w->httpd));
	atomic_store(&w->open_tunnels, tunnels_count(w->tunnels));
}

static void follow_trust(struct worker *w)
{
	unsigned now = atomic_load(&w->router->trust_read);

	if (now == w->trust_read)
		return;
	w->trust_read = now;
	http_drop_pool(w->http);
	http_drop_pool(w->peers_http);
	tunnels_drop_trust(w->tunnels);
}

static void tick(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, tick);

	publish_counts(w);
	follow_trust(w);
	metric_set(w->sheet, M_TUNNELS, NULL, NULL, (double)tunnels_count(w->tunnels));
	metric_set(w->sheet, M_CONNECTIONS, NULL, NULL, (double)httpd_connections(w->httpd));
	metric_set(w->sheet, M_LOOP_STALL, w->name, NULL, (double)loop_stalled_ms(w->loop) / 1000);
	timer_set(w->loop, &w->tick, atomic_load(&w->closing_tunnels) ? STOP_TICK_MS : TICK_MS, tick);
}

static bool build(struct worker *w)
{
	struct router *router = w->router;
	const struct router_conf *conf = &router->conf;
	struct http_conf http = { .connect_timeout_ms = conf->sfu.connect_timeout_ms, .connections_per_host = UPSTREAMS_PER_HOST,
		                  .idle_connections = UPSTREAMS_PER_HOST, .idle_ms = 30000, .allowed = worker_address_allowed, .arg = router,
		                  .trust = &router->sfu_trust };
	struct http_conf peers = { .connect_timeout_ms = PEERS_CONNECT_MS, .connections_per_host = PEERS_PER_HOST,
		                   .idle_connections = PEERS_PER_HOST, .idle_ms = 30000, .trust = &router->peer_trust };
	struct httpd_conf httpd = { .body_bytes = conf->limits.heartbeat_bytes, .header_bytes = conf->limits.header_bytes,
		                    .headers = conf->limits.headers, .connections = conf->limits.connections, .header_ms = HEAD_MS,
		                    .body_ms = HEAD_MS, .idle_ms = IDLE_MS, .write_stall_ms = WRITE_STALL_MS };
	struct tunnels_conf tunnels = { .buffer_bytes = conf->limits.tunnel_buffer_bytes, .idle_ms = conf->tunnel.idle_ms,
		                        .close_ms = CLOSE_MS, .max = conf->limits.connections,
		                        .frame_bytes = conf->limits.frame_bytes, .message_bytes = conf->limits.message_bytes, .allowed = worker_address_allowed,
		                        .arg = router, .trust = &router->sfu_trust };
	struct sfu_conf sfu = { .call_timeout_ms = conf->sfu.call_timeout_ms,
		                .metric_calls = M_SFU_CALLS, .sheet = w->sheet, .prove = grants_prove, .arg = router };

	w->store = store_new(router->registry, w->loop);
	w->http = http_new(w->loop, &http);
	w->peers_http = http_new(w->loop, &peers);
	w->tunnels = tunnels_new(w->loop, &tunnels);
	w->httpd = httpd_new(w->loop, &httpd, &edge_ops, w);
	w->audits = audits_new(w);
	w->access = access_memory_new();
	w->sfu = w->http ? sfu_new(w->loop, router->fleet, w->http, &sfu) : NULL;
	return w->store && w->http && w->peers_http && w->tunnels && w->httpd && w->sfu;
}

struct worker *worker_new(struct router *router, unsigned index)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->router = router;
	w->index = index;
	snprintf(w->name, sizeof(w->name), "worker-%u", index);
	w->sheet = metrics_sheet(router->metrics);
	w->loop = router->worker_loops[index];
	if (!build(w)) {
		log_error("worker_failed", "why", LOG_S("out of memory or descriptors"));
		return NULL; /* the process ends: nothing is served by half a worker */
	}
	timer_set(w->loop, &w->tick, 0, tick);
	shed_start_worker(w);
	return w;
}

static void *run(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	return NULL;
}

bool worker_start(struct worker *w)
{
	w->running = pthread_create(&w->thread, NULL, run, w) == 0;
	return w->running;
}

/* -- connections ------------------------------------------------------------------------------------------------------------- */
struct gift {
	struct task task;
	struct worker *worker;
	struct accepted accepted;
};

static void take_gift(struct task *task)
{
	struct gift *gift = container_of(task, struct gift, task);

	httpd_add(gift->worker->httpd, &gift->accepted);
	free(gift);
}

void worker_give(struct worker *w, const struct accepted *accepted)
{
	struct gift *gift = malloc(sizeof(*gift));

	if (!gift)
		abort();
	gift->worker = w;
	gift->accepted = *accepted;
	loop_post(w->loop, &gift->task, take_gift);
}

struct released {
	struct task task;
	struct router *router;
	struct sockaddr_storage peer;
};

static void release_connection(struct task *task)
{
	struct released *released = container_of(task, struct released, task);

	listen_released(released->router->listeners, &released->peer);
	free(released);
}

void worker_release_connection(struct worker *w, const struct sockaddr_storage *peer)
{
	struct released *released = malloc(sizeof(*released));

	if (!released)
		abort();
	*released = (struct released){ .router = w->router, .peer = *peer };
	loop_post(w->router->loop, &released->task, release_connection);
}

/* -- the stop ------------------------------------------------------------------------------------------------------------------ */
static void lame(struct task *task)
{
	httpd_close_idle(container_of(task, struct worker, lame_task)->httpd);
}

void worker_lame_duck(struct worker *w)
{
	loop_post(w->loop, &w->lame_task, lame);
}

/* When each client comes back is told by its retry, so that they do not all do in the same moment. */
static void close_for_restart(struct tunnel *tunnel)
{
	char reason[64];

	snprintf(reason, sizeof(reason), "router_restart;retry=%u", (unsigned)(random_unit() * 2000));
	tunnel_close(tunnel, 1012, reason);
}

struct round { /* one turn of closing: each tunnel's chance, so that all are done in the time that is left */
	double share;
	bool last;
};

static void maybe_close(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct round *round = ctx;

	(void)arg;
	if (round->last || random_unit() < round->share)
		close_for_restart(tunnel);
}

static void farewell(struct timer *t)
{
	struct worker *w = container_of(t, struct worker, farewell);
	uint64_t now = loop_now_ms(w->loop), left = w->farewell_until_ms > now ? w->farewell_until_ms - now : 0;
	struct round round = { .last = left <= TICK_MS, .share = left ? (double)TICK_MS / (double)left : 1 };

	tunnels_each(w->tunnels, maybe_close, &round);
	if (!round.last)
		timer_set(w->loop, &w->farewell, TICK_MS, farewell);
}

static void polite(struct task *task)
{
	struct worker *w = container_of(task, struct worker, polite_task);
	uint64_t spread = w->router->conf.server.drain_ms / 2; /* the other half is for the clients' answers */

	publish_counts(w); /* what was accepted has been given to us by now: the counts are whole from here on */
	atomic_store(&w->closing_tunnels, true);
	event_streams_end(w);
	tick(&w->tick);
	w->farewell_until_ms = loop_now_ms(w->loop) + spread;
	farewell(&w->farewell);
}

void worker_close_tunnels(struct worker *w)
{
	loop_post(w->loop, &w->polite_task, polite);
}

void worker_close_late_tunnel(struct worker *w)
{
	if (!w->farewell.slot)
		timer_set(w->loop, &w->farewell, 0, farewell);
}

static void stop_here(struct task *task)
{
	loop_stop(container_of(task, struct worker, stop_task)->loop);
}

void worker_stop(struct worker *w)
{
	if (!w->running)
		return;
	loop_post(w->loop, &w->stop_task, stop_here);
	pthread_join(w->thread, NULL);
	w->running = false;
}

void worker_unload(struct worker *w)
{
	timer_clear(w->loop, &w->tick);
	timer_clear(w->loop, &w->farewell);
	shed_stop_worker(w);
	if (w->httpd)
		httpd_free(w->httpd);
	errands_drop(w);
	if (w->audits)
		audits_free(w->audits);
	access_memory_free(w->access);
	if (w->tunnels)
		tunnels_free(w->tunnels);
	w->tunnels = NULL; /* tasks of the keeper may still come */
	if (w->sfu)
		sfu_free(w->sfu);
	if (w->http)
		http_free(w->http);
	if (w->peers_http)
		http_free(w->peers_http);
	if (w->store)
		store_free(w->store);
}

void worker_free(struct worker *w)
{
	free(w);
}

/* -- closing the tunnels of a room ----------------------------------------------------------------------------------------------- */
struct closing {
	struct task task;
	struct worker *worker;
	uint64_t up_to_epoch, spread_ms;
	unsigned code;
	char reason[48];
	size_t len;
	char room[];
};

static void close_one(const struct closing *closing, struct tunnel *tunnel)
{
	char reason[80];

	snprintf(reason, sizeof(reason), "%s", closing->reason);
	if (closing->spread_ms)
		snprintf(reason, sizeof(reason), "%s;retry=%u", closing->reason, (unsigned)(random_unit() * (double)closing->spread_ms));
	tunnel_close(tunnel, closing->code, reason);
}

static void close_if_room(void *ctx, struct tunnel *tunnel, void *arg)
{
	const struct closing *closing = ctx;
	const struct carried *carried = arg;

	if (carried->epoch <= closing->up_to_epoch && str_eq(carried_room(carried), (struct str){ closing->room, closing->len }))
		close_one(closing, tunnel);
}

static void close_here(struct task *task)
{
	struct closing *closing = container_of(task, struct closing, task);

	if (closing->worker->tunnels)
		tunnels_each(closing->worker->tunnels, close_if_room, closing);
	free(closing);
}

void worker_close_room(struct router *router, struct str room, uint64_t up_to_epoch, unsigned code, const char *reason, uint64_t spread_ms)
{
	for (size_t i = 0; i < router->nworkers; i++) {
		struct closing *closing = calloc(1, sizeof(*closing) + room.len);
		if (!closing)
			abort();
		closing->worker = router->workers[i];
		closing->up_to_epoch = up_to_epoch;
		closing->spread_ms = spread_ms;
		closing->code = code;
		snprintf(closing->reason, sizeof(closing->reason), "%s", reason);
		closing->len = room.len;
		memcpy(closing->room, room.at, room.len);
		loop_post(closing->worker->loop, &closing->task, close_here);
	}
}
