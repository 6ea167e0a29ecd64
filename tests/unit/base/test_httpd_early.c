/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes that are there when their connection comes: what libmicrohttpd need not see, and that nobody can tell. */
#include "httpd_play.h"

#include "base/httpd_mhd.h"

#define UPGRADE_LINES "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define UPGRADE "GET /ws HTTP/1.1\r\nHost: r\r\n" UPGRADE_LINES "\r\n"

static unsigned seen_by_mhd(void)
{
	return MHD_get_daemon_info(httpd->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

/* -- tunnels ------------------------------------------------------------------------------------------------------------- */
START_TEST(an_upgrade_gives_the_socket_away)
{
	char bytes[8] = "";

	seen.play = PLAY_UPGRADE;
	struct peer_conn *c = ask_at_once(UPGRADE "early");
	UNTIL(loop, seen.given == 1 && has(c, "\r\n\r\n"));
	ck_assert_uint_eq(seen_by_mhd(), 0);
	ck_assert(has(c, "HTTP/1.1 101 Switching Protocols\r\n") && has(c, "Upgrade: websocket\r\n") && has(c, "Connection: Upgrade\r\n"));
	ck_assert_uint_eq(seen.closed, 1); /* it is counted no more */
	ck_assert_uint_eq(seen.closed_given, 1);
	ck_assert_uint_eq(httpd_connections(httpd), 0);
	ck_assert(fcntl(seen.client.fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(seen.client.fd, F_GETFL) & O_NONBLOCK);
	ck_assert_int_eq(link_read(&seen.client, bytes, sizeof(bytes)), 5);
	ck_assert_str_eq(bytes, "early");
	peer_says(c, "ping");
	UNTIL(loop, link_read(&seen.client, bytes, sizeof(bytes)) == 4);
	ck_assert(link_put(&seen.client, "pong", 4));
	UNTIL(loop, has(c, "pong"));
	struct pollfd leaving = { .fd = httpd->gone_set, .events = POLLIN };
	peer_finish(c);
	UNTIL(loop, link_read(&seen.client, bytes, sizeof(bytes)) == LINK_END);
	ck_assert_int_eq(poll(&leaving, 1, 0), 0); /* nor asked about any more */
	httpd_free(httpd);
	httpd = NULL;
	ck_assert(link_put(&seen.client, "still", 5));
	UNTIL(loop, has(c, "still"));
	ck_assert(!c->eof);
}
END_TEST

START_TEST(an_upgrade_may_be_long_in_coming)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask_at_once(UPGRADE);

	ck_assert_uint_eq(seen.readies, 1);
	loop_fake_clock(loop, 1 + 10 * (HEADER_MS + BODY_MS + IDLE_MS + STALL_MS)); /* who answers has deadlines, not who waits */
	turns(loop, 5);
	ck_assert(!c->in.len && !c->eof && seen.x);
	exchange_cut(seen.x);
	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert_uint_eq(seen.gone, 1);
	ck_assert_uint_eq(c->in.len, 0);
}
END_TEST

/* -- the same to everybody ------------------------------------------------------------------------------------------------ */
#define H "Host: r\r\n"
#define SEVEN "a=b; a=b, a=b; a=b; a=b; a=b; a=b; "
static const struct {
	const char *request;
	bool early;
} heads[] = {
	{ "GET /p%2Fq?x=%20&y=? HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", true },
	{ "GET / HTTP/1.1\r\nhOST:r\r\nCONNECTION:keep-alive, upgrade\r\nUPGRADE:\tWebSocket \t\r\nEmpty:\r\nBlank:  \r\nX: a\tb \r\nX: 2\r\n\r\n", true },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: a=b; c=d\r\nX: \x80\xff\r\n\r\n", true },
	{ "GET //x/../y?#z HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", true }, /* refused by both */
	{ "GET http://r/ HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", true },
	{ "GET / HTTP/1.1\r\n" UPGRADE_LINES "\r\n", true },
	{ "GET / HTTP/1.1\r\n" H H UPGRADE_LINES "\r\n", true },
	{ "GET / HTTP/1.1\r\nHost: r/\r\n" UPGRADE_LINES "\r\n", true },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "1: 1\r\n2: 2\r\n3: 3\r\n4: 4\r\n5: 5\r\n6: 6\r\n7: 7\r\n8: 8\r\n9: 9\r\n10: 10\r\n11: 11\r\n12: 12\r\n13: 13\r\n14: 14\r\n\r\n", true },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "\r\nGET /2 HTTP/1.1\r\n" H "\r\n", true },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Cookie: " SEVEN SEVEN SEVEN SEVEN "a=b; a=b; a=b; a=b\r\n\r\n", true }, /* 32 */
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Cookie: " SEVEN SEVEN SEVEN SEVEN "a=b; a=b; a=b; a=b;\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "Upgrade: websocket\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n", false },
	{ "GET / HTTP/1.0\r\n" H UPGRADE_LINES "\r\n", false },
	{ "GET / HTTP/1.2\r\n" H UPGRADE_LINES "\r\n", false },
	{ "get / HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", false },
	{ "HEAD / HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", false },
	{ "\r\nGET / HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", false },
	{ "GET  / HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", false },
	{ "GET / HTTP/1.1 \r\n" H UPGRADE_LINES "\r\n", false },
	{ "GET /\x7f HTTP/1.1\r\n" H UPGRADE_LINES "\r\n", false },
	{ "GET / HTTP/1.1\n" H UPGRADE_LINES "\r\n", false },
	{ "GET / HTTP/1.1\r\nHost: r\n" UPGRADE_LINES "\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X: a\r\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X: a\r\n b\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X : a\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X: a\x01" "b\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Content-Length: 0\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "content-length: 3\r\n\r\nabc", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false },
	{ "GET / HTTP/1.1\r\n" H UPGRADE_LINES "Expect: 100-continue\r\n\r\n", false },
};

