/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies as streams, clients that leave, sockets given away, and the end of the server. */
#include <sys/resource.h>

#include "httpd_play.h"

/* -- bodies that stream ------------------------------------------------------------------------------------------------- */
START_TEST(a_sink_sets_the_pace)
{
	seen.play = PLAY_SINK;
	seen.room = 0;
	struct peer_conn *c = ask(_i ? "PUT / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n"
	                             : "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 4000000\r\n\r\n");
	const char *bytes = pattern(4000000);

	if (_i)
		peer_says(c, "3d0900\r\n");
	peer_send(c, bytes, 4000000);
	if (_i)
		peer_says(c, "\r\n0\r\n\r\n");
	while (seen.taken.len < 4000000) { /* in odd pieces, so that MHD keeps a rest each time */
		size_t before = seen.taken.len;
		UNTIL(loop, seen.x);
		seen.room = 7777;
		exchange_more(seen.x);
		UNTIL(loop, seen.taken.len > before);
	}
	UNTIL(loop, has(c, "4000000 taken"));
	ck_assert_int_eq(memcmp(seen.taken.at, bytes, 4000000), 0);
	ck_assert_uint_eq(seen.sink_ends, 1);
}
END_TEST

START_TEST(a_full_sink_stops_the_client)
{
	seen.play = PLAY_SINK;
	seen.room = 1000;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 40000000\r\n\r\n");

	peer_send(c, pattern(40000000), 40000000);
	UNTIL(loop, seen.taken.len == 1000);
	for (size_t before = 0, same = 0; same < 50;) {
		turns(loop, 10);
		same = c->sent == before ? same + 1 : 0;
		before = c->sent;
	}
	ck_assert_uint_lt(c->sent, 20000000); /* what the kernel holds */
	ck_assert_uint_eq(seen.taken.len, 1000);
}
END_TEST

START_TEST(a_source_sets_the_pace)
{
	const char *bytes = pattern(3000000);

	seen.play = PLAY_SOURCE;
	seen.bytes = bytes;
	seen.length = _i ? 3000000 : -1;
	seen.source_end = SOURCE_WAIT;
	struct peer_conn *c = ask(_i ? GET : "GET / HTTP/1.0\r\n\r\n");
	UNTIL(loop, seen.readies == 1);
	while (seen.at < 3000000) {
		size_t before = seen.at;
		seen.available = 3000000 - seen.at < 99999 ? 3000000 - seen.at : 99999;
		exchange_more(seen.x);
		UNTIL(loop, seen.at > before && (seen.at == 3000000 || !seen.available));
	}
	seen.source_end = SOURCE_END;
	if (seen.x)
		exchange_more(seen.x);
	UNTIL(loop, seen.sent == 1 && (size_t)(body_of(c) - c->in.at) + 3000000 <= c->in.len);
	ck_assert_int_eq(memcmp(body_of(c), bytes, 3000000), 0);
	ck_assert(!_i || has(c, "Content-Length: 3000000\r\n"));
}
END_TEST

START_TEST(a_broken_source_breaks_the_answer)
{
	seen.play = PLAY_SOURCE;
	seen.bytes = "half";
	seen.available = 4;
	seen.length = _i ? 8 : -1;
	seen.source_end = SOURCE_BROKEN;
	struct peer_conn *c = ask(GET);

	UNTIL(loop, c->eof && seen.gone == 1);
	ck_assert(has(c, "half") && !has(c, "0\r\n\r\n"));
}
END_TEST

START_TEST(head_of_a_stream_asks_it_for_nothing)
{
	seen.play = PLAY_SOURCE;
	seen.bytes = "0123456789";
	seen.available = 10;
	seen.length = 10;
	struct peer_conn *c = ask("HEAD / HTTP/1.1\r\nHost: r\r\n\r\n" GET);

	UNTIL(loop, seen.sent == 2 && has(c, "0123456789"));
	ck_assert_uint_eq(count(c, "Content-Length: 10\r\n"), 2);
	ck_assert_uint_eq(count(c, "0123456789"), 1);
}
END_TEST

