/* SPDX-License-Identifier: Apache-2.0 */
/* Grants and call keys: what is signed, and that nothing else passes for it. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire/grant.h"

#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define KEY_B "HyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4"

static const struct granted_room room = { { "stand\xc3\xbcp", 8 }, "sfu-1", "boot:12.34", 1795328740704 };
static struct secret_keys keys;

static void setup(void)
{
	const char *why;

	ck_assert(secret_keys_parse(STR(KEY_A "\n" KEY_B "\n"), &keys, &why));
}

/* By hand: printf 'usher-grant\0standüp\0sfu-1\0boot:12.34\01795328740704' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f */
START_TEST(a_grant_is_the_beginning_of_an_hmac)
{
	char text[GRANT_MAX];

	grant_write(secret_key_of(&keys, 0), &room, text);
	ck_assert_str_eq(text, "egYo-2o0KWZYvWTXdEYmkw");
	call_key_write(secret_key_of(&keys, 0), "sfu-1", "boot:12.34", text);
	ck_assert_str_eq(text, "kJHe1bhIB3uL2SglyqUtxQ");
}
END_TEST

START_TEST(each_key_signs_and_is_recognised)
{
	char all[GRANTS_MAX], one[GRANT_MAX];

	grant_write_all(&keys, &room, all);
	ck_assert_uint_eq(strlen(all), 2 * GRANT_LEN + 1);
	for (int i = 0; i < 2; i++) {
		grant_write(secret_key_of(&keys, (size_t)i), &room, one);
		ck_assert_int_eq(memcmp(all + i * (GRANT_LEN + 1), one, GRANT_LEN), 0);
		ck_assert_int_eq(grant_signer(&keys, &room, str_of(one)), i);
	}
	ck_assert_int_eq(all[GRANT_LEN], ',');
}
END_TEST

START_TEST(it_is_for_one_room_node_process_and_epoch)
{
	const struct granted_room others[] = {
		{ { "stand\xc3\xbcq", 8 }, "sfu-1", "boot:12.34", 1795328740704 }, { { "stand\xc3\xbc", 7 }, "sfu-1", "boot:12.34", 1795328740704 },
		{ room.room, "sfu-2", "boot:12.34", 1795328740704 },                { room.room, "sfu-1", "boot:12.35", 1795328740704 },
		{ room.room, "sfu-1", "boot:12.34", 1795328740705 },                { room.room, "sfu-", "1boot:12.34", 1795328740704 },
		{ room.room, "sfu-1", "boot:12.34", 179532874070 },
	};
	char text[GRANT_MAX];

	grant_write(secret_key_of(&keys, 0), &room, text);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		ck_assert_int_eq(grant_signer(&keys, &others[i], str_of(text)), -1);
	call_key_write(secret_key_of(&keys, 0), room.node, room.incarnation, text);
	ck_assert_int_eq(grant_signer(&keys, &room, str_of(text)), -1);
}
END_TEST

START_TEST(a_changed_character_is_refused)
{
	struct known_grants known = { 0 };
	char text[GRANT_MAX + 1] = "";

	grant_write(secret_key_of(&keys, 0), &room, text);
	ck_assert(known_grants_replace(&known, str_of(text)));
	for (size_t i = 0; i < GRANT_LEN; i++)
		for (int c = 1; c < 256; c++) {
			char was = text[i];
			if ((char)c == was)
				continue;
			text[i] = (char)c;
			ck_assert(!known_grants_match(&known, str_of(text)));
			ck_assert_int_eq(grant_signer(&keys, &room, str_of(text)), -1);
			text[i] = was;
		}
	for (size_t len = 0; len < GRANT_LEN; len++)
		ck_assert(!known_grants_match(&known, (struct str){ text, len }));
	text[GRANT_LEN] = 'A';
	ck_assert(!known_grants_match(&known, str_of(text)));
	ck_assert_int_eq(grant_signer(&keys, &room, str_of(text)), -1);
}
END_TEST

START_TEST(what_is_given_replaces_what_was_known)
{
	struct known_grants known = { 0 };
	char texts[3][GRANT_MAX], said[(SECRET_KEYS_MAX + 1) * GRANT_MAX + 8];

	ck_assert(!known_grants_match(&known, STR("")));
	ck_assert(!known_grants_match(&known, (struct str){ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", GRANT_LEN }));
	for (size_t i = 0; i < 3; i++) {
		struct granted_room other = { room.room, room.node, room.incarnation, i + 1 };
		grant_write(secret_key_of(&keys, 0), &other, texts[i]);
	}
	snprintf(said, sizeof(said), "%s, %s", texts[0], texts[1]);
	ck_assert(known_grants_replace(&known, str_of(said)) && !known_grants_replace(&known, str_of(said)));
	ck_assert_str_eq(known.texts[0], texts[0]);
	ck_assert(known_grants_match(&known, str_of(texts[0])) && known_grants_match(&known, str_of(texts[1])));
	ck_assert(!known_grants_match(&known, str_of(texts[2])));
	ck_assert(known_grants_replace(&known, str_of(texts[2]))); /* of a key that routers have no more nothing stays */
	ck_assert(!known_grants_match(&known, str_of(said)));
	snprintf(said, sizeof(said), "%s,%s", texts[1], texts[2]);
	ck_assert(known_grants_match(&known, str_of(said)));
}
END_TEST

START_TEST(what_is_not_written_as_grants_changes_nothing)
{
	struct known_grants known = { 0 };
	char text[GRANT_MAX], many[(SECRET_KEYS_MAX + 1) * GRANT_MAX + 1] = "";

	grant_write(secret_key_of(&keys, 0), &room, text);
	ck_assert(known_grants_replace(&known, str_of(text)));
	for (size_t i = 0; i <= SECRET_KEYS_MAX; i++)
		snprintf(many + strlen(many), sizeof(many) - strlen(many), "%s%s", i ? "," : "", "AAECAwQFBgcICQoLDA0ODw");
	const char *const wrong[] = { "", "short", "AAECAwQFBgcICQoLDA0OD,", "AAECAwQFBgcICQoLDA0ODx", "AAECAwQFBgcICQoLDA0ODw,short", many };
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
		ck_assert(!known_grants_replace(&known, str_of(wrong[i])) && known_grants_match(&known, str_of(text)));
	many[SECRET_KEYS_MAX * (GRANT_LEN + 1) - 1] = '\0';
	ck_assert(known_grants_replace(&known, str_of(many)));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("grant");
	TCase *tc = tcase_create("grant");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, a_grant_is_the_beginning_of_an_hmac);
	tcase_add_test(tc, each_key_signs_and_is_recognised);
	tcase_add_test(tc, it_is_for_one_room_node_process_and_epoch);
	tcase_add_test(tc, a_changed_character_is_refused);
	tcase_add_test(tc, what_is_given_replaces_what_was_known);
	tcase_add_test(tc, what_is_not_written_as_grants_changes_nothing);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
