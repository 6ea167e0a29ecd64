/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a node: registering, being taken or stale, another process, leaving. */
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "tests/unit/client/node_play.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

/* -- registering -------------------------------------------------------------------------------------------------------- */
START_TEST(registers_then_beats_then_admits)
{
	static const struct usher_label labels[] = { { "gpu", "yes" }, { "rack", "7" } };
	char beat[300];

	options.labels = labels;
	options.nlabels = 2;
	options.http_url = "http://127.0.0.1:9001";
	options.region = "eu";
	options.pool = "big";
	options.fences = "gate";
	options.token = "s3cret";
	options.replaces = "inc-0";
	options.capacity_rooms = 100;
	play_start(1);
	ck_assert(!usher_node_admits(node));
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_JOINING);
	PLAY_UNTIL(routers[0].registers);
	ck_assert(!usher_node_admits(node)); /* registered is not confirmed */
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(routers[0].asked[0].head.at, "PUT /v1/nodes/sfu-1 HTTP/1.1\r\n");
	CK_HAS(routers[0].asked[0].head.at, "\r\nAuthorization: Bearer s3cret\r\n");
	CK_HAS(routers[0].asked[0].head.at, "\r\nContent-Type: application/json\r\n");
	ck_assert_str_eq(routers[0].asked[0].body.at,
	                 "{\"incarnation\":\"inc-1\",\"replaces\":\"inc-0\",\"signal_url\":\"ws://127.0.0.1:9000\","
	                 "\"http_url\":\"http://127.0.0.1:9001\",\"region\":\"eu\",\"pool\":\"big\",\"labels\":{\"gpu\":\"yes\",\"rack\":\"7\"},"
	                 "\"capacity\":{\"rooms\":100},\"fences\":\"gate\"}");
	snprintf(beat, sizeof(beat), "{\"incarnation\":\"inc-1\",\"registration\":1000,\"seq\":1,\"state\":\"ready\",\"load\":{\"rooms\":0},"
	                             "\"seen\":0,\"unbroken\":false,\"routers\":[\"%s\"],\"max_epoch\":0,\"rooms\":[]}", routers[0].url);
	CK_HAS(routers[0].asked[1].head.at, "POST /v1/nodes/sfu-1/heartbeat HTTP/1.1\r\n");
	CK_HAS(routers[0].asked[1].head.at, "\r\nAuthorization: Bearer s3cret\r\n");
	ck_assert_str_eq(routers[0].asked[1].body.at, beat);
	ck_assert_uint_eq(told.nphases, 1);
	ck_assert_int_eq(told.phases[0], USHER_NODE_ADMITS);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_ADMITS);
}
END_TEST

START_TEST(other_routers_are_tried_at_once)
{
	fake_router_stop(&routers[0]);
	routers[1].does = FAKE_HANGS_UP;
	play_start(3);
	PLAY_UNTIL(usher_node_admits(node)); /* the clock stands: no wait was in between */
	ck_assert_uint_eq(routers[1].registers, 1);
	ck_assert_uint_eq(routers[2].registers, 1);
	ck_assert_uint_eq(routers[2].beats, 1); /* it goes on with the one that answered */
}
END_TEST

/* Full jitter: anything from 1 ms to the top, which doubles. Bounds of many draws, and no wait beyond them. */
START_TEST(backoff_is_full_jitter)
{
	play_start(1);
	for (unsigned attempts = 1; attempts < 40; attempts++) {
		uint64_t top = attempts < 7 ? UINT64_C(50) << attempts : 5000, least = UINT64_MAX, most = 0;
		node->attempts = attempts;
		top = top < 5000 ? top : 5000;
		for (int i = 0; i < 400; i++) {
			uint64_t wait = node_backoff_ms(node, 5000);
			least = wait < least ? wait : least;
			most = wait > most ? wait : most;
		}
		ck_assert_uint_ge(least, 1);
		ck_assert_uint_le(most, top);
		ck_assert_uint_lt(least, top / 4); /* 400 draws miss a quarter with 0.75^400 */
		ck_assert_uint_gt(most, top - top / 4);
	}
}
END_TEST

START_TEST(all_routers_down_is_a_wait_and_then_again)
{
	routers[0].does = routers[1].does = FAKE_HANGS_UP;
	play_start(2);
	PLAY_UNTIL(node->attempts == 1 && !node->wait.op);
	ck_assert_uint_eq(routers[0].registers, 1);
	ck_assert_uint_eq(routers[1].registers, 1);
	ck_assert_uint_gt(node->timer.due_ms, now);
	ck_assert_uint_le(node->timer.due_ms, now + 100);
	play_settle();
	ck_assert_uint_eq(routers[0].registers, 1); /* not before its time */
	pass(100);
	PLAY_UNTIL(node->attempts == 2 && !node->wait.op);
	ck_assert_uint_le(node->timer.due_ms, now + 200);
	routers[0].does = FAKE_ANSWERS;
	pass(200);
	PLAY_UNTIL(usher_node_admits(node));
}
END_TEST

