/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept from reading to reading: the same bytes are read once, and nothing of other bytes or of another process remains. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "tests/unit/health/stage.h"

#define IDLE "{\"cpu\":0.1}"
#define LARGE "{\"signal_url\":\"ws://127.0.0.1:2/\",\"fences\":\"gate\",\"region\":\"r2\",\"capacity\":{\"participants\":1000}}"
#define SMALL "{\"signal_url\":\"ws://127.0.0.1:2/\",\"fences\":\"gate\",\"region\":\"r2\",\"capacity\":{\"participants\":200}}"
#define PEOPLE "{\"participants\":100}"
#define NEAR 1e-9

static const struct node *read_again(const char *id)
{
	fleet_refresh(stage.fleet);
	stage_pass(50);
	return stage_node(id);
}

static double score(const char *id)
{
	return read_again(id)->score.value;
}

START_TEST(the_same_bytes_are_read_once)
{
	stage_ready("a")->info = str_of(LARGE);
	const char *region = read_again("a")->info.region;
	uint64_t version = fleet_view(stage.fleet)->version;

	ck_assert_str_eq(region, "r2");
	ck_assert_ptr_eq(read_again("a")->info.region, region);
	stage_beat("a", "{\"cpu\":0.2}"); /* another load: the info need not be read for it */
	ck_assert_ptr_eq(read_again("a")->info.region, region);
	ck_assert_double_eq_tol(stage_node("a")->score.value, 0.2, NEAR);
	ck_assert_uint_ge(fleet_view(stage.fleet)->version, version + 2);
}
END_TEST

START_TEST(what_changes_is_read_and_judged_anew)
{
	struct node_record *record = stage_ready("a");

	record->info = str_of(LARGE);
	stage_beat("a", PEOPLE);
	ck_assert_double_eq_tol(score("a"), 0.1, NEAR);
	record->info = str_of(SMALL); /* one byte less, and the load as it was */
	ck_assert_double_eq_tol(score("a"), 0.5, NEAR);
	ck_assert_double_eq_tol(stage_node("a")->info.capacity.participants, 200, NEAR);
	stage_beat("a", "{\"participants\":150}");
	ck_assert_double_eq_tol(score("a"), 0.75, NEAR);
	stage_beat("a", "{}");
	ck_assert(!read_again("a")->load.has_participants);
	ck_assert_uint_eq(stage_node("a")->why_not, WHY_NOT(NO_LOAD));
	stage_beat("a", PEOPLE);
	record->info = STR("{\"signal_url\":\"ws://10.0.0.1:1/\"}");
	ck_assert(read_again("a")->why_not & WHY_NOT(ADDRESS));
	record->info = STR(GATED);
	ck_assert(!(read_again("a")->why_not & WHY_NOT(ADDRESS)));
}
END_TEST

START_TEST(the_same_length_is_not_the_same)
{
	struct node_record *record = stage_ready("a");

	record->info = STR("{\"signal_url\":\"ws://127.0.0.1:1/\",\"pool\":\"p1\"}");
	ck_assert_str_eq(read_again("a")->info.pool, "p1");
	record->info = STR("{\"signal_url\":\"ws://127.0.0.1:1/\",\"pool\":\"p2\"}");
	ck_assert_str_eq(read_again("a")->info.pool, "p2");
	stage_beat("a", "{\"cpu\":0.9}");
	ck_assert_double_eq_tol(score("a"), 0.9, NEAR);
}
END_TEST

START_TEST(a_node_that_goes_and_comes_back_is_read_anew)
{
	struct node_record *record = stage_ready("a");

	stage_ready("b");
	record->info = str_of(LARGE);
	stage_beat("a", PEOPLE);
	ck_assert_double_eq_tol(score("a"), 0.1, NEAR);
	stage_remove("a");
	read_again("b");
	ck_assert_ptr_null(fleet_find(stage.fleet, "a"));
	stage_add("a", "i1", LARGE); /* the same process and info; its load is not told yet */
	ck_assert_str_eq(read_again("a")->info.region, "r2");
	ck_assert(!stage_node("a")->load.has_participants && !stage_node("a")->score.known);
	stage_beat("a", PEOPLE);
	ck_assert_double_eq_tol(score("a"), 0.1, NEAR);
}
END_TEST