/* -- leaving ------------------------------------------------------------------------------------------------------------ */
START_TEST(a_client_that_leaves_is_noticed_while_it_waits)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask(GET);

	UNTIL(loop, seen.readies == 1);
	turns(loop, 10);
	if (_i == 0)
		peer_close(c);
	else if (_i == 1)
		peer_reset(c);
	else
		peer_finish(c); /* half-closed: counts as having left */
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
	ck_assert_uint_eq(c->in.len, 0);
}
END_TEST

START_TEST(a_client_that_leaves_is_noticed_mid_upload)
{
	seen.play = _i < 2 ? PLAY_SINK : PLAY_ECHO;
	seen.room = _i == 1 ? 3 : SIZE_MAX; /* suspended, with bytes that nobody has read */
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\nabcdef");

	UNTIL(loop, _i == 2 ? seen.begins : seen.taken.len >= 3);
	turns(loop, 10);
	peer_close(c);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
	ck_assert_uint_eq(seen.readies, 0);
	ck_assert_uint_eq(seen.sink_ends, 0);
}
END_TEST

/* Its FIN comes with its last bytes, so that who reads those is told of nothing more. */
START_TEST(a_client_that_leaves_with_half_a_request_is_noticed)
{
	static const char *const halves[] = {
		"GET / HT", "GET / HTTP/1.1\r\nHost: r\r\n", "PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n\r\nabcdef",
		"PUT / HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n",
	};

	seen.play = _i & 1 ? PLAY_SINK : PLAY_ECHO;
	seen.room = SIZE_MAX;
	struct peer_conn *c = client_new();
	c->finish = true;
	peer_says(c, halves[_i / 2]);
	UNTIL(loop, seen.closed == 1);
	ck_assert_uint_eq(seen.gone, seen.begins);
	ck_assert_uint_eq(seen.readies, 0);
}
END_TEST

START_TEST(a_client_that_leaves_is_noticed_mid_answer)
{
	seen.play = PLAY_SOURCE;
	seen.bytes = "first";
	seen.available = 5;
	seen.source_end = SOURCE_WAIT;
	struct peer_conn *c = ask(GET);

	UNTIL(loop, has(c, "first"));
	turns(loop, 10);
	if (_i)
		peer_reset(c);
	else
		peer_close(c);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
}
END_TEST

START_TEST(a_client_that_leaves_at_once_is_forgotten)
{
	struct peer_conn *c = client_new();

	peer_close(c);
	UNTIL(loop, seen.closed == 1);
	ck_assert_uint_eq(httpd_connections(httpd), 0);
	ck_assert_uint_eq(seen.begins, 0);
}
END_TEST

/* -- sockets given away ------------------------------------------------------------------------------------------------- */
#define UPGRADE "GET /ws HTTP/1.1\r\nHost: r\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

START_TEST(an_upgrade_gives_the_socket_away)
{
	char byte[8] = "";

	seen.play = PLAY_UPGRADE;
	struct peer_conn *c = ask(UPGRADE "early");
	UNTIL(loop, seen.given == 1 && has(c, "\r\n\r\n"));
	ck_assert(has(c, "HTTP/1.1 101 ") && has(c, "Upgrade: websocket\r\n") && has(c, "Connection: Upgrade\r\n"));
	ck_assert_str_eq(seen.extra, "early");
	UNTIL(loop, seen.closed == 1); /* it is counted no more */
	ck_assert_uint_eq(seen.closed_given, 1);
	ck_assert_uint_eq(httpd_connections(httpd), 0);
	ck_assert(fcntl(seen.client.fd, F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(seen.client.fd, F_GETFL) & O_NONBLOCK);
	peer_says(c, "ping");
	UNTIL(loop, link_read(&seen.client, byte, sizeof(byte)) == 4);
	ck_assert_str_eq(byte, "ping");
	ck_assert(link_put(&seen.client, "pong", 4));
	UNTIL(loop, has(c, "pong"));
	ck_assert(!c->eof);
}
END_TEST

START_TEST(a_given_socket_outlives_the_server)
{
	seen.play = PLAY_UPGRADE;
	struct peer_conn *c = ask(UPGRADE);

	UNTIL(loop, seen.given == 1);
	httpd_free(httpd);
	httpd = NULL;
	ck_assert(link_put(&seen.client, "still", 5));
	UNTIL(loop, has(c, "still"));
	ck_assert(!c->eof);
}
END_TEST

START_TEST(an_upgrade_without_descriptors_is_a_lost_client)
{
	struct rlimit before, none;

	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask(UPGRADE);
	UNTIL(loop, seen.readies == 1);
	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ 3, before.rlim_max };
	exchange_upgrade(seen.x, NULL, NULL);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	turns(loop, 10);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	UNTIL(loop, c->eof && seen.gone == 1 && seen.closed == 1);
	ck_assert_uint_eq(seen.closed_given, 0);
}
END_TEST

