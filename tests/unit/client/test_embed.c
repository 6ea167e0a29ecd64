/* SPDX-License-Identifier: Apache-2.0 */
/* libusher as its users have it: <usher/usher.h> alone, real time, inside a poll() loop that knows nothing of usher. */
#include <check.h>
#include <poll.h>
#include <stdatomic.h>
#include <time.h>

#include "client/lib/usher/usher.h"
#include "tests/unit/client/fake_http.h"

static struct {
	struct fake_http http;
	atomic_uint beats, leaves;
	unsigned heartbeat_ms;
	int hold[2]; /* a DELETE is not answered before this pipe is closed; -1: at once */
} router;
static char url[64];
static const char *const urls[] = { url };

static void answer(void *arg, const char *request, const char *body, struct buf *out)
{
	char text[200], byte;

	(void)arg, (void)body;
	snprintf(text, sizeof(text), "{\"registration\":5,\"renewed\":true,\"lease_ms\":1500,\"heartbeat_ms\":%u}", router.heartbeat_ms);
	if (!strncmp(request, "PUT ", 4)) {
		fake_http_answer(out, "201 Created", text);
	} else if (!strncmp(request, "DELETE ", 7)) {
		router.leaves++;
		if (router.hold[0] >= 0 && read(router.hold[0], &byte, 1) < 0)
			return;
		fake_http_answer(out, "200 OK", "");
	} else if (strstr(request, "/heartbeat")) {
		router.beats++;
		fake_http_answer(out, "200 OK", text);
	} else {
		fake_http_answer(out, "200 OK",
		                 "{\"room\":\"r\",\"epoch\":7,\"node\":{\"id\":\"n\"},\"signal\":{\"mode\":\"proxy\",\"url\":\"ws://h\"}}");
	}
}

static uint64_t real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void setup(void)
{
	memset(&router, 0, sizeof(router));
	router.hold[0] = router.hold[1] = -1;
	router.heartbeat_ms = 20;
	fake_http_start(&router.http, answer, NULL);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", router.http.port);
}

static void teardown(void)
{
	fake_http_stop(&router.http);
}

static struct usher_node *new_node(void)
{
	const struct usher_node_options options = { .size = sizeof(options), .node = "sfu-1", .incarnation = "i", .routers = urls,
		                                    .nrouters = 1, .signal_url = "ws://127.0.0.1:9000" };
	const char *why = NULL;
	struct usher_node *node = usher_node_new(&options, &why);

	ck_assert_msg(node, "%s", why);
	return node;
}

/* One turn of the owner's loop, which has a descriptor of its own to look after. */
static unsigned turns, own_events;
static void owner_turn(struct usher_node *node, int own)
{
	struct pollfd fds[] = { { .fd = usher_node_fd(node), .events = POLLIN }, { .fd = own, .events = POLLIN } };
	char byte;

	poll(fds, 2, usher_node_timeout_ms(node));
	turns++;
	if (fds[1].revents & POLLIN)
		own_events += read(own, &byte, 1) == 1;
	usher_node_turn(node);
}

START_TEST(a_node_lives_in_a_foreign_loop)
{
	struct usher_node *node = new_node();
	int own[2];

	ck_assert_int_eq(pipe(own), 0);
	turns = own_events = 0;
	while (!usher_node_admits(node))
		owner_turn(node, own[0]);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_ADMITS);
	ck_assert_int_eq((int)write(own[1], "x", 1), 1);
	while (router.beats < 10 || !own_events)
		owner_turn(node, own[0]);
	ck_assert(usher_node_admits(node));
	ck_assert_int_gt((int)usher_node_lease_left_ms(node), 0);
	ck_assert_uint_lt(turns, 10 * 40); /* it sleeps in between: a beat costs some ten turns */
	usher_node_leave(node);
	while (usher_node_phase(node) != USHER_NODE_LEFT)
		owner_turn(node, own[0]);
	ck_assert_uint_eq(router.leaves, 1);
	usher_node_free(node);
	close(own[0]);
	close(own[1]);
}
END_TEST

