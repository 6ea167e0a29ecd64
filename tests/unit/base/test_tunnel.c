/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/link.h"
#include "base/tunnel.h"
#include "base/wait.h"
#include "base/ws.h"
#include "peer.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
#define UPGRADED "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: "
#define IDLE_MS 60000
#define CLOSE_MS 1000

static struct loop *loop;
static struct tunnels *set;
static struct peer server, clients;
static struct arena arena;
static const char *words;   /* the server's answer to a handshake */
static bool cut_after_words, offers;
static uint64_t clock_ms, frame_bytes, message_bytes, connect_ms;

struct dialing {
	struct wait wait;
	struct dial_answer answer;
	bool done;
};
struct carried {
	struct tunnel *tunnel;
	struct peer_conn *client, *server;
	char why[32];
	const char *offender, *fault;
	uint64_t up, down;
	bool ended;
};

static void answer_handshake(struct peer_conn *c)
{
	if (c->state || !c->in.len || !strstr(c->in.at, "\r\n\r\n"))
		return;
	c->state = 1;
	c->in.len = 0;
	peer_says(c, words);
	if (cut_after_words)
		peer_close(c);
}

static unsigned asked_port; /* of the address that was asked about last */

static bool nowhere(void *arg, const struct sockaddr_storage *address)
{
	(void)arg;
	asked_port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
	return false;
}

static void start_tunnels(uint64_t max, bool (*allowed)(void *, const struct sockaddr_storage *))
{
	struct tunnels_conf conf = { .buffer_bytes = 65536, .idle_ms = IDLE_MS, .close_ms = CLOSE_MS, .max = max, .allowed = allowed,
		                      .frame_bytes = frame_bytes, .message_bytes = message_bytes };

	set = tunnels_new(loop, &conf);
	ck_assert_ptr_nonnull(set);
}

static void setup(void)
{
	loop = loop_new();
	start_tunnels(100, NULL);
	peer_open(&server, loop, answer_handshake);
	clients = (struct peer){ .loop = loop };
	words = UPGRADED ACCEPT "\r\n\r\n";
	cut_after_words = offers = false;
	connect_ms = 300;
}

static void teardown(void)
{
	tunnels_free(set);
	peer_free(&server);
	peer_free(&clients);
	loop_free(loop);
	arena_reset(&arena);
}

static void woken(struct wait *w, int err)
{
	ck_assert_int_eq(err, 0);
	container_of(w, struct dialing, wait)->done = true;
}

static int dial_url(struct dialing *d, const char *url)
{
	struct dial_plan plan = { .url = url, .nheaders = offers ? 4 : 2, .connect_timeout_ms = connect_ms, .answer_timeout_ms = 300,
		                  .headers = { { STR("Sec-WebSocket-Key"), STR(KEY) }, { STR("Sec-WebSocket-Version"), STR("13") },
		                               { STR("Sec-WebSocket-Protocol"), STR("a, b") },
		                               { STR("Sec-WebSocket-Extensions"), STR("x-one; q, x-two") } } };

	*d = (struct dialing){ .wait.wake = woken };
	return tunnel_dial(set, &plan, &arena, &d->answer, &d->wait);
}

static void dial(struct dialing *d)
{
	char url[64];

	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/janus?room=1", server.port);
	ck_assert_int_eq(dial_url(d, url), WAIT);
	ck_assert(!d->done);
	UNTIL(loop, d->done);
}

