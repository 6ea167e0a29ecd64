/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/wait.h"
#include "peer.h"

static struct loop *loop;

static void setup(void)
{
	loop = loop_new();
	ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
	loop_free(loop);
}

/* -- timers --------------------------------------------------------------------------------------------------------- */
struct bell {
	struct timer timer;
	unsigned rung;
	uint64_t at;
};
static unsigned order, backwards;
static uint64_t last_due;

static void ring(struct timer *t)
{
	struct bell *bell = container_of(t, struct bell, timer);

	bell->rung++;
	bell->at = loop_now_ms(loop);
	order++;
	backwards += t->due_ms < last_due;
	last_due = t->due_ms;
}

static void ring_again(struct timer *t)
{
	ring(t);
	timer_set(loop, t, 0, ring_again);
}

START_TEST(timers_follow_a_fake_clock)
{
	struct bell a = { 0 }, b = { 0 };

	loop_fake_clock(loop, 1000);
	timer_set(loop, &a.timer, 50, ring);
	timer_set(loop, &b.timer, 20, ring);
	loop_fake_clock(loop, 1019);
	ck_assert_uint_eq(a.rung + b.rung, 0);
	loop_fake_clock(loop, 1020);
	ck_assert_uint_eq(b.rung, 1);
	timer_set(loop, &a.timer, 50, ring); /* moved */
	loop_fake_clock(loop, 1069);
	ck_assert_uint_eq(a.rung, 0);
	loop_fake_clock(loop, 1070);
	ck_assert_uint_eq(a.rung, 1);
	ck_assert_uint_eq(a.at, 1070);
	timer_set(loop, &a.timer, 5, ring);
	timer_clear(loop, &a.timer);
	timer_clear(loop, &a.timer);
	loop_fake_clock(loop, 9000);
	ck_assert_uint_eq(a.rung, 1);
}
END_TEST

START_TEST(timers_follow_the_real_clock)
{
	struct bell a = { 0 }, b = { 0 };
	uint64_t begun = loop_now_ms(loop);

	timer_set(loop, &a.timer, 60000, ring);
	timer_set(loop, &b.timer, 15, ring);
	UNTIL(loop, b.rung);
	ck_assert_uint_ge(b.at, begun + 15);
	ck_assert_uint_eq(a.rung, 0);
}
END_TEST

START_TEST(timer_set_for_now_waits_for_the_next_turn)
{
	struct bell a = { 0 }, others[50] = { 0 };

	loop_fake_clock(loop, 1);
	for (size_t i = 0; i < 50; i++)
		timer_set(loop, &others[i].timer, 1000, ring);
	timer_set(loop, &a.timer, 0, ring_again);
	loop_fake_clock(loop, 2);
	ck_assert_uint_eq(a.rung, 1);
	loop_fake_clock(loop, 3);
	ck_assert_uint_eq(a.rung, 2);
}
END_TEST

static void serve(void *arg, int events)
{
	(void)events;
	*(unsigned *)arg = ++order;
}

