/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far side's answer to the handshake, read from what has come so far, from its beginning each time: it is short, and a
 * parser without a state has none to get wrong. A 101 must prove that it has understood our key (RFC 6455, 4.1); any other
 * answer is kept with at most BODY_MAX of its body.
 */
#include <string.h>

#include "base/arena.h"
#include "base/http_line.h"
#include "base/tunnel_private.h"

#define HEAD_MAX 16384
#define BODY_MAX 16384
#define LINES_MAX 64
#define CHUNK_LINE_MAX 256
#define INTERIMS_MAX 16
#define ALL_MAX (8 * BODY_MAX) /* with the framing of small chunks */

struct head {
	struct header headers[LINES_MAX];
	size_t n, size;
	int status;
	bool http10;
};

/* 0: incomplete, 1: read, -1: garbage */
static int read_head(struct str bytes, struct head *h)
{
	const char *end = memmem(bytes.at, bytes.len, "\r\n\r\n", 4), *line, *next;

	h->n = 0;
	h->status = bytes.len > 12 ? status_line(bytes.at, bytes.len) : 0;
	if (bytes.len > 12 && h->status < 100)
		return -1;
	if (!end || !h->status || (size_t)(end - bytes.at) > HEAD_MAX) /* no status: it ends before one could stand there */
		return end || bytes.len > HEAD_MAX + 3 ? -1 : 0;
	h->http10 = bytes.at[7] == '0';
	h->size = (size_t)(end - bytes.at) + 4;
	line = (const char *)memchr(bytes.at, '\n', h->size) + 1;
	if (!line_ends(bytes.at, (size_t)(line - bytes.at)))
		return -1;
	for (; line < end + 2; line = next) {
		next = (const char *)memchr(line, '\n', (size_t)(end + 2 - line)) + 1;
		if (h->n == LINES_MAX || !line_ends(line, (size_t)(next - line)) || !header_line(line, (size_t)(next - line), &h->headers[h->n++]))
			return -1;
	}
	return 1;
}

/* The value of the only header of that name; more than one counts as none. */
static struct str only(const struct head *h, const char *name)
{
	struct str value = { 0 };
	int seen = 0;

	for (size_t i = 0; i < h->n; i++)
		if (str_is_nocase(h->headers[i].name, name)) {
			value = h->headers[i].value;
			seen++;
		}
	return seen == 1 ? value : (struct str){ 0 };
}

static bool has(const struct head *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (str_is_nocase(h->headers[i].name, name))
			return true;
	return false;
}

static bool offered(struct str list, struct str one, bool exact)
{
	struct str piece, name;

	while (str_cut(&list, ',', &piece)) {
		piece = str_trim(piece);
		if (!exact && str_cut(&piece, ';', &name))
			piece = str_trim(name);
		if (one.len && (exact ? str_eq(piece, one) : piece.len == one.len && !strncasecmp(piece.at, one.at, one.len)))
			return true;
	}
	return false;
}

/* A client that meets what it has not offered must fail (RFC 6455, 4.1): better here, and the node is to blame. */
static bool agreed(const struct head *h, const struct offer *offer)
{
	struct str piece, name, list;
	unsigned protocols = 0;

	for (size_t i = 0; i < h->n; i++) {
		list = h->headers[i].value;
		if (str_is_nocase(h->headers[i].name, "Sec-WebSocket-Protocol") && (protocols++ || !offered(offer->protocols, list, true)))
			return false;
		if (!str_is_nocase(h->headers[i].name, "Sec-WebSocket-Extensions"))
			continue;
		while (str_cut(&list, ',', &piece))
			if (!str_cut(&piece, ';', &name) || !offered(offer->extensions, str_trim(name), false))
				return false;
	}
	return true;
}

/* A 101 has no body, so its framing can only lie; a length of 0 is what some servers say anyway. */
static bool bodiless(const struct head *h)
{
	uint64_t length = 0;

	if (has(h, "Transfer-Encoding"))
		return false;
	return !has(h, "Content-Length") || (parse_u64(only(h, "Content-Length"), &length) && !length);
}

static bool switched(const struct head *h, const struct offer *offer)
{
	char accept[29];
	bool connection = false;

	for (size_t i = 0; i < h->n; i++)
		if (str_is_nocase(h->headers[i].name, "Connection"))
			connection = connection || header_names(h->headers[i].value, STR("upgrade"));
	ws_accept_key(offer->key, accept);
	if (h->http10 || !bodiless(h) || !agreed(h, offer))
		return false;
	return connection && str_is_nocase(only(h, "Upgrade"), "websocket") && str_is(only(h, "Sec-WebSocket-Accept"), accept);
}

