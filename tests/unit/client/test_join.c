/* SPDX-License-Identifier: Apache-2.0 */
/* A joiner against routers on real sockets that say what they are told to say, one answer after another. */
#include <check.h>

#include "client/lib/join.h"
#include "tests/unit/base/peer.h"

#define SAYS_MAX 32
#define JOINED                                                                                                                 \
	"{\"room\":\"a/b\",\"created\":true,\"epoch\":1795328740704,\"source\":\"store\",\"node\":{\"id\":\"sfu-1\",\"region\":null,"  \
	"\"incarnation\":\"i\"},\"signal\":{\"mode\":\"proxy\",\"url\":\"ws://h/s\",\"expires_in_ms\":60000},\"ice_servers\":[],"       \
	"\"hints\":{\"janus\":{\"pin\":\"p\"}}}"

static struct router {
	struct peer peer;
	char url[64];
	const char *says[SAYS_MAX]; /* whole answers; the last is said again; "": hangs up */
	unsigned nsays, asked;
} routers[3];
static struct loop *loop;
static struct usher_join *join;
static struct usher_join_options options;
static const char *urls[3];
static uint64_t now;
static unsigned done_calls;
static struct {
	int status;
	char code[64], room[64], node[64], signal_url[64], signal_mode[16], hints[64], body[512];
	uint64_t epoch;
} got;

/* -- routers ---------------------------------------------------------------------------------------------------------------- */
static void answer(struct peer_conn *c)
{
	struct router *r = c->peer->arg;
	const char *end = c->in.len > (size_t)c->state ? strstr(c->in.at + c->state, "\r\n\r\n") : NULL;
	const char *length = end ? strcasestr(c->in.at + c->state, "\r\ncontent-length:") : NULL;

	if (!length || c->in.len < (size_t)(end + 4 - c->in.at) + strtoul(length + 17, NULL, 10))
		return;
	c->state = (int)c->in.len;
	const char *says = r->says[r->asked < r->nsays ? r->asked : r->nsays - 1];
	r->asked++;
	if (*says)
		peer_says(c, says);
	else
		peer_close(c);
}

static void says(size_t i, const char *status, const char *headers, const char *body)
{
	struct buf out = { 0 };

	if (status)
		buf_printf(&out, "HTTP/1.1 %s\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);
	else
		buf_adds(&out, "");
	routers[i].says[routers[i].nsays++] = out.at ? out.at : strdup("");
}

static void hangs_up(size_t i)
{
	says(i, NULL, NULL, NULL);
}

static void joins(size_t i)
{
	says(i, "200 OK", "Content-Type: application/json\r\n", JOINED);
}

static void refuses(size_t i, const char *code, const char *retry_after_ms)
{
	char body[200];

	snprintf(body, sizeof(body), "{\"status\":503,\"code\":\"%s\",\"retry_after_ms\":%s}", code, retry_after_ms);
	says(i, "503 Service Unavailable", "Retry-After: 9\r\n", body);
}

static const char *first_request(size_t i)
{
	struct peer_conn *c = routers[i].peer.conns;

	while (c && c->next)
		c = c->next;
	ck_assert_ptr_nonnull(c);
	return c->in.at;
}

/* -- the joiner -------------------------------------------------------------------------------------------------------------- */
static void on_done(void *arg, const struct usher_joined *joined)
{
	ck_assert_ptr_eq(arg, &got);
	done_calls++;
	got.status = joined->status;
	got.epoch = joined->epoch;
#define COPY(field) snprintf(got.field, sizeof(got.field), "%s", joined->field)
	COPY(code);
	COPY(room);
	COPY(node);
	COPY(signal_url);
	COPY(signal_mode);
	COPY(hints);
	COPY(body);
	usher_join_turn(join); /* allowed, and nothing */
}

static void start(size_t nrouters)
{
	const char *why = NULL;

	options.routers = urls;
	options.nrouters = nrouters;
	join = join_new_on(loop, &options, on_done, &why);
	ck_assert_msg(join, "%s", why);
}

static void play_turn(void)
{
	struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };

	loop_fake_clock(loop, now);
	poll(&p, 1, loop_backend_timeout_ms(loop) ? 1 : 0);
	loop_turn(loop);
}

