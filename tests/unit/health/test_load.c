/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say is read as it was written, and the score is the fullest of what was said. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "health/load.h"

static struct arena arena;

static int read_load(const char *text, struct load *out, const char **fault)
{
	*out = (struct load){ 0 };
	return json_read(str_of(text), &load_shape, &arena, out, fault);
}

static struct score scored(const char *text, const struct capacity *capacity)
{
	struct load load;
	struct score score;
	const char *fault = NULL;

	ck_assert_msg(read_load(text, &load, &fault) == 0, "%s", fault);
	score_of(&load, capacity, &score);
	return score;
}

START_TEST(the_fullest_resource_is_the_score)
{
	struct capacity capacity = { .bandwidth_mbps = 1000, .rooms = 100, .participants = 500 };
	struct score score = scored("{\"cpu\":0.2,\"memory\":0.3,\"bandwidth_out_mbps\":700,\"rooms\":10,\"participants\":100}", &capacity);

	ck_assert(score.known);
	ck_assert_double_eq_tol(score.value, 0.7, 1e-9);
	ck_assert_int_eq(score.fullest, SCORE_OUT);
	ck_assert_double_eq_tol(score.term[SCORE_PARTICIPANTS], 0.2, 1e-9);
	ck_assert(score.term[SCORE_STRESS] < 0);
}
END_TEST

START_TEST(jicofo_454_scores_are_not_clamped)
{
	struct capacity none = { 0 };

	ck_assert(scored("{\"cpu\":1.4}", &none).value > scored("{\"cpu\":1.2}", &none).value);
}
END_TEST

START_TEST(what_says_too_little_is_not_known)
{
	struct capacity none = { 0 }, some = { .participants = 10 };

	ck_assert(!scored("{}", &none).known);
	ck_assert(!scored("{\"memory\":0.5,\"rooms\":3}", &none).known);
	ck_assert(!scored("{\"participants\":3}", &none).known); /* of how many? */
	ck_assert(scored("{\"participants\":3}", &some).known);
	ck_assert(scored("{\"cpu\":0}", &none).known);
}
END_TEST

START_TEST(colyseus_649_nonsense_is_refused_by_name)
{
	static const char *const bad[] = { "{\"cpu\":-0.1}", "{\"cpu\":null}", "{\"cpu\":1e10}", "{\"cpu\":\"1\"}" };
	struct load load;
	const char *fault = NULL;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		ck_assert_int_lt(read_load(bad[i], &load, &fault), 0);
		ck_assert_msg(strstr(fault, "cpu") != NULL, "%s", fault);
	}
}
END_TEST

START_TEST(info_survives_the_way_through_the_registry)
{
	static const char text[] = "{\"signal_url\":\"ws://127.0.0.1:1/x\",\"region\":\"eu\",\"labels\":{\"gpu\":\"yes\"},"
				   "\"capacity\":{\"rooms\":40},\"fences\":\"gate\"}";
	struct node_info info = { 0 }, again = { 0 };
	const char *fault = NULL;
	struct buf out = { 0 };

	ck_assert_int_eq(json_read(STR(text), &node_info_shape, &arena, &info, &fault), 0);
	node_info_write(&info, &out);
	ck_assert_int_eq(json_read((struct str){ out.at, out.len }, &node_info_shape, &arena, &again, &fault), 0);
	buf_free(&out);
	ck_assert_str_eq(again.signal_url, "ws://127.0.0.1:1/x");
	ck_assert_str_eq(((struct json_pair *)again.labels.items)->value, "yes");
	ck_assert_double_eq(again.capacity.rooms, 40);
	ck_assert_int_eq(again.fences, FENCES_GATE);
	ck_assert_ptr_null(again.control_url);
}
END_TEST

START_TEST(load_survives_too)
{
	struct load load, again;
	const char *fault = NULL;
	struct buf out = { 0 };

	ck_assert_int_eq(read_load("{\"cpu\":0,\"participants\":12}", &load, &fault), 0);
	load_write(&load, &out);
	ck_assert_int_eq(read_load(out.at, &again, &fault), 0);
	buf_free(&out);
	ck_assert(again.has_cpu && again.has_participants && !again.has_memory);
	ck_assert_double_eq(again.participants, 12);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("health/load");
	TCase *tc = tcase_create("load");

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, the_fullest_resource_is_the_score);
	tcase_add_test(tc, jicofo_454_scores_are_not_clamped);
	tcase_add_test(tc, what_says_too_little_is_not_known);
	tcase_add_test(tc, colyseus_649_nonsense_is_refused_by_name);
	tcase_add_test(tc, info_survives_the_way_through_the_registry);
	tcase_add_test(tc, load_survives_too);
	SRunner *runner = srunner_create(suite);
	srunner_set_fork_status(runner, CK_NOFORK);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	arena_reset(&arena);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
