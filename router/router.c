/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the process: build, serve, leave. Leaving (SIGTERM) goes in the order that loses nobody: /readyz says 503 and
 * answers say Connection: close while all is still served; then no new connections (what the kernel had queued is accepted
 * first); then tunnels are told; then out. A second signal hurries: the wait for a balancer is skipped.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/egress.h"
#include "base/networks.h"
#include "base/wait.h"
#include "base/http.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/retire.h"
#include "health/fleet.h"
#include "health/probe.h"
#include "registry/registry.h"
#include "registry/table.h"
#include "router/audit.h"
#include "router/certificate.h"
#include "router/doubts.h"
#include "router/edge.h"
#include "router/events.h"
#include "router/keeper.h"
#include "router/metrics.h"
#include "router/mover.h"
#include "router/peers.h"
#include "router/place.h"
#include "router/rebuild.h"
#include "router/reload.h"
#include "router/router.h"
#include "router/shed.h"
#include "router/sweep.h"
#include "router/unlisted.h"
#include "router/unreachable.h"
#include "router/worker.h"

#define TICK_MS 1000
#define CHECK_STOP_MS 20
#define HANDSHAKE_MS 50 /* for those under way when we take no more */
#define FAREWELL_MS 100 /* for the store to hear that we leave */

/* -- what the parts below tell us ------------------------------------------------------------------------------------------------- */
static void charged(void *arg, const char *node, uint64_t number, double cost)
{
	struct router *router = arg;

	if (router->fleet)
		fleet_charged(router->fleet, node, number, cost);
}

static void store_changed(void *arg, bool up)
{
	struct router *router = arg;

	log_line(up ? LOG_INFO : LOG_WARN, "store_changed", "to", LOG_S(up ? "up" : "down"), NULL);
	if (!up)
		events_emit(router, &(struct event){ .type = EVENT_STORE_LOST });
	if (up && router->fleet)
		fleet_refresh(router->fleet);
	if (up && router->rebuild)
		rebuild_look(router->rebuild);
}

/* Better no router than one whose rooms vanish when memory is short. */
static void store_unfit(void *arg, const char *why)
{
	struct router *router = arg;

	log_error("refused_to_start", "why", LOG_S(why));
	router->exit_code = 1;
	loop_stop(router->loop);
}

static enum event_type node_event(enum node_state from, enum node_state to)
{
	if (to == NODE_LATE || to == NODE_LOST)
		return to == NODE_LATE ? EVENT_NODE_LATE : EVENT_NODE_LOST;
	if (from == NODE_JOINING)
		return EVENT_NODE_JOINED;
	return from == NODE_LATE || from == NODE_LOST ? EVENT_NODE_BACK : EVENT_TYPES;
}

static void node_changed(void *arg, const char *node, enum node_state from, enum node_state to)
{
	struct router *router = arg;
	enum event_type type = node_event(from, to);

	if (type != EVENT_TYPES)
		events_emit(router, &(struct event){ .type = type, .node = node });
	if (to == NODE_LOST && router->workers)
		audit_close_node(router, node);
	log_line(to == NODE_LOST ? LOG_WARN : LOG_INFO, "node_state", "node", LOG_S(node), "from", LOG_S(node_state_words[from]), "to",
	         LOG_S(node_state_words[to]), NULL);
}

static void breaker_changed(void *arg, const char *node, enum breaker_class class, enum breaker_state from, enum breaker_state to)
{
	struct router *router = arg;

	if (to != BREAKER_CLOSED)
		probes_hurry(router->probes, node, class);
	if (to != BREAKER_HALF_OPEN)
		events_emit(router, &(struct event){ .type = to == BREAKER_OPEN ? EVENT_BREAKER_OPEN : EVENT_BREAKER_CLOSED, .node = node,
		                                     .detail = breaker_class_words[class] });
	log_line(to == BREAKER_OPEN ? LOG_WARN : LOG_INFO, "breaker_state", "node", LOG_S(node), "class",
	         LOG_S(breaker_class_words[class]), "from", LOG_S(breaker_state_words[from]), "to", LOG_S(breaker_state_words[to]), NULL);
}

/* -- building ------------------------------------------------------------------------------------------------------------------------- */
static void make_id(struct router *router)
{
	char host[33] = "";

	gethostname(host, sizeof(host) - 1);
	for (char *c = host; *c; c++)
		if (!node_valid(c, 1))
			*c = '-';
	snprintf(router->id, sizeof(router->id), "%s.%d.%08llx", *host ? host : "router", (int)getpid(),
	         (unsigned long long)(random_u64() >> 32));
}

