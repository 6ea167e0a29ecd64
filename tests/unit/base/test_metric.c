/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"

enum { PLAIN, ONE, TWO, GAUGE, TIME, TIMES };
static const struct metric_def defs[] = {
	[PLAIN] = { "plain_total", METRIC_COUNTER, { NULL, NULL }, "A plain one" },
	[ONE] = { "one_total", METRIC_COUNTER, { "a", NULL }, "With a label" },
	[TWO] = { "two_total", METRIC_COUNTER, { "a", "b" }, "With two" },
	[GAUGE] = { "gauge", METRIC_GAUGE, { "a", "b" }, "A gauge" },
	[TIME] = { "time_seconds", METRIC_HISTOGRAM, { NULL, NULL }, "A time" },
	[TIMES] = { "times_seconds", METRIC_HISTOGRAM, { "a", NULL }, "Times" },
};
#define COUNT (sizeof(defs) / sizeof(*defs))

static struct metrics *metrics;
static struct sheet *sheet;
static struct buf text;

static void setup(void)
{
	metrics = metrics_new(defs, COUNT);
	sheet = metrics_sheet(metrics);
}

static void teardown(void)
{
	metrics_free(metrics);
	buf_free(&text);
}

static const char *expose(void)
{
	text.len = 0;
	metrics_expose(metrics, &text);
	return text.at;
}

static bool has_line(const char *line)
{
	const char *at = strstr(text.at, line);

	for (; at; at = strstr(at + 1, line))
		if ((at == text.at || at[-1] == '\n') && at[strlen(line)] == '\n')
			return true;
	return false;
}

static unsigned count(const char *word)
{
	unsigned n = 0;

	for (const char *at = text.at; (at = strstr(at, word)); at++)
		n++;
	return n;
}

START_TEST(each_metric_has_help_and_type_once)
{
	expose();
	ck_assert(has_line("# HELP plain_total A plain one") && has_line("# TYPE plain_total counter"));
	ck_assert(has_line("# TYPE gauge gauge") && has_line("# TYPE time_seconds histogram"));
	ck_assert_uint_eq(count("# TYPE "), COUNT);
	ck_assert_uint_eq(count("\n"), 2 * COUNT); /* nothing counted, nothing said */
}
END_TEST

START_TEST(sheets_are_added_up)
{
	struct sheet *other = metrics_sheet(metrics);

	metric_add(sheet, PLAIN, NULL, NULL, 3);
	metric_add(other, PLAIN, NULL, NULL, 4);
	metric_add(sheet, ONE, "x", NULL, 1);
	metric_add(other, ONE, "y", NULL, 2);
	metric_add(sheet, TWO, "x", "1", UINT64_C(1) << 60);
	metric_add(other, TWO, "x", "1", 1);
	metric_add(other, TWO, "x", "2", 0);
	metric_set(sheet, GAUGE, "x", "1", 1.5);
	metric_set(other, GAUGE, "x", "1", 2);
	metric_set(other, GAUGE, "x", "1", 2.25); /* the last word of each */
	metric_set(sheet, GAUGE, "y", "1", 1795328740704.0);
	expose();
	ck_assert(has_line("plain_total 7") && has_line("one_total{a=\"x\"} 1") && has_line("one_total{a=\"y\"} 2"));
	ck_assert(has_line("two_total{a=\"x\",b=\"1\"} 1152921504606846977") && has_line("two_total{a=\"x\",b=\"2\"} 0"));
	ck_assert(has_line("gauge{a=\"x\",b=\"1\"} 3.75") && has_line("gauge{a=\"y\",b=\"1\"} 1795328740704"));
}
END_TEST

START_TEST(a_dropped_gauge_is_silent_until_set_again)
{
	metric_set(sheet, GAUGE, "x", "1", 5);
	metric_drop(sheet, GAUGE, "x", "1");
	metric_drop(sheet, GAUGE, "never", "set");
	expose();
	ck_assert_uint_eq(count("\ngauge{"), 0);
	metric_set(sheet, GAUGE, "x", "1", 6);
	expose();
	ck_assert(has_line("gauge{a=\"x\",b=\"1\"} 6"));
}
END_TEST

