/* SPDX-License-Identifier: Apache-2.0 */
/* Time stands still but for what a test lets pass; the kernel's counts of bytes are real. */
#include "base/loop_uv.h"
#include "bridge.h"
#include "httpd_play.h"

static uint64_t now_ms;

static void setup(void)
{
	play_setup();
	loop_fake_clock(loop, now_ms = 1000000);
}

static void pass_ms(uint64_t ms)
{
	turns(loop, 10);
	loop_fake_clock(loop, now_ms += ms);
	turns(loop, 10);
}

/* -- heads ------------------------------------------------------------------------------------------------------------ */
START_TEST(silence_from_the_first_is_cut)
{
	struct peer_conn *c = client_new();

	pass_ms(HEADER_MS - 1);
	ck_assert(!c->eof && httpd_connections(httpd) == 1);
	pass_ms(1);
	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert_uint_eq(c->in.len, 0); /* nothing was asked */
}
END_TEST

START_TEST(a_head_in_drips_is_cut)
{
	static const char head[] = "GET /drip HTTP/1.1\r\nHost: r\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct peer_conn *c = client_new();
	unsigned steps = 0;

	for (; !c->eof && steps < sizeof(head) - 1; steps++) {
		peer_send(c, head + steps, 1);
		pass_ms(50);
	}
	ck_assert_uint_le(steps, HEADER_MS / 50 + 1);
	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert(has(c, "HTTP/1.1 408 "));
	ck_assert_uint_eq(seen.begins, 0);
}
END_TEST

START_TEST(a_next_head_in_drips_is_cut)
{
	static const char head[] = "GET /drip HTTP/1.1\r\nHost: r\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
	struct peer_conn *c = ask(GET);
	unsigned steps = 0;

	UNTIL(loop, seen.sent == 1);
	for (; !c->eof && steps < sizeof(head) - 1; steps++) {
		peer_send(c, head + steps, 1);
		pass_ms(50);
	}
	ck_assert_uint_le(steps, HEADER_MS / 50 + 1);
	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert(has(c, "HTTP/1.1 408 "));
	ck_assert_uint_eq(seen.begins, 1);
}
END_TEST

START_TEST(a_slow_head_in_time_is_served)
{
	struct peer_conn *c = client_new();

	peer_says(c, "GET /in HTTP/1.1\r\n");
	pass_ms(HEADER_MS / 2);
	peer_says(c, "Host: r\r\n");
	pass_ms(HEADER_MS / 2 - 1);
	peer_says(c, "\r\n");
	UNTIL(loop, has(c, "GET /in [] "));
}
END_TEST

START_TEST(idle_connections_are_closed_silently)
{
	struct peer_conn *c = ask(GET);

	UNTIL(loop, seen.sent == 1 && has(c, "GET / [] "));
	c->in.len = 0;
	for (unsigned ms = 0; ms < IDLE_MS - 500; ms += 500)
		pass_ms(500);
	ck_assert(!c->eof);
	peer_says(c, GET); /* in time: it begins anew */
	UNTIL(loop, seen.sent == 2 && has(c, "GET / [] "));
	c->in.len = 0;
	for (unsigned ms = 0; ms < IDLE_MS; ms += 500)
		pass_ms(500);
	UNTIL(loop, c->eof && seen.closed == 1);
	ck_assert_uint_eq(c->in.len, 0);
}
END_TEST

START_TEST(no_request_leaves_what_looks_like_a_head)
{
	static const char *const requests[] = {
		GET,
		"GET /a%20path?with=a&query=too HTTP/1.1\r\nHost:   r  \r\nX-Empty:\r\nX-Tab:\ta\t\r\nX-Folded: a\r\n  b\r\n\r\n",
		"GET / HTTP/1.1\nHost: r\n\n",
		"POST /in HTTP/1.1\r\nHost: r\r\nContent-Length: 5\r\n\r\nhello",
		"POST /in HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n",
		"POST /in HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n",
	};
	struct peer_conn *c = client_new();

	for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		peer_says(c, requests[i]);
		UNTIL(loop, seen.sent == i + 1 && has(c, "] "));
		c->in.len = 0;
		for (unsigned ms = 0; ms < IDLE_MS - 500; ms += 500)
			pass_ms(500);
		ck_assert_msg(!c->eof && !c->in.len, "after request %zu", i);
	}
	peer_says(c, "G"); /* and what is one, is seen */
	for (unsigned ms = 0; ms < HEADER_MS; ms += 50)
		pass_ms(50);
	UNTIL(loop, c->eof && has(c, "HTTP/1.1 408 "));
}
END_TEST