/* -- limits and ends ------------------------------------------------------------------------------------------------------ */
START_TEST(connections_over_the_limit_are_closed)
{
	struct peer_conn *last = NULL;

	for (int i = 0; i < CONNECTIONS_MAX; i++)
		client_new();
	last = client_new();
	UNTIL(loop, last->eof);
	ck_assert_uint_eq(seen.closed, 1);
	ck_assert_uint_eq(httpd_connections(httpd), CONNECTIONS_MAX);
}
END_TEST

START_TEST(a_server_is_freed_whatever_its_connections_do)
{
	client_new();
	ask("GET / HTTP/1.1\r\nHo");
	ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nabc");
	seen.play = PLAY_BEGIN;
	ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 100000\r\n\r\nabc"); /* lingers */
	UNTIL(loop, seen.begins == 2);
	seen.play = PLAY_SINK;
	seen.room = 2;
	ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 10\r\n\r\nabc");
	UNTIL(loop, seen.taken.len == 2);
	seen.play = PLAY_SOURCE;
	seen.bytes = "first";
	seen.available = 5;
	seen.source_end = SOURCE_WAIT;
	ask(GET);
	UNTIL(loop, seen.begins == 4);
	turns(loop, 20);
	seen.play = PLAY_WAIT;
	ask(GET GET);
	UNTIL(loop, seen.begins == 5);
	turns(loop, 20);
	ck_assert_uint_ge(seen.begins, 5);
	unsigned open = (unsigned)httpd_connections(httpd), before = seen.closed;
	httpd_free(httpd);
	httpd = NULL;
	ck_assert_uint_eq(seen.closed, before + open);
	ck_assert_uint_eq(seen.begins, seen.ends);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("httpd_stream");
	TCase *t = tcase_create("httpd_stream");

	tcase_add_checked_fixture(t, play_setup, play_teardown);
	tcase_set_timeout(t, 40);
	tcase_add_loop_test(t, a_sink_sets_the_pace, 0, 2);
	tcase_add_test(t, a_full_sink_stops_the_client);
	tcase_add_loop_test(t, a_source_sets_the_pace, 0, 2);
	tcase_add_loop_test(t, a_broken_source_breaks_the_answer, 0, 2);
	tcase_add_test(t, head_of_a_stream_asks_it_for_nothing);
	tcase_add_loop_test(t, a_client_that_leaves_is_noticed_while_it_waits, 0, 3);
	tcase_add_loop_test(t, a_client_that_leaves_is_noticed_mid_upload, 0, 3);
	tcase_add_loop_test(t, a_client_that_leaves_with_half_a_request_is_noticed, 0, 8);
	tcase_add_loop_test(t, a_client_that_leaves_is_noticed_mid_answer, 0, 2);
	tcase_add_test(t, a_client_that_leaves_at_once_is_forgotten);
	tcase_add_test(t, an_upgrade_gives_the_socket_away);
	tcase_add_test(t, a_given_socket_outlives_the_server);
	tcase_add_test(t, an_upgrade_without_descriptors_is_a_lost_client);
	tcase_add_test(t, connections_over_the_limit_are_closed);
	tcase_add_test(t, a_server_is_freed_whatever_its_connections_do);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
