/* SPDX-License-Identifier: Apache-2.0 */
/* Open and evict as a node sees them, what its answers mean, and what a broken answer does to the breaker. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http.h"
#include "health/sfu.h"
#include "tests/unit/health/node_play.h"
#include "tests/unit/health/stage.h"

#define CALL_TIMEOUT_MS 150
#define CONNECT_TIMEOUT_MS 60
#define ANSWER(status, more) "HTTP/1.1 " status " X\r\nContent-Length: 0\r\n" more "\r\n"

static struct http *http;
static struct sfu *sfu;
static struct arena arena;
static struct sfu_answer answer;
static char info[256];
static struct asker {
	struct wait w;
	bool woken;
	int err;
} asker;

static void wake(struct wait *w, int err)
{
	struct asker *a = container_of(w, struct asker, w);

	ck_assert(!a->woken);
	a->woken = true;
	a->err = err;
}

static void aim_at(uint16_t port, const char *path)
{
	snprintf(info, sizeof(info), "{\"signal_url\":\"ws://127.0.0.1:1/\",\"fences\":\"gate\",\"control_url\":\"http://127.0.0.1:%u%s\"}",
	         port, path);
	stage_add("a", "i1", info);
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(600);
}

static const char *proof; /* what calls show; "": nothing */

static void prove(void *arg, const struct sfu_room *room, struct sfu_proof *out)
{
	(void)arg;
	snprintf(out->grants, sizeof(out->grants), *proof ? "%s of %.*s" : "", proof, STR_ARG(room->room));
	snprintf(out->call_key, sizeof(out->call_key), *proof ? "%s of %s" : "", proof, room->node);
}

static void setup(void)
{
	struct http_conf conf = { .connect_timeout_ms = CONNECT_TIMEOUT_MS, .connections_per_host = 8, .idle_connections = 8, .idle_ms = 10000 };
	struct sfu_conf calls = { .call_timeout_ms = CALL_TIMEOUT_MS, .prove = prove };

	proof = "";
	stage_open();
	play_open(stage.loop);
	http = http_new(stage.loop, &conf);
	sfu = sfu_new(stage.loop, stage.fleet, http, &calls);
	aim_at(play.peer.port, "/control/");
}

static void teardown(void)
{
	sfu_free(sfu);
	http_free(http);
	play_close();
	stage_close();
	arena_reset(&arena);
}

static struct sfu_room room_of(const char *name)
{
	return (struct sfu_room){ .node = "a", .incarnation = "i1", .room = str_of(name), .epoch = UINT64_C(1795328740704),
		                  .fresh = true, .request_id = "req-1" };
}

static enum sfu_verdict done(int verdict)
{
	if (verdict == WAIT)
		STAGE_UNTIL(asker.woken);
	else
		ck_assert(verdict == NEXT && !asker.woken);
	ck_assert_int_eq(asker.err, 0);
	stage_turn();
	return answer.verdict;
}

static enum sfu_verdict open_room(const char *name)
{
	struct sfu_room room = room_of(name);

	asker = (struct asker){ .w.wake = wake };
	return done(sfu_open(sfu, &room, &arena, &answer, &asker.w));
}

static enum sfu_verdict evict_room(const char *name)
{
	struct sfu_room room = room_of(name);

	asker = (struct asker){ .w.wake = wake };
	return done(sfu_evict(sfu, &room, &arena, &answer, &asker.w));
}

static struct breaker *control(void)
{
	return stage_node("a")->breakers[CLASS_CONTROL];
}

static bool was_said(const char *text)
{
	return strstr(play.last, text) != NULL;
}

/* -- what a node sees ---------------------------------------------------------------------------------------------------------- */
START_TEST(open_says_the_room_its_epoch_and_that_it_is_new)
{
	play.answer = "HTTP/1.1 201 Created\r\nContent-Length: 21\r\n\r\n{\"hints\":{\"pin\":\"1\"}}";
	ck_assert_int_eq(open_room("a/b c"), SFU_DONE);
	ck_assert_int_eq(answer.status, 201);
	ck_assert(str_is(answer.body, "{\"hints\":{\"pin\":\"1\"}}"));
	ck_assert_msg(was_said("PUT /control/rooms/a%2Fb%20c HTTP/1.1\r\n"), "%s", play.last);
	ck_assert(was_said("X-Usher-Epoch: 1795328740704\r\n") && was_said("X-Request-Id: req-1\r\n"));
	char body[128];
	snprintf(body, sizeof(body), "{\"epoch\":1795328740704,\"registration\":%llu,\"fresh\":true}",
	         (unsigned long long)stage_node("a")->record.registration);
	ck_assert(was_said("Content-Type: application/json\r\n") && was_said(body));
}
END_TEST