START_TEST(empty_lines_that_come_with_requests_are_no_head)
{
	struct peer_conn *c = ask("\r\n" GET);

	UNTIL(loop, seen.sent == 1 && has(c, "GET / [] "));
	pass_ms(HEADER_MS / 2);
	peer_says(c, "\r\n" GET);
	UNTIL(loop, seen.sent == 2);
	for (unsigned ms = 0; ms < HEADER_MS + 500; ms += 50)
		pass_ms(50);
	ck_assert(!c->eof);
}
END_TEST

static uint64_t look_ms(void)
{
	uint64_t last = 0;

	for (size_t i = 0; i < loop->ntimers; i++)
		if (loop->heap[i].ms <= now_ms + HEADER_MS / 2 && loop->heap[i].ms > last)
			last = loop->heap[i].ms;
	return last;
}

/* Each look alone would wake the loop: with ten thousand silent connections two thousand times a second. */
START_TEST(looks_at_silent_connections_come_together)
{
	uint64_t first;

	ask(GET);
	UNTIL(loop, seen.sent == 1);
	first = look_ms();
	ck_assert(first > now_ms + HEADER_MS / 2 - 10);
	pass_ms(2);
	ask(GET);
	UNTIL(loop, seen.sent == 2);
	ck_assert_uint_eq(look_ms(), first);
	pass_ms(8);
	ask(GET);
	UNTIL(loop, seen.sent == 3);
	ck_assert_uint_gt(look_ms(), first);
}
END_TEST

START_TEST(a_stop_closes_idle_connections_soon)
{
	struct peer_conn *idle = ask(GET), *busy;

	UNTIL(loop, seen.sent == 1);
	seen.play = PLAY_WAIT;
	busy = ask(GET);
	UNTIL(loop, seen.readies == 2);
	httpd_close_idle(httpd);
	pass_ms(HEADER_MS / 10 + 1);
	UNTIL(loop, idle->eof);
	ck_assert(!busy->eof);
	exchange_answer(seen.x, 200, STR("last"));
	UNTIL(loop, busy->eof);
	ck_assert(has(busy, "last") && has(busy, "Connection: close\r\n"));
}
END_TEST

START_TEST(handlers_have_all_the_time_they_want)
{
	seen.play = PLAY_WAIT;
	struct peer_conn *c = ask(GET);

	UNTIL(loop, seen.readies == 1);
	for (int i = 0; i < 100; i++)
		pass_ms(IDLE_MS);
	exchange_answer(seen.x, 200, STR("late"));
	UNTIL(loop, has(c, "late"));
}
END_TEST

/* -- bodies ----------------------------------------------------------------------------------------------------------- */
START_TEST(a_body_in_drips_is_cut)
{
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\n");
	unsigned steps = 0;

	for (; !c->eof && steps < 1000; steps++) {
		peer_says(c, "x");
		pass_ms(100);
	}
	ck_assert_uint_le(steps, BODY_MS / 100 + 1);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
	ck_assert(has(c, "HTTP/1.1 408 "));
	ck_assert_uint_eq(seen.readies, 0);
}
END_TEST

START_TEST(a_stream_may_take_long_but_not_pause)
{
	seen.play = PLAY_SINK;
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 100000\r\n\r\n");

	for (unsigned i = 1; i <= 50; i++) {
		peer_send(c, pattern(BODY_MS / 4), BODY_MS / 4);
		UNTIL(loop, seen.taken.len == i * BODY_MS / 4);
		pass_ms(BODY_MS / 2);
	}
	ck_assert(!c->eof);
	pass_ms(BODY_MS);
	UNTIL(loop, c->eof && seen.gone == 1);
	ck_assert(has(c, "HTTP/1.1 408 "));
	ck_assert_uint_eq(seen.sink_ends, 0);
}
END_TEST