START_TEST(a_taken_name_is_asked_for_again)
{
	routers[0].register_refusal = routers[1].register_refusal = "409 node_taken";
	play_start(2);
	PLAY_UNTIL(node->attempts == 1 && !node->wait.op);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_TAKEN);
	ck_assert_uint_eq(told.nphases, 1);
	ck_assert_int_eq(told.phases[0], USHER_NODE_TAKEN);
	for (unsigned attempts = 2; attempts < 12; attempts++) {
		pass(node->timer.due_ms - now);
		PLAY_UNTIL(node->attempts == attempts && !node->wait.op);
		ck_assert_uint_gt(node->timer.due_ms, now);
		ck_assert_uint_le(node->timer.due_ms, now + 5000);
	}
	ck_assert_uint_eq(told.nphases, 1); /* told once */
	routers[0].register_refusal = routers[1].register_refusal = NULL;
	routers[0].beat_refusal = routers[1].beat_refusal = "503 contention";
	pass(node->timer.due_ms - now);
	PLAY_UNTIL(routers[0].beats + routers[1].beats);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_JOINING); /* nobody else has it now */
	ck_assert(!usher_node_admits(node));
}
END_TEST

START_TEST(a_refused_registration_is_told_once)
{
	routers[0].register_refusal = "400 bad_request";
	play_start(1);
	PLAY_UNTIL(node->attempts == 1 && !node->wait.op);
	ck_assert_uint_eq(told.nphases, 1);
	ck_assert_int_eq(told.phases[0], USHER_NODE_JOINING);
	CK_HAS(told.details[0], "\"code\":\"bad_request\"");
	pass(node->timer.due_ms - now);
	PLAY_UNTIL(node->attempts == 2 && !node->wait.op);
	ck_assert_uint_eq(told.nphases, 1);
}
END_TEST

START_TEST(garbage_is_no_registration)
{
	routers[0].registration = 0; /* below the least that is allowed */
	play_start(2);
	PLAY_UNTIL(usher_node_admits(node));
	ck_assert_uint_eq(routers[0].beats, 0);
	ck_assert_uint_eq(routers[1].beats, 1);
}
END_TEST

/* -- registering again, stale ------------------------------------------------------------------------------------------------ */
START_TEST(an_unknown_node_registers_again)
{
	play_start_admitted(1);
	ck_assert_int_eq(usher_node_room_set(node, "standup", 7, 2), 0);
	play_round();
	routers[0].beat_refusal = "404 unknown_node";
	pass(1000);
	PLAY_UNTIL(node->doing == NODE_REGISTERS);
	ck_assert(!usher_node_admits(node));
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_REFUSES);
	ck_assert_uint_eq(usher_node_rooms(node), 1); /* rooms stay */
	routers[0].beat_refusal = NULL;
	routers[0].registration = 2000;
	routers[0].evict = "[{\"room\":\"standup\",\"epoch\":7}]";
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"registration\":2000,\"seq\":1,");
	CK_HAS(LAST(&routers[0]), "\"rooms\":[{\"room\":\"standup\",\"epoch\":7,\"participants\":2}]");
	ck_assert_str_eq(told.evicted[0], "standup@7");
	ck_assert_uint_eq(usher_node_rooms(node), 0);
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_ADMITS);
}
END_TEST

START_TEST(stale_is_final)
{
	play_start_admitted(2);
	usher_node_room_set(node, "standup", 7, 2);
	routers[0].beat_refusal = "409 stale_incarnation";
	pass(1000);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_STALE);
	ck_assert(!usher_node_admits(node));
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), 0);
	ck_assert_uint_eq(usher_node_rooms(node), 0);
	ck_assert_int_eq(usher_node_room_set(node, "other", 8, 1), -1);
	ck_assert_int_eq(usher_node_replace(node, "inc-2"), -1);
	unsigned before = routers[0].registers + routers[0].beats + routers[1].registers + routers[1].beats;
	for (int i = 0; i < 20; i++)
		pass(5000);
	ck_assert_uint_eq(routers[0].registers + routers[0].beats + routers[1].registers + routers[1].beats, before);
	usher_node_leave(node);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT);
	ck_assert_uint_eq(routers[0].leaves, 0); /* the registration is another process's */
}
END_TEST

START_TEST(a_stale_registration_is_final_too)
{
	routers[0].register_refusal = "409 stale_incarnation";
	play_start(1);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_STALE);
}
END_TEST

