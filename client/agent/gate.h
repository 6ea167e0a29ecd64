/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: the only way to the SFU's signaling. Each request (WebSocket or other) must name a room that the SFU holds, at the
 * very epoch at which it is held, with a grant of the room where those are demanded, while the gate is not shut; then it is passed
 * on to the SFU, streamed or as a tunnel. Asked at the request and again when the SFU has answered the handshake: nothing is
 * announced when a lease ends.
 *
 * Who is inside stays inside until the room ends. Refusals that pass by looking again say so in X-Usher-Refused.
 * Bounds: settings' connections, tunnel_buffer_bytes each way, FORWARD_BUFFER each way.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/httpd.h"

struct agent_conf;
struct gate;
struct http;
struct loop;
struct rooms;
struct trust;

#define GATE_PATH "/signal" /* what follows it belongs to the SFU */

struct gate_conf {
	struct loop *loop;
	struct http *http;
	const struct agent_conf *settings;
	const struct rooms *rooms;
	const struct trust *trust; /* of the SFU's certificate */
	const char *signal_url, *http_url; /* of the SFU */
	/* Why nobody is let in at present ("lease", "sick", …); NULL: the gate is open. */
	const char *(*shut)(void *arg);
	bool (*demands_grants)(void *arg); /* without a grant of the room nobody gets in */
	void *arg;
};
struct gate *gate_new(const struct gate_conf *); /* NULL: out of memory or descriptors */
void gate_free(struct gate *);                   /* after its httpd */
extern const struct httpd_ops gate_ops;          /* begin, ready, end; the arg is the gate */

/* Ends what goes on in the room up to that epoch: tunnels with a Close, requests with a refusal. */
void gate_close_room(struct gate *, struct str room, uint64_t up_to_epoch, unsigned code, const char *reason);
void gate_close_all(struct gate *, unsigned code, const char *reason);
/* The same, each within `spread_ms`; the reason gets ";retry=<ms>". What opens later is closed at once. */
void gate_close_slowly(struct gate *, unsigned code, const char *reason, uint64_t spread_ms);
size_t gate_tunnels(const struct gate *);