START_TEST(a_stream_in_drips_is_cut)
{
	seen.play = PLAY_SINK;
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\n");
	unsigned steps = 0;

	for (; !c->eof && steps < 1000; steps++) {
		peer_says(c, "x");
		pass_ms(100);
	}
	ck_assert_uint_le(steps, BODY_MS / 100 + 2);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
	ck_assert(has(c, "HTTP/1.1 408 "));
}
END_TEST

START_TEST(a_slow_sink_is_not_the_clients_fault)
{
	seen.play = PLAY_SINK;
	seen.room = 10;
	struct peer_conn *c = ask("POST / HTTP/1.1\r\nHost: r\r\nContent-Length: 20\r\n\r\n01234567890123456789");

	UNTIL(loop, seen.taken.len == 10);
	for (int i = 0; i < 20; i++)
		pass_ms(BODY_MS);
	ck_assert(!c->eof);
	seen.room = 100;
	exchange_more(seen.x);
	UNTIL(loop, has(c, "20 taken"));
	ck_assert_uint_eq(seen.sink_ends, 1);
}
END_TEST

START_TEST(what_is_swallowed_has_a_deadline)
{
	seen.play = PLAY_SINK;
	struct peer_conn *c = ask("PUT / HTTP/1.1\r\nHost: r\r\nContent-Length: 1000\r\n\r\nabc");

	UNTIL(loop, seen.taken.len == 3);
	exchange_answer(seen.x, 418, STR("early"));
	for (int i = 0; i < 60 && !c->eof; i++) {
		peer_says(c, "x");
		pass_ms(100);
	}
	UNTIL(loop, c->eof && seen.gone == 1);
}
END_TEST

/* -- answers ------------------------------------------------------------------------------------------------------------ */
#define LARGE 20000000
#define STEP 4096
#define PAIR 131072 /* about what the pair between libmicrohttpd and the front holds */
#define ROUND 1000000 /* more than lies between: who has read that much has shown the server's kernel that it reads */

START_TEST(who_does_not_read_is_cut)
{
	struct peer_conn *c = client_new();

	seen.play = PLAY_WAIT;
	c->paused = true;
	peer_wait(c);
	peer_says(c, GET);
	UNTIL(loop, seen.readies == 1);
	exchange_answer(seen.x, 200, (struct str){ pattern(LARGE), LARGE });
	turns(loop, 500); /* until all that lies between is full */
	pass_ms(STALL_MS); /* something was taken since */
	pass_ms(STALL_MS - 1);
	ck_assert_uint_eq(seen.ends, 0);
	pass_ms(1);
	UNTIL(loop, seen.gone == 1 && seen.closed == 1);
}
END_TEST

/*
 * How many bytes of a source go out to a client that does not read, at most. In small steps: one end of a socketpair that was full
 * takes nothing before it is nearly empty again, so that haste would leave a gap in what lies between, now here and now there.
 */
static size_t gives(size_t most)
{
	struct peer_conn *c = client_new();

	seen.play = PLAY_SOURCE;
	seen.bytes = pattern(LARGE);
	seen.at = seen.available = 0;
	seen.source_end = SOURCE_WAIT;
	c->paused = true;
	peer_wait(c);
	peer_says(c, GET);
	UNTIL(loop, seen.x);
	for (size_t last = 1; seen.at < most && last != seen.at;) {
		last = seen.at;
		seen.available = most - seen.at < STEP ? most - seen.at : STEP;
		exchange_more(seen.x);
		for (int i = 0; i < 50 && seen.at == last; i++)
			turns(loop, 10);
		turns(loop, 10);
	}
	if (seen.at == most) {
		seen.source_end = SOURCE_END;
		exchange_more(seen.x);
		turns(loop, 10);
	}
	return seen.at;
}

