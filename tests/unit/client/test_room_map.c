/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdio.h>

#include "base/wait.h"
#include "client/lib/room_map.h"
#include "tests/unit/chance.h"

#define ROOMS 5000

struct room {
	struct room_link link;
	char name[16];
};
static struct room rooms[ROOMS];
static struct room_map map;

static void setup(void)
{
	for (int i = 0; i < ROOMS; i++) {
		snprintf(rooms[i].name, sizeof(rooms[i].name), "room-%d", i);
		rooms[i].link = (struct room_link){ .name = str_of(rooms[i].name) };
	}
}

static void teardown(void)
{
	room_map_free(&map);
}

START_TEST(empty)
{
	ck_assert_ptr_null(room_map_find(&map, STR("room-1")));
	room_map_free(&map);
}
END_TEST

START_TEST(holds_what_a_list_of_flags_holds)
{
	static bool held[ROOMS];
	size_t count = 0;

	for (int step = 0; step < 200000; step++) {
		size_t i = chance_below(step % 50000 < 25000 ? ROOMS : 50), n; /* many rooms, and the same few again and again */
		bool adds = step / 20000 % 2 ? chance_below(3) == 0 : chance_below(3) > 0;
		if (adds && !held[i])
			room_map_add(&map, &rooms[i].link);
		else if (!adds && held[i])
			room_map_remove(&map, &rooms[i].link);
		count += adds - held[i];
		held[i] = adds;
		n = chance_below(ROOMS);
		ck_assert(room_map_find(&map, rooms[n].link.name) == (held[n] ? &rooms[n].link : NULL));
		ck_assert_uint_eq(map.count, count);
	}
}
END_TEST

START_TEST(finds_what_it_holds_while_it_grows_and_shrinks)
{
	for (int i = 0; i < ROOMS; i++)
		room_map_add(&map, &rooms[i].link);
	ck_assert_uint_eq(map.count, ROOMS);
	for (int i = 0; i < ROOMS; i++)
		ck_assert_ptr_eq(room_map_find(&map, str_of(rooms[i].name)), &rooms[i].link);
	for (int i = 0; i < ROOMS; i += 2)
		room_map_remove(&map, &rooms[i].link);
	ck_assert_uint_eq(map.count, ROOMS / 2);
	for (int i = 0; i < ROOMS; i++)
		ck_assert_ptr_eq(room_map_find(&map, str_of(rooms[i].name)), i % 2 ? &rooms[i].link : NULL);
}
END_TEST

START_TEST(names_are_bytes)
{
	struct room_link a = { .name = { "a\0b", 3 } }, b = { .name = { "a\0c", 3 } };

	room_map_add(&map, &a);
	room_map_add(&map, &b);
	ck_assert_ptr_eq(room_map_find(&map, (struct str){ "a\0c", 3 }), &b);
	ck_assert_ptr_null(room_map_find(&map, (struct str){ "a", 1 }));
	ck_assert_ptr_null(room_map_find(&map, (struct str){ "A\0b", 3 }));
}
END_TEST

static void *find_there(void *arg)
{
	(void)arg;
	return room_map_find(&map, STR("room-77"));
}

START_TEST(a_map_may_change_threads)
{
	pthread_t thread;
	void *found;

	for (int i = 0; i < 100; i++)
		room_map_add(&map, &rooms[i].link);
	ck_assert_int_eq(pthread_create(&thread, NULL, find_there, NULL), 0);
	pthread_join(thread, &found);
	ck_assert_ptr_eq(found, &rooms[77].link);
}
END_TEST

START_TEST(strangers_cannot_know_the_hash)
{
	struct room_map other = { 0 };
	struct room_link link = { .name = STR("room-0") };

	room_map_add(&map, &rooms[0].link);
	room_map_add(&other, &link);
	ck_assert_uint_ne(link.hash, rooms[0].link.hash);
	room_map_free(&other);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("room_map");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	chance_begin();
	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, empty);
	tcase_add_test(all, holds_what_a_list_of_flags_holds);
	tcase_add_test(all, finds_what_it_holds_while_it_grows_and_shrinks);
	tcase_add_test(all, names_are_bytes);
	tcase_add_test(all, a_map_may_change_threads);
	tcase_add_test(all, strangers_cannot_know_the_hash);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