/* -- dialing ------------------------------------------------------------------------------------------------------- */
START_TEST(handshake_is_sent_as_asked)
{
	struct dialing d;
	char url[64];

	server.got = NULL;
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u?q=1", server.port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	UNTIL(loop, server.conns && server.conns->in.len && strstr(server.conns->in.at, "\r\n\r\n"));
	char expected[300];
	snprintf(expected, sizeof(expected), "GET /?q=1 HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	         "Sec-WebSocket-Key: " KEY "\r\nSec-WebSocket-Version: 13\r\n\r\n", server.port);
	ck_assert_str_eq(server.conns->in.at, expected);
	wait_drop(&d.wait); /* the asker leaves */
	UNTIL(loop, server.conns->eof);
	ck_assert(!d.done);
}
END_TEST

#define LETTERS_50 "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwx"
#define LETTERS_250 LETTERS_50 LETTERS_50 LETTERS_50 LETTERS_50 LETTERS_50
static const struct {
	const char *words;
	bool cut;
	enum http_outcome outcome;
	int status;
	const char *body;
	uint64_t retry_ms;
} answers[] = {
	{ UPGRADED ACCEPT "\r\n\r\n", false, HTTP_ANSWERED, 101, "", 0 },
	{ "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" UPGRADED ACCEPT "\r\n\r\n", false, HTTP_ANSWERED, 101, "", 0 },
	{ UPGRADED "AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Protocol: b\r\n\r\n", false, HTTP_ANSWERED, 101, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Protocol: B\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Protocol: a, b\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Extensions: X-One; p=1, x-two\r\n\r\n", false, HTTP_ANSWERED, 101, "", 0 },
	{ UPGRADED ACCEPT "\r\nSec-WebSocket-Extensions: x-one, x-three\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nContent-Length: 1\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ UPGRADED ACCEPT "\r\nContent-Length: 0\r\n\r\n", false, HTTP_ANSWERED, 101, "", 0 },
	{ UPGRADED ACCEPT "\r\nTransfer-Encoding: chunked\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1 2\r\na\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 404 No\nContent-Length: 4\r\n\r\nnope", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nnope", false, HTTP_ANSWERED, 404, "nope", 0 },
	{ "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\nno", true, HTTP_RESET, 0, "", 0 },
	{ "HTTP/1.1 403 No\r\n\r\nuntil the end", true, HTTP_ANSWERED, 403, "until the end", 0 },
	{ "HTTP/1.1 503 No\r\nRetry-After: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", false, HTTP_ANSWERED, 503,
	  "abcde", 3000 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" LETTERS_250 "\r\na\r\n0\r\n\r\n", false, HTTP_ANSWERED, 200, "a", 0 },
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;12345" LETTERS_250 "\r\na\r\n0\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1 200 OK\r\n folded: yes\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "HTTP/1.1\r\n\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "SSH-2.0-OpenSSH_9.2\r\n", false, HTTP_GARBAGE, 0, "", 0 },
	{ "", true, HTTP_RESET, 0, "", 0 },
	{ "HTTP/1.1 101 Switching", true, HTTP_RESET, 0, "", 0 },
	{ "", false, HTTP_TIMEOUT, 0, "", 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nslow", false, HTTP_TIMEOUT, 0, "", 0 },
};

START_TEST(answers_are_told_apart)
{
	struct dialing d;

	words = answers[_i].words;
	cut_after_words = answers[_i].cut;
	offers = true;
	dial(&d);
	ck_assert_int_eq(d.answer.outcome, answers[_i].outcome);
	ck_assert_int_eq(d.answer.status, answers[_i].status);
	ck_assert_uint_eq(d.answer.retry_after_ms, answers[_i].retry_ms);
	ck_assert_uint_eq(d.answer.body.len, strlen(answers[_i].body));
	ck_assert_int_eq(d.answer.peer != NULL, answers[_i].status == 101);
	if (d.answer.body.len)
		ck_assert_str_eq(d.answer.body.at, answers[_i].body);
	dialed_free(d.answer.peer);
}
END_TEST

START_TEST(long_refusal_is_cut_and_long_head_is_garbage)
{
	static char text[70000];
	struct dialing d;
	size_t len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 500 No\r\nContent-Length: 50000\r\n\r\n");

	memset(text + len, 'x', 50000);
	words = text;
	dial(&d);
	ck_assert_int_eq(d.answer.status, 500);
	ck_assert_uint_eq(d.answer.body.len, 16384);
	len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 500 No\r\nX: ");
	memset(text + len, 'x', 50000);
	dial(&d);
	ck_assert_int_eq(d.answer.outcome, HTTP_GARBAGE);
}
END_TEST

START_TEST(interim_answers_are_bounded)
{
	struct dialing d;
	struct buf text = { 0 };

	for (int i = 0; i < (_i ? 17 : 16); i++)
		buf_adds(&text, "HTTP/1.1 100 Continue\r\n\r\n");
	buf_adds(&text, _i ? "" : UPGRADED ACCEPT "\r\n\r\n");
	words = text.at;
	dial(&d);
	ck_assert_int_eq(d.answer.outcome, _i ? HTTP_GARBAGE : HTTP_ANSWERED);
	dialed_free(d.answer.peer);
	buf_free(&text);
}
END_TEST

/* The far side would be blamed for an answer that cannot fit. */
START_TEST(keys_of_clients_are_keys)
{
	static const char *const bad[] = { "", "short", KEY "x", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQAA", "dGhlIHNhbXBsZSBub25jZ===",
		                           "dGhlIHNhbXBs ZSBub25jZQ==", "?GhlIHNhbXBsZSBub25jZQ==",
		                           "dGhlIHNhbXBsZSBub25jZSBkR2hsSUhOaGJYQnNaU0J1YjI1alpTQmtSMmhzSUhOaGJYQnNaU0J1YjI1alpRPT0=" };
	struct dial_plan plan = { .url = "ws://127.0.0.1:1/", .nheaders = 1, .connect_timeout_ms = 300, .answer_timeout_ms = 300 };
	struct dialing d = { .wait.wake = woken };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		plan.headers[0] = (struct header){ STR("sec-websocket-key"), str_of(bad[i]) };
		ck_assert_msg(tunnel_dial(set, &plan, &arena, &d.answer, &d.wait) == -ERR_BAD_REQUEST, "%s", bad[i]);
	}
	plan.headers[0] = plan.headers[1] = (struct header){ STR("Sec-WebSocket-Key"), STR(KEY) };
	plan.nheaders = 2;
	ck_assert_int_eq(tunnel_dial(set, &plan, &arena, &d.answer, &d.wait), -ERR_BAD_REQUEST);
	ck_assert(!d.wait.op);
}
END_TEST

/* Out of descriptors, a router must not open the breakers of all its nodes. */
START_TEST(our_own_shortage_is_not_the_other_sides_fault)
{
	struct rlimit before, none;
	struct dialing d;
	char url[64];

	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ 3, before.rlim_max };
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	UNTIL(loop, d.done);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(d.answer.outcome, HTTP_CANCELLED);
}
END_TEST

START_TEST(refused_dials)
{
	struct dialing d;
	uint16_t port = server.port;
	char url[64];

	ck_assert_int_eq(dial_url(&d, "http://127.0.0.1:1/"), WAIT);
	UNTIL(loop, d.done);
	ck_assert_int_eq(d.answer.outcome, HTTP_REFUSED);
	peer_free(&server);
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	UNTIL(loop, d.done);
	ck_assert_int_eq(d.answer.outcome, HTTP_REFUSED);
	peer_open(&server, loop, answer_handshake);
	tunnels_free(set);
	start_tunnels(1, nowhere);
	dial(&d);
	ck_assert_int_eq(d.answer.outcome, HTTP_REFUSED);
	ck_assert_uint_eq(server.accepted, 0);
}
END_TEST

/* The name has several addresses (::1 first, usually); the server listens on one of them. */
START_TEST(next_address_is_tried)
{
	struct dialing d;
	char url[64];

	snprintf(url, sizeof(url), "ws://localhost:%u/", server.port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	UNTIL(loop, d.done);
	ck_assert_int_eq(d.answer.status, 101);
	dialed_free(d.answer.peer);
}
END_TEST

/* The kernel drops the first SYN, as nothing more can be queued, and sends another one a second later. */
START_TEST(connecting_may_take_its_time)
{
	struct dialing d;
	struct peer full;
	char url[64];

	connect_ms = 10000;
	peer_open(&full, loop, answer_handshake);
	ck_assert_int_eq(listen(full.fd, 0), 0);
	watch_set(full.watch, 0);
	int first = connect_to(full.port);
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", full.port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	turns(loop, 20);
	ck_assert(!d.done);
	watch_set(full.watch, LOOP_READ);
	UNTIL(loop, d.done);
	ck_assert_int_eq(d.answer.status, 101);
	dialed_free(d.answer.peer);
	close(first);
	peer_free(&full);
}
END_TEST

START_TEST(an_answer_may_come_in_pieces)
{
	struct dialing d;
	char url[64];

	server.got = NULL;
	snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
	ck_assert_int_eq(dial_url(&d, url), WAIT);
	UNTIL(loop, server.conns && server.conns->in.len);
	for (const char *piece = words; *piece; piece++) {
		ck_assert(!d.done);
		peer_send(server.conns, piece, 1);
		turns(loop, 3);
	}
	UNTIL(loop, d.done);
	ck_assert_int_eq(d.answer.status, 101);
	dialed_free(d.answer.peer);
}
END_TEST

START_TEST(tunnels_are_counted)
{
	struct dialing one, two;

	tunnels_free(set);
	start_tunnels(1, NULL);
	dial(&one);
	ck_assert_int_eq(dial_url(&two, "ws://127.0.0.1:1/"), -ERR_NO_CAPACITY);
	dialed_free(one.answer.peer);
	dial(&two);
	ck_assert_int_eq(two.answer.status, 101);
	dialed_free(two.answer.peer);
}
END_TEST

/* -- carrying ------------------------------------------------------------------------------------------------------ */
static void ended(void *arg, const struct tunnel_end *end)
{
	struct carried *c = arg;

	ck_assert(!c->ended);
	c->ended = true;
	c->tunnel = NULL;
	c->up = end->bytes_up;
	c->down = end->bytes_down;
	c->offender = end->offender;
	c->fault = end->fault;
	snprintf(c->why, sizeof(c->why), "%s", end->why);
}

/* `c` is static in the tests: teardown ends what they leave open. */
static void open_with(struct carried *c, struct str extra)
{
	struct dialing d;
	uint16_t port;
	int lfd = listen_anywhere(&port), fd = connect_to(port), ours = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	close(lfd);
	dial(&d);
	ck_assert_ptr_nonnull(d.answer.peer);
	*c = (struct carried){ .client = peer_adopt(&clients, fd), .server = server.conns };
	c->tunnel = tunnel_join(set, d.answer.peer, &(struct link){ .fd = ours }, extra, ended, c);
	ck_assert_ptr_eq(tunnel_arg(c->tunnel), c);
	ck_assert_uint_eq(tunnels_count(set), 1);
}

static void open_tunnel(struct carried *c)
{
	open_with(c, (struct str){ 0 });
}

static void fill(struct buf *b, size_t len, unsigned seed)
{
	char piece[1000];

	while (b->len < len) {
		for (size_t i = 0; i < sizeof(piece); i++)
			piece[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
		buf_add(b, piece, sizeof(piece));
	}
}

START_TEST(megabytes_both_ways_at_once)
{
	static struct carried c;
	struct buf up = { 0 }, down = { 0 };

	open_tunnel(&c);
	fill(&up, 4000000, 1);
	fill(&down, 6000000, 2);
	peer_send(c.client, up.at, up.len);
	peer_send(c.server, down.at, down.len);
	UNTIL(loop, c.client->in.len == down.len && c.server->in.len == up.len);
	ck_assert_int_eq(memcmp(c.server->in.at, up.at, up.len), 0);
	ck_assert_int_eq(memcmp(c.client->in.at, down.at, down.len), 0);
	peer_close(c.client);
	UNTIL(loop, c.server->eof);
	peer_close(c.server);
	UNTIL(loop, c.ended);
	ck_assert_str_eq(c.why, "client_closed");
	ck_assert_uint_eq(c.up, up.len);
	ck_assert_uint_eq(c.down, down.len);
	ck_assert_uint_eq(tunnels_count(set), 0);
	buf_free(&up);
	buf_free(&down);
}
END_TEST

START_TEST(early_bytes_of_both_sides_cross)
{
	static struct carried c;

	words = UPGRADED ACCEPT "\r\n\r\nhello";
	open_with(&c, STR("hi there"));
	UNTIL(loop, c.client->in.len == 5 && c.server->in.len == 8);
	ck_assert_mem_eq(c.client->in.at, "hello", 5);
	ck_assert_mem_eq(c.server->in.at, "hi there", 8);
}
END_TEST

/* The socket is in the set, and nobody reads there yet. */
START_TEST(what_comes_before_the_tunnel_waits_for_it)
{
	static struct carried c;
	struct dialing d;
	uint16_t port;
	int lfd = listen_anywhere(&port), fd = connect_to(port), ours = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	close(lfd);
	dial(&d);
	peer_says(server.conns, "soon");
	turns(loop, 20);
	c = (struct carried){ .client = peer_adopt(&clients, fd), .server = server.conns };
	c.tunnel = tunnel_join(set, d.answer.peer, &(struct link){ .fd = ours }, (struct str){ 0 }, ended, &c);
	UNTIL(loop, c.client->in.len == 4);
	peer_says(c.client, "so");
	UNTIL(loop, c.server->in.len == 2);
}
END_TEST

/* What is not read stays with the sender: the kernel's buffers and one block of ours, not all of it. */
START_TEST(slow_reader_stops_the_sender)
{
	static struct carried c;
	struct buf down = { 0 };

	open_tunnel(&c);
	c.client->paused = true;
	peer_wait(c.client);
	fill(&down, 64 << 20, 3);
	peer_send(c.server, down.at, down.len);
	for (size_t before = 0, same = 0; same < 50;) {
		turns(loop, 10);
		same = c.server->sent == before ? same + 1 : 0;
		before = c.server->sent;
	}
	ck_assert_uint_lt(c.server->sent, 32 << 20);
	c.client->paused = false;
	peer_wait(c.client);
	UNTIL(loop, c.client->in.len == down.len);
	ck_assert_int_eq(memcmp(c.client->in.at, down.at, down.len), 0);
	buf_free(&down);
}
END_TEST

START_TEST(half_close_is_passed_on)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.client, "last words");
	peer_finish(c.client);
	UNTIL(loop, c.server->eof);
	ck_assert_uint_eq(c.server->in.len, 10);
	ck_assert(!c.client->eof && !c.ended);
	peer_says(c.server, "and an answer");
	peer_finish(c.server);
	UNTIL(loop, c.client->eof && c.ended);
	ck_assert_uint_eq(c.client->in.len, 13);
	ck_assert_str_eq(c.why, "client_closed");
}
END_TEST

START_TEST(reset_of_one_ends_the_other)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.server, "before");
	UNTIL(loop, c.client->in.len == 6);
	peer_reset(_i ? c.client : c.server);
	struct peer_conn *other = _i ? c.server : c.client;
	UNTIL(loop, other->eof);
	peer_close(other);
	UNTIL(loop, c.ended);
	ck_assert_str_eq(c.why, "reset");
}
END_TEST

/* -- polite ends --------------------------------------------------------------------------------------------------- */
static size_t close_of(const struct peer_conn *c, size_t at, bool masked, unsigned code)
{
	const uint8_t *f = (const uint8_t *)c->in.at + at;
	uint8_t mask[4] = { 0 };
	size_t head = masked ? 6 : 2;

	ck_assert_uint_gt(c->in.len, at + head + 2);
	ck_assert_uint_eq(f[0], 0x88);
	ck_assert_uint_eq(f[1] >> 7, masked);
	if (masked)
		memcpy(mask, f + 2, 4);
	ck_assert_uint_eq((unsigned)(f[head] ^ mask[0]) << 8 | (f[head + 1] ^ mask[1]), code);
	return at + head + (f[1] & 0x7f);
}

static size_t close_at(const struct peer_conn *c, size_t at, bool masked)
{
	return close_of(c, at, masked, 1012);
}

static void use_fake_clock(void)
{
	clock_ms = loop_now_ms(loop);
	loop_fake_clock(loop, clock_ms);
}

static void pass(uint64_t ms)
{
	clock_ms += ms;
	loop_fake_clock(loop, clock_ms);
}

START_TEST(close_at_a_boundary)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.server, "\x81\x02hi");
	UNTIL(loop, c.client->in.len == 4);
	tunnel_close(c.tunnel, 1012, "router_restart;retry=10");
	tunnel_close(c.tunnel, 1000, "only the first counts");
	UNTIL(loop, c.client->eof && c.server->eof);
	ck_assert_uint_eq(close_at(c.client, 4, false), c.client->in.len);
	ck_assert_uint_eq(close_at(c.server, 0, true), c.server->in.len);
	peer_says(c.client, "\x88\x80mask");
	peer_says(c.server, "\x88\x00");
	peer_close(c.client);
	peer_close(c.server);
	UNTIL(loop, c.ended);
	ck_assert_str_eq(c.why, "closed_by_us");
}
END_TEST

