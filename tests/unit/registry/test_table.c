/* SPDX-License-Identifier: Apache-2.0 */
/* "Known is enough": each rule of the table by a clock of our own, and readers on real threads beside one writer. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/loop.h"
#include "base/retire.h"
#include "base/wait.h"
#include "registry/table.h"

#define TRUST_MS 2000
#define MAX 100

static struct loop *loop;
static struct retire *retire;
static struct table *t;
static uint64_t now;

static void open_with(uint64_t max)
{
	now = 1000000;
	loop = loop_new();
	retire = retire_new(loop, &loop, 1);
	t = table_new(loop, retire, max, TRUST_MS);
	table_fake_clock(t, now);
	table_alive(t);
}

static void setup(void)
{
	open_with(MAX);
}

static void turn(void)
{
	for (int i = 0; i < 4; i++)
		loop_turn(loop);
}

static void teardown(void)
{
	table_free(t);
	turn();
	retire_free(retire);
	loop_free(loop);
}

static void pass(uint64_t ms)
{
	now += ms;
	table_fake_clock(t, now);
}

static struct room room_at(enum room_state state, uint64_t epoch)
{
	struct room room = { .state = state, .epoch = epoch, .registration = 7, .incarnation = "inc", .assigned_by = "rt" };

	snprintf(room.node, sizeof room.node, "n%llu", (unsigned long long)epoch);
	return room;
}

static void learn(const char *name, enum room_state state, uint64_t epoch)
{
	struct room room = room_at(state, epoch);

	table_learn(t, str_of(name), &room, table_stamp(t, str_of(name)));
	turn();
}

static enum table_hit hit(const char *name)
{
	struct room room;

	return table_find(t, str_of(name), &room);
}

static uint64_t epoch_of(const char *name)
{
	struct room room = { 0 };

	ck_assert_int_ne(table_find(t, str_of(name), &room), TABLE_MISS);
	return room.epoch;
}

/* -- what enters -------------------------------------------------------------------------------------------------------------- */

START_TEST(only_open_records_enter)
{
	static const enum room_state others[] = { ROOM_NONE, ROOM_OPENING, ROOM_MOVING, ROOM_CLOSING };

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct room room = room_at(others[i], 5);

		learn("a", others[i], 5);
		ck_assert_int_eq(hit("a"), TABLE_MISS);
		table_put(t, STR("a"), &room);
		ck_assert_int_eq(hit("a"), TABLE_MISS);
	}
	learn("a", ROOM_OPEN, 5);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	ck_assert_uint_eq(table_count(t), 1);
}
END_TEST

START_TEST(a_record_that_is_not_open_takes_its_own_and_older_epochs_out)
{
	static const enum room_state others[] = { ROOM_OPENING, ROOM_MOVING, ROOM_CLOSING };

	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		learn("a", ROOM_OPEN, 5);
		learn("a", others[i], 4);
		ck_assert_uint_eq(epoch_of("a"), 5);
		learn("a", others[i], 5);
		ck_assert_int_eq(hit("a"), TABLE_MISS);
	}
	learn("a", ROOM_OPEN, 5);
	learn("a", ROOM_NONE, 0);
	ck_assert_int_eq(hit("a"), TABLE_MISS);
	ck_assert_uint_eq(table_count(t), 0);
}
END_TEST

START_TEST(all_of_a_record_comes_back)
{
	struct room room = room_at(ROOM_OPEN, UINT64_C(9007199254740991)), got = { 0 };
	char name[ROOM_MAX];

	memset(name, 0xff, sizeof name);
	memset(room.node, 'n', NODE_MAX);
	memset(room.incarnation, 'i', INCARNATION_MAX);
	memset(room.assigned_by, 'r', NODE_MAX);
	memset(room.hints, 'h', HINTS_MAX);
	room.created_ms = 3;
	room.exclusive = true;
	table_learn(t, (struct str){ name, sizeof name }, &room, table_stamp(t, (struct str){ name, sizeof name }));
	turn();
	ck_assert_int_eq(table_find(t, (struct str){ name, sizeof name }, &got), TABLE_SURE);
	ck_assert_int_eq(table_find(t, (struct str){ name, sizeof name - 1 }, &got), TABLE_MISS);
	ck_assert(got.epoch == room.epoch && got.registration == 7 && got.created_ms == 3 && got.exclusive);
	ck_assert_int_eq(got.source, FROM_TABLE);
	ck_assert_str_eq(got.node, room.node);
	ck_assert_str_eq(got.incarnation, room.incarnation);
	ck_assert_str_eq(got.assigned_by, room.assigned_by);
	ck_assert_str_eq(got.hints, room.hints);
}
END_TEST

