/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a request costs a client: libcurl's multi handle on epoll, set up much as base/http_curl.c does, beside the least that could do the
 * same: one block of bytes to send, the head's lines cut at their ends, Content-Length read. Over kept connections, one request each at a
 * time.
 *
 *   bare_client curl|own PORT PATH CONNECTIONS REQUESTS
 *
 * Prints CPU µs a request of this process, in user and in kernel mode.
 */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADERS 6 /* about what a router adds to a participant's request */
#define HEAD_MAX 16384
#define EVENTS 64

static const char *const headers[HEADERS][2] = {
	{ "X-Request-Id", "0123456789abcdef" }, { "X-Usher-Room", "standup" }, { "X-Usher-Epoch", "1795328740704" },
	{ "X-Forwarded-For", "127.0.0.1" }, { "X-Forwarded-Proto", "http" }, { "X-Forwarded-Host", "usher.example" },
};
static const char *path;
static unsigned port;
static long left, answered, bytes;
static int poller;

static void fail(const char *what)
{
	fprintf(stderr, "bare_client: %s\n", what);
	exit(1);
}

static void watch(int fd, int op, uint32_t events, void *of)
{
	struct epoll_event event = { .events = events, .data.ptr = of };

	epoll_ctl(poller, op, fd, &event);
}

/* -- libcurl -------------------------------------------------------------------------------------------------------------------- */
static CURLM *multi;
static bool at_once; /* curl wants to be called now */
static int where[65536]; /* of each descriptor: 0 not in the set, else its events */

static size_t take_head(char *line, size_t one, size_t len, void *arg)
{
	(void)line, (void)one, (void)arg;
	return len;
}

static size_t take_body(char *at, size_t one, size_t len, void *arg)
{
	(void)at, (void)one, (void)arg;
	bytes += (long)len;
	return len;
}

/* As base/http_sockets.c: a connection stays in the set while it is kept. */
static int curl_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *of)
{
	int events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);

	(void)easy, (void)arg, (void)of;
	if (what == CURL_POLL_REMOVE || where[fd] == events)
		return 0;
	watch(fd, where[fd] ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, (uint32_t)events, (void *)(intptr_t)fd);
	where[fd] = events;
	return 0;
}

static int curl_close(void *arg, curl_socket_t fd)
{
	(void)arg;
	where[fd] = 0;
	return close(fd);
}

static int curl_timer(CURLM *m, long ms, void *arg)
{
	(void)m, (void)arg;
	at_once = ms == 0;
	return 0;
}

struct asked {
	struct curl_slist items[HEADERS + 3];
	char lines[HEADERS + 3][64];
};

static void curl_ask(void)
{
	static const char *const without[] = { "Expect:", "Accept:", "Content-Type:" };
	struct asked *asked = calloc(1, sizeof(*asked));
	CURL *easy = curl_easy_init();
	char url[256];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	for (size_t i = 0; i < HEADERS + 3; i++) {
		if (i < HEADERS)
			snprintf(asked->lines[i], sizeof(asked->lines[i]), "%s: %s", headers[i][0], headers[i][1]);
		else
			snprintf(asked->lines[i], sizeof(asked->lines[i]), "%s", without[i - HEADERS]);
		asked->items[i] = (struct curl_slist){ asked->lines[i], i + 1 < HEADERS + 3 ? &asked->items[i + 1] : NULL };
	}
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 65536L);
	curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, curl_close);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, asked);
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "GET");
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, asked->items);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_head);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
	curl_multi_add_handle(multi, easy);
	left--;
}

static void curl_collect(void)
{
	CURLMsg *message;
	int more;

	while ((message = curl_multi_info_read(multi, &more))) {
		CURL *easy = message->easy_handle;
		char *asked = NULL;
		long status = 0;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, &asked);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || status != 200)
			fail("a wrong answer");
		curl_multi_remove_handle(multi, easy);
		curl_easy_cleanup(easy); /* used once, as curl before 8.1 must be */
		free(asked);
		answered++;
		if (left > 0)
			curl_ask();
	}
}

static void curl_act(curl_socket_t fd, int action)
{
	int running;

	curl_multi_socket_action(multi, fd, action, &running);
	curl_collect();
}

