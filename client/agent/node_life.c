/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One SFU process is one incarnation of the node. A process that is up is polled first, so that the first full list already
 * has the rooms of an SFU that outlived its agent. When it ends, the next one that comes within REPLACE_MS takes its place
 * (`replaces`: routers give its rooms to others at once); without one the node deregisters, for the same effect, and
 * registers anew when there is an SFU again.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "base/url.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/agent.h"
#include "client/agent/gate.h"
#include "client/agent/report.h"
#include "client/agent/rooms.h"
#include "client/agent/sfu.h"
#include "client/lib/node.h"

#define REPLACE_MS 2000
#define LOOK_AGAIN_MS 200 /* a poll that failed before the node was announced */
#define STALE_MS 2000     /* to evict what a node holds that is no longer the node */
#define URL_BYTES (URL_MAX_BYTES + 1)

const char *agent_shut(void *arg)
{
	const struct agent *agent = arg;

	if (agent->leaving)
		return "leaving";
	if (sfu_state(agent->sfu) != SFU_UP)
		return sfu_state_words[sfu_state(agent->sfu)];
	if (!agent->node || !agent->announced)
		return "joining";
	return usher_node_admits(agent->node) ? NULL : "lease";
}

/* -- what the node asks and tells -------------------------------------------------------------------------------------------- */
/* A router without auth.grant_keys among others with them is a fault that opens this node. */
static void tell_demands(struct agent *agent)
{
	bool demands = usher_node_demands_grants(agent->node);

	if (demands == agent->demands)
		return;
	agent->demands = demands;
	log_line(demands ? LOG_INFO : LOG_WARN, "grants_demanded", "demanded", LOG_S(demands ? "yes" : "no"), "detail",
	         LOG_S(demands ? "routers sign" : "the router that answered does not sign: gate and control side are open to whoever reaches them"),
	         NULL);
}

static void sample(void *arg, struct usher_load *out)
{
	struct agent *agent = arg;

	tell_demands(agent);
	report_fill(agent->report, agent->node->heartbeat_ms, out);
}

/* Named in an answered heartbeat: the room is another node's by now. */
static void evict(void *arg, const char *room, uint64_t epoch)
{
	struct agent *agent = arg;

	log_info("room_taken", "room", LOG_S(room), "epoch", LOG_U(epoch));
	rooms_evict(agent->rooms, str_of(room), epoch, END_MOVED, NULL);
}

static void end_stale(struct agent *agent)
{
	rooms_give_up(agent->rooms);
	report_poll(agent->report); /* what it finds is evicted */
	agent_leave(agent, "a newer registration of this node exists", 1);
}

static void retire(struct later *later)
{
	struct agent *agent = container_of(later, struct agent, retire);

	usher_node_free(agent->node);
	agent->node = NULL;
	agent->node_leaves = false;
	if (agent->leaving)
		node_departed(agent);
	else if (sfu_state(agent->sfu) == SFU_UP)
		report_poll(agent->report); /* an SFU has come meanwhile */
}

static void phase_changed(void *arg, enum usher_node_phase phase, const char *detail)
{
	struct agent *agent = arg;
	bool good = phase == USHER_NODE_ADMITS || phase == USHER_NODE_JOINING || phase == USHER_NODE_LEFT;

	log_line(good ? LOG_INFO : LOG_WARN, "node_phase", "phase", LOG_S(usher_node_phase_name(phase)), "detail", LOG_S(detail), NULL);
	if (phase == USHER_NODE_LEFT) {
		rooms_report_to(agent->rooms, NULL);
		loop_later(agent->loop, &agent->retire, retire);
	} else if (phase == USHER_NODE_STALE) {
		end_stale(agent);
	} else if (phase == USHER_NODE_REFUSES && agent->conf.at_lease_end == LEASE_END_DROP && agent->gate) {
		gate_close_all(agent->gate, 1012, "node_lost");
	}
}

/* -- the node's options -------------------------------------------------------------------------------------------------------- */
static size_t split_routers(char *list, const char **out, size_t max)
{
	size_t n = 0;

	for (char *piece = strtok(list, ", "); piece && n < max; piece = strtok(NULL, ", "))
		out[n++] = piece;
	return n;
}

static struct usher_node *make_node(struct agent *agent, const struct usher_node_options *options)
{
	const char *why = NULL;
	struct usher_node *node = node_new_on(agent->loop, options, &why);

	if (!node)
		log_error("node_failed", "why", LOG_S(why));
	return node;
}

static void fill_labels(const struct agent_conf *conf, struct usher_label labels[static LABELS_MAX], size_t *n)
{
	for (*n = 0; *n < conf->labels.count && *n < LABELS_MAX; ++*n)
		labels[*n] = (struct usher_label){ conf->labels.pairs[*n].key, conf->labels.pairs[*n].value };
}

