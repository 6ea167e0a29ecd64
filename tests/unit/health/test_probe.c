/* SPDX-License-Identifier: Apache-2.0 */
/* Who is probed, how often, and what a probe may do: learn, allow the one trial, take it. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/http.h"
#include "health/guard.h"
#include "health/probe.h"
#include "tests/unit/health/node_play.h"
#include "tests/unit/health/stage.h"

#define INTERVAL_MS 1000
#define TIMEOUT_MS 120

static struct http *http;
static struct probes *probes;
static char infos[STAGE_NODES][256];
static size_t ninfos;

/* Ports 0: not said; signal_url elsewhere. */
static void add(const char *id, uint16_t signal_port, uint16_t health_port)
{
	char *info = infos[ninfos++ % STAGE_NODES];
	int len = snprintf(info, sizeof(infos[0]), "{\"signal_url\":\"ws://127.0.0.1:%u/\",\"fences\":\"gate\"", signal_port ? signal_port : 1);

	if (health_port)
		len += snprintf(info + len, sizeof(infos[0]) - (size_t)len, ",\"health_url\":\"http://127.0.0.1:%u/health?x=%s\"", health_port, id);
	snprintf(info + len, sizeof(infos[0]) - (size_t)len, "}");
	stage_add(id, "i1", info);
	stage_record(id)->lease_ms = 3600000;
	stage_beat(id, "{\"cpu\":0.1}");
	fleet_refresh(stage.fleet);
	stage_pass(50);
}

static void hurry(const char *node, enum breaker_class class)
{
	if (probes)
		probes_hurry(probes, node, class);
}

static void setup(void)
{
	struct http_conf conf = { .connect_timeout_ms = 100, .connections_per_host = 8, .idle_connections = 8, .idle_ms = 10000 };
	struct probes_conf how = { .interval_ms = INTERVAL_MS, .timeout_ms = TIMEOUT_MS, .allow_cidr = "127.0.0.0/8" };

	stage_open();
	stage.unclosed = hurry;
	play_open(stage.loop);
	http = http_new(stage.loop, &conf);
	probes = probes_new(stage.loop, stage.fleet, http, &how);
}

static void teardown(void)
{
	if (probes)
		probes_free(probes);
	probes = NULL;
	http_free(http);
	play_close();
	stage_close();
}

static enum breaker_state state_of(const char *node, enum breaker_class class)
{
	uint64_t retry_ms;

	return breaker_state(stage_node(node)->breakers[class], stage.now, &retry_ms);
}

static void fail_open(const char *node, enum call_kind kind)
{
	struct guard guard;
	uint64_t retry_ms;

	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(guard_enter(stage.fleet, node, "i1", kind, stage.now, &guard, &retry_ms), 0);
		guard_leave(stage.fleet, &guard, HTTP_RESET, 0, 0, (struct str){ 0 });
		stage_turn();
	}
	ck_assert_int_eq(state_of(node, kind >= CALL_PROXY ? CLASS_SIGNAL : CLASS_CONTROL), BREAKER_OPEN);
}

/* Each failed trial waits longer. */
static void fail_until_held_for(const char *node, enum call_kind kind, uint64_t ms)
{
	struct guard guard;
	uint64_t retry_ms = 0;

	while (retry_ms < ms) {
		if (guard_enter(stage.fleet, node, "i1", kind, stage.now, &guard, &retry_ms))
			stage_stall(50);
		else
			guard_leave(stage.fleet, &guard, HTTP_RESET, 0, 0, (struct str){ 0 }), retry_ms = 0;
		stage_turn();
	}
}

/* Time by our clock, with turns enough that a call on loopback ends within its step. */
static void pass(uint64_t ms)
{
	struct pollfd fd = { .fd = loop_backend_fd(stage.loop), .events = POLLIN };

	for (uint64_t passed = 0; passed < ms; passed += 50) {
		stage_pass(50);
		while (poll(&fd, 1, 0) > 0 || play.peer.accepted > play.requests + play.drop) {
			if (poll(&fd, 1, 1) == 0)
				break;
			stage_turn();
		}
	}
}

#define PASS_UNTIL(condition)                                                                                          \
	do {                                                                                                           \
		uint64_t until_end = stage.now + 60000;                                                                \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(stage.now < until_end, "never: %s", #condition);                                 \
			pass(50);                                                                                      \
		}                                                                                                      \
	} while (0)

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* -- health_url ------------------------------------------------------------------------------------------------------------------ */
START_TEST(each_interval_a_node_is_asked_for_its_health)
{
	add("a", 0, play.peer.port);
	add("b", 0, 0);
	pass(20000);
	ck_assert_msg(play.requests >= 15 && play.requests <= 22, "%u times", play.requests);
	ck_assert(strstr(play.last, "GET /health?x=a HTTP/1.1\r\n") != NULL);
	ck_assert_int_eq(state_of("a", CLASS_CONTROL), BREAKER_CLOSED);
}
END_TEST