static bool build_registry(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct registry_conf registry = {
		.url = conf->registry.url, .prefix = conf->registry.prefix, .router = router->id,
		.sentinel_user = conf->registry.sentinel_user, .sentinel_password = conf->registry.sentinel_password,
		.timeout_ms = conf->registry.timeout_ms, .wait_replicas = conf->registry.wait_replicas, .wait_ms = conf->registry.wait_ms,
		.table_max = conf->rooms.table_max, .trust_ms = conf->rooms.trust_ms,
		.charged = charged, .store_changed = store_changed, .unfit = store_unfit, .arg = router,
	};
	const char *why = NULL;

	router->registry = registry_new(router->loop, router->retire, &registry, &why);
	if (!router->registry)
		log_error("registry_failed", "why", LOG_S(why));
	return router->registry && (router->store = store_new(router->registry, router->loop));
}

static void build_health(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct fleet_conf fleet = {
		.heartbeat_ms = conf->nodes.heartbeat_ms, .lease_ms = conf->nodes.lease_ms, .grace_ms = conf->nodes.grace_ms,
		.unfenced_ms = conf->nodes.unfenced_ms, .unasked_ms = conf->nodes.unasked_ms,
		.timeout_ms = conf->registry.timeout_ms, .ramp_ms = conf->placement.ramp_ms,
		.max_load = conf->placement.max_load, .max_ejected = conf->breaker.max_ejected,
		.breaker = { .failures = conf->breaker.failures, .window_ms = conf->breaker.window_ms,
		             .min_calls = conf->breaker.min_calls, .open_ms = conf->breaker.open_ms,
		             .max_open_ms = conf->breaker.max_open_ms, .failure_rate = conf->breaker.failure_rate,
		             .backoff = conf->breaker.backoff, .jitter = conf->breaker.jitter },
		.allow_cidr = conf->nodes.allow_cidr, .router = router->id, .url = router->advertise_url,
		.changed = node_changed, .breaker_changed = breaker_changed, .arg = router,
	};
	struct place_conf place = {
		.max_load = conf->placement.max_load, .room_cost = router_conf_room_cost(conf), .ramp_ms = conf->placement.ramp_ms,
		.slow_start_ms = conf->placement.slow_start_ms, .opens_per_node = conf->placement.opens_per_node,
		.explained = conf->placement.explained, .max_ejected = conf->breaker.max_ejected, .ordered_from = PLACE_ORDERED_FROM,
	};
	struct probes_conf probes = { .interval_ms = conf->probe.interval_ms, .timeout_ms = conf->probe.timeout_ms,
		                      .allow_cidr = conf->nodes.allow_cidr };
	struct http_conf http = { .connect_timeout_ms = conf->sfu.connect_timeout_ms, .connections_per_host = 16,
		                  .idle_connections = 256, .idle_ms = 30000, .allowed = worker_address_allowed, .arg = router,
		                  .trust = &router->sfu_trust };

	router->sfu_trust = (struct trust){ .ca = conf->sfu.tls_ca, .pins = conf->sfu.tls_pins };
	router->peer_trust = (struct trust){ .ca = conf->server.peer_ca };
	router->fleet = fleet_new(router->loop, router->store, router->retire, &fleet);
	router->place = place_new(router->fleet, &place);
	router->http = http_new(router->loop, &http);
	router->probes = probes_new(router->loop, router->fleet, router->http, &probes);
}

/* What can be known before a byte is read: over the listener that is for them, or, where there is none, from where nodes are. Behind
 * a proxy are participants, too. */
static bool inner(void *arg, int tag, const struct sockaddr_storage *peer)
{
	const struct router *router = arg;

	if (*router->conf.server.admin_listen)
		return tag == LISTENER_ADMIN;
	return networks_contain(router->nodes_from, peer) && !networks_contain(router->proxies, peer);
}

static uint64_t reserved(const struct router_conf *conf)
{
	uint64_t half = conf->limits.connections / 2;

	return conf->limits.reserved < half ? conf->limits.reserved : half;
}

static void deal(void *arg, const struct accepted *accepted)
{
	struct router *router = arg;

	worker_give(router->workers[router->next_worker++ % router->nworkers], accepted);
}