/* -- replies that were overtaken ------------------------------------------------------------------------------------------------ */

START_TEST(a_reply_that_an_invalidation_overtook_is_not_kept)
{
	struct room room = room_at(ROOM_OPEN, 5);
	uint64_t stamp = table_stamp(t, STR("a"));

	table_changed(t, STR("a"));
	table_learn(t, STR("a"), &room, stamp);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_MISS);
	stamp = table_stamp(t, STR("a"));
	table_learn(t, STR("a"), &room, stamp);
	table_changed(t, STR("a")); /* while it is on its way to the keeper */
	turn();
	ck_assert_int_eq(hit("a"), TABLE_MISS);
	stamp = table_stamp(t, STR("a"));
	table_changed_all(t);
	table_learn(t, STR("a"), &room, stamp);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_MISS);
	learn("a", ROOM_OPEN, 5);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
}
END_TEST

/* Nor may it take out what is known: it is as old as it is. */
START_TEST(an_overtaken_reply_takes_nothing_out)
{
	struct room none = room_at(ROOM_NONE, 0);
	uint64_t stamp = table_stamp(t, STR("a"));

	learn("a", ROOM_OPEN, 5);
	table_changed(t, STR("a"));
	table_learn(t, STR("a"), &none, stamp);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
}
END_TEST

/* Another room whose changes make stamps of this one differ, too. */
static const char *neighbour(const char *name)
{
	static char other[16];

	for (int i = 0;; i++) {
		uint64_t stamp = table_stamp(t, str_of(name));
		snprintf(other, sizeof(other), "n%d", i);
		table_changed(t, str_of(other));
		if (table_stamp(t, str_of(name)) != stamp)
			return other;
	}
}

/* Nobody announces to us what we have written ourselves. */
START_TEST(an_overtaken_reply_to_our_own_change_makes_unsure)
{
	struct room none = room_at(ROOM_NONE, 0);
	const char *other = neighbour("a");

	learn("a", ROOM_OPEN, 5);
	uint64_t stamp = table_stamp(t, STR("a"));
	table_changed(t, str_of(other));
	table_learn(t, STR("a"), &none, stamp);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_SURE); /* a read: were it news, a change of "a" would be announced */
	table_learn_own(t, STR("a"), &none, stamp);
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	learn("a", ROOM_OPEN, 5);
	stamp = table_stamp(t, STR("a"));
	table_learn_own(t, STR("a"), &none, stamp);
	table_changed(t, str_of(other)); /* while it is on its way to the keeper */
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	turn();
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	table_learn_own(t, STR("a"), &none, table_stamp(t, STR("a")));
	turn();
	ck_assert_int_eq(hit("a"), TABLE_MISS);
}
END_TEST

START_TEST(a_change_makes_one_room_unsure)
{
	learn("a", ROOM_OPEN, 5);
	learn("b", ROOM_OPEN, 6);
	table_changed(t, STR("a"));
	table_changed(t, STR("nobody"));
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	ck_assert_int_eq(hit("b"), TABLE_SURE);
	table_alive(t); /* the link lives: which says nothing of this room */
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	learn("a", ROOM_OPEN, 5);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	table_distrust(t, STR("a"));
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
}
END_TEST

