/* SPDX-License-Identifier: Apache-2.0 */
#include <malloc.h>

#include "base/arena.h"
#include "base/forward.h"
#include "base/listen.h"
#include "base/wait.h"
#include "peer.h"

#define BIG 5000000
#define GET "GET / HTTP/1.1\r\nHost: r\r\n\r\n"
#define BAD "HTTP/1.1 502 "

static struct loop *loop;
static struct http *http;
static struct httpd *httpd;
static struct peer sfu, clients;
static char url[128];
static uint64_t response_timeout_ms;

static struct {
	struct forward *forward;
	struct http_answer head;
	enum http_outcome outcome;
	enum exchange_end end;
	bool collect, discard; /* wanted */
	unsigned heads, ends, exchanges;
} seen;

static bool pass_odd(struct str name)
{
	return str_is_nocase(name, "X-Odd") || str_is_nocase(name, "X-Hop") || str_is_nocase(name, "Transfer-Encoding");
}

static bool (*pass)(struct str);

/* -- the user of forwards: as the router's proxy ------------------------------------------------------------------- */
static enum forward_verdict on_head(void *arg, const struct forward_head *head)
{
	(void)arg;
	seen.heads++;
	seen.head = (struct http_answer){ .outcome = head->outcome, .status = head->status, .retry_after_ms = head->retry_after_ms };
	return seen.discard ? FORWARD_DISCARD : FORWARD_PASS;
}

static void on_end(void *arg, enum http_outcome outcome)
{
	struct exchange *x = arg;

	seen.ends++;
	seen.forward = NULL;
	seen.outcome = outcome;
	if (!exchange_answered(x))
		exchange_answer(x, 502, STR("bad gateway"));
}

static void start(struct exchange *x)
{
	static const struct forward_ops ops = { on_head, on_end };
	struct forward_to to = { .url = url, .connect_timeout_ms = 300, .response_timeout_ms = response_timeout_ms, .stream_idle_ms = 400,
		                 .nheaders = 1, .headers = { { STR("X-Request-Id"), STR("r1") } }, .pass = pass };

	seen.forward = forward_start(http, x, &to, &ops, x);
	ck_assert_ptr_nonnull(seen.forward);
}

static void begin(void *arg, struct exchange *x)
{
	(void)arg;
	if (!seen.collect && exchange_has_body(x))
		start(x);
}

static void ready(void *arg, struct exchange *x)
{
	(void)arg;
	if (!seen.forward && !seen.ends)
		start(x);
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	(void)arg, (void)x;
	if (seen.forward)
		forward_cancel(seen.forward);
	seen.forward = NULL;
	seen.end = how;
	seen.exchanges++;
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg, (void)err, (void)detail;
	exchange_answer(x, 400, STR("refused"));
}

static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	(void)arg, (void)peer, (void)given;
}

static void setup(void)
{
	static const struct httpd_ops ops = { begin, ready, end, refuse, closed };
	struct http_conf conf = { .connect_timeout_ms = 300, .connections_per_host = 4, .idle_connections = 4, .idle_ms = 10000 };
	struct httpd_conf server = { .body_bytes = 65536, .header_bytes = 16384, .headers = 64, .connections = 10, .header_ms = 5000,
		                     .body_ms = 5000, .idle_ms = 5000, .write_stall_ms = 5000 };

	memset(&seen, 0, sizeof(seen));
	pass = NULL;
	response_timeout_ms = 400;
	loop = loop_new();
	http = http_new(loop, &conf);
	httpd = httpd_new(loop, &server, &ops, NULL);
	peer_open(&sfu, loop, NULL);
	clients = (struct peer){ .loop = loop };
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/janus/1?x=%%2F", sfu.port);
}

static void teardown(void)
{
	httpd_free(httpd);
	http_free(http);
	peer_free(&sfu);
	peer_free(&clients);
	loop_free(loop);
}

static struct peer_conn *client_narrow(int bytes)
{
	uint16_t port;
	int lfd = listen_anywhere(&port), fd = connect_narrow(port, bytes);
	struct accepted accepted = { .fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) };

	if (bytes)
		setsockopt(accepted.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	accepted.peer_len = sizeof(accepted.peer);
	getpeername(accepted.fd, (struct sockaddr *)&accepted.peer, &accepted.peer_len);
	close(lfd);
	httpd_add(httpd, &accepted);
	return peer_adopt(&clients, fd);
}

