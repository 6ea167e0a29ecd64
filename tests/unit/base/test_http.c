/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/resource.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http.h"
#include "base/wait.h"
#include "peer.h"

static struct loop *loop;
static struct http *http;
static struct peer peer;
static struct arena arena;

struct call {
	struct wait wait;
	struct http_answer answer;
	bool done;
};

static void woken(struct wait *w, int err)
{
	ck_assert_int_eq(err, 0);
	container_of(w, struct call, wait)->done = true;
}

static unsigned asked_port; /* of the address that was asked about last */

static bool nowhere(void *arg, const struct sockaddr_storage *address)
{
	(void)arg;
	asked_port = ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
	return false;
}

static void start_client(bool (*allowed)(void *, const struct sockaddr_storage *))
{
	struct http_conf conf = { .connect_timeout_ms = 300, .connections_per_host = 4, .idle_connections = 4, .idle_ms = 10000,
		                  .allowed = allowed };

	http = http_new(loop, &conf);
	ck_assert_ptr_nonnull(http);
}

static void setup(void)
{
	loop = loop_new();
	start_client(NULL);
	peer_open(&peer, loop, NULL);
}

static void teardown(void)
{
	http_free(http);
	peer_free(&peer);
	loop_free(loop);
	arena_reset(&arena);
}

static void fetch_at(struct call *call, const char *method, const char *path, uint16_t port, bool idempotent)
{
	char url[128];
	struct http_request rq = { .method = method, .url = url, .timeout_ms = 500, .answer_max = 1000, .idempotent = idempotent };

	snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", port, path);
	if (!strcmp(method, "POST"))
		rq.body = STR("{\"a\":1}");
	*call = (struct call){ .wait.wake = woken };
	ck_assert_int_eq(http_fetch(http, &rq, &arena, &call->answer, &call->wait), WAIT);
	ck_assert(!call->done);
}