static struct usher_node *new_node(struct agent *agent)
{
	const struct agent_conf *conf = &agent->conf;
	const struct adapter_ops *ops = agent->adapter->ops;
	const char *routers[ROUTERS_MAX];
	char *list = strdup(conf->routers), *token = *conf->token_file ? agent_conf_read_secret(conf->token_file) : NULL;
	char signal_url[URL_BYTES], http_url[URL_BYTES], control_url[URL_BYTES], health_url[URL_BYTES];
	struct usher_label labels[LABELS_MAX];
	struct usher_node_options options = {
		.size = sizeof(options), .node = conf->node, .incarnation = sfu_incarnation(agent->sfu), .routers = routers, .token = token,
		.signal_url = signal_url, .http_url = http_url, .public_signal_url = conf->advertise_url, .control_url = control_url,
		.health_url = health_url, .region = conf->region, .zone = conf->zone, .pool = conf->pool, .adapter = ops->name,
		.version = ops->version, .fences = conf->gate ? "gate" : "rooms", .labels = labels,
		.capacity_bandwidth_mbps = (double)conf->capacity_bandwidth_mbps, .capacity_rooms = (double)conf->capacity_rooms,
		.capacity_participants = (double)conf->capacity_participants, .fence_on_store_loss = conf->on_store_loss == STORE_LOSS_FENCE,
		.sample = sample, .evict = evict, .changed = phase_changed, .arg = agent,
		.tls_ca = conf->tls_ca, .tls_cert = conf->tls_cert, .tls_key = conf->tls_key,
	};

	if (!list)
		abort();
	options.nrouters = split_routers(list, routers, ROUTERS_MAX);
	fill_labels(conf, labels, &options.nlabels);
	if (conf->gate) {
		edge_url(agent, agent->gate_listener, "ws", GATE_PATH, signal_url, sizeof(signal_url));
		edge_url(agent, agent->gate_listener, "http", GATE_PATH, http_url, sizeof(http_url));
	} else {
		snprintf(signal_url, sizeof(signal_url), "%s", ops->signal_url(agent->adapter));
		snprintf(http_url, sizeof(http_url), "%s", ops->http_url(agent->adapter));
	}
	edge_url(agent, agent->control_listener, "http", "", control_url, sizeof(control_url));
	edge_url(agent, agent->control_listener, "http", "/health", health_url, sizeof(health_url));
	struct usher_node *node = make_node(agent, &options);
	free(list);
	free(token);
	return node;
}

/* -- as the SFU comes and goes -------------------------------------------------------------------------------------------------- */
static void announce(struct agent *agent)
{
	const char *incarnation = sfu_incarnation(agent->sfu);

	timer_clear(agent->loop, &agent->gone_timer);
	if (agent->node && strcmp(agent->node->self.incarnation, incarnation))
		usher_node_replace(agent->node, incarnation);
	if (!agent->node)
		agent->node = new_node(agent);
	if (!agent->node) {
		agent_leave(agent, "the settings do not make a node", 1);
		return;
	}
	agent->announced = true;
	rooms_report_to(agent->rooms, agent->node);
	usher_node_report(agent->node, USHER_READY);
}

static void look_again(struct timer *t)
{
	report_poll(container_of(t, struct agent, look_again)->report);
}

void agent_polled(void *arg, int err)
{
	struct agent *agent = arg;

	if (agent->announced || agent->leaving || agent->node_leaves || sfu_state(agent->sfu) != SFU_UP)
		return;
	if (err)
		timer_set(agent->loop, &agent->look_again, LOOK_AGAIN_MS, look_again);
	else
		announce(agent);
}

void node_depart(struct agent *agent)
{
	timer_clear(agent->loop, &agent->gone_timer);
	if (!agent->node) {
		if (agent->leaving)
			node_departed(agent);
		return;
	}
	agent->node_leaves = true;
	usher_node_leave(agent->node);
}

static void gone_too_long(struct timer *t)
{
	struct agent *agent = container_of(t, struct agent, gone_timer);

	log_warn("deregisters", "why", LOG_S("there is no SFU"));
	node_depart(agent);
}

static void sfu_ended(struct agent *agent)
{
	agent->announced = false;
	rooms_forget(agent->rooms);
	report_stop(agent->report);
	if (!agent->node || agent->node_leaves)
		return;
	usher_node_report(agent->node, USHER_SICK); /* no new rooms meanwhile */
	timer_set(agent->loop, &agent->gone_timer, REPLACE_MS, gone_too_long);
}

void agent_sfu_changed(void *arg, int state)
{
	struct agent *agent = arg;

	switch ((enum sfu_state)state) {
	case SFU_UP:
		if (agent->announced && agent->node)
			usher_node_report(agent->node, USHER_READY);
		report_poll(agent->report);
		break;
	case SFU_SICK:
		if (agent->node)
			usher_node_report(agent->node, USHER_SICK);
		rooms_give_up(agent->rooms);
		break;
	case SFU_ABSENT:
		sfu_ended(agent);
		break;
	}
}

void node_unload(struct agent *agent)
{
	timer_clear(agent->loop, &agent->gone_timer);
	timer_clear(agent->loop, &agent->look_again);
	loop_later_drop(agent->loop, &agent->retire);
	rooms_report_to(agent->rooms, NULL);
	usher_node_free(agent->node);
	agent->node = NULL;
}
