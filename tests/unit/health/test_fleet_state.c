/* SPDX-License-Identifier: Apache-2.0 */
/* One word for people, the most serious that applies; every reason at once against a new room. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/health/stage.h"

#define INFO(more) "{\"signal_url\":\"ws://127.0.0.1:1/\",\"fences\":\"gate\"" more "}"

static struct charge none;

/* As the words of /v1/nodes have it: "late,no_load". */
static const char *reasons(unsigned why_not)
{
	static char text[256];

	text[0] = '\0';
	for (int i = 0; i < WHY_NOT_BITS; i++)
		if (why_not & 1u << i)
			snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", *text ? "," : "", why_not_words[i]);
	return text;
}

static const struct state_case {
	const char *name;
	struct node_record record; /* id, registration, charges, since: filled in */
	uint64_t age_ms;           /* since the last heartbeat */
	enum node_state state;
	const char *why_not;
} cases[] = {
#define HEARD .seq = 1, .lease_ms = 60000
#define HERE .incarnation = "i1"
#define CPU .load = { "{\"cpu\":0.1}", 11 }
#define SAYS(info_text) .info = { info_text, sizeof(info_text) - 1 }
#define LOAD(load_text) .load = { load_text, sizeof(load_text) - 1 }
	{ "ready", { HERE, HEARD, CPU, SAYS(INFO("")) }, 0, NODE_READY, "" },
	{ "not heard yet", { HERE, CPU, SAYS(INFO("")) }, 0, NODE_JOINING, "joining" },
	{ "late", { HERE, HEARD, CPU, SAYS(INFO("")) }, 1600, NODE_LATE, "late" },
	{ "just in time", { HERE, HEARD, CPU, SAYS(INFO("")) }, 1400, NODE_READY, "" },
	{ "lost", { HERE, HEARD, CPU, SAYS(INFO("")), .lost = true }, 0, NODE_LOST, "lost" },
	{ "lost before all else", { HERE, HEARD, CPU, SAYS(INFO("")), .lost = true, .reported = REPORTED_SICK, .wish = WISH_DRAINING },
	  1600, NODE_LOST, "late,lost,draining,sick" },
	{ "late before sick", { HERE, HEARD, CPU, SAYS(INFO("")), .reported = REPORTED_SICK }, 1600, NODE_LATE, "late,sick" },
	{ "sick", { HERE, HEARD, CPU, SAYS(INFO("")), .reported = REPORTED_SICK }, 0, NODE_SICK, "sick" },
	{ "sick before draining", { HERE, HEARD, CPU, SAYS(INFO("")), .reported = REPORTED_SICK, .wish = WISH_DRAINING }, 0, NODE_SICK,
	  "draining,sick" },
	{ "cordoned", { HERE, HEARD, CPU, SAYS(INFO("")), .wish = WISH_CORDONED, .rooms = 3 }, 0, NODE_CORDONED, "cordoned" },
	{ "draining by wish", { HERE, HEARD, CPU, SAYS(INFO("")), .wish = WISH_DRAINING, .rooms = 3 }, 0, NODE_DRAINING, "draining" },
	{ "draining by itself", { HERE, HEARD, CPU, SAYS(INFO("")), .reported = REPORTED_DRAINING, .rooms = 3 }, 0, NODE_DRAINING,
	  "draining" },
	{ "drained", { HERE, HEARD, CPU, SAYS(INFO("")), .wish = WISH_DRAINING }, 0, NODE_DRAINED, "draining" },
	{ "it holds rooms that we do not know", { HERE, HEARD, LOAD("{\"cpu\":0.1,\"rooms\":1}"), SAYS(INFO("")), .wish = WISH_DRAINING },
	  0, NODE_DRAINING, "draining" },
	{ "draining before cordoned", { HERE, HEARD, CPU, SAYS(INFO("")), .wish = WISH_CORDONED, .reported = REPORTED_DRAINING, .rooms = 1 },
	  0, NODE_DRAINING, "cordoned,draining" },
	{ "no load", { HERE, HEARD, LOAD("{}"), SAYS(INFO("")) }, 0, NODE_READY, "no_load" },
	{ "memory alone is no load", { HERE, HEARD, LOAD("{\"memory\":0.1}"), SAYS(INFO("")) }, 0, NODE_READY, "no_load" },
	/* colyseus#649: a negative load attracts nothing */
	{ "negative load", { HERE, HEARD, LOAD("{\"cpu\":-1}"), SAYS(INFO("")) }, 0, NODE_READY, "no_load,unreadable" },
	{ "load that is no JSON", { HERE, HEARD, LOAD("{"), SAYS(INFO("")) }, 0, NODE_READY, "no_load,unreadable" },
	{ "full by its report", { HERE, HEARD, LOAD("{\"cpu\":0.9}"), SAYS(INFO("")) }, 0, NODE_READY, "max_load" },
	{ "rooms at the capacity", { HERE, HEARD, CPU, SAYS(INFO(",\"capacity\":{\"rooms\":3}")), .rooms = 3 }, 0, NODE_READY, "rooms" },
	{ "rooms below it", { HERE, HEARD, CPU, SAYS(INFO(",\"capacity\":{\"rooms\":3}")), .rooms = 2 }, 0, NODE_READY, "" },
	{ "participants at the capacity", { HERE, HEARD, LOAD("{\"participants\":5}"), SAYS(INFO(",\"capacity\":{\"participants\":5}")) }, 0,
	  NODE_READY, "max_load,participants" },
	{ "held by one room", { HERE, HEARD, CPU, SAYS(INFO("")), .exclusive = true, .rooms = 1 }, 0, NODE_READY, "exclusive" },
	{ "info that is no JSON", { HERE, HEARD, CPU, SAYS("x") }, 0, NODE_READY, "unreadable" },
	{ "signal_url elsewhere", { HERE, HEARD, CPU, SAYS("{\"signal_url\":\"ws://192.0.2.1/\",\"fences\":\"gate\"}") }, 0, NODE_READY,
	  "address_not_allowed" },
	{ "control_url elsewhere", { HERE, HEARD, CPU, SAYS(INFO(",\"control_url\":\"http://[2001:db8::1]/\"")) }, 0, NODE_READY,
	  "address_not_allowed" },
	{ "a name is told at connecting", { HERE, HEARD, CPU, SAYS("{\"signal_url\":\"ws://sfu.example/\",\"fences\":\"gate\"}") }, 0,
	  NODE_READY, "" },
	{ "only a wish is left: cordoned", { .wish = WISH_CORDONED }, 0, NODE_CORDONED, "lost,cordoned" },
	{ "only a wish is left: draining", { .wish = WISH_DRAINING }, 0, NODE_DRAINED, "lost,draining" },
	{ "nothing is left", { .wish = WISH_ENABLED }, 0, NODE_LOST, "lost" },
};