/* A sure entry of a higher epoch was read later. An unsure one may be of a store that has lost it. */
START_TEST(an_older_epoch_replaces_only_what_is_unsure)
{
	learn("a", ROOM_OPEN, 5);
	learn("a", ROOM_OPEN, 4);
	ck_assert_uint_eq(epoch_of("a"), 5);
	table_changed_all(t);
	learn("a", ROOM_OPEN, 4);
	ck_assert_uint_eq(epoch_of("a"), 4);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
}
END_TEST

/* -- trust ------------------------------------------------------------------------------------------------------------------------ */

START_TEST(a_silent_link_makes_unsure_and_never_gone)
{
	learn("a", ROOM_OPEN, 5);
	pass(TRUST_MS);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	pass(1);
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	pass(86400000);
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	ck_assert_uint_eq(epoch_of("a"), 5);
	table_alive(t); /* the same link: nothing was missed */
	ck_assert_int_eq(hit("a"), TABLE_SURE);
}
END_TEST

/* Reconnection, another primary, a flush: changes may have been missed. */
START_TEST(another_link_makes_all_unsure_until_they_are_read_again)
{
	learn("a", ROOM_OPEN, 5);
	learn("b", ROOM_OPEN, 6);
	table_changed_all(t);
	table_alive(t);
	ck_assert(hit("a") == TABLE_UNSURE && hit("b") == TABLE_UNSURE);
	ck_assert_uint_eq(table_count(t), 2);
	learn("a", ROOM_OPEN, 5);
	ck_assert(hit("a") == TABLE_SURE && hit("b") == TABLE_UNSURE);
}
END_TEST

START_TEST(without_tracking_age_decides)
{
	table_set_trust(t, TRUST_AGE);
	learn("a", ROOM_OPEN, 5);
	pass(TRUST_MS);
	table_alive(t); /* of no use here */
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	pass(1);
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	learn("a", ROOM_OPEN, 5);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	pass(TRUST_MS / 2 + 1);
	learn("a", ROOM_OPEN, 5); /* tells nothing new but its date */
	pass(TRUST_MS / 2 + 1);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
}
END_TEST

START_TEST(a_store_in_this_process_is_always_sure)
{
	struct room room = room_at(ROOM_OPEN, 5);

	table_set_trust(t, TRUST_ALWAYS);
	table_put(t, STR("a"), &room);
	pass(86400000);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
	table_distrust(t, STR("a")); /* a gate refused the epoch */
	ck_assert_int_eq(hit("a"), TABLE_UNSURE);
	table_put(t, STR("a"), &room);
	ck_assert_int_eq(hit("a"), TABLE_SURE);
}
END_TEST

/* -- use and bound ------------------------------------------------------------------------------------------------------------------ */

START_TEST(a_use_is_said_at_most_once_a_second)
{
	learn("a", ROOM_OPEN, 5);
	ck_assert(table_touch(t, STR("a"), now));
	ck_assert(!table_touch(t, STR("a"), now));
	ck_assert(!table_touch(t, STR("a"), now - 3)); /* another thread's clock */
	ck_assert(!table_touch(t, STR("a"), now + 999));
	ck_assert(table_touch(t, STR("a"), now + 1000));
	ck_assert(!table_touch(t, STR("a"), now + 1999));
	ck_assert(table_touch(t, STR("b"), now) && table_touch(t, STR("b"), now)); /* not known: nothing to remember it by */
}
END_TEST

static const char *name_of(unsigned i)
{
	static char name[16];

	snprintf(name, sizeof name, "r%u", i);
	return name;
}

START_TEST(the_bound_holds_and_what_is_used_stays)
{
	learn("hot", ROOM_OPEN, 5);
	for (unsigned i = 0; i < 3000; i++) {
		pass(1000);
		table_alive(t);
		learn(name_of(i), ROOM_OPEN, i + 1);
		ck_assert(table_touch(t, STR("hot"), now));
		ck_assert_uint_le(table_count(t), MAX);
		ck_assert_int_ne(hit(name_of(i)), TABLE_MISS); /* the newest is not the one that goes */
	}
	ck_assert_uint_eq(table_count(t), MAX);
	ck_assert_int_ne(hit("hot"), TABLE_MISS);
}
END_TEST

