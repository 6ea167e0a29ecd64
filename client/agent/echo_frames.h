/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of WebSocket frames of a client, turned into the stream that echoes it: unmasked, pings into pongs, pongs dropped,
 * a Close answered with its own code and reason, after which nothing more is said. Frames are never collected: what comes out
 * is as long as what went in and a few bytes, however long the frame.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct echo_frames { /* zero-initialized: at the beginning */
	uint8_t head[14];
	uint8_t have;
	uint64_t left;   /* payload of the present frame */
	uint64_t at;     /* in that payload, for the mask */
	uint8_t mask[4];
	bool drop;       /* a pong */
	bool closed;     /* its Close has been echoed, or ours sent */
	bool closing;    /* the present frame is a Close */
};
/* `bytes` are changed in place. False: not a client's WebSocket; `out` then ends with a Close 1002, if a boundary allows. */
bool echo_frames(struct echo_frames *, char *bytes, size_t len, struct buf *out);
bool echo_at_boundary(const struct echo_frames *);