START_TEST(labels_cannot_break_the_page)
{
	char longest[200];

	metric_add(sheet, ONE, "q\"b\\n\nx", NULL, 1);
	metric_add(sheet, ONE, "", NULL, 2);
	metric_add(sheet, ONE, "\xff", NULL, 3);
	memset(longest, 'l', sizeof(longest));
	longest[199] = '\0';
	metric_add(sheet, TWO, longest, "x", 1);
	metric_add(sheet, TWO, longest, "x", 1);
	longest[100] = 'm'; /* differs behind the cut: the same series */
	metric_add(sheet, TWO, longest, "x", 1);
	memcpy(longest + 61, "\xe2\x82\xac", 3); /* the cut falls within a character */
	metric_add(sheet, TWO, longest, "y", 1);
	expose();
	ck_assert(has_line("one_total{a=\"q\\\"b\\\\n\\nx\"} 1") && has_line("one_total{a=\"\"} 2"));
	ck_assert(utf8_valid(text.at, text.len));
	longest[61] = '\0';
	ck_assert_ptr_nonnull(strstr(strstr(text.at, longest), "l\",b=\"y\"} 1\n"));
	ck_assert_uint_eq(count("\ntwo_total{"), 2);
	ck_assert_uint_eq(count(",b=\"x\"} 3\n"), 1);
}
END_TEST

START_TEST(series_are_bounded)
{
	char label[32];

	for (int i = 0; i < 2000; i++) {
		snprintf(label, sizeof(label), "v%d", i);
		metric_add(sheet, ONE, label, NULL, 1);
		metric_add(sheet, TWO, "other", label, 1); /* a value that is called as the overflow */
		metric_add(sheet, TWO, label, "z", 1);
		metric_time(sheet, TIMES, label, NULL, 1);
	}
	expose();
	ck_assert_uint_eq(count("\none_total{"), METRIC_SERIES_MAX + 1);
	ck_assert_uint_eq(count("\ntwo_total{"), METRIC_SERIES_MAX + 1);
	ck_assert(has_line("one_total{a=\"other\"} 1744") && has_line("one_total{a=\"v255\"} 1"));
	ck_assert(has_line("two_total{a=\"other\",b=\"other\"} 3744"));
	ck_assert(has_line("times_seconds_count{a=\"other\"} 1744"));
	metric_add(sheet, ONE, "v7", NULL, 9); /* who was there first goes on */
	expose();
	ck_assert(has_line("one_total{a=\"v7\"} 10"));
}
END_TEST

START_TEST(histograms_are_cumulative)
{
	static const uint64_t ns[] = { 0, 1000, 1001, 4000, 4001, 1000000000, 16777216000, 16777216001, 3600000000000 };
	struct sheet *other = metrics_sheet(metrics);
	const char *at;
	unsigned long last = 0;

	for (size_t i = 0; i < sizeof(ns) / sizeof(*ns); i++)
		metric_time(i & 1 ? sheet : other, TIME, NULL, NULL, ns[i]);
	expose();
	ck_assert(has_line("time_seconds_bucket{le=\"1e-06\"} 2") && has_line("time_seconds_bucket{le=\"4e-06\"} 4"));
	ck_assert(has_line("time_seconds_bucket{le=\"1.6e-05\"} 5") && has_line("time_seconds_bucket{le=\"0.262144\"} 5"));
	ck_assert(has_line("time_seconds_bucket{le=\"1.04858\"} 6") && has_line("time_seconds_bucket{le=\"16.7772\"} 7"));
	ck_assert(has_line("time_seconds_bucket{le=\"+Inf\"} 9") && has_line("time_seconds_count 9"));
	ck_assert_uint_eq(count("time_seconds_bucket{"), 14);
	ck_assert_ptr_nonnull(at = strstr(text.at, "time_seconds_sum "));
	ck_assert(strtod(at + 17, NULL) > 3634.55 && strtod(at + 17, NULL) < 3634.56);
	for (at = text.at; (at = strstr(at, "time_seconds_bucket{")); at++) {
		unsigned long below = strtoul(strchr(at, ' ') + 1, NULL, 10);
		ck_assert_uint_ge(below, last);
		last = below;
	}
	metric_time(sheet, TIMES, "x", NULL, 5000);
	expose();
	ck_assert(has_line("times_seconds_bucket{a=\"x\",le=\"1.6e-05\"} 1") &&
	          has_line("times_seconds_sum{a=\"x\"} 5e-06"));
}
END_TEST

