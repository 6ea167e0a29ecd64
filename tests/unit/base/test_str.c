/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <string.h>

#include "base/str.h"

START_TEST(views_compare_as_bytes)
{
	ck_assert(str_eq(STR("a"), STR("a")) && !str_eq(STR("a"), STR("A")) && !str_eq(STR("a"), STR("ab")));
	ck_assert(str_eq((struct str){ 0 }, STR("")) && str_is(str_of(NULL), ""));
	ck_assert(str_eq(STR("a\0b"), STR("a\0b")) && !str_eq(STR("a\0b"), STR("a\0c")));
	ck_assert(str_is_nocase(STR("HoSt"), "host") && !str_is_nocase(STR("Hos"), "host") &&
	          !str_is_nocase(STR("Hostx"), "host"));
	ck_assert(str_is_nocase((struct str){ 0 }, "") && !str_is_nocase((struct str){ 0 }, "x"));
	ck_assert_ptr_null(str_of(NULL).at);
}
END_TEST

START_TEST(views_are_cut_into_pieces)
{
	struct str rest = STR("a,,bc,"), piece;
	static const char *const pieces[] = { "a", "", "bc" };

	for (int i = 0; i < 3; i++) {
		ck_assert(str_cut(&rest, ',', &piece));
		ck_assert(str_is(piece, pieces[i]));
	}
	ck_assert(!str_cut(&rest, ',', &piece)); /* nothing stands behind the last comma */
	rest = (struct str){ 0 };
	ck_assert(!str_cut(&rest, ',', &piece));
}
END_TEST

START_TEST(buffers_grow_and_end_with_nul)
{
	struct buf buf = { 0 };
	size_t len = 0;

	buf_add(&buf, NULL, 0);
	ck_assert_str_eq(buf.at, "");
	for (int i = 0; i < 2000; i++) {
		buf_printf(&buf, "%d,", i);
		len += strlen(i < 10 ? "0," : i < 100 ? "00," : i < 1000 ? "000," : "0000,");
		ck_assert_uint_eq(buf.len, len);
		ck_assert_int_eq(buf.at[len], '\0');
		ck_assert_uint_gt(buf.size, buf.len);
	}
	ck_assert_int_eq(strncmp(buf.at, "0,1,2,3,", 8), 0);
	buf_adds(&buf, "end");
	ck_assert_str_eq(buf.at + len, "end");
	buf_free(&buf);
	ck_assert(!buf.at && !buf.len && !buf.size);
}
END_TEST

START_TEST(absurd_lengths_end_the_process)
{
	struct buf buf = { 0 };

	buf_adds(&buf, "x");
	buf_add(&buf, "", _i ? SIZE_MAX : SIZE_MAX / 2);
}
END_TEST

START_TEST(times_are_rfc_3339)
{
	char text[25];

	time_rfc3339(0, text);
	ck_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
	time_rfc3339(1795328740704, text);
	ck_assert_str_eq(text, "2026-11-22T06:25:40.704Z");
	time_rfc3339(951868799999, text); /* a leap day's last millisecond */
	ck_assert_str_eq(text, "2000-02-29T23:59:59.999Z");
	time_rfc3339(UINT64_MAX, text);
	ck_assert_uint_eq(strlen(text), 24);
	ck_assert_uint_gt(wall_ms(), 1700000000000);
}
END_TEST

START_TEST(chance_has_no_favourites)
{
	unsigned counts[10] = { 0 };
	unsigned char a[32] = { 0 }, b[32] = { 0 };

	for (int i = 0; i < 100000; i++) {
		double u = random_unit();
		if (!(u >= 0 && u < 1)) /* libcheck tells its parent of each assertion that holds: 100,000 are slow */
			ck_abort_msg("%f", u);
		counts[(int)(u * 10)]++;
	}
	for (int i = 0; i < 10; i++) /* 10,000 each; 5 % are 5 standard deviations */
		ck_assert(counts[i] > 9500 && counts[i] < 10500);
	ck_assert(random_u64() != random_u64());
	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	ck_assert(memcmp(a, b, sizeof(a)) != 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("str");
	TCase *t = tcase_create("str");

	tcase_add_test(t, views_compare_as_bytes);
	tcase_add_test(t, views_are_cut_into_pieces);
	tcase_add_test(t, buffers_grow_and_end_with_nul);
	tcase_add_loop_test_raise_signal(t, absurd_lengths_end_the_process, SIGABRT, 0, 2);
	tcase_add_test(t, times_are_rfc_3339);
	tcase_add_test(t, chance_has_no_favourites);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
