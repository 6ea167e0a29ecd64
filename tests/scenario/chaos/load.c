/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joins at a fixed rate, whatever comes back (open loop): the time of each counts from when it was due, so a stall of the
 * routers is not hidden by a generator that waited with them. Rows go to stdout, one for each join (J) and for each try to
 * get in at the gate of the node that the join named (G), separated by tabs:
 *
 *   J due start end router room status node epoch source code
 *   G due start end node   room status node epoch -      refused
 *
 * Times are CLOCK_MONOTONIC in ns. Status 0: no answer, and code says why (refused, reset, timeout, unreachable). A kept
 * connection that turns out to be closed before any answer is not the router's fault: that join is sent again once.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROUTERS_MAX 16
#define GATES_MAX 16
#define CONNS_MAX 8192
#define IDLE_MAX 256
#define ANSWER_MAX 8192
#define TIMEOUT_NS 15000000000ull

struct conn {
	int fd;
	bool gate, busy, reused, again;
	uint64_t due, start;
	size_t to, router, got; /* to: the router, or the gate */
	char room[64], node[80], epoch[24], answer[ANSWER_MAX];
};
static struct place { struct sockaddr_in at; char name[80]; } routers[ROUTERS_MAX], gates[GATES_MAX];
static size_t nrouters, ngates;
static struct conn *conns[CONNS_MAX], *idle[ROUTERS_MAX][IDLE_MAX];
static size_t nidle[ROUTERS_MAX];
static int poller;
static uint64_t answered_ok, enter_every, worst_late_ns;
static size_t in_flight;
static bool anew; /* each join over a new connection */
static volatile sig_atomic_t stopped;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(void)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x;
}

static void row(const struct conn *c, int status, const char *node, const char *epoch, const char *source, const char *code)
{
	printf("%c\t%llu\t%llu\t%llu\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", c->gate ? 'G' : 'J', (unsigned long long)c->due,
	       (unsigned long long)c->start, (unsigned long long)now_ns(), c->gate ? gates[c->to].name : routers[c->router].name,
	       c->room, status, *node ? node : "-", *epoch ? epoch : "-", *source ? source : "-", *code ? code : "-");
}

static void drop(struct conn *c)
{
	if (c->busy)
		in_flight--;
	close(c->fd);
	conns[c->fd] = NULL;
	free(c);
}

static const char *connect_word(int err)
{
	return err == ECONNREFUSED ? "refused" : err == ECONNRESET || err == EPIPE ? "reset" : err == ETIMEDOUT ? "timeout" : "unreachable";
}

/* A connection with the request's words in it, or NULL with a row that says why. */
static struct conn *open_conn(const struct place *to, const struct conn *like)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0 || fd >= CONNS_MAX) {
		row(like, 0, "", "", "", "generator_full");
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	struct conn *c = malloc(sizeof(*c));
	assert(c);
	*c = *like;
	c->fd = fd, c->got = 0, c->busy = true;
	conns[fd] = c;
	in_flight++;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(fd, (const struct sockaddr *)&to->at, sizeof(to->at)) < 0 && errno != EINPROGRESS) {
		row(c, 0, "", "", "", connect_word(errno));
		drop(c);
		return NULL;
	}
	/* Writable once connected; edge-triggered, so each edge tries what is left to do. */
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.fd = fd };
	epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e);
	return c;
}

static void send_request(struct conn *c)
{
	char text[1024];
	const struct place *to = c->gate ? &gates[c->to] : &routers[c->router];
	char host[INET_ADDRSTRLEN];
	int n;

	inet_ntop(AF_INET, &to->at.sin_addr, host, sizeof(host));
	if (c->gate)
		n = snprintf(text, sizeof(text), "GET /signal HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "
		             "janus-protocol\r\nX-Usher-Room: %s\r\nX-Usher-Epoch: %s\r\n\r\n", host, ntohs(to->at.sin_port), c->room, c->epoch);
	else
		n = snprintf(text, sizeof(text), "POST /v1/rooms/%s/join HTTP/1.1\r\nHost: %s:%d\r\n%sContent-Length: 0\r\n\r\n", c->room, host,
		             ntohs(to->at.sin_port), anew ? "Connection: close\r\n" : "");
	/* A fresh socket's buffer takes one request whole, or there is an error that the next edge reports. */
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n)
		c->start = c->start ? c->start : now_ns();
}

