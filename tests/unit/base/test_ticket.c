/* SPDX-License-Identifier: Apache-2.0 */
/* base64url, the keys of a file, and the tickets that are made with them. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/secret.h"
#include "base/wire/ticket.h"

#define NOW 1795000000000
#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
#define KEY_B "HyAhIiMkJSYnKCkqKywtLi8wMTIzNDU2Nzg5Ojs8PT4"

static struct arena arena;
static const char *why;

static void teardown(void)
{
	arena_reset(&arena);
}

/* RFC 4648, 10, without its padding. */
START_TEST(base64url_has_one_text_for_all_bytes)
{
	static const char *const pairs[][2] = { { "", "" }, { "f", "Zg" }, { "fo", "Zm8" }, { "foo", "Zm9v" }, { "foob", "Zm9vYg" }, { "fooba", "Zm9vYmE" },
		                                { "foobar", "Zm9vYmFy" }, { "\xfb\xff", "-_8" } };
	static const char *const bad[] = { "Z", "Zg==", "Zh", "Zm9", "Zm9v\n", "Zm 9", "+/8", "Zm9vY", "Zg=", "\xc3\xa4" };
	char out[16];
	size_t len;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct buf text = { 0 };
		base64url_add(&text, pairs[i][0], strlen(pairs[i][0]));
		ck_assert(str_is((struct str){ text.at, text.len }, pairs[i][1]));
		ck_assert(base64url_read(str_of(pairs[i][1]), out, &len));
		ck_assert(len == strlen(pairs[i][0]) && !memcmp(out, pairs[i][0], len));
		buf_free(&text);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!base64url_read(str_of(bad[i]), out, &len), "%s", bad[i]);
}
END_TEST

START_TEST(keys_are_one_a_line)
{
	static const char *const bad[] = { "", "# nothing\n", "short\n", KEY_A "=\n", KEY_A " " KEY_B "\n",
		                           KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" KEY_A "\n" };
	struct secret_keys keys;

	ck_assert(secret_keys_parse(STR("# new\n" KEY_A "\r\n\n" KEY_B), &keys, &why));
	ck_assert_uint_eq(keys.count, 2);
	ck_assert_uint_eq(keys.keys[1].len, 32);
	ck_assert_int_eq(keys.keys[0].bytes[31], 31);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ck_assert_msg(!secret_keys_parse(str_of(bad[i]), &keys, &why), "%s", bad[i]);
}
END_TEST

START_TEST(files_are_read_only_if_nobody_else_can)
{
	char path[] = "/tmp/usher-secret-XXXXXX";
	struct secret_keys keys;
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, KEY_A "\n", sizeof(KEY_A)), sizeof(KEY_A));
	ck_assert_msg(secret_keys_read(path, &keys, &why), "%s", why);
	for (mode_t bit = 1; bit <= S_IRGRP; bit <<= 1) {
		if (bit == S_IRUSR)
			continue;
		fchmod(fd, S_IRUSR | bit);
		ck_assert(!secret_keys_read(path, &keys, &why));
		ck_assert(strstr(why, "0600") != NULL);
	}
	fchmod(fd, 0440);
	setenv("CREDENTIALS_DIRECTORY", "/tmp", 1);
	ck_assert_msg(secret_keys_read(path, &keys, &why), "%s", why);
	setenv("CREDENTIALS_DIRECTORY", "/tm", 1);
	ck_assert(!secret_keys_read(path, &keys, &why));
	unsetenv("CREDENTIALS_DIRECTORY");
	close(fd);
	unlink(path);
	ck_assert(!secret_keys_read(path, &keys, &why) && strstr(why, "opened"));
	ck_assert(!secret_keys_read("/tmp", &keys, &why) && strstr(why, "file"));
}
END_TEST

static struct str written(const struct ticket *ticket, const struct secret_keys *keys)
{
	struct buf text = { 0 };

	ticket_write(ticket, keys, &text);
	struct str kept = { arena_copy(&arena, text.at, text.len), text.len };
	buf_free(&text);
	return kept;
}

static bool good(struct str text, const struct secret_keys *keys, struct ticket *out)
{
	return ticket_read(text, TICKET_JOIN, keys, NOW, &arena, out, &why);
}