/* Both are in the middle of a frame: each gets its Close right behind. */
START_TEST(close_waits_for_the_boundary)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.server, "\x81\x0ahello");
	peer_says(c.client, "\x82\x83mask");
	UNTIL(loop, c.client->in.len == 7 && c.server->in.len == 6);
	tunnel_close(c.tunnel, 1012, "room_moved");
	turns(loop, 20);
	ck_assert_uint_eq(c.client->in.len, 7);
	ck_assert_uint_eq(c.server->in.len, 6);
	peer_says(c.server, "world\x81\x03" "not");
	peer_says(c.client, "a");
	peer_says(c.client, "bc\x81\x83maskdef");
	UNTIL(loop, c.client->eof && c.server->eof);
	ck_assert_mem_eq(c.client->in.at + 2, "helloworld", 10);
	ck_assert_uint_eq(close_at(c.client, 12, false), c.client->in.len);
	ck_assert_uint_eq(close_at(c.server, 9, true), c.server->in.len);
}
END_TEST

/* What has not passed is no frame that has begun: nobody waits for the rest of it. */
START_TEST(close_does_not_wait_for_half_a_head)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.client, "\x81\x81maskx\x82\xfe\x01");
	UNTIL(loop, c.server->in.len == 7);
	turns(loop, 20);
	ck_assert_uint_eq(c.server->in.len, 7);
	tunnel_close(c.tunnel, 1012, "room_moved");
	UNTIL(loop, c.server->eof);
	ck_assert_uint_eq(close_at(c.server, 7, true), c.server->in.len);
}
END_TEST