static void open_large(void)
{
	open_with(100000);
}

/* Growth, tombstones, replacement: against a list that cannot be wrong. */
START_TEST(it_knows_what_a_plain_list_knows)
{
	enum { NAMES = 5000 };
	static uint64_t model[NAMES];
	uint64_t held = 0;

	for (unsigned step = 0; step < 60000; step++) {
		unsigned i = (unsigned)(random_u64() % NAMES);
		struct room room = room_at(ROOM_OPEN, step + 1);

		if (random_u64() % 3 == 0) {
			table_drop(t, str_of(name_of(i)), UINT64_MAX);
			held -= model[i] != 0;
			model[i] = 0;
		} else {
			table_put(t, str_of(name_of(i)), &room);
			held += model[i] == 0;
			model[i] = step + 1;
		}
		if (step % 512 == 0)
			turn();
	}
	ck_assert_uint_eq(table_count(t), held);
	for (unsigned i = 0; i < NAMES; i++) {
		if (model[i])
			ck_assert_uint_eq(epoch_of(name_of(i)), model[i]);
		else
			ck_assert_int_eq(hit(name_of(i)), TABLE_MISS);
	}
}
END_TEST

static void drop_each(void *arg, struct str name, const struct room *room, uint64_t used_ms)
{
	ck_assert(room->state == ROOM_OPEN && used_ms >= 1000000);
	table_drop(t, name, room->epoch);
	++*(unsigned *)arg;
}

START_TEST(a_walk_meets_all_and_may_drop_them)
{
	unsigned met = 0;
	size_t cursor = 0;

	for (unsigned i = 0; i < MAX; i++)
		learn(name_of(i), ROOM_OPEN, i + 1);
	do
		cursor = table_walk(t, cursor, 3, drop_each, &met);
	while (cursor);
	ck_assert_uint_eq(met, MAX);
	ck_assert_uint_eq(table_count(t), 0);
}
END_TEST

START_TEST(what_is_on_its_way_outlives_the_table)
{
	struct room room = room_at(ROOM_OPEN, 5);

	for (int i = 0; i < 10; i++)
		table_learn(t, str_of(name_of((unsigned)i)), &room, table_stamp(t, str_of(name_of((unsigned)i))));
	/* teardown frees the table, and turns the loop after it: under ASan */
}
END_TEST

/* -- threads ------------------------------------------------------------------------------------------------------------------------ */

#define READERS 3
#define ROOMS 400
#define ROUNDS 400

static struct reader {
	pthread_t thread;
	struct loop *loop;
	struct timer timer;
	struct task stop;
	uint64_t found, torn, unsure;
} readers[READERS];

/* An entry's epoch names its node and registration: a torn copy would tell. */
static void look(struct reader *r, unsigned i)
{
	char name[16], node[24];
	struct room room;
	enum table_hit got;

	snprintf(name, sizeof name, "r%u", i);
	got = table_find(t, str_of(name), &room);
	if (got == TABLE_MISS)
		return;
	snprintf(node, sizeof node, "n%llu", (unsigned long long)room.epoch);
	r->found++;
	r->unsure += got == TABLE_UNSURE;
	r->torn += strcmp(node, room.node) != 0 || room.registration != room.epoch || room.state != ROOM_OPEN;
	table_touch(t, str_of(name), 1000000 + room.epoch);
	if (room.epoch % 7 == 0)
		table_distrust(t, str_of(name));
	if (room.epoch % 5 == 0)
		table_learn(t, str_of(name), &room, table_stamp(t, str_of(name)));
}

static void read_on(struct timer *timer)
{
	struct reader *r = container_of(timer, struct reader, timer);

	for (int i = 0; i < 200; i++)
		look(r, (unsigned)(random_u64() % ROOMS));
	timer_set(r->loop, &r->timer, 1, read_on);
}

