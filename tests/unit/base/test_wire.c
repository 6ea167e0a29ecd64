/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire/digest.h"
#include "base/wire/limits.h"

/* printf 'standup\00042' | sha256sum */
START_TEST(digests_are_the_protocols)
{
	struct digest digest = { 0 };
	char text[DIGEST_TEXT_MAX];

	ck_assert_uint_eq(digest_room("standup", 7, 42), UINT64_C(0xb13e5c8672c2b509));
	digest_toggle(&digest, "standup", 7, 42, true);
	digest_print(&digest, text);
	ck_assert_str_eq(text, "1:b13e5c8672c2b509");
}
END_TEST

START_TEST(digests_do_not_know_order)
{
	struct digest a = { 0 }, b = { 0 }, back;
	char text[DIGEST_TEXT_MAX];

	for (uint64_t i = 0; i < 100; i++) {
		digest_toggle(&a, "room", 4, i, true);
		digest_toggle(&b, "room", 4, 99 - i, true);
	}
	ck_assert(a.sum == b.sum && a.count == 100 && b.count == 100);
	digest_toggle(&a, "x", 1, 1, true);
	ck_assert_uint_ne(a.sum, b.sum);
	digest_toggle(&a, "x", 1, 1, false);
	ck_assert(a.sum == b.sum && a.count == 100);
	digest_print(&a, text);
	ck_assert(digest_parse(text, &back) && back.sum == a.sum && back.count == 100);
	ck_assert_uint_ne(digest_room("ab", 2, 1), digest_room("a", 1, 1)); /* the zero byte parts name and epoch */
	ck_assert_uint_ne(digest_room("a1", 2, 1), digest_room("a", 1, 11));
	ck_assert_uint_eq(digest_room("", 0, 1), digest_room("", 0, 1));
}
END_TEST

START_TEST(malformed_digests_are_refused)
{
	static const char *const bad[] = { "", ":", "1", "1:", "1:0", ":0123456789abcdef", "x:0123456789abcdef",
	                                   "1:0123456789ABCDEF", "1:0123456789abcde",
		                           "1:0123456789abcdef0", "-1:0123456789abcdef", "1: 123456789abcdef",
		        "1:0x23456789abcdef",
		                           "99999999999999999999:0123456789abcdef" };
	struct digest digest = { 7, 7 };

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_msg(!digest_parse(bad[i], &digest), "%s", bad[i]);
		ck_assert(digest.count == 7 && digest.sum == 7);
	}
	ck_assert(digest_parse("0:0000000000000000", &digest) && !digest.count && !digest.sum);
}
END_TEST

START_TEST(rooms_are_text_without_controls)
{
	static const char *const bad[] = { "\n", "a\tb", "\x7f", "\xc2\x80", "a\xc2\x9f", "\xff", "\xc3",
	                                   "\xed\xa0\x80", "a\x1b[0m" };
	char name[ROOM_MAX + 2];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!room_valid(bad[i], strlen(bad[i])), "row %zu", i);
	ck_assert(!room_valid("", 0) && !room_valid("a\0b", 3));
	ck_assert(room_valid("a/b ?#%", 7) && room_valid("\xc2\xa0", 2) && room_valid("gr\xc3\xbc\xc3\x9f", 6));
	memset(name, 'r', sizeof(name));
	ck_assert(room_valid(name, ROOM_MAX) && !room_valid(name, ROOM_MAX + 1));
}
END_TEST

START_TEST(nodes_and_incarnations_are_tokens)
{
	char name[INCARNATION_MAX + 2];

	memset(name, 'n', sizeof(name));
	ck_assert(node_valid(name, NODE_MAX) && !node_valid(name, NODE_MAX + 1) && !node_valid("", 0));
	ck_assert(node_valid("sfu-1.eu_west", 13) && !node_valid("a:b", 3) && !node_valid("a b", 3) &&
	          !node_valid("a*", 2) && !node_valid("a\0", 2));
	ck_assert(incarnation_valid("9f2c:1:2", 8) && incarnation_valid(name, INCARNATION_MAX) &&
	          !incarnation_valid(name, INCARNATION_MAX + 1));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");

	tcase_add_test(t, digests_are_the_protocols);
	tcase_add_test(t, digests_do_not_know_order);
	tcase_add_test(t, malformed_digests_are_refused);
	tcase_add_test(t, rooms_are_text_without_controls);
	tcase_add_test(t, nodes_and_incarnations_are_tokens);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
