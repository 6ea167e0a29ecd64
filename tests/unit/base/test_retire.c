/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdatomic.h>

#include "base/retire.h"
#include "base/wait.h"
#include "peer.h"

#define READERS 3

static struct loop *writer, *readers[READERS];
static pthread_t threads[READERS];
static struct retire *retire;
static unsigned freed, made;
static uint64_t now_ms;

struct thing {
	struct retired retired;
	unsigned value, not_value;
};
static _Atomic(struct thing *) published;

static void free_thing(struct retired *r)
{
	struct thing *thing = container_of(r, struct thing, retired);

	freed++;
	free(thing);
}

static struct thing *new_thing(void)
{
	struct thing *thing = calloc(1, sizeof(*thing));

	ck_assert_ptr_nonnull(thing);
	thing->value = made++;
	thing->not_value = ~thing->value;
	return thing;
}

/* -- without threads, and time stands: which turn frees --------------------------------------------------------------------------------- */
static void setup(void)
{
	freed = made = 0;
	writer = loop_new();
	loop_fake_clock(writer, now_ms = 1000);
	for (size_t i = 0; i < READERS; i++)
		readers[i] = loop_new();
	retire = retire_new(writer, readers, READERS);
}

static void gathered(void)
{
	loop_fake_clock(writer, now_ms += 20);
}

static void free_all(void)
{
	retire_free(retire);
	for (size_t i = 0; i < READERS; i++)
		loop_free(readers[i]);
	loop_free(writer);
}

START_TEST(nothing_is_freed_before_every_reader_has_turned)
{
	retire_later(retire, &new_thing()->retired, free_thing);
	gathered();
	turns(readers[0], 3);
	turns(readers[1], 3);
	turns(writer, 3);
	ck_assert_uint_eq(freed, 0);
	turns(readers[2], 3);
	ck_assert_uint_eq(freed, 0); /* it is the writer's to free */
	turns(writer, 3);
	ck_assert_uint_eq(freed, 1);
	free_all();
}
END_TEST

START_TEST(what_comes_during_a_round_joins_the_next)
{
	retire_later(retire, &new_thing()->retired, free_thing);
	gathered();
	turns(readers[0], 3);
	retire_later(retire, &new_thing()->retired, free_thing);
	retire_later(retire, &new_thing()->retired, free_thing);
	turns(readers[1], 3);
	turns(readers[2], 3);
	turns(writer, 3);
	ck_assert_uint_eq(freed, 1);
	gathered();
	for (size_t i = 0; i < READERS; i++)
		turns(readers[i], 3);
	turns(writer, 3);
	ck_assert_uint_eq(freed, 3);
	free_all();
}
END_TEST

/* Else each room that leaves a full table would wake every reader. */
START_TEST(a_round_waits_for_more)
{
	retire_later(retire, &new_thing()->retired, free_thing);
	loop_fake_clock(writer, now_ms + 19);
	retire_later(retire, &new_thing()->retired, free_thing);
	for (size_t i = 0; i < READERS; i++)
		turns(readers[i], 3);
	turns(writer, 3);
	ck_assert_uint_eq(freed, 0);
	loop_fake_clock(writer, now_ms + 20);
	for (size_t i = 0; i < READERS; i++)
		turns(readers[i], 3);
	turns(writer, 3);
	ck_assert_uint_eq(freed, 2);
	free_all();
}
END_TEST

START_TEST(the_end_frees_what_is_left)
{
	retire_later(retire, &new_thing()->retired, free_thing);
	gathered();
	turns(readers[0], 3);
	retire_later(retire, &new_thing()->retired, free_thing);
	free_all();
	ck_assert_uint_eq(freed, 2);
}
END_TEST

START_TEST(without_readers_it_is_the_writers_next_turn)
{
	struct retire *alone = retire_new(writer, NULL, 0);

	retire_later(alone, &new_thing()->retired, free_thing);
	gathered();
	ck_assert_uint_eq(freed, 0);
	turns(writer, 2);
	ck_assert_uint_eq(freed, 1);
	retire_free(alone);
	free_all();
}
END_TEST

/* -- with threads that read all the time: a sanitizer sees what is freed too early ------------------------------------------ */
static atomic_bool over;
static atomic_uint torn, reads;

struct reader {
	struct later later;
	struct loop *loop;
};
static struct reader reading[READERS];

static void read_on(struct later *l)
{
	struct reader *reader = container_of(l, struct reader, later);
	struct thing *thing = atomic_load_explicit(&published, memory_order_acquire);

	for (int i = 0; i < 20; i++)
		torn += thing->value != ~thing->not_value;
	reads++;
	if (over)
		loop_stop(reader->loop);
	else
		loop_later(reader->loop, l, read_on);
}

static void *run(void *arg)
{
	struct reader *reader = arg;

	loop_later(reader->loop, &reader->later, read_on);
	loop_run(reader->loop);
	return NULL;
}

START_TEST(readers_see_whole_things_only)
{
	over = false;
	torn = reads = 0;
	published = new_thing();
	for (size_t i = 0; i < READERS; i++) {
		reading[i] = (struct reader){ .loop = readers[i] };
		pthread_create(&threads[i], NULL, run, &reading[i]);
	}
	for (int i = 0; i < 5000 || freed < 4000; i++) {
		if (i % 8 == 0)
			gathered();
		struct thing *old = atomic_exchange(&published, new_thing());
		retire_later(retire, &old->retired, free_thing);
		loop_turn(writer);
	}
	over = true;
	for (size_t i = 0; i < READERS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(torn, 0);
	ck_assert_uint_gt(reads, 0);
	free(published);
	free_all();
	ck_assert_uint_eq(freed, made - 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("retire");
	TCase *t = tcase_create("retire");

	tcase_add_checked_fixture(t, setup, NULL);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, nothing_is_freed_before_every_reader_has_turned);
	tcase_add_test(t, what_comes_during_a_round_joins_the_next);
	tcase_add_test(t, a_round_waits_for_more);
	tcase_add_test(t, the_end_frees_what_is_left);
	tcase_add_test(t, without_readers_it_is_the_writers_next_turn);
	tcase_add_test(t, readers_see_whole_things_only);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