/* Said between turns, and long before the next heartbeat is due. */
START_TEST(a_report_between_turns_is_told_at_once)
{
	struct usher_node *node;

	router.heartbeat_ms = 3600000;
	node = new_node();
	while (!usher_node_admits(node))
		owner_turn(node, -1);
	for (unsigned beats = 1; beats < 6; beats++) {
		usher_node_report(node, beats % 2 ? USHER_DRAINING : USHER_READY);
		while (router.beats == beats)
			owner_turn(node, -1);
	}
	usher_node_free(node);
}
END_TEST

static bool nested;
static void turn_inside(void *arg, enum usher_node_phase phase, const char *detail)
{
	struct usher_node **node = arg;

	(void)detail;
	if (phase != USHER_NODE_ADMITS)
		return;
	usher_node_leave(*node);
	for (int i = 0; i < 100; i++) {
		struct pollfd fd = { .fd = usher_node_fd(*node), .events = POLLIN };
		poll(&fd, 1, 1);
		usher_node_turn(*node);
	}
	nested = usher_node_phase(*node) == USHER_NODE_LEFT;
}

START_TEST(turning_inside_a_callback_is_nothing)
{
	struct usher_node *node = NULL;
	const struct usher_node_options options = { .size = sizeof(options), .node = "sfu-1", .incarnation = "i", .routers = urls,
		                                    .nrouters = 1, .signal_url = "ws://127.0.0.1:9000", .changed = turn_inside,
		                                    .arg = &node };

	node = usher_node_new(&options, NULL);
	while (usher_node_phase(node) != USHER_NODE_LEFT)
		owner_turn(node, -1);
	ck_assert(!nested);
	usher_node_free(node);
}
END_TEST

START_TEST(a_router_that_hangs_holds_nobody_back_from_leaving)
{
	struct usher_node *node = new_node();
	uint64_t begun;

	ck_assert_int_eq(pipe(router.hold), 0);
	while (!usher_node_admits(node))
		owner_turn(node, -1);
	begun = real_ms();
	usher_node_leave(node);
	while (usher_node_phase(node) != USHER_NODE_LEFT)
		owner_turn(node, -1);
	ck_assert_uint_ge(real_ms() - begun, 1900);
	ck_assert_uint_le(real_ms() - begun, 2900); /* two seconds, and a slow machine */
	usher_node_free(node);
	close(router.hold[1]);
}
END_TEST

static void joined(void *arg, const struct usher_joined *answer)
{
	ck_assert_str_eq(answer->signal_url, "ws://h");
	*(int *)arg += answer->status;
}

START_TEST(a_joiner_lives_in_a_foreign_loop)
{
	int status = 0;
	const struct usher_join_options options = { .size = sizeof(options), .routers = urls, .nrouters = 1, .room = "r", .arg = &status };
	struct usher_join *join = usher_join(&options, joined, NULL);

	ck_assert_ptr_nonnull(join);
	while (!status) {
		struct pollfd fd = { .fd = usher_join_fd(join), .events = POLLIN };
		poll(&fd, 1, usher_join_timeout_ms(join));
		usher_join_turn(join);
	}
	ck_assert_int_eq(status, 200);
	usher_join_free(join);
}
END_TEST

START_TEST(bad_options_leave_nothing_behind)
{
	const struct usher_node_options node = { .size = sizeof(node), .node = "a b" };
	const struct usher_join_options join = { .size = sizeof(join), .room = "r" };
	const char *why = NULL;

	ck_assert_ptr_null(usher_node_new(&node, &why));
	ck_assert_msg(!strncmp(why, "node:", 5), "%s", why);
	ck_assert_ptr_null(usher_node_new(&node, NULL));
	ck_assert_ptr_null(usher_join(&join, joined, &why));
	ck_assert_msg(!strncmp(why, "routers:", 8), "%s", why);
	usher_node_free(NULL);
	usher_join_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("embed");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, a_node_lives_in_a_foreign_loop);
	tcase_add_test(all, a_report_between_turns_is_told_at_once);
	tcase_add_test(all, turning_inside_a_callback_is_nothing);
	tcase_add_test(all, a_router_that_hangs_holds_nobody_back_from_leaving);
	tcase_add_test(all, a_joiner_lives_in_a_foreign_loop);
	tcase_add_test(all, bad_options_leave_nothing_behind);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
