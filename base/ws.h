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

/* Follows one direction. Zero-initialized: at a boundary. */
struct ws_track {
	uint64_t left;      /* payload bytes left of the present frame */
	uint8_t head[14];
	uint8_t have, need; /* bytes of the head seen / wanted; need 0: at a boundary */
	bool close_seen;    /* a Close frame has begun */
};
void ws_track(struct ws_track *, const char *bytes, size_t len);
bool ws_at_boundary(const struct ws_track *);
/* How many of the len bytes belong to frames already begun: up to the next boundary (len: it is not in there). */
size_t ws_to_boundary(const struct ws_track *, const char *bytes, size_t len);

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