static void keep(const struct head *h, struct arena *arena, struct dial_answer *out)
{
	out->outcome = HTTP_ANSWERED;
	out->status = h->status;
	out->nheaders = h->n;
	out->headers = arena_alloc(arena, (h->n + 1) * sizeof(*out->headers));
	for (size_t i = 0; i < h->n; i++) {
		const struct header *from = &h->headers[i];
		out->headers[i] = (struct header){ { arena_copy(arena, from->name.at, from->name.len), from->name.len },
			                           { arena_copy(arena, from->value.at, from->value.len), from->value.len } };
		if (str_is_nocase(from->name, "Retry-After"))
			out->retry_after_ms = retry_after_ms(from->value);
	}
}

/* -- bodies -------------------------------------------------------------------------------------------------------- */
/* "1a2b[;extension]\r\n": its length, 0 if it is not whole; negative: none. */
static long chunk_line(struct str s, uint64_t *size)
{
	const char *end = memmem(s.at, s.len, "\r\n", 2);
	size_t digits = 0;

	if (!end) /* but perhaps its CR: what is too long is so however it comes in */
		return s.len > CHUNK_LINE_MAX + 1 ? -1 : 0;
	if (end - s.at > CHUNK_LINE_MAX)
		return -1;
	for (*size = 0; digits < 8; digits++) {
		char c = s.at[digits];
		int value = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
		if (value < 0)
			break;
		*size = *size * 16 + (uint64_t)value;
	}
	if (!digits || (s.at + digits != end && s.at[digits] != ';'))
		return -1;
	return end + 2 - s.at;
}

/* 0: more to come, 1: whole or enough, -1: garbage */
static int read_chunks(struct str s, struct buf *body)
{
	uint64_t size;

	while (body->len < BODY_MAX) {
		long line = chunk_line(s, &size);
		if (line <= 0)
			return (int)line;
		s.at += line;
		s.len -= (size_t)line;
		if (!size)
			return 1;
		buf_add(body, s.at, s.len < size ? s.len : (size_t)size);
		if (s.len < size + 2)
			return body->len >= BODY_MAX;
		if (memcmp(s.at + size, "\r\n", 2) != 0)
			return -1;
		s.at += size + 2;
		s.len -= (size_t)size + 2;
	}
	return 1;
}

static int read_body(const struct head *h, struct str rest, bool ended, struct buf *body)
{
	uint64_t length = UINT64_MAX;

	if (h->status == 204 || h->status == 304)
		return 1;
	if (has(h, "Transfer-Encoding")) {
		bool clear = str_is_nocase(only(h, "Transfer-Encoding"), "chunked") && !has(h, "Content-Length") && !h->http10;
		return clear ? read_chunks(rest, body) : -1;
	}
	if (has(h, "Content-Length") && !parse_u64(only(h, "Content-Length"), &length))
		return -1;
	uint64_t wanted = length < BODY_MAX ? length : BODY_MAX;
	buf_add(body, rest.at, rest.len < wanted ? rest.len : (size_t)wanted);
	return body->len == wanted || (ended && length == UINT64_MAX);
}

int dial_answer_read(struct str bytes, bool ended, const struct offer *offer, struct arena *arena, struct dial_answer *out, size_t *used)
{
	struct head head;
	struct buf body = { 0 };
	size_t at = 0;
	int got, interims = 0;

	do {
		got = read_head((struct str){ bytes.at + at, bytes.len - at }, &head);
		if (got <= 0)
			return got;
		at += head.size;
	} while (head.status < 200 && head.status != 101 && interims++ < INTERIMS_MAX);
	if (head.status < 200 && head.status != 101)
		return -1; /* 100 Continue without end */
	*used = at;
	if (head.status > 599 || (head.status == 101 && !switched(&head, offer)))
		return -1;
	got = head.status == 101 ? 1 : read_body(&head, (struct str){ bytes.at + at, bytes.len - at }, ended, &body);
	if (got == 0 && bytes.len > ALL_MAX)
		got = -1;
	if (got > 0) {
		keep(&head, arena, out);
		size_t len = body.len < BODY_MAX ? body.len : BODY_MAX;
		out->body = (struct str){ arena_copy(arena, body.at, len), len };
	}
	buf_free(&body);
	return got;
}