/* What the handler saw of the newest request. */
static void describe(struct buf *out)
{
	size_t n = 0;

	if (!seen.x)
		return;
	const struct header *all = exchange_headers(seen.x, &n);
	buf_printf(out, "%s %.*s [%.*s] %d %d\n", exchange_method(seen.x), STR_ARG(exchange_path(seen.x)), STR_ARG(exchange_query(seen.x)),
	           exchange_asks_websocket(seen.x), exchange_has_body(seen.x));
	for (size_t i = 0; i < n; i++) {
		buf_printf(out, "%.*s=%.*s\n", STR_ARG(all[i].name), STR_ARG(all[i].value));
		ck_assert(!all[i].name.at[all[i].name.len]);
		ck_assert(!all[i].value.at[all[i].value.len + strspn(all[i].value.at + all[i].value.len, " \t")]);
	}
}

/* What it is told, but for when. */
static void without_dates(struct buf *out, const struct peer_conn *c)
{
	struct str rest = { c->in.at, c->in.len }, line;

	while (str_cut(&rest, '\n', &line))
		if (line.len < 5 || memcmp(line.at, "Date:", 5))
			buf_printf(out, "%.*s\n", STR_ARG(line));
}

static void given(void *arg, struct link *client, struct str extra)
{
	(void)arg, (void)extra;
	link_close(client);
}

static void answer(int status)
{
	exchange_add(seen.x, "X-One", STR("1"));
	exchange_add(seen.x, "X-Empty", STR(""));
	exchange_add(seen.x, "X-Broken", STR("a\r\nb"));
	exchange_add(seen.x, "X-Two", STR("2"));
	if (status == 101)
		exchange_upgrade(seen.x, given, NULL);
	else
		exchange_answer(seen.x, status, STR("answer"));
}

static void play_one(struct peer_conn *(*way)(const char *), const char *request, int status, struct buf *out)
{
	unsigned before = seen.begins + seen.refusals;

	seen.play = PLAY_WAIT;
	struct peer_conn *c = way(request);
	for (int i = 0; i < 50 && seen.begins + seen.refusals == before && !c->eof; i++)
		turn(loop);
	describe(out);
	seen.play = PLAY_ECHO;
	if (seen.x)
		answer(exchange_asks_websocket(seen.x) ? status : 200);
	turns(loop, 20);
	peer_finish(c);
	UNTIL(loop, c->eof);
	without_dates(out, c);
	buf_printf(out, "refused %d %s\n", seen.err, seen.detail);
	seen.err = 0;
}

START_TEST(nobody_can_tell_who_has_read_the_head)
{
	static const int statuses[] = { 200, 503, 101 };
	struct buf early = { 0 }, late = { 0 };

	for (size_t i = 0; i < 3; i++) {
		play_one(ask, heads[_i].request, statuses[i], &late);
		play_one(ask_at_once, heads[_i].request, statuses[i], &early);
	}
	ck_assert_str_eq(early.at, late.at);
	buf_free(&early);
	buf_free(&late);
}
END_TEST

static bool is_early(void)
{
	return httpd->conns && httpd->conns->is_early;
}