static struct peer_conn *client_new(void)
{
	return client_narrow(0);
}

static bool whole(const struct buf *in) /* the head is there, and the body that Content-Length announces */
{
	const char *head = in->len ? strstr(in->at, "\r\n\r\n") : NULL;
	const char *length = in->len ? strcasestr(in->at, "\r\nContent-Length:") : NULL;

	return head && (!length || length > head || in->len >= (size_t)(head + 4 - in->at) + strtoul(length + 17, NULL, 10));
}

static bool has(const struct buf *in, const char *text)
{
	return in->len && strcasestr(in->at, text);
}

static struct buf big;

static void make_big(void)
{
	unsigned seed = 7;
	char piece[1000];

	while (big.len < BIG) {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
		buf_add(&big, piece, sizeof(piece));
	}
}

/* -- small ones ---------------------------------------------------------------------------------------------------- */
static const char *words;
static bool cut;
static void answer_words(struct peer_conn *c)
{
	if (c->eof || c->state || !whole(&c->in))
		return;
	c->state = 1;
	peer_says(c, words);
	if (cut)
		peer_close(c);
}

static struct peer_conn *ask(const char *request, const char *answer, bool then_close)
{
	struct peer_conn *client = client_new();

	sfu.got = answer_words;
	words = answer;
	cut = then_close;
	peer_says(client, request);
	return client;
}

static void check_lines(const struct buf *in, const char *const *there, const char *const *absent)
{
	for (; *there; there++)
		ck_assert_msg(has(in, *there), "no %s in %s", *there, in->at);
	for (; *absent; absent++)
		ck_assert_msg(!has(in, *absent), "%s in %s", *absent, in->at);
}

START_TEST(headers_cross_by_list)
{
	static const char request[] = "GET /in HTTP/1.1\r\nHost: router\r\nAccept: a/b\r\nAuthorization: Bearer t\r\nCookie: c=1\r\n"
				      "X-Usher-Room: forged\r\nX-Request-Id: mine\r\nConnection: keep-alive, Origin\r\nOrigin: o\r\n"
				      "Keep-Alive: 5\r\n\r\n";
	static const char answer[] = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\nLocation: /r/1\r\nETag: \"e\"\r\nSet-Cookie: c=1\r\n"
				     "X-Usher-Epoch: 9\r\nServer: janus\r\nLink: <a>\r\nLink: <b>\r\n"
				     "Access-Control-Allow-Origin: *\r\n\r\nhi";
	static const char *const up[] = { "accept: a/b\r\n", "authorization: bearer t\r\n", "x-request-id: r1\r\n", NULL };
	static const char *const not_up[] = { "mine", "cookie", "usher", "keep-alive", "origin", "host: router", NULL };
	static const char *const down[] = { "location: /r/1\r\n", "etag: \"e\"\r\n", "link: <a>\r\n", "link: <b>\r\n",
					    "access-control-allow-origin: *\r\n", NULL };
	static const char *const not_down[] = { "set-cookie", "usher", "janus", NULL };
	struct peer_conn *client = ask(request, answer, false);

	UNTIL(loop, whole(&client->in));
	struct buf *out = &client->in;
	ck_assert_int_eq(strncmp(sfu.conns->in.at, "GET /janus/1?x=%2F HTTP/1.1\r\n", 29), 0);
	check_lines(&sfu.conns->in, up, not_up);
	ck_assert_int_eq(strncmp(out->at, "HTTP/1.1 201 ", 13), 0);
	check_lines(out, down, not_down);
	ck_assert(!memcmp(out->at + out->len - 6, "\r\n\r\nhi", 6));
	ck_assert_int_eq(seen.head.status, 201);
	ck_assert_uint_eq(seen.ends, 1);
	ck_assert_int_eq(seen.outcome, HTTP_ANSWERED);
	peer_close(client);
	UNTIL(loop, seen.exchanges == 1);
	ck_assert_int_eq(seen.end, EXCHANGE_SENT);
}
END_TEST