/* The node may have registered again since: it tells by this that the open is of a time before. */
START_TEST(an_open_names_the_registration_that_its_room_was_claimed_for)
{
	struct sfu_room room = room_of("r");

	room.registration = stage_node("a")->record.registration - 1;
	asker = (struct asker){ .w.wake = wake };
	ck_assert_int_eq(done(sfu_open(sfu, &room, &arena, &answer, &asker.w)), SFU_DONE);
	char body[64];
	snprintf(body, sizeof(body), "\"registration\":%llu,", (unsigned long long)room.registration);
	ck_assert_msg(was_said(body), "%s", play.last);
}
END_TEST

START_TEST(evict_says_the_epoch)
{
	play.answer = "HTTP/1.1 204 No Content\r\n\r\n";
	ck_assert_int_eq(evict_room("r"), SFU_DONE);
	ck_assert_msg(was_said("DELETE /control/rooms/r?epoch=1795328740704 HTTP/1.1\r\n"), "%s", play.last);
	ck_assert(was_said("X-Usher-Epoch: 1795328740704\r\n") && !was_said("Content-Type"));
	ck_assert_uint_eq(answer.body.len, 0);
}
END_TEST

START_TEST(calls_show_that_they_are_the_routers_own)
{
	open_room("r");
	ck_assert(!was_said("X-Usher-Grant") && !was_said("X-Usher-Call-Key"));
	proof = "proof";
	open_room("r");
	ck_assert_msg(was_said("X-Usher-Grant: proof of r\r\n") && was_said("X-Usher-Call-Key: proof of a\r\n"), "%s", play.last);
	evict_room("r");
	ck_assert_msg(!was_said("X-Usher-Grant") && was_said("X-Usher-Call-Key: proof of a\r\n"), "%s", play.last);
}
END_TEST

/* colyseus#978: a node that closes without a word sees the same open once more, and only that. */
START_TEST(colyseus_978_an_open_may_be_sent_twice_and_is_the_same)
{
	char first[sizeof(play.last)];

	ck_assert_int_eq(open_room("r"), SFU_DONE);
	memcpy(first, play.last, sizeof(first));
	play.drop = 1; /* the connection was idle: curl cannot know */
	ck_assert_int_eq(open_room("r"), SFU_DONE);
	ck_assert_uint_eq(play.requests, 3);
	ck_assert_str_eq(play.last, first);
	ck_assert_uint_eq(breaker_failures(control()), 0);
}
END_TEST

START_TEST(a_node_without_control_url_is_not_called)
{
	stage_record("a")->info = STR(GATED);
	stage_live(1000, "a");
	ck_assert_int_eq(open_room("r"), SFU_DONE);
	ck_assert_int_eq(evict_room("r"), SFU_DONE);
	ck_assert_uint_eq(play.peer.accepted, 0);
}
END_TEST

START_TEST(another_process_is_not_called)
{
	stage_add("a", "i2", info);
	stage_pass(600);
	ck_assert_int_eq(open_room("r"), SFU_FAILED);
	stage_remove("a");
	stage_pass(600);
	ck_assert_int_eq(evict_room("r"), SFU_FAILED);
	ck_assert_uint_eq(play.peer.accepted, 0);
}
END_TEST