static void member(const char *text, const char *name, char *out, size_t size)
{
	char find[32];
	size_t n = 0;

	snprintf(find, sizeof(find), "\"%s\":", name);
	const char *at = strstr(text, find);
	if (at)
		for (at += strlen(find), at += *at == '"'; *at && !strchr("\",}", *at) && n + 1 < size; at++)
			out[n++] = *at;
	out[n] = 0;
}

static void enter_gate(const struct conn *join, const char *node, const char *epoch)
{
	struct conn c = { .gate = true, .due = now_ns() };

	for (c.to = 0; c.to < ngates && strcmp(gates[c.to].name, node); c.to++)
		;
	if (c.to == ngates)
		return;
	memcpy(c.room, join->room, sizeof(c.room));
	snprintf(c.node, sizeof(c.node), "%s", node);
	snprintf(c.epoch, sizeof(c.epoch), "%s", epoch);
	open_conn(&gates[c.to], &c);
}

static void answered(struct conn *c, int status, char *body)
{
	char node[80] = "", epoch[24] = "", source[16] = "", code[40] = "";

	if (c->gate) {
		char *refused = strcasestr(c->answer, "X-Usher-Refused: ");
		if (refused)
			sscanf(refused + 17, "%39[a-z_]", code);
		row(c, status, c->node, c->epoch, "", code);
		drop(c);
		return;
	}
	member(body, "id", node, sizeof(node));
	member(body, "epoch", epoch, sizeof(epoch));
	member(body, "source", source, sizeof(source));
	member(body, "code", code, sizeof(code));
	row(c, status, node, epoch, source, code);
	if (status == 200 && enter_every && answered_ok++ % enter_every == 0)
		enter_gate(c, node, epoch);
	if (anew || strcasestr(c->answer, "\r\nConnection: close") || nidle[c->router] == IDLE_MAX) {
		drop(c);
		return;
	}
	c->busy = false, in_flight--;
	idle[c->router][nidle[c->router]++] = c;
}

static void forget_idle(struct conn *c)
{
	for (size_t i = 0; i < nidle[c->router]; i++)
		if (idle[c->router][i] == c) {
			idle[c->router][i] = idle[c->router][--nidle[c->router]];
			break;
		}
	drop(c);
}

static void broken(struct conn *c, const char *why)
{
	struct conn like = *c;

	if (!c->busy) {
		forget_idle(c);
		return;
	}
	if (c->reused && !c->got && !c->again) {
		drop(c);
		like.reused = false, like.again = true, like.start = 0;
		open_conn(&routers[like.router], &like);
		return;
	}
	row(c, 0, c->node, c->epoch, "", why);
	drop(c);
}

static void readable(struct conn *c)
{
	ssize_t n;

	while ((n = recv(c->fd, c->answer + c->got, ANSWER_MAX - 1 - c->got, 0)) > 0) {
		c->got += (size_t)n;
		c->answer[c->got] = 0;
		char *body = strstr(c->answer, "\r\n\r\n"), *length = strcasestr(c->answer, "\r\nContent-Length:");
		if (!body || !c->busy)
			continue;
		body += 4;
		size_t want = length && length < body ? strtoul(length + 17, NULL, 10) : 0;
		if (c->got >= (size_t)(body - c->answer) + want) {
			answered(c, atoi(c->answer + 9), body);
			return;
		}
	}
	if (!n)
		broken(c, "reset");
	else if (n < 0 && errno != EAGAIN)
		broken(c, connect_word(errno));
}

static void join(size_t router, const char *room, uint64_t due)
{
	struct conn like = { .due = due, .router = router };

	snprintf(like.room, sizeof(like.room), "%s", room);
	if (!nidle[router]) {
		open_conn(&routers[router], &like);
		return;
	}
	struct conn *c = idle[router][--nidle[router]];
	memcpy(c->room, like.room, sizeof(c->room));
	c->due = due, c->got = 0, c->start = 0, c->reused = true, c->again = false, c->busy = true;
	in_flight++;
	send_request(c);
}