/* -- another process --------------------------------------------------------------------------------------------------------- */
START_TEST(a_replacement_names_whom_it_replaces)
{
	play_start_admitted(1);
	usher_node_room_set(node, "standup", 7, 2);
	play_round();
	ck_assert_int_eq(usher_node_replace(node, "not valid"), -1);
	ck_assert(usher_node_admits(node));
	ck_assert_int_eq(usher_node_replace(node, "inc-2"), 0);
	ck_assert(!usher_node_admits(node));
	ck_assert_uint_eq(usher_node_rooms(node), 0);
	ck_assert_int_eq(usher_node_replace(node, "inc-3"), 0); /* died at once */
	routers[0].registration = 2000;
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(routers[0].asked[routers[0].count - 2].body.at, "{\"incarnation\":\"inc-3\",\"replaces\":\"inc-1\",");
	CK_HAS(LAST(&routers[0]), "{\"incarnation\":\"inc-3\",\"registration\":2000,\"seq\":1,");
	CK_HAS(LAST(&routers[0]), "\"max_epoch\":7,\"rooms\":[]"); /* the epoch stays known */
	routers[0].beat_refusal = "404 unknown_node";
	pass(1000);
	PLAY_UNTIL(routers[0].registers == 3);
	CK_HAS_NOT(LAST(&routers[0]), "replaces"); /* said once, until it is registered */
}
END_TEST

static void replace_in_sample(void *arg, struct usher_load *out)
{
	(void)arg, (void)out;
	if (routers[0].beats == 2 && routers[0].registers == 1)
		usher_node_replace(node, "inc-2");
}

START_TEST(owners_may_change_their_mind_in_a_sample)
{
	options.sample = replace_in_sample;
	play_start_admitted(1);
	play_round();
	pass(1000);
	PLAY_UNTIL(routers[0].registers == 2);
	ck_assert_uint_eq(routers[0].beats, 2); /* no heartbeat of the process that is gone */
	PLAY_UNTIL(routers[0].beats == 3);
	CK_HAS(LAST(&routers[0]), "\"incarnation\":\"inc-2\"");
}
END_TEST

static void leave_in_evict(void *arg, const char *room, uint64_t epoch)
{
	(void)arg, (void)room, (void)epoch;
	usher_node_leave(node);
	usher_node_turn(node); /* allowed, and nothing */
}

START_TEST(owners_may_leave_in_a_callback)
{
	options.evict = leave_in_evict;
	play_start_admitted(1);
	usher_node_room_set(node, "standup", 7, 2);
	routers[0].evict = "[{\"room\":\"standup\",\"epoch\":7},{\"room\":\"standup\",\"epoch\":6}]";
	pass(1000);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT);
	ck_assert_uint_eq(routers[0].leaves, 1);
}
END_TEST

/* -- leaving ----------------------------------------------------------------------------------------------------------------- */
START_TEST(leaves_politely)
{
	play_start_admitted(2);
	usher_node_leave(node);
	usher_node_leave(node); /* once is enough */
	ck_assert(!usher_node_admits(node));
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT);
	CK_HAS(fake_router_last(&routers[0])->head.at, "DELETE /v1/nodes/sfu-1?incarnation=inc-1 HTTP/1.1\r\n");
	unsigned beats = routers[0].beats;
	pass(5000);
	play_settle();
	ck_assert_uint_eq(routers[0].beats, beats);
	ck_assert_uint_eq(routers[0].leaves, 1);
	ck_assert_uint_eq(routers[1].leaves, 0);
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_LEFT);
}
END_TEST

START_TEST(leaves_at_another_router)
{
	play_start_admitted(2);
	routers[0].does = FAKE_HANGS_UP;
	usher_node_leave(node);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT);
	ck_assert_uint_eq(routers[1].leaves, 1);
}
END_TEST

START_TEST(leaves_though_nobody_answers)
{
	play_start_admitted(2);
	routers[0].does = routers[1].does = FAKE_HANGS_UP;
	usher_node_leave(node);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT); /* while the clock stands */
	ck_assert_str_eq(told.details[told.nphases - 1], "no router answered");
}
END_TEST

START_TEST(leaves_unregistered)
{
	routers[0].does = FAKE_HANGS_UP;
	play_start(1);
	PLAY_UNTIL(routers[0].registers);
	usher_node_leave(node);
	PLAY_UNTIL(usher_node_phase(node) == USHER_NODE_LEFT);
	ck_assert_uint_eq(routers[0].leaves, 0);
}
END_TEST

/* -- options ----------------------------------------------------------------------------------------------------------------- */
static const char *refusal(void)
{
	const char *why = NULL;

	options.routers = urls;
	options.nrouters = options.nrouters ? options.nrouters : 1;
	ck_assert_ptr_null(node_new_on(loop, &options, &why));
	return why;
}

