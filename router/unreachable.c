/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each router announces its breakers that are not closed; a node is unreachable while every router that announces itself has one
 * of the node's, and the node is alive all the same. How long that has been so is counted by this process's own clock. One
 * router that reaches the node is enough: then the fault lies between the others and the node.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/wait.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "router/events.h"
#include "router/peers.h"
#include "router/router.h"
#include "router/unreachable.h"

#define EVERY_MS 1000

struct suspect {
	struct suspect *next;
	uint64_t since_ms;
	bool told, drained, seen;
	char node[NODE_MAX + 1];
};
struct unreachables {
	struct router *router;
	struct timer timer;
	struct wait wait;
	char drained[NODE_MAX + 1]; /* whose wish is under way */
	struct suspect *suspects;
};

static bool is_reached_by(const struct peer *peer, const char *node)
{
	for (size_t i = 0; i < peer->nbreakers; i++)
		if (!strcmp(peer->breakers[i].node, node))
			return false;
	return true;
}

static bool is_unreachable(const struct router *router, const struct node *node)
{
	const struct peers_view *peers = peers_view(router->peers);

	if (node->state == NODE_LOST || node->state == NODE_JOINING || node->state == NODE_LATE)
		return false;
	for (size_t i = 0; i < peers->count; i++)
		if (is_reached_by(&peers->peers[i], node->record.id))
			return false;
	return peers->count > 0;
}

static struct suspect *find_suspect(const struct unreachables *u, const char *node)
{
	struct suspect *s = u->suspects;

	while (s && strcmp(s->node, node))
		s = s->next;
	return s;
}

static struct suspect *suspect_of(struct unreachables *u, const char *node, uint64_t now)
{
	struct suspect *s = find_suspect(u, node);

	if (s)
		return s;
	s = calloc(1, sizeof(*s));
	if (!s)
		abort();
	s->since_ms = now;
	memcpy(s->node, node, strlen(node));
	s->next = u->suspects;
	u->suspects = s;
	return s;
}

static void tell(struct unreachables *u, struct suspect *s)
{
	events_emit(u->router, &(struct event){ .type = EVENT_NODE_UNREACHABLE, .node = s->node });
	s->told = true;
}

static void wished(struct wait *w, int err)
{
	struct unreachables *u = container_of(w, struct unreachables, wait);
	struct suspect *s = find_suspect(u, u->drained);

	if (err || !s)
		return; /* the next look wishes again */
	s->drained = true;
	log_line(LOG_WARN, "node_drained", "node", LOG_S(s->node), "why", LOG_S("no router reaches it"), NULL);
}

/* One wish at a time; whoever undoes it is not asked again. */
static void drain(struct unreachables *u, const struct suspect *s)
{
	struct router *router = u->router;

	if (!router->conf.nodes.unreachable_drain || s->drained || u->wait.op)
		return;
	memcpy(u->drained, s->node, sizeof(u->drained));
	u->wait.wake = wished;
	int err = nodes_set_wish(router->store, s->node, WISH_DRAINING, STR("{\"policy\":\"move\",\"by\":\"router\"}"),
	                         loop_now_ms(router->loop) + router->conf.registry.timeout_ms, &u->wait);
	if (err != WAIT)
		wished(&u->wait, err);
}

static void forget_others(struct unreachables *u)
{
	for (struct suspect **at = &u->suspects, *s; (s = *at);) {
		if (s->seen) {
			s->seen = false;
			at = &s->next;
		} else {
			*at = s->next;
			free(s);
		}
	}
}

static void look(struct timer *t)
{
	struct unreachables *u = container_of(t, struct unreachables, timer);
	const struct fleet_view *view = fleet_view(u->router->fleet);
	uint64_t now = loop_now_ms(u->router->loop);

	for (size_t i = 0; i < view->count; i++) {
		if (!is_unreachable(u->router, &view->nodes[i]))
			continue;
		struct suspect *s = suspect_of(u, view->nodes[i].record.id, now);
		s->seen = true;
		if (now - s->since_ms < u->router->conf.nodes.unreachable_ms)
			continue;
		if (!s->told)
			tell(u, s);
		drain(u, s);
	}
	forget_others(u);
	timer_set(u->router->loop, t, EVERY_MS, look);
}

struct unreachables *unreachables_new(struct router *router)
{
	struct unreachables *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->router = router;
	return u;
}

void unreachables_start(struct unreachables *u)
{
	timer_set(u->router->loop, &u->timer, EVERY_MS, look);
}

void unreachables_free(struct unreachables *u)
{
	timer_clear(u->router->loop, &u->timer);
	wait_drop(&u->wait);
	forget_others(u);
	forget_others(u);
	free(u);
}