START_TEST(what_libmicrohttpd_need_not_see)
{
	seen.play = PLAY_WAIT;
	ask_at_once(heads[_i].request);
	ck_assert_msg(is_early() == heads[_i].early, "%s", heads[_i].request);
	ck_assert(!is_early() || seen_by_mhd() == 0);
}
END_TEST

static struct buf long_head(size_t len)
{
	struct buf head = { 0 };

	buf_adds(&head, "GET / HTTP/1.1\r\n" H UPGRADE_LINES "X: ");
	while (head.len < len - 4)
		buf_adds(&head, "x");
	buf_adds(&head, "\r\n\r\n");
	return head;
}

START_TEST(what_is_long_is_libmicrohttpds)
{
	struct buf head = long_head(_i ? 4097 : 4096);

	seen.play = PLAY_WAIT;
	ask_at_once(head.at);
	ck_assert(is_early() == !_i);
	UNTIL(loop, seen.begins + seen.refusals == 1);
	buf_free(&head);
}
END_TEST

/* One that has not come whole yet. */
START_TEST(what_comes_in_pieces_is_libmicrohttpds)
{
	seen.play = PLAY_UPGRADE;
	struct peer_conn *c = ask_at_once("GET / HTTP/1.1\r\n" H UPGRADE_LINES "\r");

	turns(loop, 5);
	ck_assert_uint_eq(seen.begins, 0);
	ck_assert_uint_eq(seen_by_mhd(), 1);
	peer_says(c, "\nmore");
	UNTIL(loop, seen.given == 1);
	ck_assert_str_eq(seen.extra, "more");
}
END_TEST

/* -- other answers -------------------------------------------------------------------------------------------------------- */
START_TEST(who_is_answered_otherwise_may_ask_again)
{
	struct peer_conn *c = ask_at_once(UPGRADE GET);

	UNTIL(loop, has(c, "GET / [] "));
	ck_assert(has(c, "HTTP/1.1 200 OK\r\n") && has(c, "GET /ws [] ") && !has(c, "Connection: close"));
	ck_assert_uint_eq(seen.begins, 2);
	ck_assert_uint_eq(seen.sent, 2);
	seen.play = PLAY_UPGRADE;
	peer_says(c, UPGRADE);
	UNTIL(loop, has(c, "HTTP/1.1 101 "));
	ck_assert_uint_eq(seen.closed_given, 1);
}
END_TEST

START_TEST(an_answer_may_be_a_stream)
{
	seen.play = PLAY_SOURCE;
	seen.bytes = pattern(300000);
	seen.available = 300000;
	seen.length = 300000;
	struct peer_conn *c = ask_at_once(UPGRADE);

	UNTIL(loop, seen.sent == 1 && c->in.len > 300000);
	ck_assert_mem_eq(body_of(c), seen.bytes, 300000);
}
END_TEST

START_TEST(who_is_refused_before_it_is_ready_hears_it)
{
	seen.play = PLAY_BEGIN;
	struct peer_conn *c = ask_at_once(UPGRADE);

	UNTIL(loop, seen.sent == 1 && has(c, "HTTP/1.1 403 "));
	ck_assert_uint_eq(seen.readies, 0);
}
END_TEST

START_TEST(who_is_refused_for_its_head_is_closed)
{
	struct peer_conn *c = ask_at_once("GET / HTTP/1.1\r\n" UPGRADE_LINES "\r\n");

	UNTIL(loop, c->eof);
	ck_assert(has(c, "HTTP/1.1 400 ") && has(c, "Connection: close\r\n"));
	ck_assert_uint_eq(seen.refusals, 1);
	UNTIL(loop, seen.closed == 1);
}
END_TEST

START_TEST(who_is_cut_hears_nothing)
{
	seen.play = _i ? PLAY_CUT : PLAY_CUT_BEGIN;
	struct peer_conn *c = ask_at_once(UPGRADE "more");

	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert_uint_eq(c->in.len, 0);
	ck_assert_uint_eq(seen.gone, 1);
}
END_TEST

/* -- ends ------------------------------------------------------------------------------------------------------------------ */
static void finish(struct peer_conn *c)
{
	peer_finish(c);
}

START_TEST(who_has_left_by_now_is_closed)
{
	struct accepted accepted = { .peer.ss_family = AF_INET, .peer_len = sizeof(struct sockaddr_in) };
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	close(pair[1]);
	accepted.fd = pair[0];
	httpd_add(httpd, &accepted);
	loop_turn(loop);
	ck_assert_uint_eq(seen.closed, 1);
	ck_assert_uint_eq(httpd->fds, 0); /* libmicrohttpd has had nobody */
	ck_assert_int_lt(fcntl(pair[0], F_GETFD), 0);
}
END_TEST