START_TEST(options_of_an_older_version_are_taken)
{
	size_t sizes[] = { offsetof(struct usher_node_options, tls_ca), sizeof(options) + 8, offsetof(struct usher_node_options, tls_ca) - 1 };
	const char *why = NULL;

	options.routers = urls;
	options.nrouters = 1;
	for (size_t i = 0; i < 3; i++) {
		struct usher_node_options *given = calloc(1, sizes[i]); /* nothing is read beyond */
		memcpy(given, &options, sizes[i] < sizeof(options) ? sizes[i] : sizeof(options));
		given->size = sizes[i];
		node = node_new_on(loop, given, &why);
		free(given);
		ck_assert_msg(!node == !!i, "%s", why);
		if (i)
			CK_HAS(why, "size:");
		usher_node_free(node);
	}
	node = NULL;
}
END_TEST

START_TEST(options_are_checked_in_words)
{
	static const struct usher_label unnamed[] = { { "", "x" } };
	const struct usher_node_options good = options;

#define BAD(change, words)                                                                                                     \
	do {                                                                                                                   \
		options = good;                                                                                                \
		options.change;                                                                                                \
		CK_HAS(refusal(), words);                                                                                      \
	} while (0)
	BAD(size = 8, "size:");
	BAD(node = "a/b", "node:");
	BAD(node = NULL, "node:");
	BAD(incarnation = "", "incarnation:");
	BAD(replaces = "a b", "replaces:");
	BAD(signal_url = "ftp://x", "signal_url:");
	BAD(token = "a\r\nX-Evil: 1", "token:");
	BAD(fences = "moat", "fences:");
	options = good;
	options.labels = unnamed;
	options.nlabels = 1;
	CK_HAS(refusal(), "labels:");
	options = good;
	urls[0] = "redis://x";
	CK_HAS(refusal(), "routers:");
	urls[0] = "ws://127.0.0.1:1";
	CK_HAS(refusal(), "routers:");
	ck_assert_ptr_null(node_new_on(loop, &(struct usher_node_options){ .size = sizeof(options), .node = "n", .incarnation = "i",
	                                                                   .signal_url = "ws://h" }, NULL));
	urls[0] = routers[0].url;
	options = good;
	play_start(1);
}
END_TEST

/* -- the clock ----------------------------------------------------------------------------------------------------------- */
static uint64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A time namespace in which the machine slept for a thousand seconds, as far as the clocks tell. Only our children are in it. */
static bool as_if_slept(void)
{
	static const char slept[] = "boottime 1000 0";
	int fd;

	if (unshare(CLONE_NEWTIME) < 0)
		return false;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, slept, sizeof(slept) - 1) == (ssize_t)sizeof(slept) - 1;
	if (fd >= 0)
		close(fd);
	return done;
}

START_TEST(a_lease_goes_on_while_the_machine_sleeps)
{
	const char *why = NULL;
	int status;

	options.routers = urls;
	options.nrouters = 1;
	node = node_new_on(loop, &options, &why);
	ck_assert_msg(node, "%s", why);
	if (!as_if_slept()) {
		fprintf(stderr, "not tested: a time namespace needs root\n");
		return;
	}
	pid_t child = fork();
	if (!child)
		_exit(node->boot_ms() - clock_ms(CLOCK_MONOTONIC) < 1000000);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, play_setup, play_teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, registers_then_beats_then_admits);
	tcase_add_test(all, other_routers_are_tried_at_once);
	tcase_add_test(all, backoff_is_full_jitter);
	tcase_add_test(all, all_routers_down_is_a_wait_and_then_again);
	tcase_add_test(all, a_taken_name_is_asked_for_again);
	tcase_add_test(all, a_refused_registration_is_told_once);
	tcase_add_test(all, garbage_is_no_registration);
	tcase_add_test(all, an_unknown_node_registers_again);
	tcase_add_test(all, stale_is_final);
	tcase_add_test(all, a_stale_registration_is_final_too);
	tcase_add_test(all, a_replacement_names_whom_it_replaces);
	tcase_add_test(all, owners_may_change_their_mind_in_a_sample);
	tcase_add_test(all, owners_may_leave_in_a_callback);
	tcase_add_test(all, leaves_politely);
	tcase_add_test(all, leaves_at_another_router);
	tcase_add_test(all, leaves_though_nobody_answers);
	tcase_add_test(all, leaves_unregistered);
	tcase_add_test(all, options_are_checked_in_words);
	tcase_add_test(all, options_of_an_older_version_are_taken);
	tcase_add_test(all, a_lease_goes_on_while_the_machine_sleeps);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