START_TEST(states)
{
	const struct state_case *c = &cases[_i];
	struct node_record *record = stage_add("a", "", "");
	const struct node *node;

	*record = c->record;
	strcpy(record->id, "a");
	record->registration = 1;
	record->charges = &none;
	record->since_ms = 1;
	record->heard_ms = stage.now + stage.store_ahead_ms - c->age_ms;
	fleet_refresh(stage.fleet);
	stage_stall(0);
	node = stage_node("a");
	ck_assert_msg(node->state == c->state, "%s: %s", c->name, node_state_words[node->state]);
	ck_assert_msg(!strcmp(reasons(node->why_not), c->why_not), "%s: %s", c->name, reasons(node->why_not));
	ck_assert_str_eq(node->info.pool, "default");
}
END_TEST

/* jicofo#454: loads clamped at 1 no longer order overloaded nodes. */
START_TEST(jicofo_454_overloaded_nodes_keep_their_order)
{
	stage_ready("a");
	stage_ready("b");
	stage_beat("a", "{\"cpu\":1.4}");
	stage_beat("b", "{\"cpu\":1.2}");
	stage_pass(500);
	ck_assert_double_gt(stage_node("a")->score.value, stage_node("b")->score.value);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/fleet_state");
	TCase *tc = tcase_create("state");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, stage_open, stage_close);
	tcase_add_loop_test(tc, states, 0, sizeof(cases) / sizeof(*cases));
	tcase_add_test(tc, jicofo_454_overloaded_nodes_keep_their_order);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
