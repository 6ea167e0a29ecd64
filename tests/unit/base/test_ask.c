/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "base/ask.h"
#include "base/error.h"
#include "peer.h"

static struct loop *home, *other;
static pthread_t thread;
static unsigned live; /* questions not freed yet */

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void setup(void)
{
	home = loop_new();
	other = loop_new();
	live = 0;
	pthread_create(&thread, NULL, run, other);
}

static void stop(struct task *t)
{
	(void)t;
	loop_stop(other);
}

static void teardown(void)
{
	static struct task task;

	loop_post(other, &task, stop);
	pthread_join(thread, NULL);
	loop_free(home);
	loop_free(other);
}

struct twice {
	struct ask ask;
	struct task later;
	int question, answer, *out;
	bool slow;
};
struct asker {
	struct wait wait;
	int out, err;
	unsigned woken;
};

static void reply(struct twice *q)
{
	q->answer = 2 * q->question;
	ask_reply(&q->ask, q->question < 0 ? -ERR_CONFLICT : 0);
}

static void reply_later(struct task *t)
{
	reply(container_of(t, struct twice, later));
}

static void serve(struct ask *ask)
{
	struct twice *q = container_of(ask, struct twice, ask);

	ck_assert(pthread_equal(pthread_self(), thread));
	if (q->slow)
		loop_post(other, &q->later, reply_later);
	else
		reply(q);
}

static void finish(struct ask *ask, bool asked)
{
	struct twice *q = container_of(ask, struct twice, ask);

	if (asked)
		*q->out = q->answer;
	live--;
	free(q);
}

static void woken(struct wait *w, int err)
{
	struct asker *a = container_of(w, struct asker, wait);

	a->woken++;
	a->err = err;
}

static struct twice *question(int n, struct asker *asker, bool slow)
{
	struct twice *q = calloc(1, sizeof(*q));

	ck_assert_ptr_nonnull(q);
	q->ask.serve = serve;
	q->ask.finish = finish;
	q->question = n;
	q->slow = slow;
	q->out = asker ? &asker->out : NULL;
	live++;
	return q;
}

static int put(struct asker *asker, int n, bool slow)
{
	*asker = (struct asker){ .wait.wake = woken };
	return ask_send(&question(n, asker, slow)->ask, home, other, &asker->wait);
}

START_TEST(answers_come_home)
{
	struct asker a, b, c;

	ck_assert_int_eq(put(&a, 21, false), WAIT);
	ck_assert_int_eq(put(&b, 4, true), WAIT);
	ck_assert_int_eq(put(&c, -1, false), WAIT);
	ck_assert_uint_eq(a.woken, 0); /* never before it has returned */
	UNTIL(home, a.woken && b.woken && c.woken);
	ck_assert_int_eq(a.out, 42);
	ck_assert_int_eq(a.err, 0);
	ck_assert_int_eq(b.out, 8);
	ck_assert_int_eq(c.err, -ERR_CONFLICT);
	ck_assert_uint_eq(live, 0);
}
END_TEST

START_TEST(who_left_is_not_written_to)
{
	struct asker *a = malloc(sizeof(*a));

	ck_assert_ptr_nonnull(a);
	put(a, 1, true);
	wait_drop(&a->wait);
	free(a);
	UNTIL(home, !live);
}
END_TEST

START_TEST(tell_and_do_not_wait)
{
	ck_assert_int_eq(ask_send(&question(1, NULL, false)->ask, home, other, NULL), WAIT);
	UNTIL(home, !live);
}
END_TEST

START_TEST(many_at_once)
{
	static struct asker askers[2000];
	unsigned done = 0;

	for (int i = 0; i < 2000; i++)
		put(&askers[i], i, i & 1);
	for (int i = 0; i < 2000; i += 5)
		wait_drop(&askers[i].wait);
	UNTIL(home, !live);
	for (int i = 0; i < 2000; i++) {
		ck_assert_uint_eq(askers[i].woken, i % 5 != 0);
		ck_assert_int_eq(askers[i].out, i % 5 ? 2 * i : 0);
		done += askers[i].woken;
	}
	ck_assert_uint_eq(done, 1600);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ask");
	TCase *t = tcase_create("ask");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, answers_come_home);
	tcase_add_test(t, who_left_is_not_written_to);
	tcase_add_test(t, tell_and_do_not_wait);
	tcase_add_test(t, many_at_once);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