START_TEST(unreadable_is_said_until_it_is_readable_again)
{
	struct node_record *record = stage_ready("a");

	record->info = STR("{\"signal_url\":7}");
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(read_again("a")->why_not, WHY_NOT(UNREADABLE));
	ck_assert_ptr_null(stage_node("a")->info.signal_url);
	ck_assert_str_eq(stage_node("a")->info.pool, "default");
	record->info = STR(GATED);
	ck_assert_uint_eq(read_again("a")->why_not, 0);
	stage_beat("a", "{\"cpu\":\"much\"}");
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(read_again("a")->why_not, WHY_NOT(UNREADABLE) | WHY_NOT(NO_LOAD));
	record->info = str_of(LARGE); /* another info does not make the load readable */
	ck_assert_uint_eq(read_again("a")->why_not, WHY_NOT(UNREADABLE) | WHY_NOT(NO_LOAD));
	stage_beat("a", IDLE);
	ck_assert_uint_eq(read_again("a")->why_not, 0);
	ck_assert_double_eq_tol(stage_node("a")->score.value, 0.1, NEAR);
}
END_TEST

/* A record that the store cannot read is shown as it was, with the reason, next to those that it can. */
START_TEST(a_record_that_the_store_cannot_read_for_a_while)
{
	stage_ready("b")->info = str_of(SMALL);
	stage_ready("a")->info = str_of(LARGE);
	stage_beat("a", PEOPLE);
	stage_beat("b", PEOPLE);
	read_again("a");
	stage.unread[0] = "a";
	stage.nunread = 1;
	for (int i = 0; i < 2; i++) {
		ck_assert_uint_eq(read_again("a")->why_not, WHY_NOT(UNREADABLE));
		ck_assert_double_eq_tol(stage_node("a")->score.value, 0.1, NEAR);
		ck_assert_uint_eq(stage_node("b")->why_not, 0);
		ck_assert_double_eq_tol(stage_node("b")->score.value, 0.5, NEAR);
	}
	stage_record("a")->info = str_of(SMALL);
	stage.nunread = 0;
	ck_assert_uint_eq(read_again("a")->why_not, 0);
	ck_assert_double_eq_tol(stage_node("a")->score.value, 0.5, NEAR);
}
END_TEST

START_TEST(another_process_with_the_same_bytes_is_read_anew)
{
	struct node_record *record = stage_ready("a");

	record->info = str_of(LARGE);
	const char *region = read_again("a")->info.region;
	strcpy(record->incarnation, "i2");
	ck_assert_str_eq(read_again("a")->info.region, "r2");
	ck_assert_ptr_ne(stage_node("a")->info.region, region);
	*record->incarnation = '\0'; /* only a wish is left: what the record says is nobody's */
	ck_assert_ptr_null(read_again("a")->info.region);
	strcpy(record->incarnation, "i3");
	ck_assert_str_eq(read_again("a")->info.region, "r2");
}
END_TEST

/* Each record stays with its node, wherever it stands in the answer and whoever comes and goes before it. */
START_TEST(the_answers_order_does_not_matter)
{
	static const char *const ids[] = { "c", "a", "d", "b" };
	static const char *const loads[] = { "{\"cpu\":0.3}", "{\"cpu\":0.1}", "{\"cpu\":0.4}", "{\"cpu\":0.2}" };

	for (int i = 0; i < 4; i++) {
		stage_ready(ids[i]);
		stage_beat(ids[i], loads[i]);
	}
	for (int turn = 0; turn < 4; turn++) {
		read_again("a");
		for (int i = 0; i < 4; i++) {
			ck_assert_int_eq(fleet_view(stage.fleet)->nodes[i].record.id[0], 'a' + i);
			ck_assert_double_eq_tol(fleet_view(stage.fleet)->nodes[i].score.value, 0.1 * (i + 1), NEAR);
		}
		struct node_record first = stage.nodes[0];
		memmove(stage.nodes, stage.nodes + 1, 3 * sizeof(first));
		stage.nodes[3] = first;
	}
	stage_remove("b");
	stage_add("e", "i1", GATED); /* as many as before */
	stage_beat("e", "{\"cpu\":0.5}");
	ck_assert_double_eq_tol(score("e"), 0.5, NEAR);
	ck_assert_ptr_null(fleet_find(stage.fleet, "b"));
	ck_assert_double_eq_tol(stage_node("c")->score.value, 0.3, NEAR);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/fleet_said");
	TCase *tc = tcase_create("fleet_said");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, stage_open, stage_close);
	tcase_add_test(tc, the_same_bytes_are_read_once);
	tcase_add_test(tc, what_changes_is_read_and_judged_anew);
	tcase_add_test(tc, the_same_length_is_not_the_same);
	tcase_add_test(tc, a_node_that_goes_and_comes_back_is_read_anew);
	tcase_add_test(tc, unreadable_is_said_until_it_is_readable_again);
	tcase_add_test(tc, a_record_that_the_store_cannot_read_for_a_while);
	tcase_add_test(tc, another_process_with_the_same_bytes_is_read_anew);
	tcase_add_test(tc, the_answers_order_does_not_matter);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
