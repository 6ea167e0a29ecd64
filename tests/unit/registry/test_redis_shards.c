/* SPDX-License-Identifier: Apache-2.0 */
/* Small pieces of the store in Redis: which slot a key has, which key a command has, whose turn a login is, what an error means. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "registry/redis_command.h"
#include "registry/redis_error.h"
#include "registry/redis_place.h"
#include "registry/redis_read.h"
#include "registry/redis_shards.h"

START_TEST(slots_are_as_in_the_specification)
{
	static const struct {
		const char *key, *same;
		int slot; /* -1: that of `same` */
	} keys[] = {
		{ "123456789", NULL, 12739 }, { "foo", NULL, 12182 }, { "", NULL, 0 }, { "u:n:{sfu-1}:rooms", "u:n:{sfu-1}", -1 },
		{ "{user1000}.following", "user1000", -1 }, { "foo{}{bar}", NULL, 8363 }, { "foo{{bar}}zap", "{bar", -1 },
		{ "foo{bar}{zap}", "bar", -1 }, { "a{b", NULL, 13340 },
	};

	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(redis_slot_of(str_of(keys[i].key)), keys[i].slot);
	for (size_t i = 3; i < sizeof keys / sizeof *keys; i++)
		if (keys[i].same)
			ck_assert_int_eq(redis_slot_of(str_of(keys[i].key)), redis_slot_of(str_of(keys[i].same)));
		else
			ck_assert_int_eq(redis_slot_of(str_of(keys[i].key)), keys[i].slot);
}
END_TEST

static struct buf command(const char *const *words, size_t n)
{
	struct buf text = { 0 };

	command_start(&text, n);
	for (size_t i = 0; i < n; i++)
		command_z(&text, words[i]);
	return text;
}

START_TEST(the_first_key_of_a_command_is_found)
{
	static const struct {
		const char *words[5];
		size_t n;
		const char *key;
	} commands[] = {
		{ { "HMGET", "k\r\n$1\r\n", "f" }, 3, "k\r\n$1\r\n" }, { { "EVALSHA", "0123", "1", "k", "a" }, 5, "k" },
		{ { "EVAL", "return '$3\n'", "2", "k", "l" }, 5, "k" }, { { "EVALSHA", "0123", "0" }, 3, NULL }, { { "TIME" }, 1, NULL },
		{ { "SCAN", "0" }, 2, NULL }, { { "WAIT", "1", "200" }, 3, NULL }, { { "HGETALL", "" }, 2, "" }, { { "HSCAN", "k", "0" }, 3, "k" },
	};

	for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
		struct buf text = command(commands[i].words, commands[i].n);
		struct str key = command_first_key(&text);

		ck_assert(commands[i].key ? key.at && str_is(key, commands[i].key) : !key.at);
		buf_free(&text);
	}
}
END_TEST

START_TEST(the_longest_beginning_says_what_an_error_means)
{
	static const struct {
		const char *text;
		enum redis_cure cure;
	} errors[] = {
		{ "ASK 3999 127.0.0.1:6381", CURE_ASK }, { "MOVED 3999 127.0.0.1:6381", CURE_MOVE }, { "BUSY Redis is busy", CURE_WAIT },
		{ "BUSYKEY Target key name already exists.", CURE_NEVER }, { "READONLY You can't write against a read only replica.", CURE_LEAVE },
		{ "OOM command not allowed", CURE_REFUSE }, { "ERR max number of clients reached", CURE_LEAVE }, { "ERR syntax error", CURE_REFUSE },
		{ "NOVELTY of Redis 9", CURE_REFUSE }, { "", CURE_REFUSE }, { "NOAUTH", CURE_LOGIN },
		/* Before Redis 7 a script's error has the true one inside. */
		{ "ERR Error running script (call to f_x): @user_script:9: @user_script: 9: -READONLY You can't write", CURE_LEAVE },
		{ "ERR Error running script (call to f_x): @user_script:9: user_script:9: Script attempted", CURE_REFUSE },
	};

	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		ck_assert_msg(redis_error_of(errors[i].text)->cure == errors[i].cure, "%s", errors[i].text);
	for (size_t i = 0; i < redis_errors_count; i++)
		ck_assert_ptr_eq(redis_error_of(redis_errors[i].begins), &redis_errors[i]);
}
END_TEST