static void curl_run(long connections, long requests)
{
	struct epoll_event events[EVENTS];

	curl_global_init(CURL_GLOBAL_DEFAULT);
	multi = curl_multi_init();
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, curl_watch);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, curl_timer);
	curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, connections);
	for (long i = 0; i < connections; i++)
		curl_ask();
	while (answered < requests) {
		while (at_once) {
			at_once = false;
			curl_act(CURL_SOCKET_TIMEOUT, 0);
		}
		int n = epoll_wait(poller, events, EVENTS, answered < requests ? 1000 : 0);
		for (int i = 0; i < n; i++) {
			curl_socket_t fd = (curl_socket_t)(intptr_t)events[i].data.ptr;
			curl_act(fd, (events[i].events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0));
		}
	}
}

/* -- our own -------------------------------------------------------------------------------------------------------------------- */
struct conn {
	int fd;
	size_t got;
	long whole; /* bytes of the answer; 0: not known */
	char in[HEAD_MAX + 65536];
};

static void own_ask(struct conn *c)
{
	char text[HEAD_MAX];
	int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", path, port);

	for (size_t i = 0; i < HEADERS; i++) {
		size_t name = strlen(headers[i][0]), value = strlen(headers[i][1]);
		memcpy(text + n, headers[i][0], name);
		memcpy(text + n + name, ": ", 2);
		memcpy(text + n + name + 2, headers[i][1], value);
		memcpy(text + n + name + 2 + value, "\r\n", 2);
		n += (int)(name + value + 4);
	}
	memcpy(text + n, "\r\n", 2);
	c->got = 0;
	c->whole = 0;
	left--;
	if (send(c->fd, text, (size_t)n + 2, MSG_NOSIGNAL) != n + 2)
		fail("cannot send");
}

/* Each line is cut and looked at, as a real one must. */
static long own_head(const char *at, size_t len)
{
	const char *end = memmem(at, len, "\r\n\r\n", 4);
	long length = -1;

	if (!end)
		return 0;
	if (memcmp(at, "HTTP/1.1 200 ", 13))
		fail("a wrong answer");
	for (const char *line = at, *stop; line < end; line = stop + 2) {
		stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
		const char *colon = memchr(line, ':', (size_t)(stop - line));
		if (colon && colon - line == 14 && !strncasecmp(line, "Content-Length", 14))
			length = strtol(colon + 1, NULL, 10);
		if (colon && colon - line == 17 && !strncasecmp(line, "Transfer-Encoding", 17))
			fail("no chunks here");
	}
	return length < 0 ? 0 : end + 4 - at + length;
}

static void own_ready(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->got, sizeof(c->in) - c->got, 0);

	if (n <= 0)
		fail("a connection was closed");
	c->got += (size_t)n;
	if (!c->whole)
		c->whole = own_head(c->in, c->got);
	if (!c->whole || (long)c->got < c->whole)
		return;
	bytes += c->whole;
	answered++;
	if (left > 0)
		own_ask(c);
}

static void own_run(long connections, long requests)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event events[EVENTS];
	int on = 1;

	for (long i = 0; i < connections; i++) {
		struct conn *c = calloc(1, sizeof(*c));
		c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)))
			fail("cannot connect");
		setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(c->fd, EPOLL_CTL_ADD, EPOLLIN, c);
		own_ask(c);
	}
	while (answered < requests) {
		int n = epoll_wait(poller, events, EVENTS, 1000);
		for (int i = 0; i < n; i++)
			own_ready(events[i].data.ptr);
	}
}

static double us(struct timeval t)
{
	return (double)t.tv_sec * 1e6 + (double)t.tv_usec;
}

int main(int argc, char **argv)
{
	struct rusage used;

	if (argc != 6)
		return 2;
	port = (unsigned)atoi(argv[2]);
	path = argv[3];
	poller = epoll_create1(EPOLL_CLOEXEC);
	left = atol(argv[5]);
	(strcmp(argv[1], "curl") ? own_run : curl_run)(atol(argv[4]), atol(argv[5]));
	getrusage(RUSAGE_SELF, &used);
	printf("{\"requests\":%ld,\"user_us\":%.3f,\"kernel_us\":%.3f}\n", answered, us(used.ru_utime) / (double)answered,
	       us(used.ru_stime) / (double)answered);
	return 0;
}