/* Held up past the timer, with an answer in the socket: the answer is in time. */
START_TEST(descriptors_are_served_before_timers)
{
	struct bell a = { 0 };
	unsigned served = 0;
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	struct watch *watch = watch_new(loop, fds[0], LOOP_READ, serve, &served);
	order = 0;
	timer_set(loop, &a.timer, 1, ring);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	poll(NULL, 0, 3);
	loop_turn(loop);
	ck_assert_uint_eq(served, 1);
	ck_assert_uint_eq(a.rung, 1);
	ck_assert_uint_eq(order, 2);
	watch_free(watch);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static struct later left_behind;
static unsigned ran_late;

static void run_late(struct later *later)
{
	(void)later;
	ran_late++;
}

static void queue_and_stop(struct timer *t)
{
	(void)t;
	loop_later(loop, &left_behind, run_late);
	loop_stop(loop);
}

/* An answer that is queued for the end of the turn goes out though the turn ends the loop. */
START_TEST(who_stops_the_loop_leaves_nothing_behind)
{
	struct timer t = { 0 };

	ran_late = 0;
	timer_set(loop, &t, 0, queue_and_stop);
	loop_run(loop);
	ck_assert_uint_eq(ran_late, 1);
}
END_TEST

START_TEST(many_timers_fire_in_order)
{
	static struct bell bells[5000];
	unsigned cleared = 0;

	memset(bells, 0, sizeof(bells));
	order = backwards = 0;
	last_due = 0;
	loop_fake_clock(loop, 1);
	srand(3);
	for (size_t i = 0; i < 5000; i++)
		timer_set(loop, &bells[i].timer, (uint64_t)(rand() % 10000), ring);
	for (size_t i = 0; i < 5000; i += 3) /* some moved, some cleared */
		timer_set(loop, &bells[i].timer, (uint64_t)(rand() % 10000), ring);
	for (size_t i = 0; i < 5000; i += 7, cleared++)
		timer_clear(loop, &bells[i].timer);
	loop_fake_clock(loop, 20000);
	ck_assert_uint_eq(order, 5000 - cleared);
	ck_assert_uint_eq(backwards, 0);
	for (size_t i = 0; i < 5000; i++)
		ck_assert_uint_eq(bells[i].rung, i % 7 != 0);
}
END_TEST

/* -- later ----------------------------------------------------------------------------------------------------------- */
static struct later laters[3];
static char ran[16];
static size_t nran;

static void note(struct later *l)
{
	ran[nran++] = (char)('a' + (l - laters));
}

static void note_and_queue(struct later *l)
{
	note(l);
	if (nran < 4)
		loop_later(loop, l, note_and_queue);
}

START_TEST(later_runs_before_sleep)
{
	nran = 0;
	loop_later(loop, &laters[0], note);
	loop_later(loop, &laters[1], note);
	loop_later(loop, &laters[0], note); /* once */
	loop_later(loop, &laters[2], note);
	loop_later_drop(loop, &laters[2]);
	ck_assert_uint_eq(nran, 0);
	ck_assert_int_eq(loop_backend_timeout_ms(loop), 0);
	loop_turn(loop);
	ck_assert_uint_eq(nran, 2);
	ck_assert_int_eq(memcmp(ran, "ab", 2), 0);
	loop_later(loop, &laters[1], note);
	loop_turn(loop);
	ck_assert_uint_eq(nran, 3);
	ck_assert_int_eq(loop_backend_timeout_ms(loop), -1);
}
END_TEST

START_TEST(later_may_queue_itself)
{
	nran = 0;
	loop_later(loop, &laters[0], note_and_queue);
	loop_turn(loop);
	ck_assert_uint_eq(nran, 1); /* the next is for the next turn: others first */
	ck_assert_int_eq(loop_backend_timeout_ms(loop), 0);
	UNTIL(loop, nran == 4);
	turns(loop, 3);
	ck_assert_uint_eq(nran, 4);
}
END_TEST

static void note_and_queue_next(struct later *l)
{
	note(l);
	loop_later(loop, l + 1, note);
	loop_later(loop, l, note);
}

START_TEST(what_a_later_queues_runs_in_the_same_turn)
{
	nran = 0;
	loop_later(loop, &laters[1], note_and_queue_next);
	loop_later(loop, &laters[0], note);
	loop_turn(loop);
	ck_assert_uint_eq(nran, 3);
	ck_assert_int_eq(memcmp(ran, "bac", 3), 0);
	loop_turn(loop); /* who has had its turn */
	ck_assert_uint_eq(nran, 4);
	ck_assert_int_eq(ran[3], 'b');
	ck_assert_int_eq(loop_backend_timeout_ms(loop), -1);
}
END_TEST

/* -- messages ---------------------------------------------------------------------------------------------------------- */
#define POSTERS 4
#define POSTS 20000
struct post {
	struct task task;
	unsigned who, nth;
};
static struct post posts[POSTERS][POSTS];
static unsigned next_of[POSTERS], out_of_order, arrived;

static void take_post(struct task *t)
{
	struct post *post = container_of(t, struct post, task);

	out_of_order += post->nth != next_of[post->who]++;
	if (++arrived == POSTERS * POSTS)
		loop_stop(loop);
}

static void *post_all(void *arg)
{
	struct post *mine = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		mine[i].nth = i;
		loop_post(loop, &mine[i].task, take_post);
	}
	return NULL;
}

