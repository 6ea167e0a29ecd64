/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of a connection, on the target's own loop: a listener on loopback, whose connections say what the target makes
 * them say. And the fence around it: nothing in the process connects anywhere else, and no name has an address, whatever the
 * input says.
 *
 * The far side resets what it ends (no TIME_WAIT), as there are thousands a second.
 */
#pragma once

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/loop.h"
#include "tests/fuzz/fuzz.h"

struct far;
struct far_conn {
	struct far *far;
	struct far_conn *next;
	struct watch *watch;
	int fd; /* -1: ended */
	struct buf in, out;
	size_t taken, sent; /* of `in` by the target; of `out` by the kernel */
	bool eof, finish;   /* finish: ends once all is sent */
	int state;          /* the target's */
};
struct far {
	struct loop *loop;
	int fd;
	struct watch *watch;
	struct far_conn *conns;
	size_t accepted;
	void (*got)(struct far_conn *); /* more has come, or the end of it */
	void *arg;
};

static uint16_t far_port; /* of the one listener of the process */
static int far_fd = -1;

/* -- the fence ------------------------------------------------------------------------------------------------------------- */
int connect(int fd, const struct sockaddr *to, socklen_t len)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)to;

	if (to->sa_family == AF_INET && (v4->sin_port != htons(far_port) || v4->sin_addr.s_addr != htonl(INADDR_LOOPBACK))) {
		errno = ECONNREFUSED;
		return -1;
	}
	if (to->sa_family != AF_INET && to->sa_family != AF_UNIX) {
		errno = ENETUNREACH;
		return -1;
	}
	return (int)syscall(SYS_connect, fd, to, len);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	unsigned char address[16];
	int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

	*out = NULL;
	if (!name || (inet_pton(AF_INET, name, address) != 1 && inet_pton(AF_INET6, name, address) != 1))
		return EAI_NONAME;
	*(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
	return real(name, service, hints, out);
}

/* -- connections ----------------------------------------------------------------------------------------------------------- */
static inline void far_end(struct far_conn *c)
{
	struct linger now = { 1, 0 };

	if (c->fd < 0)
		return;
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	watch_free(c->watch);
	close(c->fd);
	c->fd = -1;
}

static inline void far_flush(struct far_conn *c)
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
	if (c->fd >= 0)
		watch_set(c->watch, (c->eof ? 0 : LOOP_READ) | (c->sent < c->out.len ? LOOP_WRITE : 0));
}

static inline void far_say(struct far_conn *c, const void *bytes, size_t len)
{
	buf_add(&c->out, bytes, len);
	far_flush(c);
}

static inline void far_event(void *arg, int events)
{
	struct far_conn *c = arg;
	char bytes[16384];

	far_flush(c);
	if (!(events & LOOP_READ) || c->fd < 0 || c->eof)
		return;
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		buf_add(&c->in, bytes, (size_t)n);
	else
		c->eof = true;
	far_flush(c);
	c->far->got(c);
	if (c->eof && c->sent == c->out.len)
		far_end(c);
}

static inline void far_accept(void *arg, int events)
{
	struct far *far = arg;
	int fd;

	(void)events;
	while ((fd = accept4(far->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct far_conn *c = calloc(1, sizeof(*c));
		MUST(c);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* the clock does not run: nothing may wait */
		*c = (struct far_conn){ .far = far, .next = far->conns, .fd = fd };
		far->conns = c;
		far->accepted++;
		c->watch = watch_new(far->loop, fd, LOOP_READ, far_event, c);
	}
}

/* Once for the process. */
static inline void far_listen(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	far_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	MUST(bind(far_fd, (struct sockaddr *)&at, len) == 0 && listen(far_fd, 64) == 0);
	MUST(getsockname(far_fd, (struct sockaddr *)&at, &len) == 0);
	far_port = ntohs(at.sin_port);
}

static inline void far_open(struct far *far, struct loop *loop, void (*got)(struct far_conn *), void *arg)
{
	*far = (struct far){ .loop = loop, .fd = far_fd, .got = got, .arg = arg };
	far->watch = watch_new(loop, far->fd, LOOP_READ, far_accept, far);
}

static inline void far_close(struct far *far)
{
	int fd;

	for (struct far_conn *c = far->conns, *next; c; c = next) {
		next = c->next;
		far_end(c);
		buf_free(&c->in);
		buf_free(&c->out);
		free(c);
	}
	watch_free(far->watch);
	while ((fd = accept4(far->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) { /* nobody saw it: the next input shall not */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
		close(fd);
	}
}