#define BYTES(z) { z, sizeof(z) - 1 }
static const struct {
	bool client; /* offends */
	size_t good; /* bytes of the frame that is fine */
	struct str says, rest;
	const char *fault;
	unsigned code;
} offences[] = {
	{ true, 7, BYTES("\x81\x81maskx\x82\xfe\x00"), BYTES("\x7fmask"), "too_big", 1009 },
	{ false, 3, BYTES("\x81\x01x\x82\x7e\x00"), BYTES("\x7f"), "too_big", 1009 },
	{ true, 7, BYTES("\x81\x81maskx\x81"), BYTES("\x01x"), "protocol", 1002 },
	{ false, 3, BYTES("\x81\x01x\x81"), BYTES("\x81maskx"), "protocol", 1002 },
};

/* The good frame arrives, nothing of the bad one does; each side gets its own code. */
START_TEST(who_breaks_the_rules_is_told_so)
{
	static struct carried c;
	bool client = offences[_i].client;

	tunnels_free(set);
	frame_bytes = message_bytes = 126;
	start_tunnels(100, NULL);
	open_tunnel(&c);
	struct peer_conn *offender = client ? c.client : c.server, *other = client ? c.server : c.client;
	size_t good = offences[_i].good;
	peer_send(offender, offences[_i].says.at, offences[_i].says.len);
	UNTIL(loop, other->in.len == good);
	peer_send(offender, offences[_i].rest.at, offences[_i].rest.len);
	UNTIL(loop, other->eof && offender->eof);
	ck_assert_uint_eq(close_of(other, good, client, client ? 1001 : 1011), other->in.len);
	ck_assert_uint_eq(close_of(offender, 0, !client, offences[_i].code), offender->in.len);
	peer_close(c.client);
	peer_close(c.server);
	UNTIL(loop, c.ended);
	ck_assert_str_eq(c.why, "broke_rules");
	ck_assert_str_eq(c.fault, offences[_i].fault);
	ck_assert_str_eq(c.offender, client ? "client" : "server");
	frame_bytes = message_bytes = 0;
}
END_TEST

