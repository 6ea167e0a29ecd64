/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/http_line.h"

START_TEST(status_lines_are_http_1)
{
	static const char *const bad[] = { "", "HTTP/1.1", "HTTP/1.1 20", "HTTP/2.0 200 OK", "HTTP/1.x 200 OK",
	                                   "HTTP/1.1  200 OK", "HTTP/1.1 2x0 OK",
		                           "HTTP/1.1 2000 OK", "http/1.1 200 OK", "HTTP/1.1200 OK", "HTTP/1.2 200 OK", "HTTP/1.1 200 O\x01K", "HTTP/1.1 200 OK\x7f\r\n", "ICY 200 OK    ",
		        "HTTP/1.1 -20 OK" };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!status_line(bad[i], strlen(bad[i])), "%s", bad[i]);
	ck_assert_int_eq(status_line("HTTP/1.1 200", 12), 200);
	ck_assert_int_eq(status_line("HTTP/1.0 404 Not Found\r\n", 24), 404);
	ck_assert_int_eq(status_line("HTTP/1.1 101\r\n", 14), 101);
	ck_assert_int_eq(status_line("HTTP/1.1 200\0x", 14), 0);
}
END_TEST

static const struct {
	const char *line, *name, *value; /* name NULL: no header */
} lines[] = {
	{ "A: b\r\n", "A", "b" }, { "A:b\r\n", "A", "b" }, { "A:\r\n", "A", "" }, { "A: \t \r\n", "A", "" },
	{ "A: \t b c \t\r\n", "A", "b c" },
	{ "X-1_~: a:b\r\n", "X-1_~", "a:b" }, { "A: \xc3\xbc\r\n", "A", "\xc3\xbc" }, { "A: b\tc\r\n", "A", "b\tc" },
	{ "A: b", "A", "b" },
	{ "\r\n", NULL, NULL }, { "", NULL, NULL }, { "A\r\n", NULL, NULL }, { ": b\r\n", NULL, NULL },
	{ "A : b\r\n", NULL, NULL },
	{ " A: b\r\n", NULL, NULL }, { "A(: b\r\n", NULL, NULL }, { "A\x01: b\r\n", NULL, NULL },
	{ "A: b\x01\r\n", NULL, NULL },
	{ "A: b\r\r\n", NULL, NULL }, { "A: b\n\r\n", NULL, NULL },
	{ "A: b\x7f\r\n", NULL, NULL }, { "A: b\rc\r\n", NULL, NULL }, { "\xc3\xbc: b\r\n", NULL, NULL },
};

START_TEST(header_lines_are_strict)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct header h = { 0 };
		size_t len = strlen(lines[i].line);
		char *exact = malloc(len ? len : 1); /* so that ASan sees a look beyond */
		ck_assert_ptr_nonnull(exact);
		memcpy(exact, lines[i].line, len);
		ck_assert_msg(header_line(exact, len, &h) == (lines[i].name != NULL), "row %zu", i);
		if (lines[i].name)
			ck_assert_msg(str_is(h.name, lines[i].name) && str_is(h.value, lines[i].value), "row %zu", i);
		free(exact);
	}
	struct header h;
	ck_assert(!header_line("A: b\0c\r\n", 8, &h) && !header_line("A\0: b\r\n", 7, &h));
}
END_TEST

START_TEST(lists_name_words)
{
	ck_assert(header_names(STR("keep-alive, Upgrade"), STR("upgrade")) && header_names(STR("\tUPGRADE ,x"),
	        STR("upgrade")));
	ck_assert(!header_names(STR("upgraded"), STR("upgrade")) && !header_names(STR(""), STR("upgrade")) &&
	          !header_names(STR("up grade"), STR("upgrade")));
	ck_assert(str_is(str_trim(STR(" \ta b\t ")), "a b") && !str_trim(STR(" \t")).len);
}
END_TEST

START_TEST(retry_after_is_seconds_or_a_date)
{
	char date[64];
	time_t soon = time(NULL) + 100;
	struct tm tm;

	ck_assert_uint_eq(retry_after_ms(STR("7")), 7000);
	ck_assert_uint_eq(retry_after_ms(STR("0")), 0);
	ck_assert_uint_eq(retry_after_ms(STR("999999999999")), 3600000); /* no SFU shuts itself out for good */
	ck_assert_uint_eq(retry_after_ms(STR("99999999999999999999999999")), 0);
	ck_assert_uint_eq(retry_after_ms(STR("-5")), 0);
	ck_assert_uint_eq(retry_after_ms(STR("soon")), 0);
	ck_assert_uint_eq(retry_after_ms((struct str){ 0 }), 0);
	ck_assert_uint_eq(retry_after_ms(STR("Sun, 06 Nov 1994 08:49:37 GMT")), 0);
	strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&soon, &tm));
	uint64_t ms = retry_after_ms(str_of(date));
	ck_assert(ms > 60000 && ms <= 100000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("http_line");
	TCase *t = tcase_create("http_line");

	tcase_add_test(t, status_lines_are_http_1);
	tcase_add_test(t, header_lines_are_strict);
	tcase_add_test(t, lists_name_words);
	tcase_add_test(t, retry_after_is_seconds_or_a_date);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