START_TEST(who_leaves_is_not_waited_for)
{
	static void (*const leave[])(struct peer_conn *) = { finish, peer_close, peer_reset };

	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask_at_once(UPGRADE);
	ck_assert_uint_eq(seen.readies, 1);
	leave[_i](c);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
	ck_assert_uint_eq(seen.closed_given, 0);
	ck_assert_uint_eq(httpd_connections(httpd), 0);
}
END_TEST

/* Between the node's answer and ours, or before ours can be written. */
START_TEST(who_has_left_is_not_upgraded)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask_at_once(UPGRADE);

	if (_i)
		conn_left(httpd->conns);
	exchange_upgrade(seen.x, NULL, NULL);
	if (!_i)
		shutdown(httpd->conns->fd, SHUT_WR);
	UNTIL(loop, seen.closed == 1 && c->eof);
	ck_assert_uint_eq(seen.gone, 1);
	ck_assert_uint_eq(seen.closed_given, 0);
}
END_TEST

START_TEST(a_server_is_freed_while_handshakes_wait)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *one = ask_at_once(UPGRADE), *other = ask_at_once(UPGRADE), *unseen = client_new();

	exchange_answer(seen.x, 200, STR("too late"));
	httpd_free(httpd);
	httpd = NULL;
	UNTIL(loop, one->eof && other->eof && unseen->eof);
	ck_assert_uint_eq(seen.gone, 2);
	ck_assert_uint_eq(seen.closed, 3);
}
END_TEST

/* What a handler does is no part of the messages that a turn begins with: what has waited is known only after those. */
START_TEST(nobody_is_served_before_the_loop_knows_the_time)
{
	seen.play = PLAY_WAIT;
	client_with(UPGRADE);
	ck_assert_uint_eq(seen.begins, 0);
	loop_turn(loop);
	ck_assert_uint_eq(seen.begins, 1);
}
END_TEST

/* libmicrohttpd finds another head than was read, or none: what was answered is told to nobody, and is over. */
START_TEST(a_head_that_is_gone_ends_with_its_connection)
{
	char away[4096];

	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask_at_once(UPGRADE);
	ck_assert_int_gt(recv(httpd->conns->fd, away, sizeof(away), 0), 0);
	exchange_answer(seen.x, 200, STR("lost"));
	turns(loop, 5);
	ck_assert_uint_eq(seen_by_mhd(), 1);
	ck_assert_uint_eq(seen.ends, 0);
	peer_close(c);
	UNTIL(loop, seen.closed == 1);
	ck_assert_uint_eq(seen.gone, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("httpd_early");
	TCase *t = tcase_create("httpd_early");
	int nheads = (int)(sizeof(heads) / sizeof(*heads));

	tcase_add_checked_fixture(t, play_setup, play_teardown);
	tcase_set_timeout(t, 40);
	tcase_add_test(t, an_upgrade_gives_the_socket_away);
	tcase_add_test(t, an_upgrade_may_be_long_in_coming);
	tcase_add_loop_test(t, nobody_can_tell_who_has_read_the_head, 0, nheads);
	tcase_add_loop_test(t, what_libmicrohttpd_need_not_see, 0, nheads);
	tcase_add_loop_test(t, what_is_long_is_libmicrohttpds, 0, 2);
	tcase_add_test(t, what_comes_in_pieces_is_libmicrohttpds);
	tcase_add_test(t, who_is_answered_otherwise_may_ask_again);
	tcase_add_test(t, an_answer_may_be_a_stream);
	tcase_add_test(t, who_is_refused_before_it_is_ready_hears_it);
	tcase_add_test(t, who_is_refused_for_its_head_is_closed);
	tcase_add_loop_test(t, who_is_cut_hears_nothing, 0, 2);
	tcase_add_test(t, who_has_left_by_now_is_closed);
	tcase_add_loop_test(t, who_leaves_is_not_waited_for, 0, 3);
	tcase_add_loop_test(t, who_has_left_is_not_upgraded, 0, 2);
	tcase_add_test(t, a_server_is_freed_while_handshakes_wait);
	tcase_add_test(t, nobody_is_served_before_the_loop_knows_the_time);
	tcase_add_test(t, a_head_that_is_gone_ends_with_its_connection);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