static void sweep_timeouts(void)
{
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (conns[i] && conns[i]->busy && now_ns() - conns[i]->due > TIMEOUT_NS) {
			row(conns[i], 0, conns[i]->node, conns[i]->epoch, "", "timeout");
			drop(conns[i]);
		}
}

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static struct place place_read(char *text)
{
	struct place p = { .at.sin_family = AF_INET };
	char *name = strchr(text, '='), *at = name ? name + 1 : text, *port = strrchr(at, ':');

	assert(port);
	*port = 0;
	if (name)
		*name = 0;
	p.at.sin_port = htons((uint16_t)atoi(port + 1));
	assert(inet_pton(AF_INET, at, &p.at.sin_addr) == 1);
	snprintf(p.name, sizeof(p.name), "%s", name ? text : port + 1);
	return p;
}

int main(int argc, char **argv)
{
	double rate = 200, seconds = 3600;
	unsigned long rooms = 100, fresh_every = 0;
	const char *prefix = "r";
	bool each = false, all = false;

	for (int o; (o = getopt(argc, argv, "r:s:n:f:p:e:g:1ac")) != -1;)
		switch (o) {
		case 'r': rate = atof(optarg); break;                  /* joins per second */
		case 's': seconds = atof(optarg); break;
		case 'n': rooms = strtoul(optarg, NULL, 10); break;    /* rooms <prefix>0 … */
		case 'f': fresh_every = strtoul(optarg, NULL, 10); break; /* each so-many-th join makes a new room <prefix>new-… */
		case 'p': prefix = optarg; break;
		case 'e': enter_every = strtoul(optarg, NULL, 10); break; /* each so-many-th joined room is entered at the gate */
		case 'g': assert(ngates < GATES_MAX); gates[ngates++] = place_read(optarg); break; /* node=host:port */
		case '1': each = true; break;                          /* each room once, in turn, then end */
		case 'a': all = true; break;                           /* each join through all routers at once */
		case 'c': anew = true; break;
		default: return 2;
		}
	for (; optind < argc && nrouters < ROUTERS_MAX; optind++)
		routers[nrouters++] = place_read(argv[optind]);
	assert(nrouters);
	poller = epoll_create1(EPOLL_CLOEXEC);
	signal(SIGTERM, stop); /* no more joins; those under way are waited for */

	uint64_t begin = now_ns(), made = 0, swept = begin;
	uint64_t total = each ? rooms : (uint64_t)(rate * seconds), step = (uint64_t)(1e9 / rate);
	while (made < total || in_flight) {
		if (stopped)
			total = made;
		uint64_t now = now_ns(), due = begin + made * step;
		for (; made < total && due <= now; due = begin + ++made * step) {
			char room[64];
			if (now - due > worst_late_ns)
				worst_late_ns = now - due;
			if (fresh_every && made % fresh_every == fresh_every - 1)
				snprintf(room, sizeof(room), "%snew-%llu", prefix, (unsigned long long)made);
			else
				snprintf(room, sizeof(room), "%s%llu", prefix, (unsigned long long)(each ? made : random_next() % rooms));
			for (size_t i = 0; all && i < nrouters; i++)
				join(i, room, due);
			if (!all)
				join((made + (made / nrouters)) % nrouters, room, due);
		}
		if (now - swept > 100000000u)
			sweep_timeouts(), swept = now, fflush(stdout);
		int wait = made < total && due > now ? (int)((due - now) / 1000000u) : made < total ? 0 : 20;
		struct epoll_event events[256];
		int n = epoll_wait(poller, events, 256, wait > 20 ? 20 : wait);
		for (int i = 0; i < n; i++) {
			struct conn *c = conns[events[i].data.fd];
			if (!c)
				continue;
			if (c->busy && !c->start && events[i].events & EPOLLOUT && !(events[i].events & (EPOLLERR | EPOLLHUP)))
				send_request(c);
			if (conns[events[i].data.fd] == c && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
				readable(c);
		}
	}
	fprintf(stderr, "late_ms %.1f\n", (double)worst_late_ns / 1e6);
	return 0;
}
