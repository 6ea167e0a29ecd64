/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets, and the far side that they are carried to. A message bears its number at its front and is there and back: the far side
 * gives back what came, and the client looks at length and number.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "modes.h"

#define AT_ONCE 64 /* being opened */
#define UP 8       /* head of a masked frame whose length takes two bytes */
#define DOWN 4

static char up[UP + 65536]; /* the mask is 0, so that both ways bear the same payload */
static char down[DOWN];
static size_t begun, opened;

/* -- the far side ----------------------------------------------------------------------------------------------------------- */
static void far_greet(struct conn *c)
{
	unsigned char hash[20];
	char text[100], accept[40], answer[300];
	const char *key = strcasestr(c->head, "\r\nsec-websocket-key:");

	if (!key)
		fail("a relay asked for no WebSocket");
	sscanf(key + 20, " %24s", text);
	strcat(text, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
	EVP_Digest(text, strlen(text), hash, NULL, EVP_sha1(), NULL);
	EVP_EncodeBlock((unsigned char *)accept, hash, 20);
	int n = snprintf(answer, sizeof(answer), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	                 "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
	conn_send(c, answer, (size_t)n);
	c->open = true;
	c->got = 0;
}

/* A frame comes in parts and goes back in parts, each with one call: nothing is kept of it but how much has come. */
static void far_carry(struct conn *c, const char *bytes, size_t n)
{
	static char back[DOWN + 65536];
	uint64_t frame = UP + options.size;

	while (n) {
		size_t head = c->got < UP ? UP - c->got : 0, part = n < frame - c->got ? n : frame - c->got, len = 0;
		if (c->got == 0) {
			memcpy(back, down, DOWN);
			len = DOWN;
		}
		if (part > head) {
			memcpy(back + len, bytes + head, part - head);
			len += part - head;
		}
		if (len)
			conn_send(c, back, len);
		c->got = (c->got + part) % frame;
		bytes += part;
		n -= part;
	}
}

static void far_ready(struct conn *c)
{
	static char bytes[65536];
	ssize_t n = c->open ? recv(c->fd, bytes, sizeof(bytes), 0) : recv(c->fd, c->head + c->got, HEAD_MAX - c->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		close(c->fd);
		free(c);
	} else if (c->open) {
		far_carry(c, bytes, (size_t)n);
	} else {
		c->got += (size_t)n;
		if (strstr(c->head, "\r\n\r\n"))
			far_greet(c);
	}
}

static void far_accept(struct conn *listener)
{
	int fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		conn_add(fd, far_ready);
}

static void far_listen(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)options.far_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 4096))
		fail("the far side cannot listen");
	conn_add(fd, far_accept);
}

/* -- the clients ------------------------------------------------------------------------------------------------------------ */
static void near_ask(struct load *l, struct conn *c)
{
	(void)l;
	memcpy(up + UP, &c->number, sizeof(c->number));
	c->whole = DOWN + options.size;
	conn_send(c, up, UP + options.size);
}

static void near_opens(struct conn *c)
{
	ssize_t n = recv(c->fd, c->head + c->got, HEAD_MAX - c->got, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		fail("a tunnel did not open");
	c->got += (size_t)n;
	if (!strstr(c->head, "\r\n\r\n"))
		return;
	if (strncmp(c->head, "HTTP/1.1 101 ", 13))
		fprintf(stderr, "%.300s\n", c->head), fail("a tunnel was refused");
	c->open = true;
	opened++;
	conn_idle(c);
}

static void near_ready(struct conn *c)
{
	static char bytes[65536];

	if (!c->open) {
		near_opens(c);
		return;
	}
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0 || !c->busy || c->got + (size_t)n > c->whole)
		fail("a tunnel ended, or said more than was asked");
	for (ssize_t i = 0; i < n && c->got + (size_t)i < DOWN + sizeof(c->number); i++)
		c->head[c->got + (size_t)i] = bytes[i];
	c->got += (size_t)n;
	if (c->got == c->whole)
		conn_answered(c, !memcmp(c->head, down, DOWN) && !memcmp(c->head + DOWN, &c->number, sizeof(c->number)));
}

static void near_begin(void)
{
	char ask[1024];
	int n = snprintf(ask, sizeof(ask), "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	                 "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n", options.path, load.host,
	                 options.header ? options.header : "", options.header ? "\r\n" : "");

	if (n >= (int)sizeof(ask))
		fail("-p and -H: more than a head may have here");
	conn_send(conn_connect(near_ready), ask, (size_t)n);
	begun++;
}

static void open_all(struct tally *t)
{
	uint64_t from = now_ns();

	while (opened < load.nconns) {
		while (begun < load.nconns && begun - opened < AT_ONCE)
			near_begin();
		load_turn(now_ns() + SECOND);
	}
	t->asked = t->answered = opened;
	t->seconds = (double)(now_ns() - from) / 1e9;
}

static void end_hold(struct conn *c)
{
	(void)c;
	exit(0);
}

void tunnels_main(void)
{
	struct tally opening = { 0 }, warm = { 0 }, t = { 0 };

	if (options.size < 126 || options.size > 65535)
		fail("-l: from 126 to 65535 bytes");
	memcpy(up, (const unsigned char[]){ 0x82, 0x80 | 126, (unsigned char)(options.size >> 8), (unsigned char)options.size }, 4);
	memcpy(down, (const unsigned char[]){ 0x82, 126, (unsigned char)(options.size >> 8), (unsigned char)options.size }, DOWN);
	far_listen();
	load.ask = near_ask;
	puts(options.seconds > 0 ? "ready" : "go");
	fflush(stdout);
	open_all(&opening);
	if (options.seconds <= 0) {
		tally_print(&opening);
		conn_add(STDIN_FILENO, end_hold);
		for (;;)
			load_turn(now_ns() + SECOND);
	}
	load_run(&warm, options.rate, options.warm_s);
	puts("go");
	fflush(stdout);
	load_run(&t, options.rate, options.seconds);
	t.wrong += warm.wrong;
	tally_print(&t);
}
