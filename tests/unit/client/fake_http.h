/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain HTTP server on a thread of its own, for tests of clients: one request a connection, one after another. It shares
 * no code with what is tested. The answerer gets the whole request and writes the whole answer; the test reads what it left
 * behind only after the client has its answer.
 */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/str.h"

struct fake_http {
	int fd;
	unsigned port;
	pthread_t thread;
	void (*answer)(void *arg, const char *request, const char *body, struct buf *out);
	void *arg;
};

static inline size_t fake_http_length(const char *head)
{
	const char *at = strcasestr(head, "\r\ncontent-length:");

	return at ? (size_t)strtoul(at + 17, NULL, 10) : 0;
}

/* Until the head and as much body as it announces are there. */
static inline const char *fake_http_receive(int fd, struct buf *in)
{
	char bytes[4096];
	const char *end;

	for (;;) {
		ssize_t n = read(fd, bytes, sizeof(bytes));

		if (n <= 0)
			return NULL;
		buf_add(in, bytes, (size_t)n);
		end = strstr(in->at, "\r\n\r\n");
		if (end && in->len >= (size_t)(end + 4 - in->at) + fake_http_length(in->at))
			return end + 4;
	}
}

static inline void fake_http_send(int fd, const struct buf *out)
{
	for (size_t sent = 0; sent < out->len;) {
		ssize_t n = send(fd, out->at + sent, out->len - sent, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		sent += (size_t)n;
	}
}

static inline void *fake_http_run(void *arg)
{
	struct fake_http *fake = arg;
	int fd;

	while ((fd = accept(fake->fd, NULL, NULL)) >= 0) {
		struct buf in = { 0 }, out = { 0 };
		const char *body = fake_http_receive(fd, &in);

		if (body)
			fake->answer(fake->arg, in.at, body, &out);
		fake_http_send(fd, &out);
		close(fd);
		buf_free(&in);
		buf_free(&out);
	}
	return NULL;
}

static inline void fake_http_answer(struct buf *out, const char *status, const char *body)
{
	buf_printf(out, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s", status,
	           strlen(body), body);
}

static inline void fake_http_start(struct fake_http *fake, void (*answer)(void *, const char *, const char *, struct buf *), void *arg)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int err;

	*fake = (struct fake_http){ .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .answer = answer, .arg = arg };
	err = bind(fake->fd, (struct sockaddr *)&at, sizeof(at)) || listen(fake->fd, 64) ||
	      getsockname(fake->fd, (struct sockaddr *)&at, &len);
	assert(!err);
	fake->port = ntohs(at.sin_port);
	err = pthread_create(&fake->thread, NULL, fake_http_run, fake);
	assert(!err);
	(void)err;
}

static inline void fake_http_stop(struct fake_http *fake)
{
	shutdown(fake->fd, SHUT_RDWR); /* accept() returns */
	pthread_join(fake->thread, NULL);
	close(fake->fd);
}