/* From systemd when it passes sockets (the first is the public one, a second the admin one), else our own. */
static bool build_listeners(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct listen_conf listen = { .connections = conf->limits.connections,
		                      .connections_per_address = conf->limits.connections_per_address, .proxies = conf->server.trusted_proxies,
		                      .reserved = reserved(conf), .tls = certificate_now(router), .deal = deal, .inner = inner, .arg = router };
	int passed = listen_systemd_fds();
	const char *why = NULL;

	router->listeners = listen_set_new(router->loop, &listen);
	router->listener = passed > 0 ? listen_adopt(router->listeners, 3, LISTENER_PUBLIC)
	                              : listen_open(router->listeners, conf->server.listen, LISTENER_PUBLIC, &why);
	if (!router->listener) {
		log_error("listen_failed", "address", LOG_S(conf->server.listen), "why", LOG_S(why));
		return false;
	}
	if (!*conf->server.admin_listen)
		return true;
	router->admin_listener = passed > 1 ? listen_adopt(router->listeners, 4, LISTENER_ADMIN)
	                                    : listen_open(router->listeners, conf->server.admin_listen, LISTENER_ADMIN, &why);
	if (!router->admin_listener)
		log_error("listen_failed", "address", LOG_S(conf->server.admin_listen), "why", LOG_S(why));
	return router->admin_listener;
}

static void name_urls(struct router *router)
{
	const struct router_conf *conf = &router->conf;
	struct listener *nodes_side = router->admin_listener ? router->admin_listener : router->listener;
	static char advertise[300];

	atomic_store(&router->origins, conf->server.origins);
	router->public_url = *conf->server.public_url ? conf->server.public_url : NULL;
	snprintf(advertise, sizeof(advertise), "http%s://%s", certificate_now(router) ? "s" : "", listen_address(nodes_side));
	router->advertise_url = *conf->server.advertise_url ? conf->server.advertise_url : advertise;
	router->hosts = edge_hosts(router);
}

static bool build_loops(struct router *router)
{
	router->nworkers = router->conf.server.workers;
	router->worker_loops = calloc(router->nworkers, sizeof(*router->worker_loops));
	router->workers = calloc(router->nworkers, sizeof(struct worker *));
	if (!router->worker_loops || !router->workers)
		return false;
	for (size_t i = 0; i < router->nworkers; i++)
		if (!(router->worker_loops[i] = loop_new()))
			return false;
	router->retire = retire_new(router->loop, router->worker_loops, router->nworkers);
	return router->retire;
}

static bool build_workers(struct router *router)
{
	for (size_t i = 0; i < router->nworkers; i++)
		if (!(router->workers[i] = worker_new(router, (unsigned)i)))
			return false;
	return true;
}

/* On the scraping thread: of every node there is, and of none that is gone. */
static void tell_breakers(void *arg, struct metric_out *out)
{
	const struct router *router = arg;
	const struct fleet_view *view = fleet_view(router->fleet);
	uint64_t now = view->seen_ms, retry_ms;

	for (size_t i = 0; i < view->count; i++)
		for (int class = 0; class < CLASSES; class++)
			metric_tell(out, view->nodes[i].record.id, breaker_class_words[class],
			            (double)breaker_state(view->nodes[i].breakers[class], now, &retry_ms));
}

bool router_build(struct router *router)
{
	router->loop = loop_new();
	router->metrics = metrics_new(router_metrics, M_COUNT);
	if (!router->loop || !router->metrics || !build_loops(router))
		return false;
	router->sheet = metrics_sheet(router->metrics);
	make_id(router);
	router->proxies = networks_new(router->conf.server.trusted_proxies);
	router->nodes_from = networks_new(router->conf.nodes.allow_cidr);
	router->egress = egress_new(router->conf.nodes.allow_cidr);
	router->events = events_new(router);
	if (!build_registry(router))
		return false;
	/* The listener first: its address is what nodes and other routers know this one by. Nothing is accepted before the loop runs. */
	if (!build_listeners(router))
		return false;
	name_urls(router);
	build_health(router);
	metrics_at_scrape(router->metrics, M_BREAKER_STATE, tell_breakers, router);
	router->keeper = keeper_new(router);
	router->peers = peers_new(router);
	router->doubts = doubts_new();
	router->sweep = sweep_new(router);
	router->mover = mover_new(router);
	router->rebuild = rebuild_new(router);
	router->unlisted = unlisted_new(router);
	router->unreachables = unreachables_new(router);
	return build_workers(router);
}