START_TEST(close_without_a_boundary_is_a_fin_in_time)
{
	static struct carried c;

	open_tunnel(&c);
	use_fake_clock();
	peer_says(c.server, "\x81\x0ahello");
	UNTIL(loop, c.client->in.len == 7);
	tunnel_close(c.tunnel, 1012, "room_moved");
	UNTIL(loop, c.server->eof);
	pass(CLOSE_MS - 1);
	turns(loop, 20);
	ck_assert(!c.client->eof && !c.ended);
	pass(1);
	UNTIL(loop, c.client->eof && c.ended);
	ck_assert_uint_eq(c.client->in.len, 7);
}
END_TEST

/* Unread bytes at close() would send a RST, and the Close frame would be lost with it. */
START_TEST(close_is_no_reset_though_the_peers_talk_on)
{
	static struct carried c;
	struct buf chatter = { 0 };

	open_tunnel(&c);
	use_fake_clock();
	while (chatter.len < 3000000)
		ws_frame_out(&chatter, 2, true, (struct str){ "some bytes of a frame that goes on and on and on", 48 });
	c.client->paused = true;
	peer_wait(c.client);
	peer_send(c.server, chatter.at, chatter.len);
	turns(loop, 100);
	tunnel_close(c.tunnel, 1012, "room_moved");
	turns(loop, 100);
	c.client->paused = false;
	peer_wait(c.client);
	UNTIL(loop, c.client->eof);
	size_t whole = c.client->in.len - (2 + 2 + 10);
	ck_assert_uint_eq(whole % 50, 0);
	ck_assert_int_eq(memcmp(c.client->in.at, chatter.at, whole), 0);
	ck_assert_uint_eq(close_at(c.client, whole, false), c.client->in.len);
	UNTIL(loop, c.server->eof && c.server->sent == c.server->out.len);
	pass(CLOSE_MS);
	UNTIL(loop, c.ended);
	buf_free(&chatter);
}
END_TEST