START_TEST(posts_of_each_thread_keep_their_order)
{
	pthread_t threads[POSTERS];

	memset(next_of, 0, sizeof(next_of));
	out_of_order = arrived = 0;
	for (unsigned i = 0; i < POSTERS; i++) {
		for (unsigned n = 0; n < POSTS; n++)
			posts[i][n].who = i;
		pthread_create(&threads[i], NULL, post_all, posts[i]);
	}
	loop_run(loop); /* sleeps between: a post wakes it */
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(arrived, POSTERS * POSTS);
	ck_assert_uint_eq(out_of_order, 0);
}
END_TEST

static struct loop *elsewhere;
static struct task to_elsewhere[2];
static unsigned came;
static bool rang_early;

static bool rung(struct loop *l)
{
	struct pollfd ready = { .fd = loop_backend_fd(l), .events = POLLIN };

	return poll(&ready, 1, 0) == 1;
}

static void come(struct task *t)
{
	ck_assert_ptr_eq(t, &to_elsewhere[came]);
	came++;
}

static void post_twice(struct timer *t)
{
	(void)t;
	loop_post(elsewhere, &to_elsewhere[0], come);
	loop_post(elsewhere, &to_elsewhere[1], come);
	rang_early = rung(elsewhere);
	loop_stop(loop);
}

START_TEST(a_turn_rings_for_its_posts_when_it_ends)
{
	struct timer t = { 0 };

	came = 0;
	elsewhere = loop_new();
	loop_turn(elsewhere); /* libuv arms what was begun */
	ck_assert(!rung(elsewhere));
	timer_set(loop, &t, 0, post_twice);
	loop_run(loop); /* it stops in this very turn */
	ck_assert(!rang_early && rung(elsewhere));
	loop_turn(elsewhere);
	ck_assert_uint_eq(came, 2);
	came = 0;
	loop_post(elsewhere, &to_elsewhere[0], come); /* from no turn */
	ck_assert(rung(elsewhere));
	loop_turn(elsewhere);
	ck_assert_uint_eq(came, 1);
	loop_free(elsewhere);
}
END_TEST

static void *post_second(void *arg)
{
	(void)arg;
	loop_post(elsewhere, &to_elsewhere[1], come);
	return NULL;
}

static void post_and_stay(struct timer *t)
{
	pthread_t thread;

	(void)t;
	loop_post(elsewhere, &to_elsewhere[0], come);
	pthread_create(&thread, NULL, post_second, NULL);
	pthread_join(thread, NULL);
	rang_early = rung(elsewhere);
	loop_stop(loop);
}

START_TEST(another_threads_post_waits_for_no_turn)
{
	struct timer t = { 0 };

	came = 0;
	rang_early = false;
	elsewhere = loop_new();
	loop_turn(elsewhere);
	timer_set(loop, &t, 0, post_and_stay);
	loop_run(loop);
	ck_assert(rang_early);
	loop_turn(elsewhere);
	ck_assert_uint_eq(came, 2);
	loop_free(elsewhere);
}
END_TEST

static void post_two_that_may_wait(struct later *l)
{
	(void)l;
	loop_post_soon(elsewhere, &to_elsewhere[0], come);
	loop_post_soon(elsewhere, &to_elsewhere[1], come);
}

static void post_one_that_may_wait(struct later *l)
{
	(void)l;
	loop_post_soon(elsewhere, &to_elsewhere[0], come);
	loop_post(elsewhere, &to_elsewhere[1], come);
}

