/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: each connection's bytes to one of its own at 127.0.0.1:PORT and back, by one epoll set, and nothing else: no handshake, no
 * frames, no limits, no time. What is not taken at once ends it, as ping-pong never leaves that much. Prints its port.
 */
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct side {
	int fd, other;
} sides[65536]; /* by descriptor */
static int set;

static void watch(int fd, int other)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	sides[fd] = (struct side){ fd, other };
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void meet(int listener, const struct sockaddr_in *to)
{
	int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);

	if (client < 0 || server < 0 || connect(server, (const struct sockaddr *)to, sizeof *to) < 0)
		err(1, "connection");
	watch(client, server);
	watch(server, client);
}

static void carry(int fd)
{
	static char block[65536];
	ssize_t n = recv(fd, block, sizeof block, MSG_DONTWAIT);

	if (n > 0 && send(sides[fd].other, block, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		err(1, "send");
	if (n > 0)
		return;
	shutdown(sides[fd].other, SHUT_WR);
	epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL);
	if (sides[sides[fd].other].other < 0) { /* both have ended */
		close(sides[fd].other);
		close(fd);
	} else {
		sides[fd].other = -1;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, to = at;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	socklen_t len = sizeof at;

	if (argc != 2 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 1024) < 0)
		err(1, "one word: the port of the far side");
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	getsockname(listener, (struct sockaddr *)&at, &len);
	set = epoll_create1(0);
	watch(listener, -1);
	printf("%u\n", ntohs(at.sin_port));
	fflush(stdout);
	for (;;) {
		struct epoll_event seen[64];
		int n = epoll_wait(set, seen, 64, -1);

		for (int i = 0; i < n; i++)
			if (seen[i].data.fd == listener)
				meet(listener, &to);
			else
				carry(seen[i].data.fd);
	}
}
