/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"

static bool all_are(const char *at, size_t len, int value)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)at[i] != (value & 0xff))
			return false;
	return true;
}

START_TEST(allocations_are_zeroed_aligned_and_apart)
{
	struct arena arena = { 0 };
	char *all[300];

	for (size_t i = 0; i < 300; i++) {
		all[i] = arena_alloc(&arena, i * 7);
		ck_assert_uint_eq((uintptr_t)all[i] % alignof(max_align_t), 0);
		ck_assert(all_are(all[i], i * 7, 0));
		memset(all[i], (int)i, i * 7);
		arena_copy(&arena, "x", 1); /* so that the next place is odd */
	}
	for (size_t i = 0; i < 300; i++)
		ck_assert(all_are(all[i], i * 7, (int)i));
	arena_reset(&arena);
}
END_TEST

START_TEST(copies_end_with_nul)
{
	struct arena arena = { 0 };
	char big[100000];

	memset(big, 'b', sizeof(big));
	ck_assert_str_eq(arena_copy(&arena, "abcdef", 3), "abc");
	ck_assert_str_eq(arena_copy(&arena, NULL, 0), "");
	char *copy = arena_copy(&arena, big, sizeof(big)); /* a block of its own */
	ck_assert(!memcmp(copy, big, sizeof(big)) && copy[sizeof(big)] == '\0');
	ck_assert_str_eq(arena_printf(&arena, "%s-%05d", "a", 42), "a-00042");
	ck_assert_uint_eq(strlen(arena_printf(&arena, "%9000d", 1)), 9000);
	arena_reset(&arena);
}
END_TEST

START_TEST(a_reset_arena_can_be_used_again)
{
	struct arena arena = { 0 };

	arena_reset(&arena); /* also an empty one */
	for (int i = 0; i < 10; i++) {
		ck_assert_str_eq(arena_copy(&arena, "again", 5), "again");
		arena_alloc(&arena, 10000);
		arena_reset(&arena);
		ck_assert(!arena.blocks && !arena.at && !arena.end);
	}
}
END_TEST

/* Sums that would wrap must not become small blocks. */
/* What was in a block before is not seen; no more are kept than the bound, and none that is larger than usual. */
START_TEST(blocks_are_used_again)
{
	struct arena_spares spares = { 0 };
	struct arena arena = { .spares = &spares };

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3 * ARENA_SPARES_MAX; i++) {
			const char *at = arena_alloc(&arena, 3000);
			ck_assert(!at[0] && !memcmp(at, at + 1, 2999));
			memset(arena_alloc(&arena, 1000), 'x', 1000);
		}
		memset(arena_alloc(&arena, 100000), 'x', 100000);
		arena_reset(&arena);
		ck_assert_ptr_eq(arena.spares, &spares);
		ck_assert_uint_le(spares.count, ARENA_SPARES_MAX);
	}
	arena_spares_free(&spares);
	ck_assert(!spares.blocks && !spares.count);
}
END_TEST

START_TEST(a_small_arena_has_small_blocks)
{
	struct arena arena = { .block = 100 };

	for (int times = 0; times < 2; times++) {
		memset(arena_alloc(&arena, 1), 1, 1);
		ck_assert_int_le(arena.end - arena.at, 100);
		memset(arena_alloc(&arena, 1000), 1, 1000); /* more than a block */
		memset(arena_alloc(&arena, 60), 1, 60);
		ck_assert_int_le(arena.end - arena.at, 100);
		arena_reset(&arena); /* and still has */
	}
}
END_TEST

START_TEST(absurd_sizes_end_the_process)
{
	struct arena arena = { 0 };
	static const size_t sizes[] = { SIZE_MAX, SIZE_MAX - 8, SIZE_MAX / 2 + 2 };

	arena_alloc(&arena, 1);
	if (_i < 3)
		arena_alloc(&arena, sizes[_i]);
	else
		arena_copy(&arena, "", SIZE_MAX);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("arena");
	TCase *t = tcase_create("arena");

	tcase_add_test(t, allocations_are_zeroed_aligned_and_apart);
	tcase_add_test(t, copies_end_with_nul);
	tcase_add_test(t, a_reset_arena_can_be_used_again);
	tcase_add_test(t, blocks_are_used_again);
	tcase_add_test(t, a_small_arena_has_small_blocks);
	tcase_add_loop_test_raise_signal(t, absurd_sizes_end_the_process, SIGABRT, 0, 4);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
