/* SPDX-License-Identifier: Apache-2.0 */
/* Requests over kept connections. Each answer's status, length and words are looked at; a server that closes ends the run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "modes.h"

static char request[4096];
static size_t request_len, number_at; /* 0: the same each time */

/* "{}" in the path becomes the number, in ten digits, so that all are of one length. */
static void http_ask(struct load *l, struct conn *c)
{
	char digits[11];
	uint64_t number = options.numbers ? c->number % options.numbers : c->number;

	(void)l;
	if (number_at) {
		snprintf(digits, sizeof(digits), "%010llu", (unsigned long long)number % 10000000000);
		memcpy(request + number_at, digits, 10);
	}
	conn_send(c, request, request_len);
}

static uint64_t whole_of(const struct conn *c)
{
	const char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "\r\nContent-Length:");

	if (!end)
		return 0;
	if (!length || length > end)
		fail("an answer without a length");
	return (uint64_t)(end + 4 - c->head) + strtoull(length + 17, NULL, 10);
}

static bool is_right(const struct conn *c)
{
	static uint64_t told;
	bool right = atoi(c->head + 9) == options.status && (!options.words || strstr(c->head, options.words));

	if (!right && told++ < 5)
		fprintf(stderr, "usher-load: a wrong answer: %.600s\n", c->head);
	return right;
}

bool http_receive(struct conn *c)
{
	static char bytes[262144];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), 0);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0 || !c->busy)
		fail("a connection was closed, or spoke unasked");
	size_t kept = c->got >= HEAD_MAX ? 0 : HEAD_MAX - c->got < (size_t)n ? HEAD_MAX - c->got : (size_t)n;
	memcpy(c->head + c->got, bytes, kept);
	if (kept)
		c->head[c->got + kept] = 0;
	c->got += (uint64_t)n;
	if (!c->whole)
		c->whole = whole_of(c);
	if (c->whole && c->got > c->whole)
		fail("an answer longer than it said");
	return c->whole && c->got == c->whole;
}

static void http_ready(struct conn *c)
{
	if (http_receive(c))
		conn_answered(c, is_right(c));
}

static void make_request(void)
{
	const char *at = strstr(options.path, "{}");
	int before = at ? (int)(at - options.path) : (int)strlen(options.path);
	int n = snprintf(request, sizeof(request), "%s %.*s%s%s HTTP/1.1\r\nHost: %s\r\n%s%s", options.method, before, options.path,
	                 at ? "0000000000" : "", at ? at + 2 : "", load.host, options.header ? options.header : "", options.header ? "\r\n" : "");

	number_at = at ? strlen(options.method) + 1 + (size_t)before : 0;
	if (options.body)
		n += snprintf(request + n, sizeof(request) - (size_t)n, "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
		              strlen(options.body), options.body);
	else
		n += snprintf(request + n, sizeof(request) - (size_t)n, "\r\n");
	request_len = (size_t)n;
}

void http_main(void)
{
	struct tally warm = { 0 }, t = { 0 };

	make_request();
	load.ask = http_ask;
	for (size_t i = 0; i < load.nconns; i++)
		conn_idle(conn_connect(http_ready));
	load_run(&warm, options.rate, options.warm_s);
	puts("go");
	fflush(stdout);
	load_run(&t, options.rate, options.seconds);
	t.wrong += warm.wrong;
	tally_print(&t);
}