/* -- gauges ------------------------------------------------------------------------------------------------------------------------------- */
static void measure_fleet(struct router *router)
{
	const struct fleet_view *view = fleet_view(router->fleet);
	uint64_t now = loop_now_ms(router->loop), oldest = 0;
	size_t states[NODE_LOST + 1] = { 0 }, scored = 0;
	double most = 0, sum = 0;

	for (size_t i = 0; i < view->count; i++) {
		const struct node *node = &view->nodes[i];
		states[node->state]++;
		if (node->state != NODE_READY)
			continue;
		if (now - node->changed_ms > oldest)
			oldest = now - node->changed_ms;
		if (!node->score.known)
			continue;
		most = node->score.value > most ? node->score.value : most;
		sum += node->score.value;
		scored++;
	}
	for (int state = 0; state <= NODE_LOST; state++)
		metric_set(router->sheet, M_NODES, node_state_words[state], NULL, (double)states[state]);
	metric_set(router->sheet, M_LOAD_AGE, NULL, NULL, (double)oldest / 1000);
	metric_set(router->sheet, M_BALANCE, NULL, NULL, sum > 0 ? most * (double)scored / sum : 1);
}

static void tick(struct timer *t)
{
	struct router *router = container_of(t, struct router, tick);

	measure_fleet(router);
	metric_set(router->sheet, M_ROOMS, NULL, NULL, (double)table_count(registry_table(router->registry)));
	metric_set(router->sheet, M_STORE_UP, NULL, NULL, registry_up(router->registry));
	metric_set(router->sheet, M_PARKED, NULL, NULL, (double)atomic_load(&router->parked));
	metric_set(router->sheet, M_LOG_SUPPRESSED, NULL, NULL, (double)log_suppressed());
	metric_set(router->sheet, M_LOG_DROPPED, NULL, NULL, (double)log_dropped());
	certificate_look(router);
	metric_set(router->sheet, M_LOOP_STALL, "keeper", NULL, (double)loop_stalled_ms(router->loop) / 1000);
	timer_set(router->loop, &router->tick, TICK_MS, tick);
}

/* -- leaving ------------------------------------------------------------------------------------------------------------------------------ */
static void end_loop(struct timer *t)
{
	loop_stop(container_of(t, struct router, stop_timer)->loop);
}

static bool all_gone(const struct router *router)
{
	for (size_t i = 0; i < router->nworkers; i++) {
		const struct worker *w = router->workers[i];
		if (!atomic_load(&w->closing_tunnels) || atomic_load(&w->connections) || atomic_load(&w->open_tunnels))
			return false;
	}
	return true;
}

static void wait_empty(struct timer *t)
{
	struct router *router = container_of(t, struct router, stop_timer);

	if (loop_now_ms(router->loop) < router->leaving_ms && !all_gone(router)) {
		timer_set(router->loop, t, CHECK_STOP_MS, wait_empty);
		return;
	}
	peers_leave(router->peers);
	timer_set(router->loop, t, FAREWELL_MS, end_loop);
}

static void stop_serving(struct timer *t)
{
	struct router *router = container_of(t, struct router, stop_timer);

	listen_close(router->listeners);
	for (size_t i = 0; i < router->nworkers; i++)
		worker_close_tunnels(router->workers[i]);
	router->leaving_ms = loop_now_ms(router->loop) + router->conf.server.drain_ms;
	timer_set(router->loop, t, CHECK_STOP_MS, wait_empty);
}

static void stop_accepting(struct timer *t)
{
	struct router *router = container_of(t, struct router, stop_timer);

	log_info("stop_accepting");
	listen_quiet(router->listeners);
	timer_set(router->loop, t, HANDSHAKE_MS, stop_serving);
}

static void on_stop(void *arg, int signum)
{
	struct router *router = arg;
	bool again = atomic_exchange(&router->phase, PHASE_LEAVING) == PHASE_LEAVING;

	log_info("stopping", "signal", LOG_S(signum == SIGTERM ? "TERM" : "INT"), "lame_duck_ms",
	         LOG_U(again ? 0 : router->conf.server.lame_duck_ms));
	if (again && router->leaving_ms)
		return;
	for (size_t i = 0; i < router->nworkers && !again; i++)
		worker_lame_duck(router->workers[i]);
	timer_set(router->loop, &router->stop_timer, again ? 0 : router->conf.server.lame_duck_ms, stop_accepting);
}

