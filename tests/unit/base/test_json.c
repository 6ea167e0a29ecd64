/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"

struct inner {
	uint64_t n;
};
struct thing {
	bool flag, has_flag, has_n, has_text;
	uint64_t n;
	double real;
	const char *text;
	int word;
	struct inner inner;
	struct json_list items, strings, numbers, map;
};

static bool no_x(const char *s, const char **why)
{
	*why = "must not be x";
	return strcmp(s, "x") != 0;
}

static const char *const words[] = { "red", "green", NULL };
static const struct json_member inner_members[] = {
	{ "n", JSON_U64, offsetof(struct inner, n), JSON_NO_HAS, .max = 10, .required = true },
};
static const struct json_shape inner_shape = { inner_members, 1, sizeof(struct inner) };
#define AT(field) offsetof(struct thing, field)
static const struct json_member members[] = {
	{ "flag", JSON_BOOL, AT(flag), AT(has_flag) },
	{ "n", JSON_U64, AT(n), AT(has_n), .min = 0, .max = 9007199254740991.0, .nullable = true },
	{ "real", JSON_REAL, AT(real), JSON_NO_HAS, .min = 0, .max = 1e9 },
	{ "text", JSON_STRING, AT(text), AT(has_text), .min = 1, .max = 8, .check = no_x },
	{ "word", JSON_WORD, AT(word), JSON_NO_HAS, .words = words },
	{ "inner", JSON_OBJECT, AT(inner), JSON_NO_HAS, .shape = &inner_shape },
	{ "items", JSON_LIST, AT(items), JSON_NO_HAS, .max = 3, .shape = &inner_shape },
	{ "strings", JSON_STRINGS, AT(strings), JSON_NO_HAS, .max = 3 },
	{ "numbers", JSON_NUMBERS, AT(numbers), JSON_NO_HAS, .max = 3 },
	{ "map", JSON_MAP, AT(map), JSON_NO_HAS, .max = 3 },
};
static const struct json_shape shape = { members, sizeof(members) / sizeof(*members), sizeof(struct thing) };

static struct arena arena;
static struct thing thing;
static const char *fault;

static void setup(void)
{
	thing = (struct thing){ .n = 77, .word = -1 };
	fault = NULL;
}

static void teardown(void)
{
	arena_reset(&arena);
}

