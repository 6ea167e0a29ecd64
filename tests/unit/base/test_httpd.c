/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge.h"
#include "httpd_play.h"

#include <malloc.h>
#include <poll.h>

#include "base/httpd_mhd.h"

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* -- requests and answers ------------------------------------------------------------------------------------------------ */
START_TEST(requests_follow_each_other_on_one_connection)
{
	struct peer_conn *c = ask("GET /a?b=%20c HTTP/1.1\r\nHost: r\r\n\r\n");

	UNTIL(loop, has(c, "GET /a [b=%20c] "));
	ck_assert(has(c, "HTTP/1.1 200 OK\r\n") && has(c, "X-Echo: yes\r\n") && !has(c, "Connection: close"));
	peer_says(c, "GET /a%2F%00b? HTTP/1.1\r\nHost: r\r\n\r\n");
	UNTIL(loop, has(c, "GET /a%2F%00b [] "));
	peer_says(c, "DELETE /c?? HTTP/1.1\r\nHost: r\r\n\r\n");
	UNTIL(loop, has(c, "DELETE /c [?] "));
	ck_assert_uint_eq(seen.begins, 3);
	ck_assert_uint_eq(seen.readies, 3);
	UNTIL(loop, seen.sent == 3);
	ck_assert_uint_eq(httpd_connections(httpd), 1);
	ck_assert_uint_eq(seen.closed, 0);
	peer_close(c);
	UNTIL(loop, seen.closed == 1);
	ck_assert_uint_eq(httpd_connections(httpd), 0);
}
END_TEST

START_TEST(pipelined_requests_are_answered_in_order)
{
	struct peer_conn *c = ask("GET /1 HTTP/1.1\r\nHost: r\r\n\r\nPOST /2 HTTP/1.1\r\nHost: r\r\nContent-Length: 3\r\n\r\nabc"
	                          "GET /3 HTTP/1.1\r\nHost: r\r\n\r\nGET /4 HTTP/1.1\r\nHo");

	UNTIL(loop, has(c, "GET /3 [] "));
	const char *one = strstr(c->in.at, "GET /1 [] "), *two = strstr(c->in.at, "POST /2 [] abc");
	ck_assert(one && two && one < two && two < strstr(c->in.at, "GET /3"));
	peer_says(c, "st: r\r\n\r\n");
	UNTIL(loop, has(c, "GET /4 [] "));
	ck_assert_uint_eq(seen.sent, 4);
}
END_TEST

START_TEST(pipelined_requests_wait_for_their_turn)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask("GET /1 HTTP/1.1\r\nHost: r\r\n\r\nGET /2 HTTP/1.1\r\nHost: r\r\n\r\n");

	UNTIL(loop, seen.readies == 1);
	turns(loop, 5);
	ck_assert_uint_eq(seen.begins, 1);
	exchange_answer(seen.x, 200, STR("first"));
	UNTIL(loop, seen.readies == 2);
	exchange_answer(seen.x, 404, STR("second"));
	UNTIL(loop, has(c, "second"));
	ck_assert(has(c, "first") && has(c, "HTTP/1.1 404 "));
}
END_TEST

/* A socket that comes back into an epoll set is reported as ready to be written. */
START_TEST(who_has_waited_wakes_the_loop_for_nothing_else)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask("GET /1 HTTP/1.1\r\nHost: r\r\n\r\n");
	struct pollfd set = { .fd = MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, .events = POLLIN };

	UNTIL(loop, seen.readies);
	turns(loop, 5);
	exchange_answer(seen.x, 200, STR("at last"));
	UNTIL(loop, seen.sent);
	ck_assert(bridge_wanted() || !poll(&set, 1, 0)); /* a front that reads its pair makes room there, too */
	UNTIL(loop, has(c, "at last"));
}
END_TEST