/* -- what answers mean ------------------------------------------------------------------------------------------------------------- */
static const struct answer_case {
	const char *answer;
	enum sfu_verdict verdict;
	uint64_t failures, retry_ms;
} cases[] = {
	{ ANSWER("200", ""), SFU_DONE, 0, 0 },
	{ ANSWER("202", ""), SFU_DONE, 0, 0 },
	{ ANSWER("409", ""), SFU_REFUSED, 0, 0 },
	{ ANSWER("400", ""), SFU_FAILED, 0, 0 },
	{ ANSWER("404", ""), SFU_FAILED, 0, 0 },
	{ ANSWER("302", "Location: http://127.0.0.1:1/\r\n"), SFU_FAILED, 0, 0 }, /* not followed */
	{ ANSWER("429", ""), SFU_FULL, 0, 0 },
	{ ANSWER("429", "Retry-After: 2\r\n"), SFU_FULL, 0, 2000 },
	{ ANSWER("503", "Retry-After: 3\r\n"), SFU_FULL, 0, 3000 },
	{ ANSWER("503", ""), SFU_FAILED, 1, 0 },
	{ ANSWER("500", ""), SFU_FAILED, 1, 0 },
	/* malformed */
	{ "nonsense\r\n\r\n", SFU_FAILED, 1, 0 },
	{ "HTTP/1.1 2x0 OK\r\n\r\n", SFU_FAILED, 1, 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", SFU_FAILED, 1, 0 },
	{ "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n", SFU_FAILED, 1, 0 }, /* over 64 KiB */
	{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", SFU_FAILED, 1, 0 },
	{ "", SFU_FAILED, 1, 0 }, /* closed without a word, twice */
	{ NULL, SFU_FAILED, 1, 0 }, /* silence */
};

START_TEST(answers)
{
	const struct answer_case *c = &cases[_i];
	enum sfu_verdict verdict;

	play.answer = c->answer;
	play.hang_up = true;
	verdict = open_room("r");
	ck_assert_msg(verdict == c->verdict, "%s: verdict %d", c->answer, verdict);
	ck_assert_msg(breaker_failures(control()) == c->failures, "%s: %d failures", c->answer, (int)breaker_failures(control()));
	ck_assert_uint_eq(answer.retry_ms, c->retry_ms);
	ck_assert_uint_eq(answer.body.len, 0);
	stage_pass(50);
	ck_assert_int_eq(stage_node("a")->full_until_ms > stage.now, c->verdict == SFU_FULL);
}
END_TEST

START_TEST(a_dead_node_costs_no_more_than_its_time)
{
	uint64_t began = stage.now;

	play.answer = NULL;
	ck_assert_int_eq(open_room("r"), SFU_FAILED);
	ck_assert_uint_lt(stage.now - began, CALL_TIMEOUT_MS + 200);
	began = stage.now;
	ck_assert_int_eq(open_room("r"), SFU_FAILED);
	ck_assert_int_eq(open_room("r"), SFU_HELD_BACK); /* two in a row: not even called */
	ck_assert(answer.retry_ms > 0 && answer.retry_ms <= 1000);
	ck_assert_uint_eq(play.requests, 2);
}
END_TEST

static struct http_answer direct;

/* Also for a participant's request, which may be silent for as long as it likes once it was sent. */
START_TEST(a_connection_that_is_not_made_in_time_is_no_answer_that_is_late)
{
	struct http_request request = { .method = "GET", .timeout_ms = 5000 };
	char url[64];

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", black_hole_open());
	request.url = url;
	asker = (struct asker){ .w.wake = wake };
	ck_assert_int_eq(http_fetch(http, &request, &arena, &direct, &asker.w), WAIT);
	STAGE_UNTIL(asker.woken);
	ck_assert_int_eq(direct.outcome, HTTP_REFUSED);
	ck_assert_uint_lt(direct.took_ms, 2000);
	black_hole_close();
}
END_TEST

/* -- breaker, askers --------------------------------------------------------------------------------------------------------------- */
START_TEST(one_trial_after_the_wait_closes)
{
	play.answer = ANSWER("500", "");
	open_room("r");
	open_room("r");
	ck_assert_int_eq(open_room("r"), SFU_HELD_BACK);
	play.answer = ANSWER("200", "");
	stage_live(1000, "a");
	ck_assert_int_eq(open_room("r"), SFU_DONE);
	ck_assert_int_eq(open_room("r"), SFU_DONE);
	ck_assert_uint_eq(play.requests, 4);
}
END_TEST

START_TEST(an_asker_that_leaves_cancels_and_says_nothing)
{
	struct sfu_room room = room_of("r");

	play.answer = NULL;
	for (int i = 0; i < 3; i++) {
		asker = (struct asker){ .w.wake = wake };
		ck_assert_int_eq(sfu_open(sfu, &room, &arena, &answer, &asker.w), WAIT);
		STAGE_UNTIL(play.requests == (unsigned)i + 1);
		wait_drop(&asker.w);
		stage_turn();
	}
	ck_assert_uint_eq(breaker_failures(control()), 0);
	ck_assert(!asker.woken);
	play.answer = ANSWER("200", "");
	ck_assert_int_eq(open_room("r"), SFU_DONE);
}
END_TEST

START_TEST(an_asker_that_leaves_with_the_trial_frees_it)
{
	struct sfu_room room = room_of("r");

	play.answer = ANSWER("500", "");
	open_room("r");
	open_room("r");
	stage_live(1000, "a");
	play.answer = NULL;
	asker = (struct asker){ .w.wake = wake };
	ck_assert_int_eq(sfu_open(sfu, &room, &arena, &answer, &asker.w), WAIT);
	wait_drop(&asker.w);
	stage_turn();
	play.answer = ANSWER("200", "");
	ck_assert_int_eq(open_room("r"), SFU_DONE);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/sfu");
	TCase *tc = tcase_create("sfu");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, open_says_the_room_its_epoch_and_that_it_is_new);
	tcase_add_test(tc, an_open_names_the_registration_that_its_room_was_claimed_for);
	tcase_add_test(tc, evict_says_the_epoch);
	tcase_add_test(tc, calls_show_that_they_are_the_routers_own);
	tcase_add_test(tc, colyseus_978_an_open_may_be_sent_twice_and_is_the_same);
	tcase_add_test(tc, a_node_without_control_url_is_not_called);
	tcase_add_test(tc, another_process_is_not_called);
	tcase_add_loop_test(tc, answers, 0, sizeof(cases) / sizeof(*cases));
	tcase_add_test(tc, a_dead_node_costs_no_more_than_its_time);
	tcase_add_test(tc, a_connection_that_is_not_made_in_time_is_no_answer_that_is_late);
	tcase_add_test(tc, one_trial_after_the_wait_closes);
	tcase_add_test(tc, an_asker_that_leaves_cancels_and_says_nothing);
	tcase_add_test(tc, an_asker_that_leaves_with_the_trial_frees_it);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