START_TEST(the_reference_is_printed_from_the_table)
{
	metrics_print_reference(defs, COUNT, &text);
	ck_assert(has_line("| `plain_total` | counter |  | A plain one |") &&
	          has_line("| `two_total` | counter | a, b | With two |"));
	ck_assert(has_line("| `times_seconds` | histogram | a | Times |"));
}
END_TEST

/* -- threads ----------------------------------------------------------------------------------------------------------------- */
#define ROUNDS 20000
static _Atomic int running;

static void *work(void *arg)
{
	char label[16];

	for (unsigned i = 0; i < ROUNDS; i++) {
		snprintf(label, sizeof(label), "v%u", i % 300);
		metric_add(arg, ONE, label, NULL, 1);
		metric_time(arg, TIMES, label, NULL, i);
		metric_set(arg, GAUGE, label, "x", i);
	}
	atomic_fetch_sub(&running, 1);
	return NULL;
}

START_TEST(a_scrape_may_come_at_any_time)
{
	struct sheet *sheets[] = { sheet, metrics_sheet(metrics), metrics_sheet(metrics) };
	pthread_t threads[3];
	unsigned long sum = 0;

	atomic_store(&running, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, work, sheets[i]), 0);
	while (atomic_load(&running))
		expose();
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	expose();
	for (const char *at = text.at; (at = strstr(at, "\none_total{")); at++)
		sum += strtoul(strchr(at, ' ') + 1, NULL, 10);
	ck_assert_uint_eq(sum, 3 * ROUNDS);
}
END_TEST

static void tell_many(void *arg, struct metric_out *out)
{
	char label[16];

	for (int i = 0; i < *(int *)arg; i++) {
		snprintf(label, sizeof(label), "n%d", i);
		metric_tell(out, label, "a\"b", i);
	}
}

START_TEST(told_at_scrape_as_many_as_there_are)
{
	static const struct metric_def told[] = { { "told", METRIC_GAUGE, { "node", "class" }, "x" } };
	struct metrics *m = metrics_new(told, 1);
	struct buf out = { 0 };
	int count = 1000;

	metrics_sheet(m);
	metrics_at_scrape(m, 0, tell_many, &count);
	metrics_expose(m, &out);
	ck_assert_ptr_nonnull(strstr(out.at, "told{node=\"n999\",class=\"a\\\"b\"} 999\n"));
	ck_assert_ptr_null(strstr(out.at, "other"));
	buf_free(&out);
	out = (struct buf){ 0 };
	count = 1;
	metrics_expose(m, &out);
	ck_assert_ptr_null(strstr(out.at, "n999"));
	buf_free(&out);
	metrics_free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("metric");
	TCase *t = tcase_create("metric");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 30);
	tcase_add_test(t, each_metric_has_help_and_type_once);
	tcase_add_test(t, sheets_are_added_up);
	tcase_add_test(t, a_dropped_gauge_is_silent_until_set_again);
	tcase_add_test(t, labels_cannot_break_the_page);
	tcase_add_test(t, series_are_bounded);
	tcase_add_test(t, histograms_are_cumulative);
	tcase_add_test(t, the_reference_is_printed_from_the_table);
	tcase_add_test(t, a_scrape_may_come_at_any_time);
	tcase_add_test(t, told_at_scrape_as_many_as_there_are);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