START_TEST(what_may_wait_goes_with_what_may_not)
{
	struct later both = { 0 }, one = { 0 };

	came = 0;
	elsewhere = loop_new();
	loop_turn(elsewhere);
	loop_fake_clock(loop, 1000);
	loop_later(loop, &both, post_two_that_may_wait);
	loop_turn(loop);
	loop_fake_clock(loop, 1004);
	ck_assert(!rung(elsewhere));
	loop_fake_clock(loop, 1005);
	ck_assert(rung(elsewhere));
	loop_turn(elsewhere);
	ck_assert_uint_eq(came, 2);
	came = 0;
	loop_later(loop, &one, post_one_that_may_wait);
	loop_turn(loop);
	ck_assert(rung(elsewhere));
	loop_turn(elsewhere);
	ck_assert_uint_eq(came, 2);
	loop_fake_clock(loop, 1100);
	ck_assert(!rung(elsewhere));
	loop_free(elsewhere);
}
END_TEST

#define OTHERS 40
static struct loop *others[OTHERS];
static struct task to_others[OTHERS];

static void come_too(struct task *t)
{
	(void)t;
	came++;
}

static void post_to_all(struct timer *t)
{
	(void)t;
	for (size_t i = 0; i < OTHERS; i++)
		loop_post(others[i], &to_others[i], come_too);
}

START_TEST(a_turn_rings_however_many_it_posts_to)
{
	struct timer t = { 0 };

	came = 0;
	for (size_t i = 0; i < OTHERS; i++)
		others[i] = loop_new();
	timer_set(loop, &t, 0, post_to_all);
	UNTIL(loop, !t.slot);
	for (size_t i = 0; i < OTHERS; i++) {
		loop_turn(others[i]);
		loop_free(others[i]);
	}
	ck_assert_uint_eq(came, OTHERS);
}
END_TEST

/* -- descriptors -------------------------------------------------------------------------------------------------------- */
static struct watch *watched;
static int seen_events, watched_fd;
static unsigned calls;

static void see(void *arg, int events)
{
	char byte;

	(void)arg;
	seen_events |= events;
	calls++;
	if (events & LOOP_READ)
		(void)!read(watched_fd, &byte, 1);
}

static void see_and_free(void *arg, int events)
{
	see(arg, events);
	watch_free(watched);
	close(watched_fd);
}

START_TEST(watch_reports_what_is_wanted)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	seen_events = 0;
	calls = 0;
	watched_fd = pair[0];
	watched = watch_new(loop, pair[0], LOOP_READ, see, NULL);
	turns(loop, 3);
	ck_assert_uint_eq(calls, 0);
	ck_assert_int_eq(write(pair[1], "abc", 3), 3);
	UNTIL(loop, calls == 3); /* level-triggered */
	ck_assert_int_eq(seen_events, LOOP_READ);
	watch_set(watched, 0);
	ck_assert_int_eq(write(pair[1], "d", 1), 1);
	turns(loop, 3);
	ck_assert_uint_eq(calls, 3);
	watch_set(watched, LOOP_WRITE);
	UNTIL(loop, seen_events & LOOP_WRITE);
	watch_free(watched);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(watch_may_be_freed_in_its_callback)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	seen_events = 0;
	calls = 0;
	watched_fd = pair[0];
	watched = watch_new(loop, pair[0], LOOP_READ, see_and_free, NULL);
	ck_assert_int_eq(write(pair[1], "ab", 2), 2);
	UNTIL(loop, calls);
	turns(loop, 3);
	ck_assert_uint_eq(calls, 1);
	close(pair[1]);
}
END_TEST

