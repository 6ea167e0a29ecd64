/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building, and leaving: first the node deregisters, so that routers send nobody any more, then tunnels are closed politely,
 * then an SFU that is ours is stopped. A second signal skips the waits.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/http.h"
#include "base/httpd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/agent.h"
#include "client/agent/gate.h"
#include "client/agent/report.h"
#include "client/agent/rooms.h"
#include "client/agent/sfu.h"
#include "client/lib/node.h"
#include "client/lib/usher/usher.h"

#define PROC "/proc"
#define CHECK_STOP_MS 50
#define SFU_CONNECTIONS 4096 /* to the SFU at once; participants' long polls among them */
#define SFU_IDLE_MS 30000

/* -- what the parts ask of each other ---------------------------------------------------------------------------------------- */
static void room_ended(void *arg, struct str room, uint64_t up_to_epoch, enum room_end how)
{
	struct agent *agent = arg;
	char reason[64];

	if (!agent->gate)
		return;
	/* Those of a moved room come back, spread a little; a closed room is not to be returned to. */
	snprintf(reason, sizeof(reason), "%s;retry=%u", how == END_LOST ? "node_lost" : "room_moved", (unsigned)(random_unit() * 500));
	gate_close_room(agent->gate, room, up_to_epoch, how == END_CLOSED ? 1000 : 1012, how == END_CLOSED ? "room_closed" : reason);
}

/* An open that a pause or a partition held up may arrive when its room is long another node's: it names the registration that
 * the room was claimed for, and one that the lease did not outlive is over. A draining node takes back a room that it has lost, as
 * nobody else may have it before it is moved. */
static const char *takes_no_rooms(void *arg, uint64_t registration, bool fresh)
{
	struct agent *agent = arg;

	if (agent->leaving)
		return "this node is leaving";
	if (registration && agent->node && registration < agent->node->registration)
		return "asked of an earlier registration of this node";
	if (fresh && agent->node && usher_node_drains(agent->node))
		return "this node is being drained";
	return agent_shut(agent) ? "this node lets nobody in at present" : NULL;
}

static bool is_registered(void *arg)
{
	const struct agent *agent = arg;

	return agent->node && agent->node->registered;
}

static bool call_allowed(void *arg, const char *call_key)
{
	const struct agent *agent = arg;

	return usher_node_call_allowed(agent->node, call_key);
}

static bool sfu_is_well(void *arg)
{
	return sfu_well(((const struct agent *)arg)->sfu);
}

static bool demands_grants(void *arg)
{
	const struct agent *agent = arg;

	return agent->node && usher_node_demands_grants(agent->node);
}

static bool fenced(void *arg)
{
	return agent_shut(arg) != NULL;
}

static void sfu_changed(void *arg, enum sfu_state state)
{
	agent_sfu_changed(arg, (int)state);
}

/* -- building ----------------------------------------------------------------------------------------------------------------- */
static bool build_adapter(struct agent *agent)
{
	struct http_conf http = { .connect_timeout_ms = agent->conf.connect_timeout_ms, .connections_per_host = SFU_CONNECTIONS,
		                  .idle_connections = 64, .idle_ms = SFU_IDLE_MS, .trust = &agent->sfu_trust };
	const char *why = "out of memory or descriptors";

	agent->sfu_trust = (struct trust){ .ca = agent->conf.sfu_ca };
	agent->http = http_new(agent->loop, &http);
	struct adapter_conf adapter = { agent->loop, agent->http, &agent->conf };
	if (agent->http)
		agent->adapter = agent_adapters[agent->conf.adapter]->start(&adapter, &why);
	if (!agent->adapter)
		log_error("adapter_failed", "adapter", LOG_S(agent_adapters[agent->conf.adapter]->name), "why", LOG_S(why));
	return agent->adapter;
}

static bool build_gate(struct agent *agent)
{
	struct gate_conf gate = { .loop = agent->loop, .http = agent->http, .settings = &agent->conf, .rooms = agent->rooms,
		                  .trust = &agent->sfu_trust,
		                  .signal_url = agent->adapter->ops->signal_url(agent->adapter),
		                  .http_url = agent->adapter->ops->http_url(agent->adapter), .shut = agent_shut,
		                  .demands_grants = demands_grants, .arg = agent };

	return !agent->conf.gate || (agent->gate = gate_new(&gate));
}

