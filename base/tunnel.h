/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket tunnels of one loop: dial the far side, do its handshake, then carry bytes both ways untouched. A machine of
 * two sockets and its own epoll set; memory is held only for bytes that are stuck (at most conf.buffer_bytes each way).
 * Half-close is passed on; frames are followed so that a polite Close can be put on a boundary, and judged by their heads (base/ws.h):
 * who sends one that is too big or breaks the protocol is told so, and the tunnel ends. Used by router and gate.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/http.h"

struct arena;
struct link;
struct loop;
struct tunnels;
struct tunnel;
struct dialed;
struct trust;
struct wait;

struct tunnels_conf {
	uint64_t buffer_bytes; /* each way */
	uint64_t idle_ms;      /* no byte either way for so long: closed */
	uint64_t close_ms;     /* how long a polite Close may take before the sockets are shut */
	uint64_t max;          /* tunnels at once */
	uint64_t frame_bytes, message_bytes; /* most payload of each; frame_bytes 0: frames are followed, not judged */
	bool (*allowed)(void *arg, const struct sockaddr_storage *);
	void *arg;
	const struct trust *trust; /* of wss; NULL: the system's CAs. Outlives the set */
};
struct tunnels *tunnels_new(struct loop *, const struct tunnels_conf *);
void tunnels_free(struct tunnels *); /* cuts what is left */
void tunnels_drop_trust(struct tunnels *); /* after the files of `trust` changed: read anew for the next dial */
size_t tunnels_count(const struct tunnels *);

/* -- dialing ----------------------------------------------------------------------------------------------------------- */
struct dial_plan {
	const char *url; /* ws or wss, with path and query as they are to be sent */
	struct header headers[HTTP_HEADERS_MAX]; /* all but Host, Connection, Upgrade: Sec-WebSocket-* of the client among them */
	size_t nheaders;
	uint64_t connect_timeout_ms, answer_timeout_ms;
};
struct dial_answer {
	enum http_outcome outcome;
	int status;              /* 101: `peer` is set */
	uint64_t retry_after_ms;
	struct header *headers;  /* of the answer, in the arena */
	size_t nheaders;
	struct str body;         /* of an answer that is not 101; at most 16 KiB */
	struct dialed *peer;     /* the open far side; give it to tunnel_join() or dialed_free() */
};
/* WAIT, then wakes with 0 whatever the outcome. -ERR_NO_CAPACITY: `max` tunnels; -ERR_BAD_REQUEST: a Sec-WebSocket-Key that is
 * none, or two of them. Dropping the wait cancels. */
int tunnel_dial(struct tunnels *, const struct dial_plan *, struct arena *, struct dial_answer *out, struct wait *);
void dialed_free(struct dialed *);

/* -- carrying ---------------------------------------------------------------------------------------------------------- */
enum tunnel_side { TUNNEL_CLIENT, TUNNEL_SERVER };
struct tunnel_end {
	const char *why; /* "client_closed", "server_closed", "idle", "closed_by_us", "reset", "broke_rules", … */
	const char *offender, *fault; /* with the latter: "client" or "server"; "too_big" or "protocol"; else NULL */
	uint64_t bytes_up, bytes_down, lived_ms;
};
/* Takes the peer and the client's link; `extra` is what the client had sent already. `ended` comes once, last. */
struct tunnel *tunnel_join(struct tunnels *, struct dialed *peer, struct link *client, struct str extra,
                           void (*ended)(void *arg, const struct tunnel_end *), void *arg);
/* A polite end: a Close frame to both sides on the next frame boundary (within close_ms), then FIN. Once. */
void tunnel_close(struct tunnel *, unsigned code, const char *reason);
void *tunnel_arg(const struct tunnel *);
/* Calls fn for each tunnel; fn may close it. For closing by room or node, and at a stop. */
void tunnels_each(struct tunnels *, void (*fn)(void *ctx, struct tunnel *, void *arg), void *ctx);