/* -- outcomes ------------------------------------------------------------------------------------------------------ */
enum deed { SAY, HANG, RESET, CUT };
static const struct {
	const char *what;
	enum deed deed;
	const char *words;
	enum http_outcome outcome;
	int status;
	uint64_t retry_ms;
} answers[] = {
	{ "ok", SAY, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", HTTP_ANSWERED, 200, 0 },
	{ "no body", SAY, "HTTP/1.1 204 No Content\r\n\r\n", HTTP_ANSWERED, 204, 0 },
	{ "1xx first", SAY, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", HTTP_ANSWERED, 200, 0 },
	{ "chunks", SAY, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n", HTTP_ANSWERED, 200, 0 },
	{ "error", SAY, "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", HTTP_ANSWERED, 500, 0 },
	{ "busy", SAY, "HTTP/1.1 503 No\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", HTTP_ANSWERED, 503, 7000 },
	{ "busy for ever", SAY, "HTTP/1.1 503 No\r\nRetry-After: 999999\r\nContent-Length: 0\r\n\r\n", HTTP_ANSWERED, 503, 3600000 },
	{ "redirect is not followed", SAY, "HTTP/1.1 302 F\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", HTTP_ANSWERED, 302, 0 },
	{ "hang", HANG, "", HTTP_TIMEOUT, 0, 0 },
	{ "hang in body", HANG, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", HTTP_TIMEOUT, 200, 0 },
	{ "reset", RESET, "", HTTP_RESET, 0, 0 },
	{ "close", CUT, "", HTTP_RESET, 0, 0 },
	{ "short body", CUT, "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", HTTP_RESET, 200, 0 },
	{ "garbage", CUT, "SSH-2.0-OpenSSH_9.2\r\n\r\n", HTTP_GARBAGE, 0, 0 },
	{ "no version", CUT, "hello hello hello hello hello\r\n\r\n", HTTP_GARBAGE, 0, 0 },
	{ "status 700", SAY, "HTTP/1.1 700 Hm\r\nContent-Length: 0\r\n\r\n", HTTP_GARBAGE, 700, 0 },
};

static size_t nth;
static void answer_nth(struct peer_conn *c)
{
	if (!c->in.len || !strstr(c->in.at, "\r\n\r\n") || c->state++)
		return;
	peer_says(c, answers[nth].words);
	if (answers[nth].deed == RESET)
		peer_reset(c);
	if (answers[nth].deed == CUT)
		peer_close(c);
}

START_TEST(every_outcome_has_its_name)
{
	struct call call;

	nth = (size_t)_i;
	peer.got = answer_nth;
	fetch_at(&call, "GET", "/x?y=1", peer.port, false);
	UNTIL(loop, call.done);
	ck_assert_msg(call.answer.outcome == answers[nth].outcome, "%s: %s", answers[nth].what, http_outcome_name(call.answer.outcome));
	ck_assert_int_eq(call.answer.status, answers[nth].status);
	ck_assert_uint_eq(call.answer.retry_after_ms, answers[nth].retry_ms);
	ck_assert_uint_eq(peer.accepted, 1);
}
END_TEST

START_TEST(refused)
{
	struct call call;
	uint16_t port = peer.port;

	peer_free(&peer);
	fetch_at(&call, "GET", "/", port, true);
	UNTIL(loop, call.done);
	ck_assert_int_eq(call.answer.outcome, HTTP_REFUSED);
}
END_TEST

/* Out of descriptors, a router must not open the breakers of all its nodes. */
START_TEST(our_own_shortage_is_not_the_other_sides_fault)
{
	struct rlimit before, none;
	struct call call;

	getrlimit(RLIMIT_NOFILE, &before);
	none = (struct rlimit){ 3, before.rlim_max };
	fetch_at(&call, "GET", "/", peer.port, false);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	UNTIL(loop, call.done);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_eq(call.answer.outcome, HTTP_CANCELLED);
	ck_assert_uint_eq(peer.accepted, 0);
}
END_TEST

START_TEST(addresses_that_are_not_allowed_are_not_connected)
{
	struct call call;

	http_free(http);
	start_client(nowhere);
	fetch_at(&call, "GET", "/", peer.port, true);
	UNTIL(loop, call.done);
	ck_assert_int_eq(call.answer.outcome, HTTP_REFUSED);
	ck_assert_uint_eq(asked_port, peer.port);
	ck_assert_uint_eq(peer.accepted, 0);
}
END_TEST

static void answer_large(struct peer_conn *c)
{
	char body[2000];

	memset(body, 'x', sizeof(body));
	peer_says(c, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n");
	peer_send(c, body, sizeof(body));
}

START_TEST(answer_over_the_limit_is_garbage)
{
	struct call call;

	peer.got = answer_large;
	fetch_at(&call, "GET", "/", peer.port, true);
	UNTIL(loop, call.done);
	ck_assert_int_eq(call.answer.outcome, HTTP_GARBAGE);
}
END_TEST

/* -- what is sent -------------------------------------------------------------------------------------------------- */
static void answer_ok(struct peer_conn *c)
{
	if (c->eof || !strstr(c->in.at, "\r\n\r\n"))
		return;
	peer_says(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
}

START_TEST(request_is_sent_as_asked)
{
	struct call call;

	peer.got = answer_ok;
	fetch_at(&call, "POST", "/a/../b%2F?q=%20", peer.port, false);
	UNTIL(loop, call.done);
	const char *sent = peer.conns->in.at;
	ck_assert_msg(!strncmp(sent, "POST /a/../b%2F?q=%20 HTTP/1.1\r\n", 32), "%s", sent);
	ck_assert_ptr_nonnull(strstr(sent, "Content-Length: 7\r\n"));
	ck_assert_ptr_nonnull(strstr(sent, "\r\n\r\n{\"a\":1}"));
	ck_assert_msg(!strcasestr(sent, "expect") && !strcasestr(sent, "content-type") && !strcasestr(sent, "user-agent"), "%s", sent);
	ck_assert_uint_eq(call.answer.body.len, 2);
	ck_assert_mem_eq(call.answer.body.at, "hi", 2);
}
END_TEST

/* The second request on a connection finds it closed without a byte: stale. */
static unsigned posts;
static void answer_first_only(struct peer_conn *c)
{
	if (c->eof)
		return;
	posts++;
	if (c->state++)
		peer_close(c);
	else
		peer_says(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

START_TEST(post_on_a_stale_connection_is_not_sent_again)
{
	struct call first, second;

	posts = 0;
	peer.got = answer_first_only;
	fetch_at(&first, "POST", "/", peer.port, false);
	UNTIL(loop, first.done);
	fetch_at(&second, "POST", "/", peer.port, false);
	UNTIL(loop, second.done);
	ck_assert_int_eq(first.answer.outcome, HTTP_ANSWERED);
	ck_assert_int_eq(second.answer.outcome, HTTP_RESET);
	ck_assert_uint_eq(posts, 2);
}
END_TEST

START_TEST(idempotent_call_on_a_stale_connection_is_sent_again)
{
	struct call first, second;

	posts = 0;
	peer.got = answer_first_only;
	fetch_at(&first, "GET", "/", peer.port, true);
	UNTIL(loop, first.done);
	fetch_at(&second, "GET", "/", peer.port, true);
	UNTIL(loop, second.done);
	ck_assert_int_eq(second.answer.outcome, HTTP_ANSWERED);
	ck_assert_uint_eq(posts, 3);
	ck_assert_uint_eq(peer.accepted, 2);
}
END_TEST

START_TEST(connections_are_reused_until_the_pool_is_dropped)
{
	struct call call;

	peer.got = answer_ok;
	for (int i = 0; i < 3; i++) {
		fetch_at(&call, "GET", "/", peer.port, true);
		UNTIL(loop, call.done);
		peer.conns->in.len = 0;
	}
	ck_assert_uint_eq(peer.accepted, 1);
	http_drop_pool(http);
	fetch_at(&call, "GET", "/", peer.port, true);
	http_drop_pool(http); /* with a call under way */
	UNTIL(loop, call.done);
	ck_assert_int_eq(call.answer.outcome, HTTP_ANSWERED);
	ck_assert_uint_eq(peer.accepted, 2);
	UNTIL(loop, peer.conns->eof && peer.conns->next->eof);
}
END_TEST

/* An answer that nobody asked for must not become the next caller's. */
START_TEST(what_comes_on_an_idle_connection_is_nobodys)
{
	struct call call;

	peer.got = answer_ok;
	fetch_at(&call, "GET", "/", peer.port, false);
	UNTIL(loop, call.done);
	peer.got = NULL;
	peer_says(peer.conns, "HTTP/1.1 500 Evil\r\nContent-Length: 4\r\n\r\nevil");
	UNTIL(loop, peer.conns->eof);
	peer.got = answer_ok;
	fetch_at(&call, "GET", "/", peer.port, false);
	UNTIL(loop, call.done);
	ck_assert_int_eq(call.answer.status, 200);
	ck_assert_uint_eq(peer.accepted, 2);
}
END_TEST

static void answer_folded(struct peer_conn *c)
{
	if (c->in.len && strstr(c->in.at, "\r\n\r\n") && !c->state++)
		peer_says(c, "HTTP/1.1 200 OK\r\n first: line\r\nContent-Length: 2\r\n\r\nhi");
}

/* curl/curl#11101: it writes through a pointer to the line that it has freed with the answer before. ASan sees it, or malloc. */
START_TEST(a_folded_first_line_harms_nobody)
{
	struct call call;

	for (int i = 0; i < 4; i++) {
		peer.got = i ? answer_folded : answer_ok;
		if (i)
			http_drop_pool(http); /* the next one meets a new connection, and maybe a used handle */
		fetch_at(&call, "GET", "/", peer.port, false);
		UNTIL(loop, call.done);
	}
	ck_assert_int_ne(call.answer.outcome, HTTP_TIMEOUT);
}
END_TEST

static void woken_to_drop(struct wait *w, int err)
{
	http_drop_pool(http);
	woken(w, err);
}

/* As when the news of a changed configuration wakes whoever called. */
START_TEST(the_pool_may_be_dropped_by_whoever_was_woken)
{
	struct call calls[3];

	peer.got = answer_ok;
	fetch_at(&calls[0], "GET", "/", peer.port, true);
	calls[0].wait.wake = woken_to_drop; /* the last one of its pool */
	UNTIL(loop, calls[0].done && peer.conns->eof);
	for (int i = 0; i < 3; i++) {
		fetch_at(&calls[i], "GET", "/", peer.port, true);
		calls[i].wait.wake = woken_to_drop;
	}
	UNTIL(loop, calls[0].done && calls[1].done && calls[2].done);
	UNTIL(loop, peer.conns->eof && peer.conns->next->eof && peer.conns->next->next->eof);
	fetch_at(&calls[0], "GET", "/", peer.port, true);
	UNTIL(loop, calls[0].done);
	ck_assert_int_eq(calls[0].answer.outcome, HTTP_ANSWERED);
	ck_assert_uint_eq(peer.accepted, 5);
}
END_TEST

/* -- leaving ------------------------------------------------------------------------------------------------------- */
START_TEST(asker_leaves)
{
	struct call call;

	fetch_at(&call, "POST", "/", peer.port, false);
	UNTIL(loop, peer.conns && peer.conns->in.len);
	wait_drop(&call.wait);
	UNTIL(loop, peer.conns->eof);
	ck_assert(!call.done);
}
END_TEST

START_TEST(client_is_freed_under_calls)
{
	struct call one, two;

	fetch_at(&one, "GET", "/", peer.port, false);
	fetch_at(&two, "GET", "/", peer.port, false);
	UNTIL(loop, peer.accepted == 2);
	http_free(http);
	ck_assert(one.done && two.done);
	ck_assert_int_eq(one.answer.outcome, HTTP_CANCELLED);
	start_client(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("http");
	TCase *c = tcase_create("http");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, every_outcome_has_its_name, 0, (int)(sizeof(answers) / sizeof(*answers)));
	tcase_add_test(c, refused);
	tcase_add_test(c, our_own_shortage_is_not_the_other_sides_fault);
	tcase_add_test(c, addresses_that_are_not_allowed_are_not_connected);
	tcase_add_test(c, answer_over_the_limit_is_garbage);
	tcase_add_test(c, request_is_sent_as_asked);
	tcase_add_test(c, post_on_a_stale_connection_is_not_sent_again);
	tcase_add_test(c, idempotent_call_on_a_stale_connection_is_sent_again);
	tcase_add_test(c, connections_are_reused_until_the_pool_is_dropped);
	tcase_add_test(c, the_pool_may_be_dropped_by_whoever_was_woken);
	tcase_add_test(c, what_comes_on_an_idle_connection_is_nobodys);
	tcase_add_test(c, a_folded_first_line_harms_nobody);
	tcase_add_test(c, asker_leaves);
	tcase_add_test(c, client_is_freed_under_calls);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