START_TEST(errors_are_seen_as_everything)
{
	uint16_t port;
	int lfd = listen_anywhere(&port), fd = connect_to(port), other = accept(lfd, NULL, NULL);
	struct linger now = { 1, 0 };

	seen_events = 0;
	calls = 0;
	watched_fd = fd;
	watched = watch_new(loop, fd, LOOP_READ, see_and_free, NULL);
	setsockopt(other, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(other);
	UNTIL(loop, calls);
	ck_assert_int_ne(seen_events & LOOP_READ, 0);
	close(lfd);
}
END_TEST

START_TEST(what_cannot_be_watched_is_refused)
{
	ck_assert_ptr_null(watch_new(loop, 9999, LOOP_READ, see, NULL));
}
END_TEST

/* -- names --------------------------------------------------------------------------------------------------------------- */
struct asking {
	struct wait wait;
	struct addresses found;
	bool done;
	int err;
};

static void found(struct wait *w, int err)
{
	struct asking *a = container_of(w, struct asking, wait);

	a->done = true;
	a->err = err;
}

START_TEST(numeric_hosts_are_answered_at_once)
{
	struct asking a = { .wait.wake = found };

	ck_assert_int_eq(loop_resolve(loop, "10.1.2.3", 80, &a.found, &a.wait), NEXT);
	ck_assert_uint_eq(a.found.count, 1);
	struct sockaddr_in *v4 = (void *)&a.found.at[0];
	ck_assert_int_eq(v4->sin_family, AF_INET);
	ck_assert_uint_eq(ntohl(v4->sin_addr.s_addr), 0x0a010203);
	ck_assert_uint_eq(ntohs(v4->sin_port), 80);
	ck_assert_int_eq(loop_resolve(loop, "::1", 81, &a.found, &a.wait), NEXT);
	struct sockaddr_in6 *v6 = (void *)&a.found.at[0];
	ck_assert_int_eq(v6->sin6_family, AF_INET6);
	ck_assert_uint_eq(ntohs(v6->sin6_port), 81);
	ck_assert(!a.done);
}
END_TEST

START_TEST(names_are_resolved_meanwhile)
{
	struct asking a = { .wait.wake = found }, b = { .wait.wake = found };

	ck_assert_int_eq(loop_resolve(loop, "localhost", 8080, &a.found, &a.wait), WAIT);
	ck_assert_int_eq(loop_resolve(loop, "localhost", 8080, &b.found, &b.wait), WAIT);
	wait_drop(&b.wait); /* its answer finds nobody */
	ck_assert(!a.done);
	UNTIL(loop, a.done);
	ck_assert_int_eq(a.err, 0);
	ck_assert_uint_ge(a.found.count, 1);
	turns(loop, 3);
	ck_assert(!b.done);
}
END_TEST

START_TEST(bad_names_fail)
{
	struct asking a = { .wait.wake = found };

	ck_assert_int_eq(loop_resolve(loop, "no such name", 1, &a.found, &a.wait), WAIT);
	UNTIL(loop, a.done);
	ck_assert_int_eq(a.err, -ERR_NODE_UNAVAILABLE);
}
END_TEST

/* -- signals and children ---------------------------------------------------------------------------------------------------- */
static int signalled;

static void on_signal(void *arg, int signum)
{
	*(int *)arg = signum;
}

START_TEST(signals_are_callbacks)
{
	signalled = 0;
	loop_on_signal(loop, SIGUSR1, on_signal, &signalled);
	raise(SIGUSR1);
	ck_assert_int_eq(signalled, 0);
	UNTIL(loop, signalled);
	ck_assert_int_eq(signalled, SIGUSR1);
}
END_TEST

static int child_status;

static void on_exit_of(void *arg, int status)
{
	(void)arg;
	child_status = status;
}

static struct child *shell(const char *script)
{
	char *argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)script, NULL };

	child_status = -1;
	return child_start(loop, argv, on_exit_of, NULL);
}

START_TEST(children_tell_how_they_ended)
{
	struct child *child = shell("exit 7");

	ck_assert_int_gt(child_pid(child), 0);
	UNTIL(loop, child_status >= 0);
	ck_assert_int_eq(child_status, 7);
	child_signal(child, SIGTERM); /* too late: nobody is hit */
	child_free(child);
	child = shell("exec sleep 100");
	child_signal(child, SIGTERM);
	UNTIL(loop, child_status >= 0);
	ck_assert_int_eq(child_status, 128 + SIGTERM);
	child_free(child);
}
END_TEST

START_TEST(missing_programs_do_not_start)
{
	char *argv[] = { (char *)(uintptr_t)"/no/such/program", NULL };

	ck_assert_ptr_null(child_start(loop, argv, on_exit_of, NULL));
}
END_TEST