/* Messages between the loops hold memory; with the threads gone we turn the loops here until none is under way. */
static void settle_messages(struct router *router)
{
	for (int round = 0; round < 8; round++) {
		for (size_t i = 0; i < router->nworkers; i++)
			if (router->worker_loops[i])
				loop_turn(router->worker_loops[i]);
		loop_turn(router->loop);
	}
}

void router_take_apart(struct router *router)
{
	if (router->listeners)
		listen_close(router->listeners); /* open yet if the store was unfit: whoever is queued is dealt while there are servers */
	for (size_t i = 0; i < router->nworkers; i++)
		if (router->workers[i])
			worker_stop(router->workers[i]);
	timer_clear(router->loop, &router->tick);
	timer_clear(router->loop, &router->judging);
	timer_clear(router->loop, &router->stop_timer);
	for (size_t i = 0; i < router->nworkers; i++)
		if (router->workers[i])
			worker_unload(router->workers[i]);
	settle_messages(router);
	unlisted_free(router->unlisted);
	unreachables_free(router->unreachables);
	rebuild_free(router->rebuild);
	router->rebuild = NULL; /* the store's watch may still tell us something */
	mover_free(router->mover);
	router->mover = NULL;
	sweep_free(router->sweep);
	peers_free(router->peers);
	doubts_free(router->doubts);
	keeper_free(router->keeper);
	settle_messages(router);
	probes_free(router->probes);
	place_free(router->place);
	fleet_free(router->fleet);
	router->fleet = NULL;
	http_free(router->http);
	store_free(router->store);
	settle_messages(router);
	retire_free(router->retire);
	reload_free(router);
	events_free(router->events);
	registry_free(router->registry);
	listen_set_free(router->listeners);
	for (size_t i = 0; i < router->nworkers; i++) {
		loop_free(router->worker_loops[i]);
		worker_free(router->workers[i]);
	}
	for (const char *const *host = router->hosts; *host; host++)
		free((void *)(uintptr_t)*host);
	free((void *)(uintptr_t)router->hosts);
	networks_free(router->proxies);
	networks_free(router->nodes_from);
	egress_free(router->egress);
	free(router->worker_loops);
	free(router->workers);
	metrics_free(router->metrics);
	loop_free(router->loop);
}

static void raise_descriptors(const struct router *router)
{
	bool tls = certificate_now(router);
	uint64_t limit = listen_raise_descriptors(), wanted = (tls ? 3 : 2) * router->conf.limits.connections;

	if (limit < wanted)
		log_warn("few_descriptors", "limit", LOG_U(limit), "wanted", LOG_U(wanted), "why",
		         LOG_S(tls ? "limits.connections that speak TLS need three each" : "limits.connections tunnels need two each"));
}

static bool start_workers(struct router *router)
{
	for (size_t i = 0; i < router->nworkers; i++)
		if (!worker_start(router->workers[i]))
			return false;
	return true;
}

void router_begin(struct router *router)
{
	fleet_start(router->fleet);
	peers_start(router->peers);
	sweep_start(router->sweep);
	mover_start(router->mover);
	rebuild_start(router->rebuild);
	unlisted_start(router->unlisted);
	unreachables_start(router->unreachables);
	timer_set(router->loop, &router->tick, 0, tick);
	shed_start_keeper(router);
	atomic_store(&router->phase, PHASE_SERVING);
}

int router_run(struct router *router)
{
	raise_descriptors(router);
	if (!router_build(router) || !start_workers(router))
		return 1; /* said why; the process ends, so nothing half built is taken apart */
	loop_on_signal(router->loop, SIGTERM, on_stop, router);
	loop_on_signal(router->loop, SIGINT, on_stop, router);
	reload_on_signal(router);
	signal(SIGPIPE, SIG_IGN);
	log_info("started", "version", LOG_S(USHER_VERSION), "listen", LOG_S(listen_address(router->listener)), "admin_listen",
	         LOG_S(router->admin_listener ? listen_address(router->admin_listener) : NULL), "tls",
	         LOG_S(certificate_now(router) ? "yes" : "no"), "workers", LOG_U(router->nworkers), "store",
	         LOG_S(registry_kind(router->registry)), "router", LOG_S(router->id));
	router_begin(router);
	loop_run(router->loop);
	router_take_apart(router);
	log_info("stopped");
	return router->exit_code;
}
