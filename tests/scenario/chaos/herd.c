/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many participants, each a WebSocket through the routers in turn. Whose tunnel ends comes back at once; who is refused tries
 * again after RETRY_NS, as a client without manners would. Rooms are read from stdin, one a line. A row for each event:
 *
 *   time  in | out | status of a refusal (0: no answer)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOMS_MAX 65536
#define ROUTERS_MAX 16
#define RETRY_NS 100000000ull
#define UNDER_WAY_MAX 256 /* of the first crowd: what it takes to find the peak without a queue at the routers */

enum state { WAITS, CONNECTS, ASKS, INSIDE };
struct client {
	int fd;
	enum state state;
	uint64_t at;
	size_t got;
	char head[2048];
};
static struct sockaddr_in routers[ROUTERS_MAX];
static char hosts[ROUTERS_MAX][64], rooms[ROOMS_MAX][64];
static size_t nrouters, nrooms, nclients, under_way;
static struct client *clients;
static int poller;
static volatile sig_atomic_t stopped;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

static void tell(const char *what)
{
	printf("%llu\t%s\n", (unsigned long long)now_ns(), what);
}

static void leave(struct client *c, uint64_t again)
{
	if (c->state == CONNECTS || c->state == ASKS)
		under_way--;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1, c->state = WAITS, c->at = again;
}

static void refused(struct client *c, const char *what)
{
	tell(what);
	leave(c, now_ns() + RETRY_NS);
}

static void come(struct client *c)
{
	size_t i = (size_t)(c - clients);

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(c->fd >= 0);
	c->state = CONNECTS, c->got = 0;
	under_way++;
	if (connect(c->fd, (struct sockaddr *)&routers[i % nrouters], sizeof(routers[0])) < 0 && errno != EINPROGRESS) {
		refused(c, "0");
		return;
	}
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, .data.u64 = i };
	epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &e);
}

static void ask(struct client *c)
{
	size_t i = (size_t)(c - clients);
	char text[512];
	int n = snprintf(text, sizeof(text), "GET /v1/rooms/%s/signal HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", rooms[i % nrooms], hosts[i % nrouters]);

	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) == n)
		c->state = ASKS;
}

static void hear(struct client *c)
{
	ssize_t n;
	char sink[4096];

	while ((n = c->state == INSIDE ? recv(c->fd, sink, sizeof(sink), 0) : recv(c->fd, c->head + c->got, sizeof(c->head) - 1 - c->got, 0)) > 0) {
		if (c->state == INSIDE)
			continue; /* a Close frame; the FIN follows */
		c->got += (size_t)n;
		c->head[c->got] = 0;
		if (!strstr(c->head, "\r\n\r\n"))
			continue;
		if (strncmp(c->head + 9, "101", 3)) {
			c->head[12] = 0;
			refused(c, c->head + 9);
			return;
		}
		c->state = INSIDE;
		under_way--;
		tell("in");
	}
	if (n < 0 && errno == EAGAIN)
		return;
	if (c->state == INSIDE) {
		tell("out");
		leave(c, now_ns());
	} else {
		refused(c, "0");
	}
}

int main(int argc, char **argv)
{
	struct rlimit most;
	size_t first = 0;

	assert(argc > 2);
	getrlimit(RLIMIT_NOFILE, &most);
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
	nclients = strtoul(argv[1], NULL, 10);
	for (int i = 2; i < argc && nrouters < ROUTERS_MAX; i++, nrouters++) {
		snprintf(hosts[nrouters], sizeof(hosts[0]), "%s", argv[i]);
		char *port = strrchr(argv[i], ':');
		assert(port);
		*port = 0;
		routers[nrouters] = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port + 1)) };
		assert(inet_pton(AF_INET, argv[i], &routers[nrouters].sin_addr) == 1);
	}
	while (nrooms < ROOMS_MAX && scanf("%63s", rooms[nrooms]) == 1)
		nrooms++;
	assert(nrooms);
	clients = calloc(nclients, sizeof(*clients));
	assert(clients);
	for (size_t i = 0; i < nclients; i++)
		clients[i].fd = -1;
	poller = epoll_create1(EPOLL_CLOEXEC);
	signal(SIGTERM, stop);
	while (!stopped) {
		for (; first < nclients && under_way < UNDER_WAY_MAX; first++)
			come(&clients[first]);
		uint64_t now = now_ns();
		for (size_t i = 0; i < first; i++)
			if (clients[i].state == WAITS && clients[i].at <= now)
				come(&clients[i]);
		struct epoll_event events[512];
		int n = epoll_wait(poller, events, 512, 10);
		for (int i = 0; i < n; i++) {
			struct client *c = &clients[events[i].data.u64];
			if (c->fd < 0)
				continue;
			if (c->state == CONNECTS && events[i].events & EPOLLOUT && !(events[i].events & (EPOLLERR | EPOLLHUP)))
				ask(c);
			if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
				hear(c);
		}
		fflush(stdout);
	}
	return 0;
}
