/* SPDX-License-Identifier: Apache-2.0 */
/* Two listeners, one HTTP server: which of the two a connection came by decides whom its requests go to. */
#include <stdio.h>
#include <string.h>

#include "base/httpd.h"
#include "base/listen.h"
#include "base/log.h"
#include "client/agent/agent.h"
#include "client/agent/answer.h"
#include "client/agent/gate.h"

#define CONTROL_BODY_MAX 65536
#define HEADER_BYTES 32768 /* a router's head is 16 KiB at most, and it adds to it */
#define HEADERS 96
#define HEAD_MS 10000
#define IDLE_MS 120000     /* over the routers' 30 s, so that they close first */
#define WRITE_STALL_MS 30000

static const struct httpd_ops *ops_of(const struct exchange *x)
{
	return exchange_tag(x) == TAG_GATE ? &gate_ops : &control_ops;
}

static void *arg_of(struct agent *agent, const struct exchange *x)
{
	return exchange_tag(x) == TAG_GATE ? (void *)agent->gate : (void *)&agent->control;
}

static void begin(void *arg, struct exchange *x)
{
	ops_of(x)->begin(arg_of(arg, x), x);
}

static void ready(void *arg, struct exchange *x)
{
	ops_of(x)->ready(arg_of(arg, x), x);
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	ops_of(x)->end(arg_of(arg, x), x, how);
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	answer_problem(x, err, detail);
}

static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	struct agent *agent = arg;

	(void)given; /* tunnels have a limit of their own */
	listen_released(agent->listeners, peer);
}

static void deal(void *arg, const struct accepted *accepted)
{
	struct agent *agent = arg;

	httpd_add(agent->httpd, accepted);
}

static struct listener *open_listener(struct agent *agent, const char *address, int tag)
{
	const char *why = NULL;
	struct listener *listener = listen_open(agent->listeners, address, tag, &why);

	if (!listener)
		log_error("listen_failed", "address", LOG_S(address), "why", LOG_S(why));
	return listener;
}

bool edge_build(struct agent *agent)
{
	static const struct httpd_ops ops = { .begin = begin, .ready = ready, .end = end, .refuse = refuse, .closed = closed };
	uint64_t most = agent->conf.connections;
	/* A few routers make all connections: a limit by address would only be a lower one in all. */
	struct listen_conf listen = { .connections = most, .connections_per_address = most, .deal = deal, .arg = agent };
	struct httpd_conf httpd = { .body_bytes = CONTROL_BODY_MAX, .header_bytes = HEADER_BYTES, .headers = HEADERS, .connections = most,
		                    .header_ms = HEAD_MS, .body_ms = HEAD_MS, .idle_ms = IDLE_MS, .write_stall_ms = WRITE_STALL_MS };

	agent->httpd = httpd_new(agent->loop, &httpd, &ops, agent);
	agent->listeners = listen_set_new(agent->loop, &listen);
	if (!agent->httpd || !agent->listeners)
		return false;
	if (agent->conf.gate && !(agent->gate_listener = open_listener(agent, agent->conf.listen, TAG_GATE)))
		return false;
	return (agent->control_listener = open_listener(agent, agent->conf.control_listen, TAG_CONTROL));
}

void edge_url(const struct agent *agent, const struct listener *listener, const char *scheme, const char *path, char *out, size_t max)
{
	const char *address = listen_address(listener), *port = strrchr(address, ':');

	if (*agent->conf.advertise_host)
		snprintf(out, max, "%s://%s%s%s", scheme, agent->conf.advertise_host, port, path);
	else
		snprintf(out, max, "%s://%s%s", scheme, address, path);
}
