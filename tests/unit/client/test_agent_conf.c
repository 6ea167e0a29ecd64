/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/agent/adapter.h"
#include "client/agent/conf.h"

static struct agent_conf settings;
static struct conf conf;
static char *said;
static size_t said_len;

static int load(char *const *sets, size_t n)
{
	FILE *err = open_memstream(&said, &said_len);

	conf = (struct conf){ .keys = agent_conf_keys, .count = agent_conf_count, .values = &settings, .env_prefix = "USHER_" };
	int faults = conf_load(&conf, NULL, sets, n, err);
	faults += faults ? 0 : agent_conf_check(&settings, err);
	fclose(err);
	return faults;
}

#define LOAD(...) load((char *[]){ "agent.node=n1", __VA_ARGS__ }, sizeof((char *[]){ "agent.node=n1", __VA_ARGS__ }) / sizeof(char *))

static void setup(void)
{
	settings = (struct agent_conf){ 0 };
}

static void teardown(void)
{
	conf_free(&conf);
	free(said);
	said = NULL;
}

static void refused(int faults, const char *key, const char *words)
{
	ck_assert_int_eq(faults, 1);
	ck_assert_msg(strstr(said, key) && strstr(said, words), "said: %s", said);
}

START_TEST(the_defaults_are_good)
{
	ck_assert_msg(LOAD("agent.routers=http://a:1, http://b:2") == 0, "%s", said);
	ck_assert_str_eq(agent_adapters[settings.adapter]->name, "janus");
	ck_assert(settings.gate);
	ck_assert_int_eq(settings.at_lease_end, LEASE_END_REFUSE);
	ck_assert_uint_eq(settings.sick_ms, 10000);
	ck_assert(settings.echo_load < 0);
}
END_TEST

START_TEST(the_words_of_adapters_are_their_names)
{
	const struct conf_key *key = NULL;

	for (size_t i = 0; i < agent_conf_count; i++)
		if (!strcmp(agent_conf_keys[i].name, "agent.adapter"))
			key = &agent_conf_keys[i];
	ck_assert_ptr_nonnull(key);
	for (size_t i = 0; key->words[i]; i++)
		ck_assert_str_eq(agent_adapters[i]->name, key->words[i]);
}
END_TEST

START_TEST(every_key_says_what_it_is_for)
{
	for (size_t i = 0; i < agent_conf_count; i++) {
		ck_assert_msg(agent_conf_keys[i].help && strlen(agent_conf_keys[i].help) > 5, "%s", agent_conf_keys[i].name);
		ck_assert(agent_conf_keys[i].type == CONF_MAP || agent_conf_keys[i].def);
	}
}
END_TEST

START_TEST(a_node_needs_a_name_it_can_have)
{
	char *sets[] = { "agent.node=a b" };

	refused(load(sets, 1), "agent.node", "letters");
}
END_TEST

START_TEST(routers_are_http_urls)
{
	refused(LOAD("agent.routers=ws://a"), "agent.routers", "http");
}
END_TEST

START_TEST(no_router_is_a_fault)
{
	refused(LOAD("agent.routers="), "agent.routers", "http");
}
END_TEST

START_TEST(the_sfus_url_is_a_websocket)
{
	refused(LOAD("agent.sfu_url=http://127.0.0.1:8188"), "agent.sfu_url", "ws");
}
END_TEST

START_TEST(the_sfus_url_has_no_query)
{
	refused(LOAD("agent.sfu_url=ws://127.0.0.1:8188/?a=b"), "agent.sfu_url", "query");
}
END_TEST

START_TEST(a_listener_on_all_addresses_needs_a_name)
{
	refused(LOAD("agent.control_listen=[::]:7081"), "agent.advertise_host", "control_listen");
}
END_TEST

START_TEST(and_with_one_it_is_good)
{
	ck_assert_msg(LOAD("agent.listen=0.0.0.0:7080", "agent.control_listen=7081", "agent.advertise_host=[fd00::7]") == 0, "%s", said);
}
END_TEST

START_TEST(an_advertised_host_has_no_port)
{
	refused(LOAD("agent.advertise_host=sfu:80"), "agent.advertise_host", "without a port");
}
END_TEST

START_TEST(an_embedded_sfu_is_not_started)
{
	refused(LOAD("agent.adapter=echo", "agent.command=janus"), "agent.command", "echo");
}
END_TEST

START_TEST(labels_are_bounded)
{
	char label[200] = "agent.labels.gpu=", *sets[] = { "agent.node=n", label };

	memset(label + strlen(label), 'x', 129);
	refused(load(sets, 2), "agent.labels", "bytes");
}
END_TEST

START_TEST(secrets_come_from_files)
{
	char path[] = "/tmp/test_agent_conf.XXXXXX", set[100];
	int fd = mkstemp(path);

	ck_assert_int_eq(write(fd, "  s3cret\t\nrest\n", 15), 15);
	close(fd);
	snprintf(set, sizeof(set), "agent.admin_key_file=%s", path);
	ck_assert_msg(LOAD(set, "agent.admin_key=other") == 0, "%s", said);
	ck_assert_str_eq(settings.admin_key, "s3cret");
	unlink(path);
}
END_TEST

START_TEST(an_empty_secret_is_a_fault)
{
	refused(LOAD("agent.token_file=/dev/null"), "agent.token_file", "/dev/null");
}
END_TEST

START_TEST(secrets_are_not_repeated_in_faults)
{
	for (size_t i = 0; i < agent_conf_count; i++)
		if (!strcmp(agent_conf_keys[i].name, "agent.admin_key") || !strcmp(agent_conf_keys[i].name, "agent.admin_secret"))
			ck_assert(agent_conf_keys[i].secret);
	ck_assert_int_eq(LOAD("agent.node=n"), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("agent_conf");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, the_defaults_are_good);
	tcase_add_test(all, the_words_of_adapters_are_their_names);
	tcase_add_test(all, every_key_says_what_it_is_for);
	tcase_add_test(all, a_node_needs_a_name_it_can_have);
	tcase_add_test(all, routers_are_http_urls);
	tcase_add_test(all, no_router_is_a_fault);
	tcase_add_test(all, the_sfus_url_is_a_websocket);
	tcase_add_test(all, the_sfus_url_has_no_query);
	tcase_add_test(all, a_listener_on_all_addresses_needs_a_name);
	tcase_add_test(all, and_with_one_it_is_good);
	tcase_add_test(all, an_advertised_host_has_no_port);
	tcase_add_test(all, an_embedded_sfu_is_not_started);
	tcase_add_test(all, labels_are_bounded);
	tcase_add_test(all, secrets_come_from_files);
	tcase_add_test(all, an_empty_secret_is_a_fault);
	tcase_add_test(all, secrets_are_not_repeated_in_faults);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
