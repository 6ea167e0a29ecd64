/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets over TLS: many clients, and the far side that they are carried to, on one thread and one epoll set.
 *
 *   tls BACKEND_PORT HOST PORT PATH TUNNELS SECONDS    ping-pong of 200 bytes on each; prints messages a second
 *   tls BACKEND_PORT HOST PORT PATH TUNNELS 0          opens them, prints "open", and holds them until it is ended
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PAYLOAD 200
#define UP (8 + PAYLOAD)   /* masked */
#define DOWN (4 + PAYLOAD)
#define AT_ONCE 64         /* handshakes */

struct end {
	int fd;
	SSL *ssl; /* NULL: the far side's */
	enum { LISTENS, SHAKES, ASKS, CARRIES } state;
	size_t got;
	char head[2048];
};
static int set;
static SSL_CTX *ctx;
static struct sockaddr_in to;
static const char *path;
static unsigned long messages;
static int begun, opened, wanted, measuring;

static void watch(struct end *e, int op)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = e };

	if (epoll_ctl(set, op, e->fd, &event))
		perror("epoll_ctl"), exit(1);
}

static struct end *end_new(int fd, int state)
{
	struct end *e = calloc(1, sizeof(*e));
	int on = 1;

	e->fd = fd;
	e->state = state;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(e, EPOLL_CTL_ADD);
	return e;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -- the far side ------------------------------------------------------------------------------------------------- */
static void listen_here(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4096))
		perror("listen"), exit(1);
	end_new(fd, LISTENS);
}

static const char *header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at ? at + strlen(name) : NULL;
}

static void far_answers(struct end *e)
{
	unsigned char hash[20];
	char key[100], accept[40], answer[300];

	sscanf(header(e->head, "sec-websocket-key: "), "%24s", key);
	strcat(key, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	EVP_Digest(key, strlen(key), hash, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *)accept, hash, 20);
	int n = snprintf(answer, sizeof(answer), "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
	if (write(e->fd, answer, (size_t)n) != n)
		exit(1);
	e->state = CARRIES;
	e->got = 0;
}

static void far_event(struct end *e)
{
	static char bytes[65536], echo[DOWN] = "\x82\x7e\x00\xc8";
	ssize_t n = e->state == ASKS ? read(e->fd, e->head + e->got, sizeof(e->head) - 1 - e->got) : read(e->fd, bytes, sizeof(bytes));

	if (n <= 0) {
		if (n < 0 && errno == EAGAIN)
			return;
		close(e->fd);
		free(e);
		return;
	}
	e->got += (size_t)n;
	if (e->state == ASKS) {
		if (strstr(e->head, "\r\n\r\n"))
			far_answers(e);
		return;
	}
	for (; e->got >= UP; e->got -= UP)
		if (write(e->fd, echo, DOWN) != DOWN)
			exit(1);
}

/* -- the clients -------------------------------------------------------------------------------------------------- */
static void say(struct end *e, const char *bytes, int len)
{
	if (SSL_write(e->ssl, bytes, len) != len)
		fprintf(stderr, "a write did not go out\n"), exit(1);
}

static void ping(struct end *e)
{
	static const char frame[UP] = "\x82\xfe\x00\xc8";

	say(e, frame, UP);
}

static void near_shakes(struct end *);

static void begin(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		perror("connect"), exit(1);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	struct end *e = end_new(fd, SHAKES);
	e->ssl = SSL_new(ctx);
	SSL_set_fd(e->ssl, fd);
	SSL_set_connect_state(e->ssl);
	begun++;
	near_shakes(e); /* which may be all: no event would tell of it later */
}

static void near_shakes(struct end *e)
{
	char ask[500];
	int done = SSL_do_handshake(e->ssl);

	if (done != 1) {
		if (SSL_get_error(e->ssl, done) != SSL_ERROR_WANT_READ)
			fprintf(stderr, "a handshake failed\n"), exit(1);
		return;
	}
	int n = snprintf(ask, sizeof(ask), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path);
	say(e, ask, n);
	e->state = ASKS;
}

static void near_event(struct end *e)
{
	static char bytes[16384];
	int n;

	if (e->state == SHAKES) {
		near_shakes(e);
		return;
	}
	n = e->state == ASKS ? SSL_read(e->ssl, e->head + e->got, (int)(sizeof(e->head) - 1 - e->got)) : SSL_read(e->ssl, bytes, sizeof(bytes));
	if (n <= 0) {
		if (SSL_get_error(e->ssl, n) != SSL_ERROR_WANT_READ)
			fprintf(stderr, "a tunnel ended\n"), exit(1);
		return;
	}
	e->got += (size_t)n;
	if (e->state == ASKS) {
		if (!strstr(e->head, "\r\n\r\n"))
			return;
		if (strncmp(e->head, "HTTP/1.1 101 ", 13))
			fprintf(stderr, "%.200s\n", e->head), exit(1);
		e->state = CARRIES;
		e->got = 0;
		opened++;
		if (measuring)
			ping(e);
		return;
	}
	for (; e->got >= DOWN; e->got -= DOWN) {
		messages++;
		ping(e);
	}
}

static void turn(void)
{
	struct epoll_event seen[256];
	int n = epoll_wait(set, seen, 256, 1000);

	for (int i = 0; i < n; i++) {
		struct end *e = seen[i].data.ptr;
		int fd;
		if (e->state == LISTENS)
			while ((fd = accept4(e->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
				end_new(fd, ASKS);
		else if (e->ssl)
			near_event(e);
		else
			far_event(e);
	}
	while (begun < wanted && begun - opened < AT_ONCE)
		begin();
}

int main(int argc, char **argv)
{
	if (argc != 7)
		return 2;
	int seconds = atoi(argv[6]);
	to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3])) };
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	path = argv[4];
	wanted = atoi(argv[5]);
	measuring = seconds > 0;
	signal(SIGPIPE, SIG_IGN);
	set = epoll_create1(EPOLL_CLOEXEC);
	ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	listen_here(atoi(argv[1]));
	while (opened < wanted)
		turn();
	puts("open");
	fflush(stdout);
	for (; !seconds;)
		turn();
	double warm = now() + 0.5;
	while (now() < warm)
		turn();
	printf("go\n");
	fflush(stdout);
	messages = 0;
	double from = now();
	while (now() < from + seconds)
		turn();
	printf("%lu %.6f\n", messages, now() - from);
	return 0;
}
