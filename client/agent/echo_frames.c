/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 6455, section 5. The head is collected (at most 14 bytes), the payload passes through. */
#include <string.h>

#include "base/ws.h"
#include "client/agent/echo_frames.h"

enum { FIN = 0x80, RSV = 0x70, OPCODE = 0x0f, MASKED = 0x80, LENGTH = 0x7f };
enum { CONTINUATION = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

static size_t head_size(const uint8_t *head)
{
	size_t length = head[1] & LENGTH;

	return 2 + (length == 126 ? 2 : length == 127 ? 8 : 0) + 4;
}

static uint64_t payload_size(const uint8_t *head)
{
	size_t length = head[1] & LENGTH, bytes = length == 126 ? 2 : length == 127 ? 8 : 0;
	uint64_t size = bytes ? 0 : length;

	for (size_t i = 0; i < bytes; i++)
		size = size << 8 | head[2 + i];
	return size;
}

static bool acceptable(const uint8_t *head)
{
	uint8_t opcode = head[0] & OPCODE;
	bool control = opcode >= CLOSE;

	if ((head[0] & RSV) || !(head[1] & MASKED)) /* no extension was agreed on */
		return false;
	if (control && (!(head[0] & FIN) || (head[1] & LENGTH) > 125))
		return false;
	return opcode <= BINARY || (opcode >= CLOSE && opcode <= PONG);
}

static void begin_frame(struct echo_frames *f, struct buf *out)
{
	uint8_t opcode = f->head[0] & OPCODE;
	size_t mask_at = head_size(f->head) - 4;
	char head[10];

	f->left = payload_size(f->head);
	f->at = 0;
	memcpy(f->mask, f->head + mask_at, 4);
	f->drop = opcode == PONG;
	f->closing = opcode == CLOSE;
	if (f->drop)
		return;
	memcpy(head, f->head, mask_at);
	head[0] = (char)((f->head[0] & ~OPCODE) | (opcode == PING ? PONG : opcode));
	head[1] = (char)(f->head[1] & LENGTH);
	buf_add(out, head, mask_at);
}

static void end_frame(struct echo_frames *f)
{
	f->have = 0;
	f->closed = f->closed || f->closing;
}

static bool take_head(struct echo_frames *f, char **bytes, size_t *len, struct buf *out)
{
	while (*len && (f->have < 2 || f->have < head_size(f->head))) {
		f->head[f->have++] = (uint8_t) * (*bytes)++;
		--*len;
		if (f->have == 2 && !acceptable(f->head))
			return false;
	}
	if (f->have < 2 || f->have < head_size(f->head))
		return true;
	if (payload_size(f->head) >> 63)
		return false;
	begin_frame(f, out);
	return true;
}

static void take_payload(struct echo_frames *f, char **bytes, size_t *len, struct buf *out)
{
	size_t n = *len < f->left ? *len : (size_t)f->left;

	for (size_t i = 0; i < n; i++)
		(*bytes)[i] = (char)((uint8_t)(*bytes)[i] ^ f->mask[(f->at + i) % 4]);
	if (!f->drop)
		buf_add(out, *bytes, n);
	f->at += n;
	f->left -= n;
	*bytes += n;
	*len -= n;
}

static bool in_payload(const struct echo_frames *f)
{
	return f->have >= 2 && f->have == head_size(f->head);
}

static void refuse(struct echo_frames *f, struct buf *out)
{
	char frame[WS_CLOSE_MAX];

	f->closed = true;
	buf_add(out, frame, ws_close_frame(frame, 1002, "protocol error", false));
}

bool echo_frames(struct echo_frames *f, char *bytes, size_t len, struct buf *out)
{
	while (!f->closed && (len || (in_payload(f) && !f->left))) {
		if (!in_payload(f) && !take_head(f, &bytes, &len, out)) {
			refuse(f, out);
			return false;
		}
		if (!in_payload(f))
			continue;
		take_payload(f, &bytes, &len, out);
		if (!f->left)
			end_frame(f);
	}
	return true;
}

bool echo_at_boundary(const struct echo_frames *f)
{
	return !in_payload(f) || f->drop;
}
