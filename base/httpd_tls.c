/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS in front of libmicrohttpd, whose own is no good for WebSockets. A front shakes hands on the accepted socket, then stands
 * between it and one end of a socketpair whose other end MHD takes for the client. What one side does not take at once is kept (at
 * most one read: READ_BLOCK) and its giver is not read until it is gone. When the exchange is upgraded the pair ends, and the link
 * with its TLS goes to the tunnel. (docs/decisions/0014-own-tls-front.md, docs/internals/tls-front.md)
 *
 * All fronts of a loop share an epoll set; those that still shake hands have another, of which HANDSHAKES_PER_TURN events are served
 * in a turn, each with a bounded read (link_shake): a flood of handshakes leaves the loop to the others. Nothing runs MHD in here but conn_serve(), so that no front ends
 * behind our back; the dead are freed after the batch, as events of theirs may be in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/httpd_mhd.h"
#include "base/link.h"
#include "base/log.h"
#include "base/tls.h"
#include "base/wait.h"

#define READ_BLOCK 65536
#define BATCH 64
#define HANDSHAKES_PER_TURN 8
#define HELLO_HEAD 9   /* of a record and of its first message */
#define HELLO_MAX 16384
#define PAIR_BYTES 32768 /* towards MHD, which reads no more than a head and a block ahead */