START_TEST(tickets_say_what_was_written)
{
	char room[256], holder[TICKET_HOLDER_MAX + 50];
	struct secret_keys keys;
	struct ticket read;

	memset(room, 'r', sizeof(room));
	memset(holder, 'h', sizeof(holder));
	secret_keys_parse(STR(KEY_A), &keys, &why);
	struct ticket ticket = { TICKET_JOIN, NOW + 1, { room, sizeof(room) }, { holder, sizeof(holder) } };
	struct str text = written(&ticket, &keys);
	ck_assert_uint_le(text.len, TICKET_TEXT_MAX);
	ck_assert_msg(good(text, &keys, &read), "%s", why);
	ck_assert(str_eq(read.room, ticket.room) && read.holder.len == TICKET_HOLDER_MAX && read.ends_ms == NOW + 1);
	ck_assert(!ticket_read(text, TICKET_SESSION, &keys, NOW, &arena, &read, &why) && strstr(why, "use"));
	ck_assert(!ticket_read(text, TICKET_JOIN, &keys, NOW + 1, &arena, &read, &why) && strstr(why, "over"));
}
END_TEST

START_TEST(no_character_of_a_ticket_can_be_another)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=";
	struct secret_keys keys;
	struct ticket read;

	secret_keys_parse(STR(KEY_A), &keys, &why);
	struct str text = written(&(struct ticket){ TICKET_JOIN, NOW + 60000, STR("standup"), STR("ann") }, &keys);
	char *copy = strndup(text.at, text.len);
	for (size_t i = 0; i < text.len; i++) {
		for (const char *c = letters; *c; c++) {
			copy[i] = *c;
			ck_assert_msg(*c == text.at[i] || !good((struct str){ copy, text.len }, &keys, &read), "%zu may be %c", i, *c);
		}
		copy[i] = text.at[i];
		ck_assert(!good((struct str){ copy, i }, &keys, &read));
	}
	free(copy);
}
END_TEST

/* By whoever has the key, but not as it is written here: what another version means by it is not guessed. */
START_TEST(a_ticket_has_one_form)
{
	static const char head[] = "\1j\x7f\xff\xff\xff\xff\xff\xff\xff";
	static const char long_holder[8 + TICKET_HOLDER_MAX + 1] = "\0\4room\0\x81";
	static const struct str bad[] = { STR("\0\4room\0\5ann"), STR("\0\4room\0\3ann!"), STR("\0\11room\0\3ann"), STR("\0\7room!!!"),
		                          { long_holder, 8 + TICKET_HOLDER_MAX + 1 } };
	struct secret_keys keys;
	struct ticket read;
	unsigned char sum[MAC_BYTES];

	secret_keys_parse(STR(KEY_A), &keys, &why);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct buf bytes = { 0 }, text = { 0 };
		buf_add(&bytes, head, sizeof(head) - 1);
		buf_add(&bytes, bad[i].at, bad[i].len);
		mac_sha256(secret_key_of(&keys, 0), (struct str){ bytes.at, bytes.len }, sum);
		buf_add(&bytes, sum, 16);
		base64url_add(&text, bytes.at, bytes.len);
		ck_assert(!good((struct str){ text.at, text.len }, &keys, &read));
		ck_assert_str_eq(why, "the ticket is malformed");
		buf_free(&bytes);
		buf_free(&text);
	}
}
END_TEST

START_TEST(two_keys_are_valid_at_once)
{
	struct secret_keys old, both, new;
	struct ticket read;

	secret_keys_parse(STR(KEY_A), &old, &why);
	secret_keys_parse(STR(KEY_B "\n" KEY_A), &both, &why);
	secret_keys_parse(STR(KEY_B), &new, &why);
	struct ticket ticket = { TICKET_JOIN, NOW + 60000, STR("standup"), STR("") };
	ck_assert(good(written(&ticket, &old), &both, &read));
	ck_assert(good(written(&ticket, &both), &new, &read));
	ck_assert(!good(written(&ticket, &old), &new, &read));
	ck_assert(!good(written(&ticket, &new), &old, &read));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ticket");
	TCase *t = tcase_create("ticket");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, base64url_has_one_text_for_all_bytes);
	tcase_add_test(t, keys_are_one_a_line);
	tcase_add_test(t, files_are_read_only_if_nobody_else_can);
	tcase_add_test(t, tickets_say_what_was_written);
	tcase_add_test(t, no_character_of_a_ticket_can_be_another);
	tcase_add_test(t, a_ticket_has_one_form);
	tcase_add_test(t, two_keys_are_valid_at_once);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