/* From the heap and exactly as long: a look beyond is seen by ASan. */
static int read_bytes(const char *bytes, size_t len)
{
	char *exact = malloc(len ? len : 1);

	ck_assert_ptr_nonnull(exact);
	memcpy(exact, bytes, len);
	int err = json_read((struct str){ exact, len }, &shape, &arena, &thing, &fault);
	free(exact);
	return err;
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

START_TEST(shapes_are_filled)
{
	ck_assert_int_eq(read_text(" {\"flag\":true,\"n\":9007199254740991,\"real\":-0.0,\"text\":\"\\u00fc\\n\\\"\",\"word\":\"green\",\"inner\":{\"n\":1},\r\n"
	                           "\t\"items\":[{\"n\":1},{\"n\":2}],\"strings\":[\"a\",\"\"],\"numbers\":[1,2,3],\"map\":{\"k\":\"v\",\"\":\"w\"},\"unknown\":[{}]} "), 0);
	ck_assert(thing.flag && thing.has_flag && thing.has_n && thing.has_text);
	ck_assert_uint_eq(thing.n, UINT64_C(9007199254740991));
	ck_assert_str_eq(thing.text, "\xc3\xbc\n\"");
	ck_assert(thing.word == 1 && thing.inner.n == 1 && fpclassify(thing.real) == FP_ZERO);
	ck_assert(thing.items.count == 2 && ((struct inner *)thing.items.items)[1].n == 2);
	ck_assert(thing.strings.count == 2 && !strcmp(((const char **)thing.strings.items)[0], "a"));
	ck_assert(thing.numbers.count == 3 && ((uint64_t *)thing.numbers.items)[2] == 3);
	ck_assert(thing.map.count == 2 && !strcmp(((struct json_pair *)thing.map.items)[1].value, "w"));
}
END_TEST

START_TEST(what_is_absent_stays)
{
	ck_assert_int_eq(read_text("{}"), 0);
	ck_assert(thing.n == 77 && thing.word == -1 && !thing.has_n);
	ck_assert_int_eq(read_text("{\"n\":null}"), 0); /* nullable */
	ck_assert(thing.n == 77 && !thing.has_n);
	ck_assert_int_eq(read_text("{\"strings\":[],\"map\":{}}"), 0);
	ck_assert(!thing.strings.count && !thing.map.count);
	ck_assert_int_eq(read_text("{\"N\":1,\"FLAG\":3}"), 0); /* names have a case: these are unknown */
	ck_assert_uint_eq(thing.n, 77);
}
END_TEST

static const struct {
	const char *text, *fault;
} refused[] = {
	{ "", "empty" }, { " ", "not valid" }, { "null", "must be an object" }, { "[]", "must be an object" },
	{ "{", "not valid" }, { "{}x", "not valid" },
	{ "{}{}", "not valid" }, { "{\"n\":1,}", "not valid" }, { "{n:1}", "not valid" }, { "{'n':1}", "not valid" },
	{ "{\"n\" 1}", "not valid" },
	{ "{\"n\":01}", "malformed number" }, { "{\"n\":-01}", "malformed number" },
	{ "{\"n\":00}", "malformed number" }, { "{\"n\":1.}", "malformed number" },
	{ "{\"n\":.5}", "not valid" }, { "{\"n\":+1}", "not valid" }, { "{\"n\":1e}", "malformed number" },
	{ "{\"n\":1e+}", "malformed number" },
	{ "{\"n\":--1}", "malformed number" }, { "{\"n\":1-1}", "malformed number" }, { "{\"n\":0x1}", "not valid" },
	{ "{\"n\":1 1}", "not valid" },
	{ "{\"n\":NaN}", "not valid" }, { "{\"n\":Infinity}", "not valid" }, { "{\"n\":nul}", "not valid" },
	{ "{\"n\":True}", "not valid" },
	{ "{\"unknown\":01}", "malformed number" },
	{ "{\"text\":\"a\nb\"}", "control character" }, { "{\"text\":\"a\x01\"}", "control character" },
	{ "{\"te\txt\":1}", "control character" },
	{ "{\"n\":1\x0b}", "control character" }, { "{\"text\":\"\\u0000\"}", "U+0000" },
	{ "{\"a\\u0000\":1}", "U+0000" }, { "{\"text\":\"\\x\"}", "not valid" },
	{ "{\"text\":\"\\ud800\"}", "not valid" }, { "{\"text\":\"\\udc00\"}", "not valid" },
	{ "{\"text\":\"\\ud800\\u0041\"}", "not valid" },
	{ "{\"text\":\"\\u12g4\"}", "four hex digits" }, { "{\"text\":\"ab\\u00\"}", "four hex digits" },
	{ "{\"\\u+123\":1}", "four hex digits" }, { "{\"text\":\"abc}", "not valid" },
	{ "{\"text\":\"\\", "not valid" }, { "{\"text\":\"\\u000", "not valid" },
	{ "{\"text\":\"\xff\"}", "UTF-8" }, { "{\"text\":\"\xed\xa0\x80\"}", "UTF-8" },
	{ "{\"text\":\"\xc3\"}", "UTF-8" }, { "\xff{}", "UTF-8" },
	{ "{\"n\":1,\"n\":1}", "n: given twice" }, { "{\"n\":1,\"\\u006e\":1}", "n: given twice" },
	{ "{\"n\":null,\"n\":1}", "n: given twice" },
	{ "{\"inner\":{\"n\":1,\"n\":2}}", "inner.n: given twice" },
	{ "{\"map\":{\"a\":\"1\",\"a\":\"2\"}}", "map.a: given twice" },
	{ "{\"flag\":null}", "flag: must be true or false" }, { "{\"flag\":1}", "flag: must be" },
	{ "{\"flag\":\"true\"}", "flag: must be" },
	{ "{\"n\":-1}", "n: must be a whole number from 0 to 9007199254740991" }, { "{\"n\":1.5}", "n: must be" },
	{ "{\"n\":\"1\"}", "n: must be" },
	{ "{\"n\":9007199254740992}", "n: must be" }, { "{\"n\":9007199254740993}", "n: must be" },
	{ "{\"n\":18446744073709551616}", "n: must be" },
	{ "{\"n\":1e400}", "n: must be" }, { "{\"n\":true}", "n: must be" }, { "{\"n\":[1]}", "n: must be" },
	{ "{\"real\":-0.1}", "real: must be a number from 0 to 1000000000" }, { "{\"real\":1e10}", "real: must be" },
	{ "{\"real\":1e999}", "real: must be" },
	{ "{\"real\":null}", "real: must be" }, { "{\"real\":\"1\"}", "real: must be" },
	{ "{\"text\":\"\"}", "text: must be a string of 1 to 8 bytes" },
	{ "{\"text\":\"123456789\"}", "text: must be" },
	{ "{\"text\":\"\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\"}", "text: must be" },
	{ "{\"text\":1}", "text: must be a string" },
	{ "{\"text\":null}", "text: must be a string" }, { "{\"text\":\"x\"}", "text: must not be x" },
	{ "{\"word\":\"blue\"}", "word: must be one of red, green" }, { "{\"word\":1}", "word: must be one of" },
	{ "{\"word\":\"Red\"}", "word: must be one of" },
	{ "{\"inner\":1}", "inner: must be an object" }, { "{\"inner\":{}}", "inner.n: required" },
	{ "{\"inner\":{\"n\":11}}", "inner.n: must be" },
	{ "{\"inner\":[]}", "inner: must be an object" }, { "{\"items\":{}}", "items: must be a list" },
	{ "{\"items\":[{\"n\":1},{}]}", "items[1].n: required" },
	{ "{\"items\":[1]}", "items[0]: must be an object" }, { "{\"items\":[null]}", "items[0]: must be an object" },
	{ "{\"items\":[{\"n\":1},{\"n\":1},{\"n\":1},{\"n\":1}]}", "items: must have at most 3 items" },
	{ "{\"strings\":[1]}", "strings[0]: must be a string" }, { "{\"strings\":\"a\"}", "strings: must be a list" },
	{ "{\"strings\":[\"\",\"\",\"\",\"\"]}", "strings: must have at most 3" },
	{ "{\"numbers\":[1,-1]}", "numbers[1]: must be" },
	{ "{\"numbers\":[9007199254740992]}", "numbers[0]: must be" },
	{ "{\"map\":[]}", "map: must be an object of strings" },
	{ "{\"map\":{\"a\":1}}", "map.a: must be a string" },
	{ "{\"map\":{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\"}}", "map: must have at most 3" },
};

START_TEST(faults_are_named_and_change_nothing)
{
	struct thing before = thing;

	ck_assert_msg(read_text(refused[_i].text) == -ERR_BAD_REQUEST, "%s", refused[_i].text);
	ck_assert_msg(fault && strstr(fault, refused[_i].fault), "%s: %s", refused[_i].text, fault ? fault : "no words");
	ck_assert_int_eq(memcmp(&before, &thing, sizeof(thing)), 0);
}
END_TEST

/* A fault behind good members must not leave half of them. */
START_TEST(a_late_fault_changes_nothing)
{
	ck_assert_int_eq(read_text("{\"flag\":true,\"n\":5,\"inner\":{\"n\":3},\"map\":{\"a\":1}}"), -ERR_BAD_REQUEST);
	ck_assert(!thing.flag && !thing.has_flag && thing.n == 77 && !thing.has_n && !thing.inner.n);
}
END_TEST

START_TEST(bytes_beyond_and_nul_are_not_read)
{
	ck_assert_int_eq(read_bytes("{}\0", 3), -ERR_BAD_REQUEST);
	ck_assert_int_eq(read_bytes("{\"text\":\"a\0b\"}", 14), -ERR_BAD_REQUEST);
	ck_assert_int_eq(read_bytes("{\"n\":1}garbage", 7), 0);
	ck_assert_uint_eq(thing.n, 1);
}
END_TEST

static void nested(size_t depth, char *out)
{
	strcpy(out, "{\"u\":");
	for (size_t i = 1; i < depth; i++)
		strcat(out, "[");
	for (size_t i = 1; i < depth; i++)
		strcat(out, "]");
	strcat(out, "}");
}

START_TEST(nesting_is_bounded)
{
	char text[100], *deep = malloc(2000001);

	nested(16, text);
	ck_assert_int_eq(read_text(text), 0);
	nested(17, text);
	ck_assert_int_eq(read_text(text), -ERR_BAD_REQUEST);
	ck_assert_ptr_nonnull(strstr(fault, "nested deeper than 16"));
	memset(deep, '[', 2000000);
	ck_assert_int_eq(read_bytes(deep, 2000000), -ERR_BAD_REQUEST);
	ck_assert_int_eq(read_text("{\"text\":\"[[[[[[[[\",\"u\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[\"}"),
	                 0); /* in strings they are text */
	free(deep);
}
END_TEST

START_TEST(escapes_of_escapes_are_text)
{
	ck_assert_int_eq(read_text("{\"text\":\"\\\\u0000\"}"), 0); /* a backslash and "u0000" */
	ck_assert_str_eq(thing.text, "\\u0000");
	ck_assert_int_eq(read_text("{\"text\":\"\\ud83c\\udf89\"}"), 0);
	ck_assert_str_eq(thing.text, "\xf0\x9f\x8e\x89");
	ck_assert_int_eq(read_text("{\"text\":\"\\\\\",\"n\":3}"), 0);
	ck_assert_uint_eq(thing.n, 3);
}
END_TEST

static bool is_written_as(struct str value, unsigned char c, size_t at)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	char expected[48];
	const char *form = c == '"' || c == '\\' ? "\\%c" : c < 0x20 ? "\\u%04x" : c < 0x80 ? "%c" : "\xef\xbf\xbd";
	size_t len = at + 1;

	memcpy(expected, "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 33);
	len += (size_t)sprintf(expected + len, form, c);
	memcpy(expected + len, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", value.len - at - 1);
	len += value.len - at - 1;
	expected[len++] = '"';
	json_view(&json, NULL, value);
	bool same = text.len == len && !memcmp(text.at, expected, len);
	buf_free(&text);
	return same;
}

/* Eight are looked at together: each byte at each place of up to three such words and one more. */
START_TEST(each_byte_is_told_at_each_place)
{
	for (size_t len = 1; len <= 25; len++)
		for (size_t at = 0; at < len; at++)
			for (unsigned c = 0; c < 256; c++) {
				char text[48] = "{\"u\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
				text[6 + at] = (char)c;
				bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
				ck_assert_msg(is_written_as((struct str){ text + 6, len }, (unsigned char)c, at), "%u at %zu of %zu", c, at, len);
				ck_assert_uint_eq(json_plain((struct str){ text + 6, len }), good ? len : at);
				memcpy(text + 6 + len, "\"}", 2);
				ck_assert_msg((read_bytes(text, len + 8) == 0) == good, "%u at %zu of %zu", c, at, len);
			}
}
END_TEST

START_TEST(long_names_make_short_paths)
{
	struct buf text = { 0 };

	buf_adds(&text, "{\"map\":{\"");
	for (int i = 0; i < 500; i++)
		buf_adds(&text, "k");
	buf_adds(&text, "\":1}}");
	ck_assert_int_eq(read_bytes(text.at, text.len), -ERR_BAD_REQUEST);
	ck_assert_uint_lt(strlen(fault), 300);
	ck_assert_ptr_nonnull(strstr(fault, "must be a string"));
	buf_free(&text);
}
END_TEST

struct strict {
	struct json_list names;
	bool anything;
};
static const struct json_member strict_members[] = {
	{ "names", JSON_STRINGS, offsetof(struct strict, names), JSON_NO_HAS, .max = 2, .or_one = true },
	{ "anything", JSON_ANY, 0, offsetof(struct strict, anything) },
};
static const struct json_shape strict_shape = { strict_members, 2, sizeof(struct strict), .no_twins = true };

static int read_strict(const char *text, struct strict *out)
{
	*out = (struct strict){ 0 };
	return json_read(str_of(text), &strict_shape, &arena, out, &fault);
}

START_TEST(one_or_many_and_whatever_it_is)
{
	struct strict out;

	ck_assert_int_eq(read_strict("{\"names\":\"a\",\"anything\":null}", &out), 0);
	ck_assert(out.names.count == 1 && !strcmp(((const char **)out.names.items)[0], "a") && out.anything);
	ck_assert_int_eq(read_strict("{\"names\":[\"a\",\"b\"],\"anything\":{\"x\":[1]}}", &out), 0);
	ck_assert(out.names.count == 2 && out.anything);
	ck_assert_int_eq(read_strict("{\"names\":[]}", &out), 0);
	ck_assert(!out.names.count && !out.anything);
	ck_assert_int_eq(read_strict("{\"names\":1}", &out), -ERR_BAD_REQUEST);
}
END_TEST

START_TEST(no_name_stands_twice_anywhere)
{
	struct buf text = { 0 };
	struct strict out;

	ck_assert_int_eq(read_strict("{\"x\":{\"a\":1,\"b\":2},\"y\":{\"a\":1}}", &out), 0);
	ck_assert_int_eq(read_strict("{\"x\":1,\"x\":1}", &out), -ERR_BAD_REQUEST);
	ck_assert_int_eq(read_strict("{\"x\":[0,{\"y\":{\"a\":1,\"b\":2,\"\\u0061\":3}}]}", &out), -ERR_BAD_REQUEST);
	for (int i = 0; i < 66; i++)
		buf_printf(&text, "%s\"n%d\":0", i ? "," : "{", i);
	buf_adds(&text, "}");
	ck_assert_int_eq(read_strict(text.at, &out), -ERR_BAD_REQUEST);
	buf_free(&text);
}
END_TEST

/* What a fault names can be shown: in an answer, in the log, by usherctl on a terminal. */
START_TEST(names_of_strangers_are_shown_clean)
{
	char text[1000] = "{\"map\":{\"x";

	ck_assert_int_eq(read_text("{\"map\":{\"\\u001b[31m\x7f\\u009bgpu\\n\":1}}"), -ERR_BAD_REQUEST);
	ck_assert_str_eq(fault, "map.?[31m??gpu?: must be a string");
	for (int shift = 0; shift < 4; shift++) {
		text[strlen("{\"map\":{\"") + (size_t)shift] = '\0';
		for (int i = 0; i < 100; i++)
			strcat(text, "\xf0\x9f\x8e\x89");
		strcat(text, "\":1}}");
		ck_assert_int_eq(read_text(text), -ERR_BAD_REQUEST);
		ck_assert(utf8_valid(fault, strlen(fault)) && strlen(fault) < 250);
		memset(text + strlen("{\"map\":{\""), 'x', 4);
	}
}
END_TEST

START_TEST(members_are_passed_on)
{
	struct str text = STR("{\"a\":{\"b\":[1, 2.5 ,\"\\u00fc\"]},\"c\":null,\"d\":1,\"d\":2}");

	ck_assert(str_is(json_member(text, "a", &arena), "{\"b\":[1,2.5,\"\xc3\xbc\"]}"));
	ck_assert(str_is(json_member(text, "c", &arena), "null"));
	ck_assert(!json_member(text, "d", &arena).len && !json_member(text, "x", &arena).len && !json_member(text,
	        "A", &arena).len);
	ck_assert(!json_member(STR("[1]"), "a", &arena).len && !json_member(STR("{"), "a", &arena).len &&
	          !json_member((struct str){ 0 }, "a", &arena).len);
}
END_TEST

/* -- out ------------------------------------------------------------------------------------------------------------------- */
START_TEST(what_is_written_parses)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	json_open(&json, NULL, '{');
	json_str(&json, "s", "a\"b\\c\n\x01\x7f/\xc3\xbc");
	json_str(&json, "null", NULL);
	json_view(&json, "empty", (struct str){ 0 });
	json_view(&json, "zero", STR("a\0b"));
	json_view(&json, "broken", STR("a\xff\xc3"));
	json_u64(&json, "n", UINT64_MAX);
	json_bool(&json, "t", true);
	json_bool(&json, "f", false);
	json_open(&json, "list", '[');
	json_u64(&json, NULL, 1);
	json_open(&json, NULL, '{');
	json_close(&json, '}');
	json_null(&json, NULL);
	json_raw(&json, NULL, STR("[2]"));
	json_close(&json, ']');
	json_str(&json, "na\"me", "x");
	json_close(&json, '}');
	ck_assert_str_eq(text.at,
	                 "{\"s\":\"a\\\"b\\\\c\\u000a\\u0001\x7f/\xc3\xbc\",\"null\":null,\"empty\":\"\",\"zero\":\"a\\u0000b\",\"broken\":\"a\xef\xbf\xbd\xef\xbf\xbd\","
	                          "\"n\":18446744073709551615,\"t\":true,\"f\":false,\"list\":[1,{},null,[2]],\"na\\\"me\":\"x\"}");
	buf_free(&text);
}
END_TEST

START_TEST(reals_are_short_and_never_in_e_form)
{
	static const struct {
		double value;
		const char *text;
	} reals[] = { { 0, "0" }, { 1, "1" }, { 0.5, "0.5" }, { -2.25, "-2.25" }, { 100, "100" }, { 1.0 / 3,
	        "0.333333" }, { 1e-9, "0" }, { 1e15, "1000000000000000" },
		      { 1795328740704, "1795328740704" }, { 0.1 + 0.2, "0.3" } };

	for (size_t i = 0; i < sizeof(reals) / sizeof(*reals); i++) {
		struct buf text = { 0 };
		struct json_out json = { .to = &text };
		json_real(&json, NULL, reals[i].value);
		ck_assert_str_eq(text.at, reals[i].text);
		buf_free(&text);
	}
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	json_real(&json, NULL, 1.7e308);
	ck_assert_uint_eq(text.len, 309);
	buf_free(&text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("json");
	TCase *t = tcase_create("json");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, shapes_are_filled);
	tcase_add_test(t, what_is_absent_stays);
	tcase_add_loop_test(t, faults_are_named_and_change_nothing, 0, (int)(sizeof(refused) / sizeof(*refused)));
	tcase_add_test(t, a_late_fault_changes_nothing);
	tcase_add_test(t, bytes_beyond_and_nul_are_not_read);
	tcase_add_test(t, nesting_is_bounded);
	tcase_add_test(t, escapes_of_escapes_are_text);
	tcase_add_test(t, each_byte_is_told_at_each_place);
	tcase_add_test(t, long_names_make_short_paths);
	tcase_add_test(t, one_or_many_and_whatever_it_is);
	tcase_add_test(t, no_name_stands_twice_anywhere);
	tcase_add_test(t, names_of_strangers_are_shown_clean);
	tcase_add_test(t, members_are_passed_on);
	tcase_add_test(t, what_is_written_parses);
	tcase_add_test(t, reals_are_short_and_never_in_e_form);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