static void reader_stop(struct task *task)
{
	struct reader *r = container_of(task, struct reader, stop);

	timer_clear(r->loop, &r->timer);
	loop_stop(r->loop);
}

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	timer_set(r->loop, &r->timer, 0, read_on);
	loop_run(r->loop);
	return NULL;
}

static void write_round(uint64_t epoch)
{
	for (unsigned i = 0; i < 100; i++, epoch++) {
		struct room room = room_at(ROOM_OPEN, epoch);
		char name[16];

		snprintf(name, sizeof name, "r%u", (unsigned)(random_u64() % ROOMS));
		room.registration = epoch;
		switch (random_u64() % 8) {
		case 0:
			table_drop(t, str_of(name), UINT64_MAX);
			break;
		case 1:
			table_changed(t, str_of(name));
			break;
		default:
			table_put(t, str_of(name), &room);
		}
	}
}

START_TEST(readers_need_no_lock)
{
	struct loop *loops[READERS];
	uint64_t found = 0, torn = 0;

	loop = loop_new();
	for (int i = 0; i < READERS; i++)
		loops[i] = readers[i].loop = loop_new();
	retire = retire_new(loop, loops, READERS);
	t = table_new(loop, retire, ROOMS / 2, TRUST_MS); /* so that it evicts all the time */
	table_alive(t);
	for (int i = 0; i < READERS; i++)
		pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]);
	for (uint64_t round = 0; round < ROUNDS; round++) {
		write_round(1 + round * 100);
		if (round % 16 == 0)
			table_changed_all(t);
		table_alive(t);
		loop_turn(loop);
		ck_assert_uint_le(table_count(t), ROOMS / 2);
	}
	for (int i = 0; i < READERS; i++)
		loop_post(readers[i].loop, &readers[i].stop, reader_stop);
	for (int i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		found += readers[i].found;
		torn += readers[i].torn;
	}
	turn();
	for (int i = 0; i < READERS; i++) /* what was retired waits for a turn of each */
		loop_turn(readers[i].loop);
	turn();
	table_free(t);
	turn();
	retire_free(retire);
	for (int i = 0; i < READERS; i++)
		loop_free(readers[i].loop);
	loop_free(loop);
	ck_assert_uint_gt(found, 0);
	ck_assert_uint_eq(torn, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry/table");
	TCase *rules = tcase_create("rules"), *large = tcase_create("large"), *threads = tcase_create("threads");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(rules, setup, teardown);
	tcase_add_test(rules, only_open_records_enter);
	tcase_add_test(rules, a_record_that_is_not_open_takes_its_own_and_older_epochs_out);
	tcase_add_test(rules, all_of_a_record_comes_back);
	tcase_add_test(rules, a_reply_that_an_invalidation_overtook_is_not_kept);
	tcase_add_test(rules, an_overtaken_reply_takes_nothing_out);
	tcase_add_test(rules, an_overtaken_reply_to_our_own_change_makes_unsure);
	tcase_add_test(rules, a_change_makes_one_room_unsure);
	tcase_add_test(rules, an_older_epoch_replaces_only_what_is_unsure);
	tcase_add_test(rules, a_silent_link_makes_unsure_and_never_gone);
	tcase_add_test(rules, another_link_makes_all_unsure_until_they_are_read_again);
	tcase_add_test(rules, without_tracking_age_decides);
	tcase_add_test(rules, a_store_in_this_process_is_always_sure);
	tcase_add_test(rules, a_use_is_said_at_most_once_a_second);
	tcase_add_test(rules, the_bound_holds_and_what_is_used_stays);
	tcase_add_test(rules, a_walk_meets_all_and_may_drop_them);
	tcase_add_test(rules, what_is_on_its_way_outlives_the_table);
	suite_add_tcase(suite, rules);
	tcase_add_checked_fixture(large, open_large, teardown);
	tcase_set_timeout(large, 30);
	tcase_add_test(large, it_knows_what_a_plain_list_knows);
	suite_add_tcase(suite, large);
	tcase_set_timeout(threads, 20);
	tcase_add_test(threads, readers_need_no_lock);
	suite_add_tcase(suite, threads);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
