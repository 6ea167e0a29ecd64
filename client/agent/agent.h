/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process: one loop, on it the gate, the control side, the SFU's watch and the node that reports. Who owns what is this
 * struct; each part knows only what it was given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/trust.h"
#include "client/agent/conf.h"
#include "client/agent/control.h"

struct adapter;
struct gate;
struct http;
struct httpd;
struct listen_set;
struct listener;
struct report;
struct rooms;
struct sfu;
struct usher_node;

enum { TAG_GATE, TAG_CONTROL };

struct agent {
	struct agent_conf conf;
	struct loop *loop;
	struct trust sfu_trust;
	struct http *http;
	struct adapter *adapter;
	struct rooms *rooms;
	struct gate *gate;
	struct control_conf control;
	struct listen_set *listeners;
	struct listener *gate_listener, *control_listener;
	struct httpd *httpd;
	struct sfu *sfu;
	struct report *report;

	/* node_life.c */
	struct usher_node *node; /* NULL: not registered, or no more */
	bool announced;          /* the present SFU process is what the node stands for */
	bool node_leaves;
	bool demands;            /* grants and call keys, as was told last */
	struct later retire;     /* of a node that has left */
	struct timer look_again, gone_timer;

	bool leaving;
	uint64_t leave_by_ms;
	struct timer stop_timer;
	int code; /* of the exit */
};

int agent_run(struct agent *); /* the exit code */
void agent_leave(struct agent *, const char *why, int code);

/* -- node_life.c: what becomes of the node as the SFU comes and goes ------------------------------------------------------ */
const char *agent_shut(void *agent); /* why the gate lets nobody in; NULL: it does */
void agent_sfu_changed(void *agent, int state);
void agent_polled(void *agent, int err);
void node_depart(struct agent *);    /* deregisters; node_departed() follows, perhaps at once */
void node_departed(struct agent *);  /* in agent.c */
void node_unload(struct agent *);

/* -- edge.c ----------------------------------------------------------------------------------------------------------------- */
bool edge_build(struct agent *); /* listeners and the HTTP server; logs what is wrong */
/* "ws" → "ws://10.0.0.7:7080/signal": how routers reach a listener. */
void edge_url(const struct agent *, const struct listener *, const char *scheme, const char *path, char *out, size_t max);