/* jicofo#1143, videobridge#2112: one slow or failed check removes nothing for ever. */
START_TEST(jicofo_1143_an_unhealthy_node_comes_back_by_itself)
{
	add("a", 0, play.peer.port);
	play.answer = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
	PASS_UNTIL(play.requests == 1);
	stage_turn();
	ck_assert_int_eq(state_of("a", CLASS_CONTROL), BREAKER_CLOSED);
	PASS_UNTIL(state_of("a", CLASS_CONTROL) == BREAKER_OPEN);
	play.answer = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n";
	PASS_UNTIL(state_of("a", CLASS_CONTROL) == BREAKER_CLOSED); /* by its own trial */
}
END_TEST

START_TEST(a_4xx_is_an_answer)
{
	add("a", 0, play.peer.port);
	play.answer = "HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n";
	pass(5000);
	ck_assert_uint_ge(play.requests, 3);
	ck_assert_uint_eq(breaker_failures(stage_node("a")->breakers[CLASS_CONTROL]), 0);
}
END_TEST

START_TEST(a_silent_check_is_a_failure_after_its_time)
{
	add("a", 0, play.peer.port);
	play.answer = NULL;
	STAGE_UNTIL(play.requests == 1);
	uint64_t asked = stage.now;
	STAGE_UNTIL(breaker_failures(stage_node("a")->breakers[CLASS_CONTROL]) == 1);
	ck_assert_uint_lt(stage.now - asked, TIMEOUT_MS + 300);
}
END_TEST

/* While it is open the probe goes around the breaker; what it sees allows the trial before the wait is over, and no more. */
START_TEST(a_good_check_allows_the_trial_before_the_wait_is_over)
{
	add("a", 0, play.peer.port);
	play.answer = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
	fail_until_held_for("a", CALL_OPEN, 3000);
	play.answer = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n";
	uint64_t opened = stage.now;
	PASS_UNTIL(state_of("a", CLASS_CONTROL) != BREAKER_OPEN);
	ck_assert_uint_lt(stage.now - opened, 2500);
	PASS_UNTIL(state_of("a", CLASS_CONTROL) == BREAKER_CLOSED);
}
END_TEST

/* Where a check is due once in ten minutes, a breaker that opens must not wait for it. */
START_TEST(a_breaker_that_opens_does_not_wait_for_the_next_check)
{
	add("a", 0, play.peer.port);
	probes_free(probes);
	probes = probes_new(stage.loop, stage.fleet, http, &(struct probes_conf){ 600000, TIMEOUT_MS, "127.0.0.0/8" });
	pass(200);
	play.answer = "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n";
	fail_until_held_for("a", CALL_OPEN, 7000);
	play.answer = "HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n";
	uint64_t opened = stage.now;
	PASS_UNTIL(state_of("a", CLASS_CONTROL) != BREAKER_OPEN);
	ck_assert_uint_lt(stage.now - opened, 2500);
}
END_TEST

/* -- signal_url ------------------------------------------------------------------------------------------------------------------ */
START_TEST(signal_is_connected_to_only_while_its_breaker_is_not_closed)
{
	add("a", play.peer.port, 0);
	pass(5000);
	ck_assert_uint_eq(play.peer.accepted, 0);
	fail_until_held_for("a", CALL_TUNNEL, 3000);
	uint64_t opened = stage.now;
	unsigned accepted = play.peer.accepted;
	PASS_UNTIL(state_of("a", CLASS_SIGNAL) == BREAKER_HALF_OPEN);
	ck_assert_uint_lt(stage.now - opened, 2500); /* before the wait is over */
	ck_assert(play.peer.accepted > accepted && play.requests == 0);
}
END_TEST

/* The probes of a node begin when it is first seen; its breaker may be quicker. */
START_TEST(signal_whose_breaker_is_open_already_is_connected_to)
{
	add("a", play.peer.port, 0);
	probes_free(probes);
	probes = NULL;
	fail_until_held_for("a", CALL_TUNNEL, 3000);
	probes = probes_new(stage.loop, stage.fleet, http, &(struct probes_conf){ INTERVAL_MS, TIMEOUT_MS, "127.0.0.0/8" });
	uint64_t began = stage.now;
	PASS_UNTIL(state_of("a", CLASS_SIGNAL) == BREAKER_HALF_OPEN);
	ck_assert_uint_lt(stage.now - began, INTERVAL_MS + 500);
}
END_TEST