static bool build(struct agent *agent)
{
	agent->loop = loop_new();
	if (!agent->loop || !build_adapter(agent))
		return false;
	agent->rooms = rooms_new(&(struct rooms_conf){ agent->loop, agent->adapter, room_ended, agent });
	agent->control = (struct control_conf){ agent->rooms, takes_no_rooms, is_registered, call_allowed, sfu_is_well, fenced, agent };
	agent->report = report_new(&(struct report_conf){ agent->loop, agent->adapter, agent->rooms, PROC, agent_polled, agent });
	agent->sfu = sfu_new(&(struct sfu_conf){ agent->loop, agent->adapter, &agent->conf, PROC, sfu_changed, agent });
	return build_gate(agent) && edge_build(agent);
}

static void take_apart(struct agent *agent)
{
	timer_clear(agent->loop, &agent->stop_timer);
	node_unload(agent);
	report_stop(agent->report);
	listen_close(agent->listeners); /* whoever is queued is accepted, and cut with the others */
	httpd_free(agent->httpd);
	gate_free(agent->gate);
	sfu_free(agent->sfu);
	rooms_free(agent->rooms);
	report_free(agent->report);
	agent->adapter->ops->free(agent->adapter);
	http_free(agent->http);
	listen_set_free(agent->listeners);
	loop_free(agent->loop);
}

/* -- leaving ------------------------------------------------------------------------------------------------------------------ */
static void sfu_stopped(void *arg)
{
	struct agent *agent = arg;

	loop_stop(agent->loop);
}

static void wait_empty(struct timer *t)
{
	struct agent *agent = container_of(t, struct agent, stop_timer);

	if (agent->gate && gate_tunnels(agent->gate) && loop_now_ms(agent->loop) < agent->leave_by_ms)
		timer_set(agent->loop, t, CHECK_STOP_MS, wait_empty);
	else
		sfu_stop(agent->sfu, sfu_stopped);
}

void node_departed(struct agent *agent)
{
	agent->leave_by_ms = loop_now_ms(agent->loop) + agent->conf.drain_ms;
	if (agent->gate) /* the other half of the time is for the clients' answers */
		gate_close_slowly(agent->gate, 1012, "node_lost", agent->conf.drain_ms / 2);
	timer_set(agent->loop, &agent->stop_timer, CHECK_STOP_MS, wait_empty);
}

void agent_leave(struct agent *agent, const char *why, int code)
{
	if (agent->leaving)
		return;
	log_line(code ? LOG_ERROR : LOG_INFO, "stopping", "why", LOG_S(why), NULL);
	agent->leaving = true;
	agent->code = code;
	node_depart(agent);
}

static void on_signal(void *arg, int signum)
{
	struct agent *agent = arg;

	if (agent->leaving)
		timer_set(agent->loop, &agent->stop_timer, 0, wait_empty), agent->leave_by_ms = 0;
	agent_leave(agent, signum == SIGTERM ? "TERM" : "INT", 0);
}

/* A tunnel has two descriptors; the usual soft limit of 1024 would be five hundred of them. */
static void raise_descriptors(const struct agent *agent)
{
	uint64_t limit = listen_raise_descriptors();

	if (limit < 2 * agent->conf.connections)
		log_warn("few_descriptors", "limit", LOG_U(limit), "wanted", LOG_U(2 * agent->conf.connections), "why",
		         LOG_S("agent.connections tunnels need two each"));
}

int agent_run(struct agent *agent)
{
	raise_descriptors(agent);
	if (!build(agent))
		return 1; /* said why; the process ends, so nothing half built is taken apart */
	loop_on_signal(agent->loop, SIGTERM, on_signal, agent);
	loop_on_signal(agent->loop, SIGINT, on_signal, agent);
	signal(SIGPIPE, SIG_IGN);
	log_info("started", "version", LOG_S(USHER_VERSION), "node", LOG_S(agent->conf.node), "adapter", LOG_S(agent->adapter->ops->name),
	         "listen", LOG_S(agent->gate_listener ? listen_address(agent->gate_listener) : NULL), "control_listen",
	         LOG_S(listen_address(agent->control_listener)));
	loop_run(agent->loop);
	take_apart(agent);
	log_info("stopped");
	return agent->code;
}