/* What libmicrohttpd has said to the end waits in the front (with TLS) for a client that does not read: not for ever. */
START_TEST(last_words_wait_for_nobody_for_ever)
{
	if (!bridge_wanted())
		return;
	size_t all = gives(LARGE);
	ck_assert_uint_lt(all, LARGE);
	pass_ms(STALL_MS);
	pass_ms(STALL_MS);
	UNTIL(loop, seen.closed == 1);
	httpd_close_idle(httpd); /* so that the next one ends with its answer */
	gives(all - PAIR / 2);
	ck_assert_uint_eq(seen.sent, 1);
	ck_assert_uint_eq(httpd_connections(httpd), 1);
	pass_ms(STALL_MS); /* something was taken since */
	ck_assert_uint_eq(httpd_connections(httpd), 1);
	pass_ms(STALL_MS);
	UNTIL(loop, seen.closed == 2);
}
END_TEST

START_TEST(who_reads_slowly_is_served)
{
	struct peer_conn *c = client_new();

	seen.play = PLAY_WAIT;
	peer_says(c, GET);
	UNTIL(loop, seen.readies == 1);
	const char *bytes = pattern(LARGE);
	exchange_answer(seen.x, 200, (struct str){ bytes, LARGE });
	while (c->in.len < LARGE && !c->eof) {
		size_t enough = c->in.len + ROUND;
		c->paused = false;
		peer_wait(c);
		UNTIL(loop, c->in.len >= enough || c->in.len >= LARGE || c->eof);
		c->paused = true;
		peer_wait(c);
		pass_ms(STALL_MS - 1);
	}
	c->paused = false;
	peer_wait(c);
	UNTIL(loop, seen.sent == 1 && (size_t)(body_of(c) - c->in.at) + LARGE == c->in.len);
	ck_assert_int_eq(memcmp(body_of(c), bytes, LARGE), 0);
}
END_TEST

START_TEST(a_silent_source_is_not_the_clients_fault)
{
	seen.play = PLAY_SOURCE;
	seen.bytes = "firstsecond";
	seen.available = 5;
	struct peer_conn *c = ask(GET);

	seen.source_end = SOURCE_WAIT;
	UNTIL(loop, has(c, "first"));
	for (int i = 0; i < 20; i++)
		pass_ms(STALL_MS);
	ck_assert(!c->eof);
	seen.available = 6;
	exchange_more(seen.x);
	UNTIL(loop, has(c, "second"));
	seen.source_end = SOURCE_END;
	exchange_more(seen.x);
	UNTIL(loop, seen.sent == 1 && has(c, "\r\n0\r\n\r\n"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("httpd_deadline");
	TCase *t = tcase_create("httpd_deadline");

	tcase_add_checked_fixture(t, setup, play_teardown);
	tcase_set_timeout(t, 40);
	tcase_add_test(t, silence_from_the_first_is_cut);
	tcase_add_test(t, a_head_in_drips_is_cut);
	tcase_add_test(t, a_next_head_in_drips_is_cut);
	tcase_add_test(t, a_slow_head_in_time_is_served);
	tcase_add_test(t, idle_connections_are_closed_silently);
	tcase_add_test(t, no_request_leaves_what_looks_like_a_head);
	tcase_add_test(t, empty_lines_that_come_with_requests_are_no_head);
	tcase_add_test(t, looks_at_silent_connections_come_together);
	tcase_add_test(t, a_stop_closes_idle_connections_soon);
	tcase_add_test(t, handlers_have_all_the_time_they_want);
	tcase_add_test(t, a_body_in_drips_is_cut);
	tcase_add_test(t, a_stream_may_take_long_but_not_pause);
	tcase_add_test(t, a_stream_in_drips_is_cut);
	tcase_add_test(t, a_slow_sink_is_not_the_clients_fault);
	tcase_add_test(t, what_is_swallowed_has_a_deadline);
	tcase_add_test(t, who_does_not_read_is_cut);
	tcase_add_test(t, last_words_wait_for_nobody_for_ever);
	tcase_add_test(t, who_reads_slowly_is_served);
	tcase_add_test(t, a_silent_source_is_not_the_clients_fault);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
