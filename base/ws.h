/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As much of WebSocket (RFC 6455) as usher needs: following frame boundaries in a byte stream that passes by, making
 * Close frames, the handshake's key, and a small message reader for endpoints (the echo SFU, tests).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* What one direction of a tunnel must keep to. With frame_bytes 0 nothing is judged. */
struct ws_rules {
	uint64_t frame_bytes, message_bytes; /* most payload of a frame; of a message, which is the sum of its fragments */
	bool masked;                         /* it comes from a client (RFC 6455, 5.1) */
	bool extended;                       /* an extension was agreed on: RSV bits are its own business */
};
enum ws_fault { WS_FINE, WS_TOO_BIG, WS_PROTOCOL };

/* Follows one direction. Zero-initialized: at a boundary. */
struct ws_track {
	uint64_t left;      /* payload bytes left of the present frame */
	uint64_t message;   /* payload bytes of the present message so far */
	uint8_t head[14];
	uint8_t have, need; /* bytes of a head that is not whole: they wait here; wanted */
	bool close_seen;    /* a Close frame has begun */
	bool fragmented;    /* the message goes on with the next frame */
	uint8_t fault;      /* enum ws_fault: of the head that was met last; nothing is followed behind it */
};
/*
 * Follows len more bytes and returns how many of them may pass: those of a head that is not whole wait (head, have), so that a head
 * is judged before any of it has passed, and what passed stands on a boundary then. If any may pass, those that waited go first.
 */
size_t ws_track(struct ws_track *, const struct ws_rules *, const char *bytes, size_t len);
bool ws_at_boundary(const struct ws_track *); /* of what has passed */
/* How many of the next len bytes belong to the frame that has begun to pass. */
size_t ws_to_boundary(const struct ws_track *, size_t len);

#define WS_CLOSE_MAX 131
/* A Close frame; masked if it goes to a server. The reason is cut at 123 bytes. Returns its length. */
size_t ws_close_frame(char out[static WS_CLOSE_MAX], unsigned code, const char *reason, bool masked);
void ws_accept_key(struct str key, char out[static 29]); /* Sec-WebSocket-Accept */

/* For endpoints: calls back for each frame, unmasked in place. Returns false on a protocol error or a frame over max. */
struct ws_reader {
	struct buf pending;
	size_t max;
};
struct ws_frame {
	uint8_t opcode;
	bool fin;
	uint8_t rsv;
	struct str payload;
};
bool ws_read(struct ws_reader *, const char *bytes, size_t len, void (*frame)(void *arg, const struct ws_frame *), void *arg);
void ws_frame_out(struct buf *, uint8_t opcode, bool fin, struct str payload); /* unmasked: server side */
