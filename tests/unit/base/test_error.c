/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <limits.h>
#include <string.h>

#include "base/error.h"

START_TEST(every_error_has_a_row)
{
	for (int err = 1; err < ERR_COUNT; err++) {
		const struct error_info *row = error_info(err);
		ck_assert_ptr_eq(row, error_info(-err));
		ck_assert(row->status >= 400 && row->status <= 599);
		ck_assert(row->slug && *row->slug && strspn(row->slug, "abcdefghijklmnopqrstuvwxyz_") == strlen(row->slug));
		ck_assert(row->title && *row->title);
		for (int other = 1; other < err; other++)
			ck_assert_str_ne(row->slug, error_info(other)->slug);
	}
	ck_assert_str_eq(error_info(-ERR_ROOM_MOVING)->slug, "room_moving");
	ck_assert_int_eq(error_info(ERR_ROOM_MOVING)->status, 503);
}
END_TEST

START_TEST(no_error_is_internal)
{
	static const int none[] = { ERR_COUNT, -ERR_COUNT, 1000000, INT_MAX, -INT_MAX, INT_MIN };

	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		ck_assert_str_eq(error_info(none[i])->slug, "internal");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("error");
	TCase *t = tcase_create("error");

	tcase_add_test(t, every_error_has_a_row);
	tcase_add_test(t, no_error_is_internal);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
