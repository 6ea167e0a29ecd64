/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side, for tests of clients: raw sockets on the same loop, so that a test says byte by byte what comes when, and
 * nothing sleeps. `got` is called after each read and at the end of the stream.
 */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/str.h"

struct peer;
struct peer_conn {
	struct peer *peer;
	struct peer_conn *next;
	struct watch *watch;
	int fd; /* -1: closed */
	struct buf in, out;
	size_t sent;
	bool eof, paused, finish;
	int state; /* the test's */
};
struct peer {
	struct loop *loop;
	int fd;
	uint16_t port;
	struct watch *watch;
	struct peer_conn *conns; /* newest first */
	unsigned accepted;
	void (*got)(struct peer_conn *);
	void *arg;
};

static inline void peer_wait(struct peer_conn *c)
{
	if (c->fd >= 0)
		watch_set(c->watch, (c->paused || c->eof ? 0 : LOOP_READ) | (c->sent < c->out.len ? LOOP_WRITE : 0));
}

static inline void peer_close(struct peer_conn *c)
{
	if (c->fd < 0)
		return;
	watch_free(c->watch);
	close(c->fd);
	c->fd = -1;
}

static inline void peer_reset(struct peer_conn *c)
{
	struct linger now = { 1, 0 };

	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	peer_close(c);
}

static inline void peer_flush(struct peer_conn *c)
{
	while (c->fd >= 0 && c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.at + c->sent, c->out.len - c->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			break;
		c->sent += (size_t)n;
	}
	if (c->fd >= 0 && c->sent == c->out.len && c->finish) {
		c->finish = false;
		shutdown(c->fd, SHUT_WR);
	}
	peer_wait(c);
}

static inline void peer_send(struct peer_conn *c, const void *bytes, size_t len)
{
	buf_add(&c->out, bytes, len);
	peer_flush(c);
}

static inline void peer_says(struct peer_conn *c, const char *text)
{
	peer_send(c, text, strlen(text));
}

static inline void peer_finish(struct peer_conn *c) /* FIN, when all is sent */
{
	c->finish = true;
	peer_flush(c);
}

static inline void peer_event(void *arg, int events)
{
	struct peer_conn *c = arg;
	static char bytes[65536];

	peer_flush(c);
	if (!(events & LOOP_READ) || c->fd < 0 || c->paused || c->eof)
		return;
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		buf_add(&c->in, bytes, (size_t)n);
	else
		c->eof = true;
	peer_wait(c);
	if (c->peer->got)
		c->peer->got(c);
}

static inline struct peer_conn *peer_adopt(struct peer *p, int fd)
{
	struct peer_conn *c = calloc(1, sizeof(*c));

	assert(c);
	c->peer = p;
	c->fd = fd;
	c->next = p->conns;
	p->conns = c;
	c->watch = watch_new(p->loop, fd, LOOP_READ, peer_event, c);
	return c;
}

static inline void peer_accept(void *arg, int events)
{
	struct peer *p = arg;
	int fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd < 0)
		return;
	p->accepted++;
	peer_adopt(p, fd);
}

static inline int listen_anywhere(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	getsockname(fd, (struct sockaddr *)&at, &len);
	*port = ntohs(at.sin_port);
	return fd;
}

static inline void peer_open(struct peer *p, struct loop *loop, void (*got)(struct peer_conn *))
{
	*p = (struct peer){ .loop = loop, .got = got };
	p->fd = listen_anywhere(&p->port);
	p->watch = watch_new(loop, p->fd, LOOP_READ, peer_accept, p);
}

static inline void peer_free(struct peer *p)
{
	for (struct peer_conn *c = p->conns, *next; c; c = next) {
		next = c->next;
		peer_close(c);
		buf_free(&c->in);
		buf_free(&c->out);
		free(c);
	}
	p->conns = NULL;
	if (p->watch)
		watch_free(p->watch);
	if (p->watch)
		close(p->fd);
	p->watch = NULL;
}

/* What its kernel takes before anybody reads is about as many bytes; 0: as it likes. */
static inline int connect_narrow(uint16_t port, int bytes)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bytes)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static inline int connect_to(uint16_t port)
{
	return connect_narrow(port, 0);
}

/* What lies between is the same each time: left to itself, the kernel gives a connection as much as it thinks good. */
static inline void fix_sizes(int fd)
{
	int bytes = 65536;

	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

static inline uint64_t real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static inline void turn(struct loop *loop)
{
	int timeout = loop_backend_timeout_ms(loop);
	struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };

	poll(&p, 1, timeout < 0 || timeout > 20 ? 20 : timeout);
	loop_turn(loop);
}

/* Turns the loop until the condition holds; a test that waits in vain fails here. */
#define UNTIL(loop, condition)                                                                                                 \
	do {                                                                                                                   \
		uint64_t begun_ms_ = real_ms();                                                                                \
		while (!(condition)) {                                                                                         \
			ck_assert_msg(real_ms() - begun_ms_ < 20000, "waited in vain for: %s", #condition);                    \
			turn(loop);                                                                                            \
		}                                                                                                              \
	} while (0)

/* Through TLS (bridge.h) there are more sockets on the way, and the kernel takes its time on each. */
static inline void turns(struct loop *loop, int n)
{
	struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };
	int patience_ms = getenv("USHER_TEST_TLS") ? 2 : 0;

	while (n--) {
		if (patience_ms)
			poll(&p, 1, patience_ms);
		loop_turn(loop);
	}
}