START_TEST(own_list_cannot_pass_hop_headers)
{
	pass = pass_odd;
	struct peer_conn *client = ask("POST / HTTP/1.1\r\nHost: r\r\nX-Odd: 1\r\nAccept: a\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
	                               "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "HTTP/1.1 204 N\r\n\r\n", false);

	sfu.got = NULL;
	UNTIL(loop, sfu.conns && has(&sfu.conns->in, "0\r\n\r\n"));
	struct buf *in = &sfu.conns->in;
	ck_assert_msg(has(in, "x-odd: 1\r\n") && !has(in, "accept") && !has(in, "x-hop"), "%s", in->at);
	ck_assert_msg(has(in, "transfer-encoding: chunked\r\n") && has(in, "\r\n\r\n2\r\nab\r\n0\r\n\r\n"), "%s", in->at);
	peer_says(sfu.conns, words);
	UNTIL(loop, has(&client->in, "HTTP/1.1 204 "));
}
END_TEST

static const struct {
	const char *method, *body, *sent;
} bodies[] = {
	{ "POST", "Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n" },
	{ "PUT", "\r\n", "Content-Length: 0\r\n" },
	{ "DELETE", "\r\n", "DELETE " },
	{ "OPTIONS", "\r\n", "OPTIONS " },
	{ "PATCH", "Content-Length: 3\r\n\r\nabc", "Content-Length: 3\r\n\r\nabc" },
	{ "POST", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "\r\n\r\n3\r\nabc\r\n0\r\n\r\n" },
	{ "POST", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n\r\n0\r\n\r\n" },
};

START_TEST(bodies_of_every_form)
{
	char request[300];

	seen.collect = _i & 1;
	struct peer_conn *client = client_new();
	snprintf(request, sizeof(request), "%s / HTTP/1.1\r\nHost: r\r\n%s", bodies[_i / 2].method, bodies[_i / 2].body);
	peer_says(client, request);
	const char *sent = seen.collect && strstr(bodies[_i / 2].sent, "3\r\nabc") ? "Content-Length: 3\r\n" : bodies[_i / 2].sent;
	if (seen.collect && strstr(bodies[_i / 2].sent, "\r\n\r\n0\r\n"))
		sent = "\r\n\r\n"; /* an empty body, however it is framed */
	UNTIL(loop, sfu.conns && has(&sfu.conns->in, sent) && has(&sfu.conns->in, "\r\n\r\n"));
	turns(loop, 20);
	ck_assert_msg(!has(&sfu.conns->in, "content-type") && !has(&sfu.conns->in, "expect"), "%s", sfu.conns->in.at);
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	UNTIL(loop, has(&client->in, "\r\n\r\nok"));
}
END_TEST

static const struct {
	const char *request, *answer;
	bool cut;
	const char *got;
	enum http_outcome outcome;
} outcomes[] = {
	{ "HEAD / HTTP/1.1\r\nHost: r\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", false,
	  "Content-Length: 1234\r\n", HTTP_ANSWERED },
	{ GET, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n", false, "HTTP/1.1 304 ", HTTP_ANSWERED },
	{ GET, "HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", false,
	  "HTTP/1.1 302 ", HTTP_ANSWERED },
	{ GET, "HTTP/1.1 103 E\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false,
	  "HTTP/1.1 200 ", HTTP_ANSWERED },
	{ GET, "HTTP/1.1 200 OK\r\n\r\nuntil the end", true, "until the end", HTTP_ANSWERED },
	{ GET, "", true, BAD, HTTP_RESET },
	{ GET, "", false, BAD, HTTP_TIMEOUT },
	{ GET, "SSH-2.0-OpenSSH_9.2\r\n\r\n", true, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false,
	  BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n", false, BAD, HTTP_GARBAGE },
	{ GET, "HTTP/1.1 200 OK\r\nConnection: ETag\r\nETag: evil\r\nAge: 1\r\n\r\n", true, "\r\nAge: 1\r\n", HTTP_ANSWERED },
	{ GET, "HTTP/1.1 101 S\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", false, BAD, HTTP_GARBAGE },
};

START_TEST(outcomes_of_all_kinds)
{
	struct peer_conn *client = ask(outcomes[_i].request, outcomes[_i].answer, outcomes[_i].cut);

	UNTIL(loop, has(&client->in, outcomes[_i].got) && seen.ends);
	ck_assert(!has(&client->in, "evil"));
	ck_assert_msg(seen.outcome == outcomes[_i].outcome, "%d: %s", _i, http_outcome_name(seen.outcome));
	ck_assert_int_eq(seen.head.outcome, seen.outcome);
	ck_assert_uint_eq(seen.heads, 1);
	ck_assert_uint_eq(seen.ends, 1);
	ck_assert_uint_eq(sfu.accepted, 1);
}
END_TEST

START_TEST(interim_answers_are_bounded)
{
	struct buf text = { 0 };

	for (int i = 0; i < (_i ? 17 : 16); i++)
		buf_adds(&text, "HTTP/1.1 102 Processing\r\nX: y\r\n\r\n");
	buf_adds(&text, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	struct peer_conn *client = ask(GET, text.at, false);
	UNTIL(loop, has(&client->in, _i ? BAD : "\r\n\r\nok") && seen.ends);
	ck_assert_int_eq(seen.outcome, _i ? HTTP_GARBAGE : HTTP_ANSWERED);
	buf_free(&text);
}
END_TEST

/* A line now and then is no head in time. */
START_TEST(a_head_in_drips_is_late)
{
	struct peer_conn *client = client_new();
	uint64_t now = loop_now_ms(loop);

	loop_fake_clock(loop, now);
	peer_says(client, GET);
	while (!sfu.conns || !sfu.conns->in.len) { /* curl's timers for now ring when the clock is set */
		loop_fake_clock(loop, now);
		turn(loop);
	}
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 20 && !seen.ends; i++) {
		peer_says(sfu.conns, "X: y\r\n");
		turns(loop, 20);
		loop_fake_clock(loop, now += response_timeout_ms / 4);
	}
	ck_assert_uint_eq(seen.ends, 1);
	ck_assert_int_eq(seen.outcome, HTTP_TIMEOUT);
	UNTIL(loop, has(&client->in, BAD));
}
END_TEST

START_TEST(discarded_answers_are_the_callers)
{
	seen.discard = true;
	struct peer_conn *client = ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\nab",
	                               "HTTP/1.1 503 No\r\nRetry-After: 2\r\nContent-Length: 2\r\n\r\nno", false);

	UNTIL(loop, has(&client->in, "\r\n\r\nbad gateway"));
	ck_assert_int_eq(seen.head.status, 503);
	ck_assert_uint_eq(seen.head.retry_after_ms, 2000);
	ck_assert_uint_eq(seen.ends, 1);
}
END_TEST

START_TEST(stale_connection_gets_no_second_post)
{
	static const char post[] = "POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 2\r\n\r\nab";
	struct peer_conn *client = ask(post, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false);

	UNTIL(loop, has(&client->in, "HTTP/1.1 200 ") && seen.exchanges == 1);
	memset(&seen, 0, sizeof(seen));
	sfu.conns->state = 0;
	sfu.conns->in.len = 0;
	client = ask(post, "", true); /* on the same connection, which now closes */
	UNTIL(loop, has(&client->in, "HTTP/1.1 502 "));
	ck_assert_int_eq(seen.outcome, HTTP_RESET);
	for (struct peer_conn *c = sfu.conns; c; c = c->next) /* curl may connect anew before it asks whether it may send */
		ck_assert(c->state || !c->in.len);
}
END_TEST

START_TEST(connections_are_reused_after_streams)
{
	char head[100];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 300000);
	for (int i = 0; i < 3; i++) {
		struct peer_conn *client = client_new();
		peer_says(client, GET);
		UNTIL(loop, sfu.conns && sfu.conns->in.len);
		sfu.conns->in.len = 0;
		peer_says(sfu.conns, head);
		peer_send(sfu.conns, big.at, 300000);
		UNTIL(loop, client->in.len > 300000 && seen.exchanges == 1);
		ck_assert_uint_eq(seen.ends, 1);
		ck_assert_int_eq(seen.outcome, HTTP_ANSWERED);
		memset(&seen, 0, sizeof(seen));
	}
	ck_assert_uint_eq(sfu.accepted, 1);
}
END_TEST

/* -- streams ------------------------------------------------------------------------------------------------------- */
static size_t body_at(const struct buf *in)
{
	const char *head = in->len ? memmem(in->at, in->len, "\r\n\r\n", 4) : NULL;
	return head ? (size_t)(head + 4 - in->at) : in->len;
}

START_TEST(upload_is_whole_though_the_sfu_is_slow)
{
	struct peer_conn *client = client_new();
	char head[200];

	response_timeout_ms = 5000;
	snprintf(head, sizeof(head), "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n", BIG);
	peer_says(client, head);
	peer_send(client, big.at, big.len);
	UNTIL(loop, sfu.conns);
	struct peer_conn *s = sfu.conns;
	while (body_at(&s->in) + BIG > s->in.len) { /* reads in fits */
		s->paused = !s->paused;
		peer_wait(s);
		turns(loop, 5);
	}
	ck_assert_int_eq(memcmp(s->in.at + body_at(&s->in), big.at, BIG), 0);
	s->paused = false;
	peer_wait(s);
	peer_says(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	UNTIL(loop, has(&client->in, "\r\n\r\nok"));
}
END_TEST

START_TEST(chunked_upload_is_whole)
{
	struct peer_conn *client = client_new();

	peer_says(client, "POST / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < BIG; at += 50000) {
		char line[20];
		snprintf(line, sizeof(line), "%x\r\n", 50000);
		peer_says(client, line);
		peer_send(client, big.at + at, 50000);
		peer_says(client, "\r\n");
	}
	peer_says(client, "0\r\n\r\n");
	UNTIL(loop, sfu.conns && sfu.conns->in.len > BIG && !memcmp(sfu.conns->in.at + sfu.conns->in.len - 5, "0\r\n\r\n", 5));
	struct buf *in = &sfu.conns->in;
	size_t at = body_at(in), got = 0;
	for (unsigned long size; (size = strtoul(in->at + at, NULL, 16));) {
		at = (size_t)((char *)memchr(in->at + at, '\n', in->len - at) + 1 - in->at);
		ck_assert_int_eq(memcmp(in->at + at, big.at + got, size), 0);
		at += size + 2;
		got += size;
	}
	ck_assert_uint_eq(got, BIG);
	peer_says(sfu.conns, "HTTP/1.1 204 N\r\n\r\n");
	UNTIL(loop, has(&client->in, "HTTP/1.1 204 "));
}
END_TEST

static bool loop_is_idle(struct loop *l)
{
	struct pollfd fd = { .fd = loop_backend_fd(l), .events = POLLIN };

	return poll(&fd, 1, 0) == 0;
}

/* The next request goes over a connection that has been used before. */
static void use_connection(void)
{
	struct peer_conn *client = client_new();

	peer_says(client, GET);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	sfu.conns->in.len = 0;
	peer_says(sfu.conns, "HTTP/1.1 204 N\r\n\r\n");
	UNTIL(loop, seen.exchanges == 1);
	memset(&seen, 0, sizeof(seen));
}

/* A client that reads nothing stops the SFU: what is on the way is the kernels' buffers and our rings. */
START_TEST(download_is_whole_though_the_client_is_slow)
{
	char head[200];

	if (_i)
		use_connection();
	struct peer_conn *client = client_new();
	client->paused = true;
	peer_wait(client);
	peer_says(client, GET);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 8 * BIG);
	peer_says(sfu.conns, head);
	for (int i = 0; i < 8; i++)
		peer_send(sfu.conns, big.at, BIG);
	for (size_t before = 0, same = 0; same < 50;) {
		turns(loop, 10);
		same = sfu.conns->sent == before ? same + 1 : 0;
		before = sfu.conns->sent;
	}
	ck_assert_uint_lt(sfu.conns->sent, 6 * BIG);
	ck_assert_uint_eq(sfu.accepted, 1);
	ck_assert(loop_is_idle(loop)); /* a connection that is full and not read does not ring all the time */
	while (body_at(&client->in) + 8 * BIG > client->in.len) {
		client->paused = !client->paused;
		peer_wait(client);
		turns(loop, 5);
	}
	size_t at = body_at(&client->in);
	for (size_t i = 0; i < 8; i++)
		ck_assert_int_eq(memcmp(client->in.at + at + i * BIG, big.at, BIG), 0);
	UNTIL(loop, seen.ends == 1);
	ck_assert_int_eq(seen.outcome, HTTP_ANSWERED);
}
END_TEST

static void woken(struct wait *w, int err)
{
	(void)w, (void)err;
}

static const char *second_head;
static struct peer_conn *kept;
static void answer_big(struct peer_conn *c) /* curl since 8.1 leaves a connection alone on which something lies */
{
	if (c == kept || c->eof || c->state || !whole(&c->in))
		return;
	c->state = 1;
	peer_says(c, second_head);
	peer_send(c, big.at, BIG);
	peer_finish(c);
}

/* A first answer, and before its last byte a second request, which waits for the connection. The first is long, as by that the kernel
 * learns to take much at once. */
static struct peer_conn *wait_for_connection(const char *request, struct wait *wait, struct arena *arena, struct http_answer *answer)
{
	struct http_conf one = { .connect_timeout_ms = 300, .connections_per_host = 1, .idle_connections = 1, .idle_ms = 10000 };
	struct http_request first = { .method = "GET", .url = url, .timeout_ms = 20000, .answer_max = BIG };
	struct peer_conn *client = client_narrow(4096);
	char line[100];

	http_free(http);
	http = http_new(loop, &one);
	ck_assert_int_eq(http_fetch(http, &first, arena, answer, wait), WAIT);
	UNTIL(loop, sfu.conns && whole(&sfu.conns->in));
	client->paused = true;
	peer_wait(client);
	peer_says(client, request);
	UNTIL(loop, seen.forward);
	kept = sfu.conns;
	snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
	peer_says(kept, line);
	peer_send(kept, big.at, BIG - 1);
	UNTIL(loop, kept->sent == kept->out.len);
	turns(loop, 50);
	return client;
}

/*
 * The second answer is there already when curl goes on with its request, so that curl takes the connection up, sends, reads until the
 * ring is full, and pauses, all in one call: we never hear of it. 0: the answer waits for the rest of its request. 1: the client does
 * not read, and nothing more has come when the connection is reset, which only curl may see, as this answer ends with it.
 */
START_TEST(kept_connection_may_be_in_use_already)
{
	struct wait wait = { .wake = woken };
	struct http_answer answer;
	struct arena arena = { 0 };
	const char *request = _i ? GET : "POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\n\r\n";
	struct peer_conn *client = wait_for_connection(request, &wait, &arena, &answer);
	char line[100];

	snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", BIG);
	second_head = _i ? "HTTP/1.1 200 OK\r\n\r\n" : line;
	buf_add(&kept->out, big.at + BIG - 1, 1);
	buf_adds(&kept->out, second_head);
	peer_send(kept, big.at, _i ? 2 * FORWARD_BUFFER - strlen(second_head) : BIG);
	sfu.got = answer_big;
	UNTIL(loop, !wait.op);
	ck_assert_int_eq(answer.outcome, HTTP_ANSWERED);
	turns(loop, 50);
	if (_i)
		peer_reset(kept);
	turns(loop, 50);
	client->paused = false;
	peer_says(client, _i ? "" : "b");
	UNTIL(loop, seen.ends == 1);
	ck_assert_int_eq(seen.outcome, _i && sfu.accepted == 1 ? HTTP_RESET : HTTP_ANSWERED);
	if (!_i) {
		UNTIL(loop, client->in.len >= body_at(&client->in) + BIG);
		ck_assert_int_eq(memcmp(client->in.at + body_at(&client->in), big.at, BIG), 0);
	}
	arena_reset(&arena);
}
END_TEST

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	struct mallinfo2 info = mallinfo2();

	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : info.uordblks + info.hblkhd;
}

static size_t when_stuck(const struct peer_conn *sender)
{
	for (size_t before = 0, same = 0; same < 50;) {
		turns(loop, 10);
		same = sender->sent == before ? same + 1 : 0;
		before = sender->sent;
	}
	return allocated();
}

/* Whoever does not read stops the other, and what we hold meanwhile is one ring. */
START_TEST(stuck_streams_hold_a_bounded_memory)
{
	struct peer_conn *client = client_new();
	char head[200];

	response_timeout_ms = 60000;
	snprintf(head, sizeof(head), "%s / HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n", _i ? "GET" : "PUT", _i ? 0 : 8 * BIG);
	client->paused = _i;
	peer_wait(client);
	peer_says(client, head);
	UNTIL(loop, sfu.conns && (_i == 0 || sfu.conns->in.len));
	struct peer_conn *sender = _i ? sfu.conns : client;
	sfu.conns->paused = !_i;
	peer_wait(sfu.conns);
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", 8 * BIG);
	if (_i)
		buf_adds(&sender->out, head);
	for (int i = 0; i < 8; i++)
		buf_add(&sender->out, big.at, BIG);
	size_t before = allocated(), held = 0;
	peer_flush(sender);
	held = when_stuck(sender);
	ck_assert_uint_lt(sender->sent, 7 * BIG); /* the rest is the kernel's */
	ck_assert_uint_lt(held, before + 3 * FORWARD_BUFFER + 200000);
	peer_reset(client);
	UNTIL(loop, seen.exchanges == 1);
	ck_assert_int_eq(seen.end, EXCHANGE_GONE);
}
END_TEST

START_TEST(download_of_unknown_length)
{
	struct peer_conn *client = client_new();

	peer_says(client, GET);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\n\r\nfirst");
	UNTIL(loop, has(&client->in, "first"));
	peer_says(sfu.conns, "second");
	UNTIL(loop, has(&client->in, "second"));
	ck_assert(has(&client->in, "transfer-encoding: chunked") && !seen.ends);
	peer_finish(sfu.conns);
	UNTIL(loop, seen.ends == 1 && !memcmp(client->in.at + client->in.len - 5, "0\r\n\r\n", 5));
}
END_TEST

START_TEST(broken_download_is_seen_as_such)
{
	struct peer_conn *client = client_new();

	peer_says(client, GET);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n");
	UNTIL(loop, has(&client->in, "first"));
	if (_i)
		peer_reset(sfu.conns);
	UNTIL(loop, client->eof && seen.ends == 1); /* else it falls silent */
	ck_assert_int_eq(seen.outcome, _i ? HTTP_RESET : HTTP_TIMEOUT);
	ck_assert(memcmp(client->in.at + client->in.len - 5, "0\r\n\r\n", 5) != 0);
}
END_TEST

START_TEST(early_refusal_reaches_the_client)
{
	struct peer_conn *client = client_new();

	peer_says(client, "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 300000\r\n\r\n");
	peer_send(client, big.at, 100000);
	UNTIL(loop, sfu.conns && sfu.conns->in.len > 100000);
	peer_says(sfu.conns, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!");
	UNTIL(loop, seen.heads == 1);
	peer_send(client, big.at + 100000, 200000);
	UNTIL(loop, has(&client->in, "HTTP/1.1 413 ") && has(&client->in, "no!") && seen.ends == 1);
}
END_TEST

START_TEST(early_answer_waits_for_the_rest_of_the_request)
{
	struct peer_conn *client = client_new();

	peer_says(client, "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 300000\r\n\r\n");
	peer_send(client, big.at, 100000);
	UNTIL(loop, sfu.conns && sfu.conns->in.len > 100000);
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes");
	turns(loop, 50);
	peer_send(client, big.at + 100000, 200000);
	UNTIL(loop, has(&client->in, "yes") && seen.ends == 1);
	ck_assert_uint_eq(sfu.conns->in.len, body_at(&sfu.conns->in) + 300000);
	ck_assert_int_eq(memcmp(sfu.conns->in.at + body_at(&sfu.conns->in), big.at, 300000), 0);
}
END_TEST

/* -- leaving ------------------------------------------------------------------------------------------------------- */
/* It has answered and reads no more; our side of the client is stopped by that, so nobody else would notice. */
START_TEST(who_answers_and_stops_reading_is_late)
{
	struct peer_conn *client = client_new();
	char head[200];

	snprintf(head, sizeof(head), "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: %d\r\n\r\n", 4 * BIG);
	peer_says(client, head);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	sfu.conns->paused = true;
	peer_wait(sfu.conns);
	peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
	for (int i = 0; i < 4; i++)
		peer_send(client, big.at, BIG);
	UNTIL(loop, seen.ends == 1);
	ck_assert_int_eq(seen.outcome, HTTP_TIMEOUT);
}
END_TEST

START_TEST(client_vanishes)
{
	struct peer_conn *client = client_new();

	if (_i == 0)
		peer_says(client, GET);
	else
		peer_says(client, "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 300000\r\n\r\nabc");
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	if (_i == 2)
		peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nabc");
	turns(loop, 10);
	peer_reset(client);
	UNTIL(loop, seen.exchanges == 1 && sfu.conns->eof);
	ck_assert_int_eq(seen.end, EXCHANGE_GONE);
	ck_assert_uint_eq(seen.ends, 0);
}
END_TEST

START_TEST(caller_cancels_and_answers)
{
	struct peer_conn *client = client_new();

	peer_says(client, "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 500000\r\n\r\n");
	UNTIL(loop, sfu.conns);
	sfu.conns->paused = true;
	peer_wait(sfu.conns);
	peer_send(client, big.at, 500000);
	turns(loop, 100);
	ck_assert_ptr_nonnull(seen.forward);
	forward_cancel(seen.forward);
	seen.forward = NULL;
	seen.ends = 1;
	peer_close(sfu.conns);
	turns(loop, 100);
	ck_assert_uint_eq(client->sent, client->out.len); /* swallowed */
	peer_close(client);
	UNTIL(loop, seen.exchanges == 1);
}
END_TEST

START_TEST(client_of_http_is_freed_first)
{
	struct http_conf conf = { .connect_timeout_ms = 300, .connections_per_host = 4, .idle_connections = 4, .idle_ms = 10000 };
	struct peer_conn *client = client_new();

	peer_says(client, GET);
	UNTIL(loop, sfu.conns && sfu.conns->in.len);
	if (_i) {
		peer_says(sfu.conns, "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\nabc");
		UNTIL(loop, has(&client->in, "abc"));
	}
	http_free(http);
	UNTIL(loop, _i ? client->eof : has(&client->in, "HTTP/1.1 502 "));
	ck_assert_uint_eq(seen.ends, 1);
	ck_assert_int_eq(seen.outcome, HTTP_CANCELLED);
	http = http_new(loop, &conf);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("forward");
	TCase *c = tcase_create("forward");
	SRunner *runner = srunner_create(suite);

	make_big();
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 40);
	tcase_add_test(c, headers_cross_by_list);
	tcase_add_test(c, own_list_cannot_pass_hop_headers);
	tcase_add_loop_test(c, bodies_of_every_form, 0, 2 * (int)(sizeof(bodies) / sizeof(*bodies)));
	tcase_add_loop_test(c, outcomes_of_all_kinds, 0, (int)(sizeof(outcomes) / sizeof(*outcomes)));
	tcase_add_loop_test(c, interim_answers_are_bounded, 0, 2);
	tcase_add_test(c, a_head_in_drips_is_late);
	tcase_add_test(c, discarded_answers_are_the_callers);
	tcase_add_test(c, stale_connection_gets_no_second_post);
	tcase_add_test(c, connections_are_reused_after_streams);
	tcase_add_test(c, upload_is_whole_though_the_sfu_is_slow);
	tcase_add_test(c, chunked_upload_is_whole);
	tcase_add_loop_test(c, download_is_whole_though_the_client_is_slow, 0, 2);
	tcase_add_loop_test(c, kept_connection_may_be_in_use_already, 0, 2);
	tcase_add_loop_test(c, stuck_streams_hold_a_bounded_memory, 0, 2);
	tcase_add_test(c, download_of_unknown_length);
	tcase_add_loop_test(c, broken_download_is_seen_as_such, 0, 2);
	tcase_add_test(c, early_refusal_reaches_the_client);
	tcase_add_test(c, early_answer_waits_for_the_rest_of_the_request);
	tcase_add_test(c, who_answers_and_stops_reading_is_late);
	tcase_add_loop_test(c, client_vanishes, 0, 3);
	tcase_add_test(c, caller_cancels_and_answers);
	tcase_add_loop_test(c, client_of_http_is_freed_first, 0, 2);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	buf_free(&big);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