START_TEST(close_already_under_way_is_not_said_twice)
{
	static struct carried c;

	open_tunnel(&c);
	peer_says(c.server, "\x88\x02\x03\xe8");
	UNTIL(loop, c.client->in.len == 4);
	tunnel_close(c.tunnel, 1012, "router_restart");
	UNTIL(loop, c.client->eof && c.server->eof);
	ck_assert_uint_eq(c.client->in.len, 4);
	ck_assert_uint_eq(close_at(c.server, 0, true), c.server->in.len);
}
END_TEST

START_TEST(idle_tunnels_are_closed)
{
	static struct carried c;

	open_tunnel(&c);
	use_fake_clock();
	for (int i = 0; i < 3; i++) {
		pass(IDLE_MS - 1000);
		peer_says(c.client, "\x81\x80mask");
		UNTIL(loop, c.server->in.len == 6u * (unsigned)(i + 1));
	}
	ck_assert(!c.client->eof);
	pass(IDLE_MS);
	turns(loop, 20);
	pass(IDLE_MS / 8);
	UNTIL(loop, c.client->eof && c.server->eof);
	pass(CLOSE_MS);
	UNTIL(loop, c.ended);
	ck_assert_str_eq(c.why, "idle");
}
END_TEST

static void close_each(void *ctx, struct tunnel *t, void *arg)
{
	(void)arg;
	++*(unsigned *)ctx;
	tunnel_close(t, 1012, "router_restart");
}