START_TEST(an_error_names_a_node)
{
	struct redis_endpoint from = { "10.0.0.1", 7000 }, to = { "", 0 };

	ck_assert(redis_endpoint_of_error(STR("MOVED 3999 127.0.0.1:6381"), &from, &to) && to.port == 6381);
	ck_assert_str_eq(to.host, "127.0.0.1");
	ck_assert(redis_endpoint_of_error(STR("ASK 1 fe80::1:2:6381"), &from, &to) && to.port == 6381);
	ck_assert_str_eq(to.host, "fe80::1:2");
	ck_assert(redis_endpoint_of_error(STR("MOVED 1 :6382"), &from, &to) && to.port == 6382);
	ck_assert_str_eq(to.host, "10.0.0.1");
	static const char *const bad[] = { "MOVED", "MOVED 1", "MOVED 1 ", "MOVED 1 host", "MOVED 1 host:0", "MOVED 1 host:65536", "ASK 1 h:x" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!redis_endpoint_of_error(str_of(bad[i]), &from, &to), "%s", bad[i]);
}
END_TEST

START_TEST(a_place_changes_its_version_with_its_address)
{
	struct redis_place place = { 0 };
	struct redis_endpoint a = { "a", 1 }, b = { "b", 1 }, at = { "", 0 };
	uint64_t first, second;

	ck_assert(!redis_place_read(&place, &at, &first));
	ck_assert(redis_place_set(&place, NULL, &a) && !redis_place_set(&place, NULL, &a));
	ck_assert(redis_place_read(&place, &at, &second) && second > first && redis_endpoint_is(&at, &a));
	redis_place_leave(&place, first); /* of before: nothing */
	ck_assert_uint_eq(redis_place_version(&place), second);
	redis_place_leave(&place, second);
	redis_place_leave(&place, second); /* many find it out at once */
	ck_assert_uint_eq(redis_place_version(&place), second + 1);
	ck_assert(redis_place_set(&place, NULL, &b) && redis_place_set(&place, NULL, NULL) && !redis_place_set(&place, NULL, NULL));
	ck_assert(!redis_place_read(&place, &at, &second));
	ck_assert(!redis_place_doubted(&place));
	redis_place_doubt(&place);
	ck_assert(redis_place_doubted(&place) && !redis_place_doubted(&place));
	redis_place_clear(&place);
}
END_TEST

START_TEST(one_login_at_a_time_until_one_was_good)
{
	struct redis_login login = { 0 };

	ck_assert(!redis_login_waits(&login, 5000) && redis_login_take(&login, 5000));
	ck_assert(redis_login_waits(&login, 5999) && !redis_login_take(&login, 5999)); /* the others */
	redis_login_told(&login, false, 5010);
	ck_assert(redis_login_waits(&login, 6009) && redis_login_take(&login, 6010) && !redis_login_take(&login, 6010));
	redis_login_told(&login, true, 6020);
	ck_assert(redis_login_take(&login, 6020) && redis_login_take(&login, 6020)); /* all */
	redis_login_doubt(&login); /* a connection was lost: one first, but at once */
	ck_assert(redis_login_take(&login, 6030) && !redis_login_take(&login, 6030));
	redis_login_told(&login, false, 6040);
	ck_assert(!redis_login_take(&login, 7039) && redis_login_take(&login, 7040));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("registry/redis shards");
	TCase *tc = tcase_create("pieces");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, slots_are_as_in_the_specification);
	tcase_add_test(tc, the_first_key_of_a_command_is_found);
	tcase_add_test(tc, the_longest_beginning_says_what_an_error_means);
	tcase_add_test(tc, an_error_names_a_node);
	tcase_add_test(tc, a_place_changes_its_version_with_its_address);
	tcase_add_test(tc, one_login_at_a_time_until_one_was_good);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