START_TEST(signal_that_refuses_stays_open)
{
	uint16_t port;

	close(listen_anywhere(&port));
	add("a", port, 0);
	fail_open("a", CALL_TUNNEL);
	pass(900);
	ck_assert_int_eq(state_of("a", CLASS_SIGNAL), BREAKER_OPEN);
	pass(200);
	ck_assert_int_eq(state_of("a", CLASS_SIGNAL), BREAKER_HALF_OPEN); /* by its wait alone: a participant's trial is next */
}
END_TEST

START_TEST(a_connection_that_is_never_made_has_a_deadline)
{
	add("a", black_hole_open(), 0);
	pass(100);
	unsigned before = descriptors();
	fail_until_held_for("a", CALL_TUNNEL, 7000);
	pass(6000); /* several probes, which do not wait for each other's end */
	ck_assert_int_eq(state_of("a", CLASS_SIGNAL), BREAKER_OPEN);
	ck_assert_uint_le(descriptors(), before + 1);
	probes_free(probes);
	probes = NULL;
	ck_assert_uint_eq(descriptors(), before);
	black_hole_close();
}
END_TEST

START_TEST(no_connection_leaves_the_allowed_networks)
{
	static char info[128];

	snprintf(info, sizeof(info), "{\"signal_url\":\"ws://[::ffff:127.0.0.1]:%u/\",\"fences\":\"gate\"}", play.peer.port);
	stage_add("a", "i1", info)->lease_ms = 3600000;
	stage_beat("a", "{\"cpu\":0.1}");
	stage_pass(600);
	probes_free(probes);
	probes = probes_new(stage.loop, stage.fleet, http, &(struct probes_conf){ INTERVAL_MS, TIMEOUT_MS, "10.0.0.0/8" });
	fail_open("a", CALL_TUNNEL);
	pass(5000);
	ck_assert_uint_eq(play.peer.accepted, 0);
}
END_TEST

/* -- comings and goings ------------------------------------------------------------------------------------------------------------ */
START_TEST(nodes_may_leave_while_they_are_asked)
{
	play.answer = NULL;
	add("a", 0, play.peer.port);
	add("b", 0, play.peer.port);
	STAGE_UNTIL(play.requests >= 1);
	stage_add("a", "i2", infos[0]);
	stage_remove("b");
	stage_pass(1000);
	ck_assert_uint_eq(breaker_failures(stage_node("a")->breakers[CLASS_CONTROL]), 0);
}
END_TEST

START_TEST(probes_may_end_while_they_ask)
{
	play.answer = NULL;
	add("a", 0, play.peer.port);
	STAGE_UNTIL(play.requests == 1);
	probes_free(probes);
	probes = NULL;
	fleet_free(stage.fleet);
	stage.fleet = NULL;
	stage_turn();
}
END_TEST

START_TEST(lost_nodes_are_left_alone)
{
	add("a", 0, play.peer.port);
	stage_record("a")->lost = true;
	stage_pass(600);
	unsigned asked = play.requests;
	pass(5000);
	ck_assert_uint_eq(play.requests, asked);
	stage_record("a")->lost = false; /* it is back */
	fleet_refresh(stage.fleet);
	PASS_UNTIL(play.requests > asked);
}
END_TEST

START_TEST(a_node_may_say_later_where_it_is_asked)
{
	static char info[256];

	add("a", 0, 0);
	pass(3000);
	ck_assert_uint_eq(play.requests, 0);
	snprintf(info, sizeof(info), "{\"signal_url\":\"ws://127.0.0.1:1/\",\"fences\":\"gate\",\"health_url\":\"http://127.0.0.1:%u/\"}", play.peer.port);
	stage_record("a")->info = str_of(info);
	fleet_refresh(stage.fleet);
	PASS_UNTIL(play.requests > 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/probe");
	TCase *tc = tcase_create("probe");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, each_interval_a_node_is_asked_for_its_health);
	tcase_add_test(tc, jicofo_1143_an_unhealthy_node_comes_back_by_itself);
	tcase_add_test(tc, a_4xx_is_an_answer);
	tcase_add_test(tc, a_silent_check_is_a_failure_after_its_time);
	tcase_add_test(tc, a_good_check_allows_the_trial_before_the_wait_is_over);
	tcase_add_test(tc, a_breaker_that_opens_does_not_wait_for_the_next_check);
	tcase_add_test(tc, signal_is_connected_to_only_while_its_breaker_is_not_closed);
	tcase_add_test(tc, signal_whose_breaker_is_open_already_is_connected_to);
	tcase_add_test(tc, signal_that_refuses_stays_open);
	tcase_add_test(tc, a_connection_that_is_never_made_has_a_deadline);
	tcase_add_test(tc, no_connection_leaves_the_allowed_networks);
	tcase_add_test(tc, nodes_may_leave_while_they_are_asked);
	tcase_add_test(tc, probes_may_end_while_they_ask);
	tcase_add_test(tc, lost_nodes_are_left_alone);
	tcase_add_test(tc, a_node_may_say_later_where_it_is_asked);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
