/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP on the far side: an SFU that reads requests strictly, whatever the product made of the input, and answers as the input
 * says; and clients that send bytes as they stand. For targets that run a server of the product between the two.
 */
#pragma once

#include "base/ws.h"
#include "tests/fuzz/far.h"
#include "tests/fuzz/far_tls.h"

#define FAR_ANSWERS_MAX 48

struct far_answers { /* not yet said, in order */
	struct str at[FAR_ANSWERS_MAX];
	size_t count, said;
};
static inline void far_answers_add(struct far_answers *answers, struct str text)
{
	if (answers->count < FAR_ANSWERS_MAX)
		answers->at[answers->count++] = text;
}

/* -- the SFU ----------------------------------------------------------------------------------------------------------------------- */
enum { READS_HEADS, IS_TUNNEL };

static inline struct str far_value(struct str head, const char *name)
{
	struct str rest = head, line, key;

	while (str_cut(&rest, '\n', &line))
		if (str_cut(&line, ':', &key) && str_is_nocase(key, name))
			return str_trim((struct str){ line.at, line.len - (line.len && line.at[line.len - 1] == '\r') });
	return (struct str){ NULL, 0 };
}

/* One Host, one framing, no control characters, lines that end in CR LF. A tab within a value is white space (RFC 9110, 5.5). */
static inline void far_must_be_strict(struct str head)
{
	struct str rest = head, line;
	size_t hosts = 0, lengths = 0, n = 0;

	while (str_cut(&rest, '\n', &line)) {
		MUST(line.len && line.at[line.len - 1] == '\r');
		for (size_t i = 0; i + 1 < line.len; i++)
			MUST(((unsigned char)line.at[i] >= ' ' && line.at[i] != 0x7f) || (n && line.at[i] == '\t' && memchr(line.at, ':', i)));
		hosts += line.len > 5 && !strncasecmp(line.at, "Host:", 5);
		lengths += line.len > 15 && !strncasecmp(line.at, "Content-Length:", 15);
		lengths += line.len > 18 && !strncasecmp(line.at, "Transfer-Encoding:", 18);
		if (!n++)
			MUST(memmem(line.at, line.len, " /", 2) && line.len > 10 && !memcmp(line.at + line.len - 10, " HTTP/1.1\r", 10));
		else
			MUST(line.len == 1 || memchr(line.at, ':', line.len));
	}
	MUST(hosts == 1 && lengths <= 1);
}

static inline void far_say_switching(struct far_conn *c, struct str key)
{
	char accept[29], text[200];

	ws_accept_key(key, accept);
	snprintf(text, sizeof(text), "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
	far_say(c, text, strlen(text));
}

static inline void far_answer(struct far_conn *c, struct far_answers *answers, struct str head)
{
	static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
	struct str key = far_value(head, "Sec-WebSocket-Key");

	if (key.at)
		c->state = IS_TUNNEL;
	if (answers->said < answers->count)
		far_say(c, answers->at[answers->said].at, answers->at[answers->said].len), answers->said++;
	else if (key.at)
		far_say_switching(c, key);
	else
		far_say(c, fine, sizeof(fine) - 1);
}

/* The body behind a head, by its framing: how many bytes; below zero: not all there yet. */
static inline long far_body_size(struct str head, struct str rest)
{
	struct str length = far_value(head, "Content-Length");
	uint64_t n = 0;
	size_t used = 0;

	if (length.at) {
		MUST(parse_u64(length, &n));
		return n <= rest.len ? (long)n : -1;
	}
	if (!far_value(head, "Transfer-Encoding").at)
		return 0;
	for (;;) {
		const char *end = memmem(rest.at + used, rest.len - used, "\r\n", 2);
		char *stop;
		if (!end)
			return -1;
		n = strtoul(rest.at + used, &stop, 16);
		MUST(stop == end && stop > rest.at + used);
		used = (size_t)(end - rest.at) + 2;
		if (rest.len - used < n + 2)
			return -1;
		MUST(!memcmp(rest.at + used + n, "\r\n", 2));
		used += n + 2;
		if (!n)
			return (long)used;
	}
}

/* Reads what has come, request by request; `head` judges each. */
static inline void far_serve(struct far_conn *c, struct far_answers *answers, void (*judge)(struct far_conn *, struct str head))
{
	while (c->fd >= 0 && c->state != IS_TUNNEL && c->in.len > c->taken) {
		const char *at = c->in.at + c->taken, *end = memmem(at, c->in.len - c->taken, "\r\n\r\n", 4);
		if (!end)
			return;
		struct str head = { at, (size_t)(end - at) + 2 }, rest = { end + 4, c->in.len - (size_t)(end + 4 - c->in.at) };
		long body = far_body_size(head, rest);
		if (body < 0)
			return; /* answers wait for all of it, so that what follows is known to be a head */
		far_must_be_strict(head);
		judge(c, head);
		c->taken += head.len + 2 + (size_t)body;
		far_answer(c, answers, head);
	}
}

/* -- clients ----------------------------------------------------------------------------------------------------------------------- */
struct far_client {
	int fd; /* -1: none */
	bool wants_tls, not_http; /* not_http: what comes back are TLS' alerts */
	struct far_tls *tls;
	struct buf out; /* what it got, of all its connections */
};

static inline void far_client_read(struct far_client *c)
{
	char bytes[16384];
	ssize_t n;

	while (c->fd >= 0 && (n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		if (c->tls)
			far_tls_take(c->tls, bytes, (size_t)n, &c->out);
		else
			buf_add(&c->out, bytes, (size_t)n);
	if (c->fd >= 0 && c->tls)
		far_tls_give(c->tls, c->fd);
}

/*
 * -1: no port is left, as those of thousands of connections before rest for a minute. That is nothing of the product's, but a run in which
 * it is common has tried nothing.
 */
static inline int far_connect(const char *address)
{
	static size_t portless;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	MUST(fd >= 0);
	if (syscall(SYS_connect, fd, &at, sizeof(at)) != 0) {
		MUST((errno == EADDRNOTAVAIL || errno == EINTR) && ++portless < 100); /* EINTR: the fuzzer has an alarm */
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)); /* no TIME_WAIT */
	return fd;
}

static inline void far_client_send(struct far_client *c, const char *address, struct str text)
{
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "> %.*s\n", STR_ARG(text));
	if (c->fd < 0) {
		if ((c->fd = far_connect(address)) < 0)
			return;
		c->tls = c->wants_tls ? far_tls_new() : NULL;
	}
	if (c->tls) {
		buf_add(&c->tls->waits, text.at, text.len);
		far_tls_give(c->tls, c->fd);
		return;
	}
	for (size_t sent = 0; sent < text.len;) {
		ssize_t n = send(c->fd, text.at + sent, text.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
}

static inline void far_client_leave(struct far_client *c, bool half)
{
	far_client_read(c);
	if (c->fd >= 0 && half) {
		shutdown(c->fd, SHUT_WR);
	} else if (c->fd >= 0) {
		close(c->fd);
		c->fd = -1;
		far_tls_free(c->tls);
		c->tls = NULL;
	}
}

static inline void far_client_end(struct far_client *c)
{
	far_client_leave(c, false);
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "client: %.*s\n", (int)c->out.len, c->out.at ? c->out.at : "");
	MUST(c->not_http || !c->out.len || !memcmp(c->out.at, "HTTP/1.", c->out.len < 7 ? c->out.len : 7));
	buf_free(&c->out);
	*c = (struct far_client){ .fd = -1 };
}
