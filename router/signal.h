/* SPDX-License-Identifier: Apache-2.0 */
/* One participant's signaling request, between signal.c (the steps), tunnel.c and proxy.c (the two ways of carrying it). */
#pragma once

#include "base/forward.h"
#include "base/tunnel.h"
#include "health/guard.h"
#include "router/resolve.h"

struct signaling {
	struct resolve resolve; /* first */
	struct guard guard;
	const char *url;
	bool websocket;
	bool renewed;           /* the node was brought the room's grant once */
	uint64_t renewing;      /* by this request, now */
	struct sfu_answer renewal;
	/* tunnel.c */
	struct dial_answer dial;
	/* proxy.c */
	struct op op;            /* what the request waits for while a forward has the exchange */
	struct forward *forward;
	enum http_outcome outcome;
	struct str refused;      /* X-Usher-Refused of the node */
	bool passed;             /* the node's answer goes to the client */
};

int dial_node(struct request *);   /* tunnel.c */
int dialed_node(struct request *);
int await_body(struct request *);  /* proxy.c */
int forward_request(struct request *);
int forwarded_request(struct request *);

int signal_refused(struct request *, struct str why); /* the gate refused: look again, while time lasts */
int signal_lost(struct request *, struct str why);    /* … and the body has been given away: the client is to send it again */
/* Adds what the node is told of the request. At most 9 headers. */
bool (*signal_passes(const struct request *))(struct str name); /* which of the participant's headers cross */
void signal_headers(struct request *, struct header *, size_t *n);