START_TEST(forgotten_children_are_reaped)
{
	struct child *child = shell("exec sleep 100");
	int pid = child_pid(child);

	child_free(child);
	kill(pid, SIGKILL);
	UNTIL(loop, kill(pid, 0) < 0 && errno == ESRCH);
	ck_assert_int_eq(child_status, -1);
}
END_TEST

START_TEST(loop_does_not_wait_for_forgotten_children)
{
	struct child *child = shell("exec sleep 100");
	int pid = child_pid(child), status;

	child_free(child);
	loop_free(loop);
	loop = NULL;
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
}
END_TEST

/* -- stalls ----------------------------------------------------------------------------------------------------------------------- */
static void burn(struct later *l)
{
	uint64_t begun = real_ms();

	(void)l;
	while (real_ms() - begun < 30)
		;
}

START_TEST(stalls_are_measured)
{
	turns(loop, 2);
	loop_stalled_ms(loop);
	loop_later(loop, &laters[0], burn);
	loop_turn(loop);
	uint64_t stalled = loop_stalled_ms(loop);
	ck_assert_uint_ge(stalled, 25);
	turns(loop, 2);
	ck_assert_uint_lt(loop_stalled_ms(loop), 25);
}
END_TEST

static void burn_and_stop(struct timer *t)
{
	(void)t;
	burn(NULL);
	loop_stop(loop);
}

/* What is ready at once after a turn has waited for all of it; what comes while the loop has nothing to do has not. */
START_TEST(waits_are_measured)
{
	turns(loop, 2);
	loop_least_wait_us(loop);
	loop_later(loop, &laters[0], burn);
	loop_turn(loop);
	ck_assert_uint_ge(loop_wait_us(loop), 25000);
	ck_assert_uint_ge(loop_least_wait_us(loop), 25000);
	struct timer stop = { 0 };
	loop_later(loop, &laters[0], burn);
	timer_set(loop, &stop, 50, burn_and_stop);
	loop_run(loop); /* has slept after one long turn and before the other, and so the least is none */
	ck_assert_uint_eq(loop_least_wait_us(loop), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, timers_follow_a_fake_clock);
	tcase_add_test(t, timers_follow_the_real_clock);
	tcase_add_test(t, timer_set_for_now_waits_for_the_next_turn);
	tcase_add_test(t, descriptors_are_served_before_timers);
	tcase_add_test(t, who_stops_the_loop_leaves_nothing_behind);
	tcase_add_test(t, many_timers_fire_in_order);
	tcase_add_test(t, later_runs_before_sleep);
	tcase_add_test(t, later_may_queue_itself);
	tcase_add_test(t, what_a_later_queues_runs_in_the_same_turn);
	tcase_add_test(t, posts_of_each_thread_keep_their_order);
	tcase_add_test(t, a_turn_rings_for_its_posts_when_it_ends);
	tcase_add_test(t, another_threads_post_waits_for_no_turn);
	tcase_add_test(t, what_may_wait_goes_with_what_may_not);
	tcase_add_test(t, a_turn_rings_however_many_it_posts_to);
	tcase_add_test(t, watch_reports_what_is_wanted);
	tcase_add_test(t, watch_may_be_freed_in_its_callback);
	tcase_add_test(t, errors_are_seen_as_everything);
	tcase_add_test(t, what_cannot_be_watched_is_refused);
	tcase_add_test(t, numeric_hosts_are_answered_at_once);
	tcase_add_test(t, names_are_resolved_meanwhile);
	tcase_add_test(t, bad_names_fail);
	tcase_add_test(t, signals_are_callbacks);
	tcase_add_test(t, children_tell_how_they_ended);
	tcase_add_test(t, missing_programs_do_not_start);
	tcase_add_test(t, forgotten_children_are_reaped);
	tcase_add_test(t, loop_does_not_wait_for_forgotten_children);
	tcase_add_test(t, stalls_are_measured);
	tcase_add_test(t, waits_are_measured);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