#define PLAY_UNTIL(condition)                                                                                                  \
	do {                                                                                                                   \
		uint64_t begun_ms_ = real_ms();                                                                                \
		while (!(condition)) {                                                                                         \
			ck_assert_msg(real_ms() - begun_ms_ < 20000, "waited in vain for: %s", #condition);                    \
			play_turn();                                                                                           \
		}                                                                                                              \
	} while (0)

static unsigned all_asked(void)
{
	return routers[0].asked + routers[1].asked + routers[2].asked;
}

static void settle(void)
{
	for (int i = 0; i < 5; i++)
		play_turn();
}

/* How long the joiner waits before it asks again; lets that time pass. */
static uint64_t waits(void)
{
	unsigned asked = all_asked();
	uint64_t begun = now;

	PLAY_UNTIL(!join->wait.op);
	ck_assert_uint_ne(join->timer.slot, 0);
	now = join->timer.due_ms - 1;
	settle();
	ck_assert_uint_eq(all_asked(), asked);
	now++;
	PLAY_UNTIL(all_asked() > asked || done_calls);
	return now - begun;
}

static void setup(void)
{
	memset(&got, 0, sizeof(got));
	memset(routers, 0, sizeof(routers));
	done_calls = 0;
	now = 1000000;
	loop = loop_new();
	loop_fake_clock(loop, now);
	for (size_t i = 0; i < 3; i++) {
		peer_open(&routers[i].peer, loop, answer);
		routers[i].peer.arg = &routers[i];
		snprintf(routers[i].url, sizeof(routers[i].url), "http://127.0.0.1:%u", routers[i].peer.port);
		urls[i] = routers[i].url;
	}
	options = (struct usher_join_options){ .size = sizeof(options), .room = "a/b", .arg = &got };
}

static void teardown(void)
{
	usher_join_free(join);
	join = NULL;
	for (size_t i = 0; i < 3; i++) {
		peer_free(&routers[i].peer);
		for (unsigned k = 0; k < routers[i].nsays; k++)
			free((char *)(uintptr_t)routers[i].says[k]);
	}
	loop_free(loop);
}

/* -- asking and being answered -------------------------------------------------------------------------------------------------- */
START_TEST(asks_and_tells)
{
	char url[80];

	snprintf(url, sizeof(url), "%s/", routers[0].url);
	urls[0] = url;
	options.participant = "ann \"a\"";
	options.region = "eu";
	options.token = "s3cret";
	options.json = "\"require\":{\"gpu\":\"yes\"},\"exclusive\":true";
	joins(0);
	start(1);
	PLAY_UNTIL(done_calls);
	ck_assert_msg(!strncmp(first_request(0), "POST /v1/rooms/a%2Fb/join HTTP/1.1\r\n", 36), "%s", first_request(0));
	ck_assert_ptr_nonnull(strstr(first_request(0), "\r\nAuthorization: Bearer s3cret\r\n"));
	ck_assert_ptr_nonnull(strstr(first_request(0), "\r\nContent-Type: application/json\r\n"));
	ck_assert_str_eq(strstr(first_request(0), "\r\n\r\n") + 4,
	                 "{\"participant\":\"ann \\\"a\\\"\",\"region\":\"eu\",\"require\":{\"gpu\":\"yes\"},\"exclusive\":true}");
	ck_assert_int_eq(got.status, 200);
	ck_assert_str_eq(got.code, "");
	ck_assert_str_eq(got.room, "a/b");
	ck_assert_str_eq(got.node, "sfu-1");
	ck_assert_str_eq(got.signal_url, "ws://h/s");
	ck_assert_str_eq(got.signal_mode, "proxy");
	ck_assert_str_eq(got.hints, "{\"janus\":{\"pin\":\"p\"}}");
	ck_assert_str_eq(got.body, JOINED);
	ck_assert_uint_eq(got.epoch, UINT64_C(1795328740704));
	now += 60000;
	settle();
	ck_assert_uint_eq(done_calls, 1);
	ck_assert_uint_eq(all_asked(), 1);
}
END_TEST

START_TEST(an_empty_wish_and_no_hints)
{
	says(0, "200 OK", "", "{\"room\":\"a/b\",\"epoch\":1,\"node\":{\"id\":\"n\"},\"signal\":{\"mode\":\"proxy\",\"url\":\"ws://h\"}}");
	start(1);
	PLAY_UNTIL(done_calls);
	ck_assert_str_eq(strstr(first_request(0), "\r\n\r\n") + 4, "{}");
	ck_assert_ptr_null(strstr(first_request(0), "Authorization"));
	ck_assert_str_eq(got.hints, "{}");
	ck_assert_int_eq(got.status, 200);
}
END_TEST

START_TEST(refusals_that_stay_are_final)
{
	static const char *const statuses[] = { "400 X", "401 X", "403 X", "404 X", "409 X", "415 X", "429 X", "501 X", "302 X" };

	says(0, statuses[_i], "Retry-After: 1\r\n", "{\"code\":\"some_code\",\"retry_after_ms\":10}");
	joins(1);
	start(2);
	PLAY_UNTIL(done_calls);
	ck_assert_int_eq(got.status, atoi(statuses[_i]));
	ck_assert_str_eq(got.code, "some_code");
	ck_assert_str_eq(got.signal_url, "");
	ck_assert_str_eq(got.hints, "{}");
	ck_assert_str_eq(got.body, "{\"code\":\"some_code\",\"retry_after_ms\":10}");
	settle();
	ck_assert_uint_eq(routers[1].asked, 0);
}
END_TEST

/* -- another router --------------------------------------------------------------------------------------------------------------- */
static void cannot_tell(size_t i, int how)
{
	switch (how) {
	case 0:
		peer_free(&routers[i].peer); /* nobody listens */
		break;
	case 1:
		hangs_up(i);
		break;
	case 2:
		says(i, "200 OK", "", "<html>captive portal</html>");
		break;
	case 3:
		says(i, "200 OK", "", "{\"room\":\"a/b\",\"epoch\":1,\"node\":{\"id\":\"n\"},\"signal\":{\"mode\":\"proxy\"}}"); /* no URL */
		break;
	case 4:
		says(i, "502 X", "", "");
		break;
	case 5:
		says(i, "504 X", "", "{\"code\":\"timeout\",\"retry_after_ms\":1000}");
		break;
	case 6:
		says(i, "503 X", "", "no wait said");
		break;
	case 7:
		refuses(i, "shutting_down", "1000");
		break;
	case 8:
		refuses(i, "store_unavailable", "1000");
		break;
	}
}

START_TEST(others_are_tried_at_once)
{
	cannot_tell(0, _i);
	cannot_tell(1, _i);
	joins(2);
	start(3);
	PLAY_UNTIL(done_calls); /* the clock stands */
	ck_assert_int_eq(got.status, 200);
	ck_assert_uint_eq(routers[2].asked, 1);
}
END_TEST

/* -- waits ------------------------------------------------------------------------------------------------------------------------- */
START_TEST(the_wait_a_router_asks_for_is_kept)
{
	refuses(0, "no_capacity", "700"); /* finer than its Retry-After: 9 */
	joins(1);
	start(2);
	PLAY_UNTIL(routers[0].asked);
	uint64_t waited = waits();
	ck_assert_uint_gt(waited, 700);
	ck_assert_uint_le(waited, 800);
	PLAY_UNTIL(done_calls);
	ck_assert_int_eq(got.status, 200);
	ck_assert_uint_eq(routers[1].asked, 1); /* another one is asked then */
}
END_TEST

START_TEST(retry_after_alone_is_kept_too)
{
	says(0, "503 X", "Retry-After: 2\r\n", "{\"code\":\"no_nodes\"}");
	joins(0);
	start(1);
	PLAY_UNTIL(routers[0].asked);
	uint64_t waited = waits();
	ck_assert_uint_gt(waited, 2000);
	ck_assert_uint_le(waited, 2100);
}
END_TEST

START_TEST(refusals_that_pass_are_asked_until_the_timeout)
{
	options.timeout_ms = 5000;
	refuses(0, "no_capacity", "300");
	start(1);
	PLAY_UNTIL(routers[0].asked);
	while (!done_calls) {
		PLAY_UNTIL(done_calls || !join->wait.op);
		if (!done_calls)
			waits();
	}
	ck_assert_int_eq(got.status, 503);
	ck_assert_str_eq(got.code, "no_capacity");
	ck_assert_uint_le(now, 1005000);
	ck_assert_uint_gt(routers[0].asked, 3); /* waits of 300 ms and at most 2 s */
	settle();
	ck_assert_uint_eq(done_calls, 1);
}
END_TEST

START_TEST(a_wait_beyond_the_timeout_is_not_begun)
{
	options.timeout_ms = 5000;
	refuses(0, "no_capacity", "6000");
	start(1);
	PLAY_UNTIL(done_calls); /* the clock stands */
	ck_assert_int_eq(got.status, 503);
}
END_TEST

START_TEST(nobody_answers)
{
	uint64_t tops[] = { 100, 200, 400, 800, 1600, 2000 };

	options.timeout_ms = 60000;
	hangs_up(0);
	hangs_up(1);
	start(2);
	for (size_t i = 0; i < 6; i++) {
		PLAY_UNTIL(routers[1].asked == i + 1 && !join->wait.op);
		ck_assert_uint_eq(routers[0].asked, i + 1);
		uint64_t waited = waits();
		ck_assert_uint_ge(waited, 1);
		ck_assert_uint_le(waited, tops[i]);
	}
	now = 1060000;
	PLAY_UNTIL(done_calls);
	ck_assert_int_eq(got.status, 0);
	ck_assert_str_eq(got.code, "");
	ck_assert_str_eq(got.body, "");
}
END_TEST

START_TEST(the_last_answer_is_what_is_told)
{
	options.timeout_ms = 60000;
	refuses(0, "no_nodes", "100");
	hangs_up(0);
	start(1);
	PLAY_UNTIL(routers[0].asked == 1);
	waits();
	PLAY_UNTIL(routers[0].asked == 2 && !join->wait.op);
	now = 1060000;
	PLAY_UNTIL(done_calls);
	ck_assert_int_eq(got.status, 503);
	ck_assert_str_eq(got.code, "no_nodes");
}
END_TEST

/* -- its life ---------------------------------------------------------------------------------------------------------------------- */
START_TEST(freeing_cancels)
{
	joins(0);
	start(1);
	PLAY_UNTIL(routers[0].asked); /* the answer is on its way */
	usher_join_free(join);
	join = NULL;
	settle();
	ck_assert_uint_eq(done_calls, 0);
}
END_TEST

START_TEST(options_are_checked_in_words)
{
	const struct usher_join_options good = options;
	const char *why;

#define BAD(change, words)                                                                                                     \
	do {                                                                                                                   \
		options = good;                                                                                                \
		options.routers = urls;                                                                                        \
		options.nrouters = 1;                                                                                          \
		options.change;                                                                                                \
		ck_assert_ptr_null(join_new_on(loop, &options, on_done, &why));                                                \
		ck_assert_msg(!strncmp(why, words, strlen(words)), "%s", why);                                                 \
		ck_assert_ptr_null(join_new_on(loop, &options, on_done, NULL));                                                \
	} while (0)
	BAD(size = 1, "size:");
	BAD(room = NULL, "room:");
	BAD(room = "", "room:");
	BAD(room = "a\x7f", "room:");
	BAD(nrouters = 0, "routers:");
	BAD(token = "a\nb", "token:");
	BAD(json = "\"a\":", "json");
	BAD(json = "\"a\":1},{", "json");
	urls[0] = "wss://h";
	BAD(arg = NULL, "routers:");
	settle();
	ck_assert_uint_eq(all_asked(), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("join");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, asks_and_tells);
	tcase_add_test(all, an_empty_wish_and_no_hints);
	tcase_add_loop_test(all, refusals_that_stay_are_final, 0, 9);
	tcase_add_loop_test(all, others_are_tried_at_once, 0, 9);
	tcase_add_test(all, the_wait_a_router_asks_for_is_kept);
	tcase_add_test(all, retry_after_alone_is_kept_too);
	tcase_add_test(all, refusals_that_pass_are_asked_until_the_timeout);
	tcase_add_test(all, a_wait_beyond_the_timeout_is_not_begun);
	tcase_add_test(all, nobody_answers);
	tcase_add_test(all, the_last_answer_is_what_is_told);
	tcase_add_test(all, freeing_cancels);
	tcase_add_test(all, options_are_checked_in_words);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