START_TEST(a_request_tells_all_it_knows)
{
	size_t n;

	seen.play = PLAY_WAIT;
	ask("POST /p/q?x=1&y HTTP/1.0\r\nhost: h\r\nX-A: 1\r\nx-a: 2\r\nEmpty:\r\nX-Spaces:  a b \r\nContent-Length: 4\r\n\r\nbody");
	UNTIL(loop, seen.readies);
	struct exchange *x = seen.x;
	const struct header *all = exchange_headers(x, &n);
	ck_assert_str_eq(exchange_method(x), "POST");
	ck_assert(str_is(exchange_path(x), "/p/q") && str_is(exchange_query(x), "x=1&y"));
	ck_assert(str_is(exchange_header(x, "X-A"), "1") && str_is(exchange_header(x, "HOST"), "h"));
	ck_assert(str_is(exchange_header(x, "x-spaces"), "a b"));
	ck_assert(exchange_header(x, "Empty").at && !exchange_header(x, "Empty").len);
	ck_assert_ptr_null(exchange_header(x, "X-None").at);
	ck_assert_uint_eq(n, 6);
	ck_assert(str_is(all[0].name, "host") && str_is(all[2].name, "x-a") && str_is(all[2].value, "2"));
	ck_assert(exchange_http10(x) && exchange_has_body(x) && exchange_body_here(x));
	ck_assert_int_eq(exchange_body_length(x), 4);
	ck_assert(str_is(exchange_body(x), "body"));
	ck_assert_int_eq(exchange_tag(x), 7);
	ck_assert_uint_eq(((const struct sockaddr_in *)(const void *)exchange_peer(x))->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	exchange_answer(x, 204, STR(""));
	UNTIL(loop, seen.sent);
}
END_TEST

START_TEST(bodies_arrive_in_any_pieces)
{
	static const char request[] = "POST /x HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
				      "3;ext=1\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
				      "PUT /y HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello";
	struct peer_conn *c = client_new();

	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		peer_send(c, request + i, 1);
		turns(loop, 2);
	}
	UNTIL(loop, has(c, "PUT /y [] hello"));
	ck_assert(has(c, "POST /x [] abcdefg"));
}
END_TEST

START_TEST(who_expects_100_is_told_to_continue)
{
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");

	UNTIL(loop, has(c, "HTTP/1.1 100 Continue\r\n\r\n"));
	ck_assert_uint_eq(seen.readies, 0);
	peer_says(c, "abc");
	UNTIL(loop, has(c, "POST / [] abc"));
}
END_TEST

START_TEST(who_expects_100_may_be_refused)
{
	seen.play = PLAY_BEGIN;
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");

	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 403 ") && !has(c, "100 Continue"));
}
END_TEST

START_TEST(head_gets_no_body)
{
	struct peer_conn *c = ask("HEAD /abc HTTP/1.1\r\nHost: r\r\n\r\n");

	UNTIL(loop, seen.sent == 1 && has(c, "\r\n\r\n"));
	ck_assert(has(c, "Content-Length: 13\r\n"));
	ck_assert_str_eq(body_of(c), "");
	peer_says(c, GET); /* and the connection goes on */
	UNTIL(loop, has(c, "GET / [] "));
}
END_TEST

START_TEST(old_clients_are_closed_after_the_answer)
{
	struct peer_conn *c = ask("GET /old HTTP/1.0\r\n\r\n");

	UNTIL(loop, c->eof);
	ck_assert(has(c, "GET /old [] "));
	c = ask("GET /new HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
	UNTIL(loop, c->eof);
	ck_assert(has(c, "GET /new [] ") && has(c, "Connection: close\r\n"));
	ck_assert_uint_eq(seen.sent, 2);
}
END_TEST

START_TEST(the_handler_may_close)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask(GET);

	UNTIL(loop, seen.readies);
	exchange_close(seen.x);
	exchange_answer(seen.x, 200, STR("bye"));
	UNTIL(loop, c->eof);
	ck_assert(has(c, "Connection: close\r\n") && has(c, "\r\n\r\nbye"));
}
END_TEST