START_TEST(all_are_closed_and_freed)
{
	static struct carried c[5];
	unsigned n = 0;

	for (int i = 0; i < 5; i++) {
		struct dialing d;
		int pair[2];
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
		dial(&d);
		c[i] = (struct carried){ .client = peer_adopt(&clients, pair[0]), .server = server.conns };
		c[i].tunnel = tunnel_join(set, d.answer.peer, &(struct link){ .fd = pair[1] }, (struct str){ 0 }, ended, &c[i]);
	}
	peer_close(c[1].client);
	peer_close(c[1].server);
	UNTIL(loop, c[1].ended);
	tunnels_each(set, close_each, &n);
	ck_assert_uint_eq(n, 4);
	ck_assert_uint_eq(tunnels_count(set), 4);
	UNTIL(loop, c[0].client->eof && c[4].server->eof);
	tunnels_free(set);
	set = NULL;
	for (int i = 0; i < 5; i++)
		ck_assert(c[i].ended);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("tunnel");
	TCase *c = tcase_create("tunnel");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 40);
	tcase_add_test(c, handshake_is_sent_as_asked);
	tcase_add_loop_test(c, answers_are_told_apart, 0, (int)(sizeof(answers) / sizeof(*answers)));
	tcase_add_test(c, long_refusal_is_cut_and_long_head_is_garbage);
	tcase_add_loop_test(c, interim_answers_are_bounded, 0, 2);
	tcase_add_test(c, keys_of_clients_are_keys);
	tcase_add_test(c, our_own_shortage_is_not_the_other_sides_fault);
	tcase_add_test(c, refused_dials);
	tcase_add_test(c, next_address_is_tried);
	tcase_add_test(c, connecting_may_take_its_time);
	tcase_add_test(c, an_answer_may_come_in_pieces);
	tcase_add_test(c, tunnels_are_counted);
	tcase_add_test(c, megabytes_both_ways_at_once);
	tcase_add_test(c, early_bytes_of_both_sides_cross);
	tcase_add_test(c, what_comes_before_the_tunnel_waits_for_it);
	tcase_add_test(c, slow_reader_stops_the_sender);
	tcase_add_test(c, half_close_is_passed_on);
	tcase_add_loop_test(c, reset_of_one_ends_the_other, 0, 2);
	tcase_add_test(c, close_at_a_boundary);
	tcase_add_test(c, close_waits_for_the_boundary);
	tcase_add_test(c, close_does_not_wait_for_half_a_head);
	tcase_add_loop_test(c, who_breaks_the_rules_is_told_so, 0, 4);
	tcase_add_test(c, close_without_a_boundary_is_a_fin_in_time);
	tcase_add_test(c, close_is_no_reset_though_the_peers_talk_on);
	tcase_add_test(c, close_already_under_way_is_not_said_twice);
	tcase_add_test(c, idle_tunnels_are_closed);
	tcase_add_test(c, all_are_closed_and_freed);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