static const char speak_tls[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 49\r\n\r\n"
				"This port speaks TLS: ask for https:// or wss://\n"; /* to the byte: 49 */
static const char no_room[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

struct end {
	struct front *front;
	struct link link;
	uint32_t events; /* registered; 0: not in the set */
};
struct front {
	struct conn *conn;
	struct front *next; /* of the dead */
	struct end tls, plain;
	bool open;  /* the handshake is done */
	bool left;  /* the client's FIN was seen; */
	bool ended; /* and read */
	bool deaf;  /* MHD gets nothing any more: our FIN was sent, or it has closed */
	bool said;  /* MHD's FIN was read */
	bool dead;
};
struct fronts {
	struct httpd *httpd;
	int set, shaking;
	struct watch *watch, *shaking_watch;
	struct front *dead;
	struct later reap;
	char block[READ_BLOCK]; /* what is read at once */
};

static struct fronts *fronts_of(const struct front *f)
{
	return f->conn->httpd->fronts;
}

/* -- ends ---------------------------------------------------------------------------------------------------------- */
static void reap(struct later *later)
{
	struct fronts *fronts = container_of(later, struct fronts, reap);

	for (struct front *f = fronts->dead, *next; f; f = next) {
		next = f->next;
		free(f);
	}
	fronts->dead = NULL;
}

static void await(struct front *f, struct end *end, uint32_t events)
{
	int set = f->open ? fronts_of(f)->set : fronts_of(f)->shaking;
	struct epoll_event event = { .events = events, .data.ptr = end };

	if (events == end->events)
		return;
	int op = !events ? EPOLL_CTL_DEL : end->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	epoll_ctl(set, op, end->link.fd, &event);
	end->events = events;
}

/* Nothing of it is watched or known any more; the memory stays for the rest of the batch. */
static struct conn *let_go(struct front *f)
{
	struct fronts *fronts = fronts_of(f);

	await(f, &f->tls, 0);
	await(f, &f->plain, 0);
	link_close(&f->plain.link);
	f->dead = true;
	f->next = fronts->dead;
	fronts->dead = f;
	loop_later(fronts->httpd->loop, &fronts->reap, reap);
	f->conn->front = NULL;
	return f->conn;
}

void front_close(struct front *f)
{
	struct conn *c = let_go(f);

	link_close(&f->tls.link);
	if (c->fd < 0)
		conn_forget(c);
}

/* All is said. The client may not have read it yet, and what it sends meanwhile must not turn our FIN into a RST. */
static void front_finish(struct front *f)
{
	if (!f->left)
		httpd_linger(f->conn->httpd, f->tls.link.fd);
	front_close(f);
}

/* The client is out of reach. */
static void front_lost(struct front *f)
{
	if (f->conn->fd >= 0)
		conn_cut(f->conn);
	front_close(f);
}

/* -- bytes --------------------------------------------------------------------------------------------------------- */
static bool may_read_client(const struct front *f)
{
	return !f->ended && (f->deaf || !link_stuck(&f->plain.link));
}

static bool may_read_mhd(const struct front *f)
{
	return !f->said && !link_stuck(&f->tls.link);
}

static void go_deaf(struct front *f)
{
	f->deaf = true;
	link_drop(&f->plain.link);
}

static void client_left(struct front *f)
{
	if (f->left)
		return;
	f->left = true;
	if (f->conn->fd >= 0)
		conn_left(f->conn);
}

static bool read_client(struct front *f)
{
	struct fronts *fronts = fronts_of(f);
	ssize_t n = link_read(&f->tls.link, fronts->block, sizeof(fronts->block));

	if (n == LINK_BROKEN)
		return false;
	if (n == LINK_END) {
		f->ended = true;
		client_left(f);
	}
	if (n <= 0 || f->deaf)
		return true;
	if (!link_put(&f->plain.link, fronts->block, (size_t)n))
		go_deaf(f);
	httpd_dirty(fronts->httpd);
	return true;
}

static bool read_mhd(struct front *f)
{
	struct fronts *fronts = fronts_of(f);
	ssize_t n = link_read(&f->plain.link, fronts->block, sizeof(fronts->block));

	f->said = n == LINK_END || n == LINK_BROKEN;
	return n <= 0 || link_put(&f->tls.link, fronts->block, (size_t)n);
}

/* After any change: FINs, and what to wait for. */
static void settle(struct front *f)
{
	struct link *tls = &f->tls.link, *plain = &f->plain.link;

	if (f->ended && !f->deaf && !link_stuck(plain)) {
		shutdown(plain->fd, SHUT_WR);
		f->deaf = true;
	}
	if (f->said && !link_stuck(tls) && link_finish(tls)) {
		front_finish(f);
		return;
	}
	await(f, &f->tls, link_events(tls, may_read_client(f), link_stuck(tls) || f->said) | (f->left ? 0u : EPOLLRDHUP));
	await(f, &f->plain, link_events(plain, may_read_mhd(f), link_stuck(plain)));
}

/* What TLS waits for is not what is done with it: both are tried, whatever the event. */
static void client_event(struct front *f, uint32_t events)
{
	if (events & EPOLLRDHUP)
		client_left(f);
	if (events & (EPOLLERR | EPOLLHUP) || !link_flush(&f->tls.link) || (may_read_client(f) && !read_client(f)))
		front_lost(f);
	else
		settle(f);
}

static void mhd_event(struct front *f)
{
	if (!link_flush(&f->plain.link))
		go_deaf(f);
	if (may_read_mhd(f) && !read_mhd(f))
		front_lost(f);
	else
		settle(f);
}

static void set_ready(void *arg, int events)
{
	struct fronts *fronts = arg;
	struct epoll_event seen[BATCH];
	int n = epoll_wait(fronts->set, seen, BATCH, 0);

	(void)events;
	for (int i = 0; i < n; i++) {
		struct end *end = seen[i].data.ptr;
		struct front *f = end->front;
		if (f->dead)
			continue;
		if (end == &f->tls)
			client_event(f, seen[i].events);
		else
			mhd_event(f);
	}
}

/* -- handshakes ---------------------------------------------------------------------------------------------------- */
static void told(struct front *f, const char *outcome, const char *why)
{
	struct httpd *h = f->conn->httpd;

	if (h->ops->shaken)
		h->ops->shaken(h->arg, outcome);
	if (why)
		log_debug("tls_handshake_failed", "why", LOG_S(why));
}

void front_late(struct front *f)
{
	told(f, "late", NULL);
	front_close(f);
}

static bool pair_up(struct front *f, int *other)
{
	int pair[2], bytes = PAIR_BYTES;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	f->plain.link.fd = pair[0];
	*other = pair[1];
	return true;
}

static void remember_certificate(struct front *f)
{
	struct tls_peer shown;

	if (!tls_peer_read(f->tls.link.ssl, &shown))
		return;
	f->conn->shown = malloc(sizeof(shown));
	if (!f->conn->shown)
		abort();
	*f->conn->shown = shown;
}

static void opened(struct front *f)
{
	int other;

	told(f, "done", NULL);
	await(f, &f->tls, 0);
	conn_counts(f->conn);
	f->open = true;
	remember_certificate(f);
	if (!pair_up(f, &other)) {
		link_put(&f->tls.link, no_room, sizeof(no_room) - 1);
		link_finish(&f->tls.link);
		front_finish(f);
		return;
	}
	conn_serve(f->conn, other);
	client_event(f, 0); /* its first request often comes with the end of its handshake */
}

/* Nothing is read of it: the answer is not hurt by that as long as we linger. */
static void answer_plain(struct front *f)
{
	told(f, "plain", NULL);
	(void)!send(f->tls.link.fd, speak_tls, sizeof(speak_tls) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	front_finish(f);
}

static bool fails(struct front *f, const char *why)
{
	told(f, "failed", why);
	front_close(f);
	return false;
}

static void wake_at(struct front *f, int bytes)
{
	setsockopt(f->tls.link.fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

/* OpenSSL would allocate what the message says of its length at once, up to 128 KiB; no program says it in pieces. */
static bool is_hello(const unsigned char *at)
{
	size_t record = (size_t)at[3] << 8 | at[4], message = (size_t)at[6] << 16 | (size_t)at[7] << 8 | at[8];

	return at[0] == 22 && at[1] == 3 && record >= 4 && at[5] == 1 && message <= HELLO_MAX;
}

/* Who is silent costs no more than his descriptor. False: nothing has come yet, or it has ended. */
static bool greets(struct front *f)
{
	struct httpd *h = f->conn->httpd;
	unsigned char head[HELLO_HEAD];
	ssize_t n = recv(f->tls.link.fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0 && head[0] >= 'A' && head[0] <= 'Z') { /* no record begins so */
		answer_plain(f);
		return false;
	}
	if (n < (ssize_t)sizeof(head)) /* less wakes us only at its end */
		return fails(f, "closed before it said anything");
	if (!is_hello(head))
		return fails(f, "not a ClientHello, or one over 16 KiB");
	wake_at(f, 1);
	f->tls.link.ssl = tls_accept(h->ops->tls(h->arg), f->tls.link.fd);
	return f->tls.link.ssl || fails(f, "out of memory");
}

static void shake(struct front *f)
{
	const char *why = NULL;

	if (!f->tls.link.ssl && !greets(f))
		return;
	int outcome = link_shake(&f->tls.link, &why);
	if (!outcome) {
		opened(f);
	} else if (outcome == LINK_BROKEN) {
		told(f, "failed", why);
		front_finish(f); /* it may want to read our alert */
	} else {
		await(f, &f->tls, outcome == LINK_AGAIN_WRITE ? EPOLLOUT : EPOLLIN);
	}
}

static void shaking_ready(void *arg, int events)
{
	struct fronts *fronts = arg;
	struct epoll_event seen[HANDSHAKES_PER_TURN];
	int n = epoll_wait(fronts->shaking, seen, HANDSHAKES_PER_TURN, 0);

	(void)events;
	for (int i = 0; i < n; i++)
		shake(((struct end *)seen[i].data.ptr)->front);
}

bool front_begin(struct conn *c, int fd)
{
	struct front *f = calloc(1, sizeof(*f));

	if (!f) {
		close(fd);
		return false;
	}
	f->conn = c;
	f->tls = (struct end){ .front = f, .link = { .fd = fd } };
	f->plain = (struct end){ .front = f, .link = { .fd = -1 } };
	c->front = f;
	c->tls = true;
	conn_await_request(c, true);
	wake_at(f, HELLO_HEAD);
	await(f, &f->tls, EPOLLIN);
	return true;
}

/* -- what others need ---------------------------------------------------------------------------------------------- */
int front_socket(const struct front *f)
{
	return f->tls.link.fd;
}

bool front_judge(struct front *f, const struct tls *now)
{
	if (tls_made(now, f->tls.link.ssl))
		return false;
	tls_peer_judge(now, f->tls.link.ssl, f->conn->shown);
	return true;
}

void front_leave(struct front *f, struct link *out, struct buf *extra)
{
	struct fronts *fronts = fronts_of(f);
	struct link *plain = &f->plain.link, mhd = { .fd = f->conn->fd };
	ssize_t n;

	while ((n = link_read(plain, fronts->block, sizeof(fronts->block))) > 0)
		link_put(&f->tls.link, fronts->block, (size_t)n); /* broken: the tunnel sees it as well */
	while ((n = link_read(&mhd, fronts->block, sizeof(fronts->block))) > 0)
		buf_add(extra, fronts->block, (size_t)n);
	struct str rest = link_rest(plain);
	buf_add(extra, rest.at, rest.len);
	let_go(f);
	*out = f->tls.link;
}

struct fronts *fronts_new(struct httpd *h)
{
	struct fronts *fronts = calloc(1, sizeof(*fronts));

	if (!fronts)
		return NULL;
	fronts->httpd = h;
	fronts->set = epoll_create1(EPOLL_CLOEXEC);
	fronts->shaking = epoll_create1(EPOLL_CLOEXEC);
	fronts->watch = fronts->set < 0 ? NULL : watch_new(h->loop, fronts->set, LOOP_READ, set_ready, fronts);
	fronts->shaking_watch = fronts->shaking < 0 ? NULL : watch_new(h->loop, fronts->shaking, LOOP_READ, shaking_ready, fronts);
	if (fronts->watch && fronts->shaking_watch)
		return fronts;
	fronts_free(fronts);
	return NULL;
}

void fronts_free(struct fronts *fronts)
{
	if (!fronts)
		return;
	watch_free(fronts->watch);
	watch_free(fronts->shaking_watch);
	if (fronts->set >= 0)
		close(fronts->set);
	if (fronts->shaking >= 0)
		close(fronts->shaking);
	loop_later_drop(fronts->httpd->loop, &fronts->reap);
	reap(&fronts->reap);
	free(fronts);
}
