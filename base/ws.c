/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 6455 by the byte. The tracker reads heads and counts: what is in a frame is nobody's business on the way. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mac.h"
#include "base/ws.h"

#define CONTROL_MAX 125 /* bytes (RFC 6455, 5.5) */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

enum { OP_CONTINUATION = 0, OP_BINARY = 2, OP_CLOSE = 8, OP_PONG = 10 };

/* Bytes of the head, once its first two are known. */
static uint8_t head_size(const uint8_t *head)
{
	uint8_t len = head[1] & 0x7f, size = 2;

	size = (uint8_t)(size + (len == 126 ? 2 : len == 127 ? 8 : 0));
	return (uint8_t)(size + (head[1] & 0x80 ? 4 : 0));
}

static uint64_t payload_size(const uint8_t *head)
{
	uint64_t len = head[1] & 0x7f;
	int bytes = len == 126 ? 2 : len == 127 ? 8 : 0;

	if (!bytes)
		return len;
	len = 0;
	for (int i = 0; i < bytes; i++)
		len = len << 8 | head[2 + i];
	return len;
}

/* Of a whole head; t->left is its payload. */
static enum ws_fault judge(struct ws_track *t, const struct ws_rules *rules, const uint8_t *head)
{
	uint8_t opcode = head[0] & 0x0f, reserved = head[0] & 0x70;
	bool fin = head[0] & 0x80, masked = head[1] & 0x80;

	if (masked != rules->masked || (reserved && !rules->extended))
		return WS_PROTOCOL;
	if (opcode >= OP_CLOSE) /* control frames may stand between the fragments of a message */
		return opcode > OP_PONG || !fin || t->left > CONTROL_MAX ? WS_PROTOCOL : WS_FINE;
	if (opcode > OP_BINARY || (opcode == OP_CONTINUATION) != t->fragmented)
		return WS_PROTOCOL;
	t->message = t->fragmented ? t->message : 0;
	if (t->left > rules->frame_bytes || t->left > rules->message_bytes || t->message > rules->message_bytes - t->left)
		return WS_TOO_BIG;
	t->message += t->left;
	t->fragmented = !fin;
	return WS_FINE;
}

static void begin_frame(struct ws_track *t, const struct ws_rules *rules, const uint8_t *head)
{
	t->left = payload_size(head);
	t->fault = (uint8_t)(rules->frame_bytes ? judge(t, rules, head) : WS_FINE);
	t->close_seen = t->close_seen || (!t->fault && (head[0] & 0x0f) == OP_CLOSE);
}

/* A head in pieces; returns how many bytes of it were taken. */
static size_t collect_head(struct ws_track *t, const struct ws_rules *rules, const char *bytes, size_t len)
{
	size_t used = 0;

	if (!t->have)
		t->need = 2;
	while (t->have < t->need && used < len) {
		t->head[t->have++] = (uint8_t)bytes[used++];
		if (t->have == 2)
			t->need = head_size(t->head);
	}
	if (t->have < t->need)
		return used;
	t->have = 0;
	begin_frame(t, rules, t->head);
	return used;
}

/* Nearly always it is there in one piece, at the beginning of what was read. */
static size_t track_head(struct ws_track *t, const struct ws_rules *rules, const char *bytes, size_t len)
{
	const uint8_t *head = (const uint8_t *)bytes;
	size_t size = len < 2 ? 2 : head_size(head);

	if (t->have || len < size)
		return collect_head(t, rules, bytes, len);
	begin_frame(t, rules, head);
	return size;
}

size_t ws_track(struct ws_track *t, const struct ws_rules *rules, const char *bytes, size_t len)
{
	size_t at = 0, pass = 0;

	while (at < len && !t->fault) {
		if (!t->left)
			at += track_head(t, rules, bytes + at, len - at);
		if (t->have || t->fault)
			break;
		size_t body = t->left < len - at ? (size_t)t->left : len - at;
		t->left -= body;
		pass = at += body;
	}
	if (t->fault)
		t->left = 0;
	return pass;
}

bool ws_at_boundary(const struct ws_track *t)
{
	return !t->left;
}

size_t ws_to_boundary(const struct ws_track *t, size_t len)
{
	return t->left < len ? (size_t)t->left : len;
}

size_t ws_close_frame(char out[static WS_CLOSE_MAX], unsigned code, const char *reason, bool masked)
{
	size_t len = strlen(reason) > 123 ? 123 : strlen(reason), at = 2;
	unsigned char mask[4] = { 0 };

	out[0] = (char)0x88;
	out[1] = (char)((len + 2) | (masked ? 0x80 : 0));
	if (masked) {
		random_bytes(mask, 4);
		memcpy(out + 2, mask, 4);
		at = 6;
	}
	out[at] = (char)(code >> 8 & 0xff);
	out[at + 1] = (char)(code & 0xff);
	memcpy(out + at + 2, reason, len);
	for (size_t i = 0; masked && i < len + 2; i++)
		out[at + i] = (char)(out[at + i] ^ mask[i % 4]);
	return at + 2 + len;
}

void ws_accept_key(struct str key, char out[static 29])
{
	unsigned char hash[SHA1_BYTES];

	hash_sha1(key, STR(GUID), hash);
	EVP_EncodeBlock((unsigned char *)out, hash, SHA1_BYTES);
}

/* -- endpoints ----------------------------------------------------------------------------------------------------- */
/* The whole first frame, if it is there: its size, else 0. */
static uint64_t frame_there(const struct ws_reader *r, uint64_t *head)
{
	const uint8_t *at = (const uint8_t *)r->pending.at;

	if (r->pending.len < 2 || r->pending.len < head_size(at))
		return 0;
	*head = head_size(at);
	return payload_size(at);
}

bool ws_read(struct ws_reader *r, const char *bytes, size_t len, void (*frame)(void *arg, const struct ws_frame *), void *arg)
{
	size_t used = 0;
	uint64_t head, body;

	buf_add(&r->pending, bytes, len);
	struct ws_reader rest = *r;
	for (;;) {
		rest.pending.at = r->pending.at + used;
		rest.pending.len = r->pending.len - used;
		head = 0;
		body = frame_there(&rest, &head);
		if (body > r->max)
			return false;
		if (!head || rest.pending.len < head + body)
			break;
		char *at = rest.pending.at, *payload = at + head;
		const char *mask = at[1] & (char)0x80 ? payload - 4 : NULL;
		for (uint64_t i = 0; mask && i < body; i++)
			payload[i] = (char)(payload[i] ^ mask[i % 4]);
		struct ws_frame f = { .opcode = at[0] & 0x0f, .fin = at[0] & (char)0x80, .rsv = (at[0] >> 4) & 7 };
		f.payload = (struct str){ payload, body };
		frame(arg, &f);
		used += head + body;
	}
	if (used) {
		memmove(r->pending.at, r->pending.at + used, r->pending.len - used);
		r->pending.len -= used;
	}
	return true;
}

void ws_frame_out(struct buf *out, uint8_t opcode, bool fin, struct str payload)
{
	unsigned char head[10] = { (unsigned char)(opcode | (fin ? 0x80 : 0)) };
	size_t size = 2;

	if (payload.len < 126) {
		head[1] = (unsigned char)payload.len;
	} else if (payload.len < 65536) {
		head[1] = 126;
		head[2] = (unsigned char)(payload.len >> 8);
		head[3] = (unsigned char)payload.len;
		size = 4;
	} else {
		head[1] = 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (unsigned char)((uint64_t)payload.len >> (56 - 8 * i));
		size = 10;
	}
	buf_add(out, head, size);
	buf_add(out, payload.at, payload.len);
}
