/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

static const struct {
	const char *bytes;
	bool valid;
} utf8[] = {
	{ "", true }, { "a", true }, { "\x7f", true }, { "\xc2\x80", true }, { "\xdf\xbf", true },
	{ "\xe0\xa0\x80", true },
	{ "\xed\x9f\xbf", true }, { "\xee\x80\x80", true }, { "\xef\xbf\xbf", true }, { "\xf0\x90\x80\x80", true },
	{ "\xf4\x8f\xbf\xbf", true }, { "gr\xc3\xbc\xc3\x9f \xf0\x9f\x8e\x89", true },
	{ "\x80", false }, { "\xbf", false }, { "\xc0\x80", false }, { "\xc1\xbf", false }, { "\xc2", false },
	{ "\xc2g", false },
	{ "\xc2\xc2", false }, { "\xe0\x9f\xbf", false }, { "\xe0\xa0", false }, { "\xed\xa0\x80", false },
	{ "\xed\xbf\xbf", false },
	{ "\xe1\x80g", false }, { "\xf0\x8f\xbf\xbf", false }, { "\xf0\x90\x80", false }, { "\xf0\x90\x80g", false },
	{ "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false }, { "\xfe", false }, { "\xff", false },
	{ "ok\xc3", false },
};

/* From the heap and exactly as long, so that ASan sees a look beyond. */
static bool valid_exactly(const char *bytes)
{
	size_t len = strlen(bytes);
	char *copy = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, bytes, len);
	bool valid = utf8_valid(copy, len);
	free(copy);
	return valid;
}

START_TEST(utf8_is_strict)
{
	for (size_t i = 0; i < sizeof(utf8) / sizeof(*utf8); i++)
		for (int before = 0; before <= 16; before++)
			for (int behind = 0; behind <= 9; behind++) {
				char text[40];
				snprintf(text, sizeof(text), "%.*s%s%.*s", before, "aaaaaaaaaaaaaaaa", utf8[i].bytes, behind, "aaaaaaaaa");
				ck_assert_msg(valid_exactly(text) == utf8[i].valid, "row %zu, %d before, %d behind", i, before, behind);
			}
	ck_assert(utf8_valid("a\0b", 3)); /* U+0000 is a character */
}
END_TEST

static const struct {
	const char *in, *out; /* out NULL: refused */
} escapes[] = {
	{ "", "" }, { "abc", "abc" }, { "a%2Fb", "a/b" }, { "a%2fb", "a/b" }, { "%25%32%35", "%25" }, { "+", "+" },
	{ "%C3%BC", "\xc3\xbc" },
	{ "%", NULL }, { "%2", NULL }, { "a%", NULL }, { "%2g", NULL }, { "%g2", NULL }, { "%%41", NULL },
	{ "% 41", NULL }, { "%-1", NULL },
};

START_TEST(percents_are_decoded_once)
{
	char out[64];

	for (size_t i = 0; i < sizeof(escapes) / sizeof(*escapes); i++) {
		long n = percent_decode(str_of(escapes[i].in), out);
		if (!escapes[i].out) {
			ck_assert_msg(n == -1, "%s", escapes[i].in);
			continue;
		}
		ck_assert_msg(n == (long)strlen(escapes[i].out) && !memcmp(out, escapes[i].out, (size_t)n), "%s",
		              escapes[i].in);
	}
	ck_assert_int_eq(percent_decode(STR("a%00b"), out), 3);
	ck_assert(!memcmp(out, "a\0b", 3));
}
END_TEST

START_TEST(every_byte_survives_its_encoding)
{
	struct buf text = { 0 };
	char all[256], back[256];

	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	percent_encode(&text, (struct str){ all, 256 });
	for (size_t i = 0; i < text.len; i++)
		ck_assert((text.at[i] > ' ' && text.at[i] < 0x7f) && !strchr("/?#&+;\"", text.at[i]));
	ck_assert_int_eq(percent_decode((struct str){ text.at, text.len }, back), 256);
	ck_assert_int_eq(memcmp(all, back, 256), 0);
	buf_free(&text);
	percent_encode(&text, STR("a/b -._~\xc3\xbc"));
	ck_assert_str_eq(text.at, "a%2Fb%20-._~%C3%BC");
	buf_free(&text);
}
END_TEST

START_TEST(numbers_are_digits_and_fit)
{
	static const char *const bad[] = { "", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1.0", "18446744073709551616",
	                                   "99999999999999999999999" };
	uint64_t n = 7;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_msg(!parse_u64(str_of(bad[i]), &n), "%s", bad[i]);
		ck_assert_uint_eq(n, 7); /* untouched */
	}
	ck_assert(!parse_u64(STR("1\0"), &n));
	ck_assert(parse_u64(STR("18446744073709551615"), &n) && n == UINT64_MAX);
	ck_assert(parse_u64(STR("0"), &n) && n == 0);
	char text[U64_TEXT_MAX];
	const uint64_t numbers[] = { 0, 7, 10, 12345678901234567890u, UINT64_MAX };
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct str decimal = u64_text(text, numbers[i]);
		ck_assert(parse_u64(decimal, &n) && n == numbers[i] && !text[decimal.len]);
		ck_assert_uint_eq(u64_hex(text, numbers[i]).len, 16);
		ck_assert_uint_eq(strtoull(text, NULL, 16), numbers[i]);
	}
	ck_assert_str_eq(u64_text(text, UINT64_MAX).at, "18446744073709551615");
	ck_assert(parse_u64(STR("007"), &n) && n == 7);
	ck_assert(parse_u64((struct str){ "123", 2 }, &n) && n == 12);
}
END_TEST

START_TEST(tokens_are_safe_everywhere)
{
	ck_assert(glob_free_token(STR("Az09._:-")));
	ck_assert(!glob_free_token(STR("")) && !glob_free_token(STR("a b")) && !glob_free_token(STR("a*")) &&
	          !glob_free_token(STR("a\0")));
	ck_assert(!glob_free_token(STR("a/b")) && !glob_free_token(STR("\xc3\xbc")) && !glob_free_token(STR("a\n")) &&
	          !glob_free_token(STR("{a}")));
}
END_TEST

START_TEST(queries_are_read_raw)
{
	struct str value = { 0 }, query = STR("a=1&ab=2&b&c=&d=x%26y&a=3&=z&&e=1=2");

	ck_assert(query_get(query, "a", &value) && str_is(value, "1")); /* the first */
	ck_assert(query_get(query, "ab", &value) && str_is(value, "2"));
	ck_assert(query_get(query, "b", &value) && !value.len);
	ck_assert(query_get(query, "c", &value) && !value.len);
	ck_assert(query_get(query, "d", &value) && str_is(value, "x%26y"));
	ck_assert(query_get(query, "e", &value) && str_is(value, "1=2"));
	ck_assert(!query_get(query, "x", &value) && !query_get(query, "A", &value) && !query_get((struct str){ 0 },
	        "a", &value));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *t = tcase_create("text");

	tcase_add_test(t, utf8_is_strict);
	tcase_add_test(t, percents_are_decoded_once);
	tcase_add_test(t, every_byte_survives_its_encoding);
	tcase_add_test(t, numbers_are_digits_and_fit);
	tcase_add_test(t, tokens_are_safe_everywhere);
	tcase_add_test(t, queries_are_read_raw);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
