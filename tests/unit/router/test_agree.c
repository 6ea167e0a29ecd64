/* SPDX-License-Identifier: Apache-2.0 */
/* Settings that all routers share: said, compared, and told once. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "router/agree.h"
#include "router/conf.h"

static struct arena arena;
static struct router_conf here, there;
static struct conf here_conf, there_conf;
static struct agree *agree;

static void load(struct conf *conf, struct router_conf *values, const char *set)
{
	char *sets[] = { (char *)(uintptr_t)set };

	conf_free(conf);
	memset(values, 0, sizeof(*values));
	*conf = (struct conf){ .keys = router_conf_keys, .count = router_conf_count, .values = values, .env_prefix = "NOBODY_SETS_" };
	ck_assert_int_eq(conf_load(conf, NULL, sets, set ? 1 : 0, stderr), 0);
}

static void setup(void)
{
	here_conf = there_conf = (struct conf){ .values = &here };
	load(&here_conf, &here, NULL);
	load(&there_conf, &there, NULL);
	agree = agree_new();
}

static void teardown(void)
{
	conf_free(&here_conf);
	conf_free(&there_conf);
	agree_free(agree);
	arena_reset(&arena);
}

/* What `there` says of itself, as `here` reads it. */
static size_t heard(const char *set, struct agree_difference *out)
{
	struct said {
		struct json_list settings;
	} said;
	const struct json_member member = { "settings", JSON_LIST, 0, JSON_NO_HAS, 0, AGREE_MAX, .shape = &agree_shape };
	const struct json_shape shape = { &member, 1, sizeof(said) };
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	const char *fault = "";

	load(&there_conf, &there, set);
	json_open(&json, NULL, '{');
	agree_write(router_conf_keys, router_conf_count, &there, &json);
	json_close(&json, '}');
	ck_assert_msg(json_read((struct str){ text.at, text.len }, &shape, &arena, &said, &fault) == 0, "%s", fault);
	ck_assert_uint_gt(said.settings.count, 0);
	buf_free(&text);
	return agree_compare(router_conf_keys, router_conf_count, &here, said.settings.items, said.settings.count, &arena, out);
}

START_TEST(what_must_agree_is_compared_whatever_its_type)
{
	static const struct {
		const char *set, *key, *here, *there;
	} rows[] = {
		{ "nodes.lease_ms=8000", "nodes.lease_ms", "4000", "8000" },
		{ "placement.max_load=0.75", "placement.max_load", "0.9", "0.75" },
		{ "placement.room_cost=0.5", "placement.room_cost", "learned", "0.5" },
		{ "nodes.unreachable_drain=true", "nodes.unreachable_drain", "false", "true" },
		{ "auth.mode=jwt", "auth.mode", "none", "jwt" },
	};
	struct agree_difference out[AGREE_MAX];

	ck_assert_uint_eq(heard(NULL, out), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_uint_eq(heard(rows[i].set, out), 1);
		ck_assert_str_eq(out[0].key, rows[i].key);
		ck_assert_str_eq(out[0].here, rows[i].here);
		ck_assert_str_eq(out[0].there, rows[i].there);
	}
}
END_TEST

START_TEST(what_a_router_does_on_its_own_may_differ)
{
	struct agree_difference out[AGREE_MAX];

	ck_assert_uint_eq(heard("server.park_ms=1", out), 0);
	ck_assert_uint_eq(heard("limits.parked=7", out), 0);
	ck_assert_uint_eq(heard("breaker.failures=7", out), 0);
}
END_TEST

START_TEST(a_long_value_is_compared_and_does_not_hide_its_router)
{
	struct agree_difference out[AGREE_MAX];
	struct buf lists[2] = { 0 };

	for (size_t i = 0; i < 2; i++) {
		buf_adds(&lists[i], "nodes.allow_cidr=10.0.0.0/8");
		for (int net = 0; net < 1000; net++)
			buf_printf(&lists[i], ",10.%d.%d.0/24", net / 250, net % 250);
	}
	buf_adds(&lists[1], ",::1/128");
	load(&here_conf, &here, lists[0].at);
	ck_assert_uint_eq(heard(lists[0].at, out), 0);
	ck_assert_uint_eq(heard(lists[1].at, out), 1);
	ck_assert_str_eq(out[0].key, "nodes.allow_cidr");
	ck_assert(strstr(out[0].there, " bytes, sum ") && strlen(out[0].there) < 100 && strcmp(out[0].here, out[0].there) != 0);
	buf_free(&lists[0]);
	buf_free(&lists[1]);
}
END_TEST

START_TEST(another_version_says_other_settings)
{
	const struct agree_setting theirs[] = { { "nodes.of_tomorrow_ms", "1" }, { "server.listen", "x" }, { "nodes.grace_ms", "700" } };
	struct agree_difference out[3];

	ck_assert_uint_eq(agree_compare(router_conf_keys, router_conf_count, &here, theirs, 3, &arena, out), 1);
	ck_assert_str_eq(out[0].key, "nodes.grace_ms");
}
END_TEST

START_TEST(no_secret_and_nothing_that_a_signal_changes_is_shared)
{
	size_t count = 0;

	for (size_t i = 0; i < router_conf_count; i++) {
		const struct conf_key *key = &router_conf_keys[i];
		ck_assert_msg(!key->shared || (!key->secret && !key->reloadable && key->type != CONF_MAP), "%s", key->name);
		count += key->shared;
	}
	ck_assert_uint_le(count, AGREE_MAX);
}
END_TEST

START_TEST(told_once_until_it_changes)
{
	const struct agree_difference lease = { "nodes.lease_ms", "4000", "8000" }, longer = { "nodes.lease_ms", "4000", "9000" };

	ck_assert(agree_is_news(agree, "a", &lease));
	ck_assert(agree_is_news(agree, "b", &lease)); /* each peer */
	agree_end_turn(agree);
	ck_assert(!agree_is_news(agree, "a", &lease));
	agree_keep(agree, "b"); /* silent */
	agree_end_turn(agree);
	ck_assert(agree_is_news(agree, "a", &longer));
	ck_assert(!agree_is_news(agree, "b", &lease));
	agree_end_turn(agree);
	ck_assert(agree_is_news(agree, "a", &lease)); /* back */
	agree_end_turn(agree);
	ck_assert(agree_is_news(agree, "b", &lease)); /* agreed, or gone, for a turn */
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		what_must_agree_is_compared_whatever_its_type, what_a_router_does_on_its_own_may_differ, another_version_says_other_settings,
		a_long_value_is_compared_and_does_not_hide_its_router,
		no_secret_and_nothing_that_a_signal_changes_is_shared, told_once_until_it_changes,
	};
	TCase *tcase = tcase_create("agree");
	Suite *suite = suite_create("router/agree");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(tcase, setup, teardown);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