/* -- refusals ------------------------------------------------------------------------------------------------------------- */
#define OK_LINE "GET / HTTP/1.1\r\n"
#define H "Host: r\r\n"
static const struct {
	const char *head;
	int err; /* 0: refused by libmicrohttpd, in its own words */
} malformed[] = {
	{ OK_LINE H "Host: r\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE H "host: s\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE "\r\n", ERR_BAD_REQUEST },
	{ OK_LINE "Host:\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE "Host: r:80@evil\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE "Host: [::1]evil\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE "Host: r:x\r\n\r\n", ERR_BAD_REQUEST },
	{ "GET http://r/ HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "OPTIONS * HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET r:80 HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET /a b HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET /a#b HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET /\xc3\xa4 HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET /\x7f HTTP/1.1\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "GET / HTTP/1.2\r\n" H "\r\n", ERR_BAD_REQUEST },
	{ "BREW / HTTP/1.1\r\n" H "\r\n", ERR_METHOD_NOT_ALLOWED },
	{ "TRACE / HTTP/1.1\r\n" H "\r\n", ERR_METHOD_NOT_ALLOWED },
	{ "CONNECT /x HTTP/1.1\r\n" H "\r\n", ERR_METHOD_NOT_ALLOWED },
	{ "get / HTTP/1.1\r\n" H "\r\n", ERR_METHOD_NOT_ALLOWED },
	{ "AMETHODOFMORETHANSIXTEENBYTES / HTTP/1.1\r\n" H "\r\n", ERR_METHOD_NOT_ALLOWED },
	{ OK_LINE H "Name : v\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE H "Na(me: v\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE H "N\xc3\xa4me: v\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE H "X: a\x01z\r\n\r\n", ERR_BAD_REQUEST },
	{ OK_LINE H "X: a\x7fz\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabc", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST }, /* MHD: until it closes */
	{ "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Content-Length:\r\n 3\r\n\r\nabc", ERR_BAD_REQUEST }, /* no length to MHD */
	{ "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chu\r\n\tnked\r\n\r\n0\r\n\r\n", ERR_BAD_REQUEST },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 99999999\r\n\r\n", ERR_PAYLOAD_TOO_LARGE },
	{ OK_LINE H "1:\r\n2:\r\n3:\r\n4:\r\n5:\r\n6:\r\n7:\r\n8:\r\n9:\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\n\r\n",
	  ERR_HEADERS_TOO_LARGE },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n\r\nabc", 0 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: x\r\n\r\n", 0 },
	{ "POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999\r\n\r\n", 0 },
	{ "GET /\r\n" H "\r\n", 0 },
	{ OK_LINE H "no colon\r\n\r\n", 0 },
};

/* And never does anything that follows it on the connection count as a request. */
START_TEST(malformed_heads_are_refused)
{
	static const char smuggled[] = "GET /smuggled HTTP/1.1\r\nHost: r\r\n\r\n";
	struct peer_conn *c = client_new();
	struct buf both = { 0 };

	buf_adds(&both, malformed[_i].head);
	buf_adds(&both, smuggled);
	peer_send(c, both.at, both.len);
	buf_free(&both);
	UNTIL(loop, c->eof);
	ck_assert_msg(!has(c, "smuggled") && !has(c, "HTTP/1.1 2"), "%d: %s", _i, c->in.len ? c->in.at : "nothing");
	if (malformed[_i].err) {
		char line[32];
		snprintf(line, sizeof(line), "HTTP/1.1 %d ", error_info(malformed[_i].err)->status);
		ck_assert_msg(has(c, line) && has(c, "\r\n\r\nrefused"), "%d: %s", _i, c->in.len ? c->in.at : "nothing");
		ck_assert_int_eq(seen.err, malformed[_i].err);
		ck_assert_uint_eq(seen.refusals, 1);
		ck_assert(has(c, "Connection: close"));
	}
	ck_assert_uint_eq(seen.readies, 0);
	UNTIL(loop, seen.closed == 1);
}
END_TEST

START_TEST(large_heads_are_refused)
{
	struct peer_conn *c = client_new();
	struct buf head = { 0 };
	size_t lens[] = { 4200, 100000 }; /* over our limit; over libmicrohttpd's memory */

	buf_adds(&head, OK_LINE H "X: ");
	while (head.len < lens[_i])
		buf_adds(&head, "0123456789");
	buf_adds(&head, "\r\n\r\n");
	peer_send(c, head.at, head.len);
	buf_free(&head);
	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 431 "));
	ck_assert_uint_eq(seen.begins, 0);
}
END_TEST

START_TEST(long_targets_are_refused)
{
	struct peer_conn *c = client_new();
	struct buf head = { 0 };

	buf_adds(&head, "GET /");
	while (head.len < 4200)
		buf_adds(&head, "0123456789");
	buf_adds(&head, " HTTP/1.1\r\n" H "\r\n");
	peer_send(c, head.at, head.len);
	buf_free(&head);
	UNTIL(loop, c->eof);
	ck_assert_int_eq(seen.err, ERR_URI_TOO_LONG);
}
END_TEST

/* libmicrohttpd would make a record of each, in memory that is bounded. */
START_TEST(queries_may_have_many_parameters)
{
	struct buf head = { 0 };

	buf_adds(&head, "GET /?a=1");
	while (head.len < 4000)
		buf_adds(&head, "&b");
	buf_adds(&head, " HTTP/1.1\r\n" H "\r\n");
	struct peer_conn *c = client_new();
	peer_send(c, head.at, head.len);
	UNTIL(loop, has(c, "&b&b] "));
	ck_assert(has(c, "GET / [a=1&b&b"));
	ck_assert_uint_ge(c->in.len, head.len - 30);
	buf_free(&head);
}
END_TEST

static const struct {
	const char *request;
	bool asks;
} upgrades[] = {
	{ "GET / HTTP/1.1\r\n" H "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\r\n", true },
	{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: a\r\nConnection: Upgrade\r\n\r\n", true },
	{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: close\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n\r\n", false },
	{ "POST / HTTP/1.1\r\n" H "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false },
	{ "GET / HTTP/1.0\r\n" H "Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n", false },
};

START_TEST(websocket_is_asked_for_by_both_headers)
{
	seen.play = PLAY_WAIT;
	ask(upgrades[_i].request);
	UNTIL(loop, seen.readies == 1);
	ck_assert_msg(exchange_asks_websocket(seen.x) == upgrades[_i].asks, "%s", upgrades[_i].request);
	exchange_answer(seen.x, 200, STR(""));
	UNTIL(loop, seen.sent == 1);
}
END_TEST

/* -- bodies that are too large ---------------------------------------------------------------------------------------------- */
static void say_chunks(struct peer_conn *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		peer_says(c, "2710\r\n");
		peer_send(c, pattern(10000), 10000);
		peer_says(c, "\r\n");
	}
}

START_TEST(chunked_bodies_over_the_limit_are_read_and_refused)
{
	struct peer_conn *c = ask("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");

	say_chunks(c, 10);
	turns(loop, 20);
	ck_assert_uint_eq(c->in.len, 0);
	peer_says(c, "0\r\n\r\n");
	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 413 ") && has(c, "refused"));
	ck_assert_int_eq(seen.err, ERR_PAYLOAD_TOO_LARGE);
	ck_assert_uint_eq(seen.readies, 0);
}
END_TEST

START_TEST(endless_bodies_are_cut)
{
	struct peer_conn *c = ask("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n");

	say_chunks(c, 200);
	UNTIL(loop, seen.closed == 1);
	UNTIL(loop, has(c, "HTTP/1.1 413 "));
	ck_assert_uint_eq(seen.gone, 1);
}
END_TEST

START_TEST(refused_uploads_can_read_their_refusal)
{
	struct peer_conn *c = ask("POST / HTTP/1.1\r\n" H "Content-Length: 3000000\r\n\r\n");

	peer_send(c, pattern(3000000), 3000000); /* goes on sending, as clients do */
	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 413 ") && has(c, "refused"));
}
END_TEST

/* -- early answers ------------------------------------------------------------------------------------------------------------ */
START_TEST(answers_in_begin_keep_the_connection)
{
	seen.play = PLAY_BEGIN;
	struct peer_conn *c = ask(GET GET);

	UNTIL(loop, count(c, "HTTP/1.1 403 ") == 2 && seen.sent == 2);
	ck_assert(!has(c, "Connection: close"));
	ck_assert_uint_eq(seen.readies, 0);
	ck_assert_uint_eq(httpd_connections(httpd), 1);
}
END_TEST

START_TEST(answers_before_a_body_close_it)
{
	seen.play = PLAY_BEGIN;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\n" H "Content-Length: 500000\r\n\r\n");

	UNTIL(loop, has(c, "\r\n\r\nno"));
	ck_assert(has(c, "Connection: close"));
	peer_send(c, pattern(500000), 500000);
	UNTIL(loop, c->eof && seen.closed);
	ck_assert_uint_eq(seen.sent, 1);
}
END_TEST

START_TEST(an_answer_during_the_body_swallows_the_rest)
{
	seen.play = PLAY_SINK;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\n" H "Content-Length: 300000\r\n\r\n");

	peer_send(c, pattern(300000), 1000);
	UNTIL(loop, seen.taken.len == 1000);
	exchange_answer(seen.x, 418, STR("early"));
	turns(loop, 5);
	ck_assert_uint_eq(c->in.len, 0); /* libmicrohttpd takes it after the body only */
	peer_send(c, pattern(300000), 299000);
	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 418 ") && has(c, "Connection: close") && has(c, "early"));
	ck_assert_uint_eq(seen.taken.len, 1000);
	ck_assert_uint_eq(seen.sink_ends, 0); /* a part is not the whole */
	ck_assert_uint_eq(seen.readies, 0);
	ck_assert_uint_eq(seen.sent, 1);
}
END_TEST

START_TEST(an_answer_while_the_sink_is_full_swallows_the_rest)
{
	seen.play = PLAY_SINK;
	seen.room = 5000;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\n" H "Content-Length: 300000\r\n\r\n");

	peer_send(c, pattern(300000), 300000);
	UNTIL(loop, seen.taken.len == 5000);
	turns(loop, 5);
	exchange_answer(seen.x, 418, STR("early"));
	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 418 ") && has(c, "early"));
	ck_assert_uint_eq(seen.taken.len, 5000);
}
END_TEST

START_TEST(swallowing_is_bounded)
{
	seen.play = PLAY_SINK;
	seen.room = 5000;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\n" H "Content-Length: 9000000\r\n\r\n");

	peer_send(c, pattern(9000000), 9000000);
	UNTIL(loop, seen.taken.len == 5000);
	exchange_answer(seen.x, 418, STR("early"));
	UNTIL(loop, seen.closed);
	ck_assert_uint_eq(seen.gone, 1);
}
END_TEST

START_TEST(connections_can_be_cut)
{
	static const enum play plays[] = { PLAY_CUT, PLAY_CUT_BEGIN, PLAY_WAIT, PLAY_SINK, PLAY_CUT_SINK };

	seen.play = plays[_i];
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n01234");
	if (seen.play == PLAY_CUT || seen.play == PLAY_WAIT)
		peer_says(c, "56789");
	if (seen.play == PLAY_WAIT || seen.play == PLAY_SINK) {
		UNTIL(loop, seen.play == PLAY_SINK ? seen.taken.len == 5 : seen.readies == 1);
		exchange_cut(seen.x);
	}
	UNTIL(loop, c->eof && seen.closed);
	ck_assert_uint_eq(c->in.len, 0);
	ck_assert_uint_eq(seen.gone, 1);
}
END_TEST

/* -- leaks ----------------------------------------------------------------------------------------------------------------------- */
static size_t allocated(void)
{
	return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : mallinfo2().uordblks;
}

START_TEST(many_requests_leave_nothing_behind)
{
	static const char both[] = GET "POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nabc";
	struct peer_conn *c = client_new();
	size_t before = 0;

	for (unsigned i = 0; i < 3000; i++) {
		peer_says(c, both);
		UNTIL(loop, seen.sent == 2 * i + 2);
		c->in.len = c->out.len = c->sent = 0;
		if (i == 1000)
			before = allocated();
	}
	ck_assert_uint_eq(seen.begins, 6000);
	ck_assert_uint_le(allocated(), before + 1000);
	ck_assert_uint_eq(httpd_connections(httpd), 1);
}
END_TEST

START_TEST(many_connections_leave_nothing_behind)
{
	size_t before = 0;

	for (unsigned i = 1; i <= 1000; i++) {
		struct peer_conn *c = ask(GET);
		UNTIL(loop, seen.sent == i);
		peer_close(c);
		UNTIL(loop, seen.closed == i);
		peer_free(&clients);
		if (i == 100)
			before = allocated();
	}
	/* OpenSSL's caches fill for a while, and the last client may still be there. */
	ck_assert_uint_le(allocated(), before + (bridge_wanted() ? 900 * 100 : 1000));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("httpd");
	TCase *t = tcase_create("httpd");

	tcase_add_checked_fixture(t, play_setup, play_teardown);
	tcase_set_timeout(t, 40);
	tcase_add_test(t, requests_follow_each_other_on_one_connection);
	tcase_add_test(t, pipelined_requests_are_answered_in_order);
	tcase_add_test(t, pipelined_requests_wait_for_their_turn);
	tcase_add_test(t, who_has_waited_wakes_the_loop_for_nothing_else);
	tcase_add_test(t, a_request_tells_all_it_knows);
	tcase_add_test(t, bodies_arrive_in_any_pieces);
	tcase_add_test(t, who_expects_100_is_told_to_continue);
	tcase_add_test(t, who_expects_100_may_be_refused);
	tcase_add_test(t, head_gets_no_body);
	tcase_add_test(t, old_clients_are_closed_after_the_answer);
	tcase_add_test(t, the_handler_may_close);
	tcase_add_loop_test(t, malformed_heads_are_refused, 0, (int)(sizeof(malformed) / sizeof(*malformed)));
	tcase_add_loop_test(t, large_heads_are_refused, 0, 2);
	tcase_add_test(t, long_targets_are_refused);
	tcase_add_test(t, queries_may_have_many_parameters);
	tcase_add_loop_test(t, websocket_is_asked_for_by_both_headers, 0, (int)(sizeof(upgrades) / sizeof(*upgrades)));
	tcase_add_test(t, chunked_bodies_over_the_limit_are_read_and_refused);
	tcase_add_test(t, endless_bodies_are_cut);
	tcase_add_test(t, refused_uploads_can_read_their_refusal);
	tcase_add_test(t, answers_in_begin_keep_the_connection);
	tcase_add_test(t, answers_before_a_body_close_it);
	tcase_add_test(t, an_answer_during_the_body_swallows_the_rest);
	tcase_add_test(t, an_answer_while_the_sink_is_full_swallows_the_rest);
	tcase_add_test(t, swallowing_is_bounded);
	tcase_add_loop_test(t, connections_can_be_cut, 0, 5);
	tcase_add_test(t, many_requests_leave_nothing_behind);
	tcase_add_test(t, many_connections_leave_nothing_behind);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
