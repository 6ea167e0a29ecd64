/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

static int ends[2];
static struct buf text;

static void open_pipe(enum log_level level, enum log_format format)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(log_open(ends[1], level, format), 0);
}

static void read_all(void)
{
	char bytes[65536];
	ssize_t n;

	while ((n = read(ends[0], bytes, sizeof(bytes))) > 0)
		buf_add(&text, bytes, (size_t)n);
	ck_assert_int_eq(n, 0);
}

/* Writes what is queued, and gives all that was written. */
static const char *close_and_read(void)
{
	log_close();
	close(ends[1]);
	read_all();
	close(ends[0]);
	buf_add(&text, "", 0);
	return text.at;
}

static void setup(void)
{
	log_set_rate(0);
}

static void teardown(void)
{
	buf_free(&text);
}

START_TEST(logfmt_is_bare_where_it_can_be)
{
	open_pipe(LOG_INFO, LOG_LOGFMT);
	log_info("room_placed", "room", LOG_S("standup"), "epoch", LOG_U(UINT64_MAX), "delta", LOG_I(-5), "load",
	         LOG_F(0.25), "words", LOG_S("two words"),
	         "none", LOG_S(NULL), "empty", LOG_S(""), "view", LOG_B("abcdef", 3));
	const char *line = close_and_read();
	ck_assert_int_eq(strncmp(line, "t=20", 4), 0);
	ck_assert_str_eq(line + 26,
	                 " level=info event=room_placed room=standup epoch=18446744073709551615 delta=-5 load=0.25 words=\"two words\" view=abc\n");
}
END_TEST

START_TEST(json_is_one_object_a_line)
{
	open_pipe(LOG_INFO, LOG_JSON);
	log_warn("a", "s", LOG_S("x"), "n", LOG_U(1), "f", LOG_F(0.5));
	log_error("b", "none", LOG_S(NULL));
	const char *line = close_and_read();
	ck_assert_int_eq(strncmp(line, "{\"time\":\"20", 11), 0);
	ck_assert_str_eq(strstr(line, ",\"level\""), strchr(line, ','));
	ck_assert_ptr_nonnull(strstr(line,
	                             "Z\",\"level\":\"warn\",\"event\":\"a\",\"s\":\"x\",\"n\":1,\"f\":0.5}\n{\"time\":\""));
	ck_assert_ptr_nonnull(strstr(line, "Z\",\"level\":\"error\",\"event\":\"b\"}\n"));
}
END_TEST

static const struct {
	const char *value, *logfmt, *json;
} values[] = {
	{ "a\nb", "\"a\\u000ab\"", "\"a\\u000ab\"" }, { "a\" x=\"y", "\"a\\\" x=\\\"y\"", "\"a\\\" x=\\\"y\"" },
	{ "a\\b", "\"a\\\\b\"", "\"a\\\\b\"" },
	{ "a=b", "\"a=b\"", "\"a=b\"" }, { "\x1b[31m", "\"\\u001b[31m\"", "\"\\u001b[31m\"" },
	{ "\x7f", "\"\\u007f\"", "\"\\u007f\"" },
	{ "gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"", "\"gr\xc3\xbc\xc3\x9f\"" },
	{ "\xff\xc3", "\"\\u00ff\\u00c3\"", "\"\\u00ff\\u00c3\"" },
	{ "\xc2\x9b" "31m", "\"\\u009b31m\"", "\"\\u009b31m\"" }, { "\xc2\xa0", "\"\xc2\xa0\"", "\"\xc2\xa0\"" },
	{ "/v1/rooms?x", "/v1/rooms?x", "\"/v1/rooms?x\"" },
};

START_TEST(no_value_forges_a_line_or_a_field)
{
	struct buf wanted = { 0 };

	open_pipe(LOG_INFO, _i & 1 ? LOG_JSON : LOG_LOGFMT);
	log_info("e", "v", LOG_S(values[_i / 2].value));
	const char *line = close_and_read();
	buf_printf(&wanted, _i & 1 ? ",\"event\":\"e\",\"v\":%s}\n" : " event=e v=%s\n",
	           _i & 1 ? values[_i / 2].json : values[_i / 2].logfmt);
	ck_assert_uint_gt(strlen(line), wanted.len);
	ck_assert_str_eq(line + strlen(line) - wanted.len, wanted.at);
	buf_free(&wanted);
}
END_TEST

START_TEST(what_is_no_number_is_null)
{
	open_pipe(LOG_INFO, LOG_JSON);
	log_info("e", "a", LOG_F(NAN), "b", LOG_F(INFINITY), "c", LOG_F(-INFINITY));
	ck_assert_ptr_nonnull(strstr(close_and_read(), "\"a\":null,\"b\":null,\"c\":null}\n"));
}
END_TEST

/* Whatever is put in, each line is JSON, and ends. */
START_TEST(long_lines_are_cut_but_whole)
{
	static const char *const fills[] = { "x", "\x01", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x8e\x89", "\x80", "\"" };
	static const struct json_shape empty = { NULL, 0, 1 };
	struct buf value = { 0 };
	struct arena arena = { 0 };
	const char *fault = NULL;
	char nothing;
	unsigned lines = 0;

	open_pipe(LOG_INFO, LOG_JSON);
	buf_adds(&value, _i & 1 ? "a" : "");
	while (value.len < 600)
		buf_adds(&value, fills[_i / 2]);
	for (size_t len = 480; len < 560; len += 7)
		log_info("e", "1", LOG_B(value.at, len), "2", LOG_S(value.at), "3", LOG_S(value.at), "4",
		         LOG_S(value.at), "5", LOG_B(value.at, len + 3),
		         "6", LOG_B(value.at, len), "7", LOG_S(value.at), "8", LOG_S(value.at));
	struct str rest = str_of(close_and_read()), line;
	while (str_cut(&rest, '\n', &line)) {
		ck_assert_uint_le(line.len, 4096);
		ck_assert_msg(json_read(line, &empty, &arena, &nothing, &fault) == 0, "%s: %.*s", fault, STR_ARG(line));
		lines++;
	}
	ck_assert_uint_eq(lines, 12);
	buf_free(&value);
	arena_reset(&arena);
}
END_TEST

/* The end of a line falls within a character, where it has many that are escaped before. */
START_TEST(full_lines_end_with_a_character)
{
	char full[512], mixed[513] = "";

	memset(full, 1, sizeof(full));
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
	ck_assert_int_eq(log_open(ends[1], LOG_INFO, LOG_JSON), 0);
	for (size_t controls = 60; controls < 160; controls++) {
		memset(mixed, 0, sizeof(mixed));
		memset(mixed, 1, controls);
		for (size_t i = controls; i + 3 < sizeof(mixed); i += 3)
			memcpy(mixed + i, "\xe2\x82\xac", 3);
		log_info("e", "pad", LOG_B("xxx", 1 + controls % 3), "full", LOG_B(full, sizeof(full)), "mixed",
		         LOG_S(mixed));
	}
	close_and_read();
	ck_assert_uint_gt(text.len, 100 * 4000);
	ck_assert(utf8_valid(text.at, text.len));
}
END_TEST

START_TEST(levels_are_kept)
{
	open_pipe(LOG_WARN, LOG_LOGFMT);
	ck_assert(!log_wants(LOG_INFO) && log_wants(LOG_WARN));
	log_debug("no");
	log_info("no");
	log_line(LOG_INFO, "no", NULL);
	log_set_level(LOG_DEBUG);
	log_debug("yes");
	log_set_level(LOG_ERROR);
	log_warn("no");
	log_error("yes");
	const char *lines = close_and_read();
	ck_assert_ptr_null(strstr(lines, "no"));
	ck_assert_ptr_nonnull(strstr(lines, "level=debug event=yes\n"));
	ck_assert_ptr_nonnull(strstr(lines, "level=error event=yes\n"));
}
END_TEST

START_TEST(a_stuck_reader_costs_lines_and_not_time)
{
	uint64_t before = log_dropped();
	unsigned lines = 0;

	open_pipe(LOG_INFO, LOG_LOGFMT);
	for (unsigned i = 0; i < 30000; i++) /* 100 bytes each: three rings */
		log_info("flood", "i", LOG_U(i), "fill", LOG_S("0123456789012345678901234567890123456789"));
	uint64_t dropped = log_dropped() - before;
	ck_assert_uint_gt(dropped, 10000);
	pthread_t closer;
	ck_assert_int_eq(pthread_create(&closer, NULL, (void *(*)(void *))(void (*)(void))log_close, NULL), 0);
	char last = 0, bytes[65536];
	for (uint64_t got = 0; got < 30000 - dropped; lines = (unsigned)got) {
		ssize_t n = read(ends[0], bytes, sizeof(bytes));
		ck_assert_int_gt(n, 0);
		for (ssize_t i = 0; i < n; i++)
			got += bytes[i] == '\n';
		last = bytes[n - 1];
	}
	ck_assert_uint_eq(lines, 30000 - dropped); /* not one lost that was not counted */
	ck_assert_int_eq(last, '\n');
	pthread_join(closer, NULL);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(a_reader_that_never_reads_does_not_hold_up_the_end)
{
	open_pipe(LOG_INFO, LOG_LOGFMT);
	for (unsigned i = 0; i < 3000; i++)
		log_info("flood", "fill", LOG_S("0123456789012345678901234567890123456789"));
	log_close(); /* CLOSE_MS, not for ever */
	ck_assert_int_eq(log_open(ends[1], LOG_INFO, LOG_LOGFMT), -1);
	/* The writer is left behind, with its descriptor; the process ends. */
}
END_TEST

/* A full disk: what cannot be written is counted, by lines. */
START_TEST(lines_that_a_full_disk_refuses_are_counted)
{
	uint64_t before = log_dropped();
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(log_open(fd, LOG_INFO, LOG_JSON), 0);
	for (int i = 0; i < 7; i++)
		log_info("lost", "n", LOG_I(i));
	log_close();
	close(fd);
	ck_assert_uint_eq(log_dropped() - before, 7);
}
END_TEST

START_TEST(a_reader_that_has_gone_kills_nobody)
{
	open_pipe(LOG_INFO, LOG_LOGFMT);
	close(ends[0]);
	for (unsigned i = 0; i < 100; i++)
		log_info("nobody_reads");
	log_close();
	close(ends[1]);
}
END_TEST

START_TEST(a_non_blocking_descriptor_loses_nothing)
{
	open_pipe(LOG_INFO, LOG_LOGFMT);
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, 4096);
	for (unsigned i = 0; i < 1000; i++)
		log_info("line", "i", LOG_U(i));
	pthread_t closer;
	ck_assert_int_eq(pthread_create(&closer, NULL, (void *(*)(void *))(void (*)(void))log_close, NULL), 0);
	while (!strstr(text.at ? text.at : "", "i=999\n")) {
		char bytes[1000];
		ssize_t n = read(ends[0], bytes, sizeof(bytes));
		ck_assert_int_gt(n, 0);
		buf_add(&text, bytes, (size_t)n);
	}
	pthread_join(closer, NULL);
	unsigned lines = 0;
	for (size_t i = 0; i < text.len; i++)
		lines += text.at[i] == '\n';
	ck_assert_uint_eq(lines, 1000);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

/* -- threads ----------------------------------------------------------------------------------------------------------------- */
static void *write_many(void *arg)
{
	for (unsigned i = 0; i < 500; i++)
		log_info("many", "thread", LOG_S(arg), "i", LOG_U(i));
	return NULL;
}

START_TEST(lines_of_threads_do_not_mix)
{
	static char *const names[] = { "a", "b", "c", "d" };
	pthread_t threads[4];
	unsigned counts[4] = { 0 };
	struct str rest, line;

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	fcntl(ends[1], F_SETPIPE_SZ, 1 << 20); /* holds them all */
	ck_assert_int_eq(log_open(ends[1], LOG_INFO, LOG_LOGFMT), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	rest = str_of(close_and_read());
	while (str_cut(&rest, '\n', &line)) {
		char name;
		unsigned i;
		ck_assert_msg(sscanf(line.at + 26, " level=info event=many thread=%c i=%u", &name, &i) == 2, "%.*s",
		              STR_ARG(line));
		ck_assert_uint_eq(counts[name - 'a']++, i); /* each thread's in order */
	}
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(counts[i], 500);
}
END_TEST

/* -- floods ------------------------------------------------------------------------------------------------------------------ */
static void *read_on(void *arg)
{
	(void)arg;
	read_all();
	return NULL;
}

struct flood {
	uint64_t lines, told, others, changes;
};

static struct flood flood_of(unsigned n)
{
	struct flood seen = { 0 };
	struct str rest, line;
	pthread_t reader;

	open_pipe(LOG_INFO, LOG_LOGFMT);
	ck_assert_int_eq(pthread_create(&reader, NULL, read_on, NULL), 0);
	for (unsigned i = 0; i < n; i++)
		log_info("request_refused", "i", LOG_U(i));
	log_warn("something_else");
	for (unsigned i = 0; i < 700; i++)
		log_line(LOG_WARN, "node_state", "node", LOG_U(i), NULL);
	log_close();
	close(ends[1]);
	pthread_join(reader, NULL);
	close(ends[0]);
	rest = (struct str){ text.at, text.len };
	while (str_cut(&rest, '\n', &line)) {
		unsigned long long count;
		const char *at = line.at + 26;
		seen.lines += !strncmp(at, " level=info event=request_refused ", 34);
		seen.others += !strncmp(at, " level=warn event=something_else\n", 33);
		seen.changes += !strncmp(at, " level=warn event=node_state ", 29);
		if (sscanf(at, " level=warn event=log_suppressed of=request_refused count=%llu", &count) == 1)
			seen.told += count;
	}
	return seen;
}

/* What is held back is counted to the last one; other events, and changes of state, do not suffer for it. */
START_TEST(a_flood_of_one_event_is_bounded)
{
	struct timespec begun, ended;

	log_set_rate(100);
	uint64_t before = log_suppressed();
	clock_gettime(CLOCK_MONOTONIC, &begun);
	struct flood seen = flood_of(1000000);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	uint64_t seconds = (uint64_t)(ended.tv_sec - begun.tv_sec) + 1;
	ck_assert_uint_ge(seen.lines, 500);
	ck_assert_uint_le(seen.lines, 500 + 100 * seconds);
	ck_assert_uint_eq(seen.lines + seen.told, 1000000);
	ck_assert_uint_eq(log_suppressed() - before, seen.told);
	ck_assert_uint_eq(seen.others, 1);
	ck_assert_uint_eq(seen.changes, 700);
}
END_TEST

START_TEST(a_rate_under_one_lets_one_through)
{
	log_set_rate(0.01);
	open_pipe(LOG_INFO, LOG_LOGFMT);
	for (unsigned i = 0; i < 100; i++)
		log_info("seldom", "i", LOG_U(i));
	const char *lines = close_and_read();
	ck_assert_ptr_nonnull(strstr(lines, " event=seldom i=0\n"));
	ck_assert_ptr_null(strstr(lines, " event=seldom i=1\n"));
	unsigned long told = 0; /* in one line or more, as the writer looks in between */
	static const char line[] = " event=log_suppressed of=seldom count=";
	for (const char *at = lines; (at = strstr(at, line)); at++)
		told += strtoul(at + sizeof(line) - 1, NULL, 10);
	ck_assert_uint_eq(told, 99);
}
END_TEST

START_TEST(no_limit_holds_nothing_back)
{
	struct flood seen = flood_of(3000);

	ck_assert_uint_eq(seen.lines, 3000);
	ck_assert_uint_eq(seen.told, 0);
}
END_TEST

/* -- what clients send -------------------------------------------------------------------------------------------------------- */
static void add_hostile(struct buf *to)
{
	static const char *const pieces[] = { "\n", "\r\n", "\x1b[2J", "\x1b]0;x\x07", "\"", "\\", "=", " ", "\x7f", "\xc2\x85", "\xe2\x80\xa8",
		                              "\xe2\x82", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf0\x9f\x92\xa9", "}", ",\"event\":\"x\"", "\t", "\b",
		                              "level=error event=x", "a", "room" };

	for (unsigned n = 0; n < 40; n++)
		buf_adds(to, pieces[random_u64() % (sizeof(pieces) / sizeof(*pieces))]);
}

/* A room's name, a user agent, a request's id: whatever it is, it is one line, which says what it says and nothing else. */
START_TEST(hostile_values_are_one_line_that_can_be_read)
{
	struct arena arena = { 0 };

	for (unsigned i = 0; i < 300; i++) {
		struct buf value = { 0 };
		add_hostile(&value);
		open_pipe(LOG_INFO, _i ? LOG_JSON : LOG_LOGFMT);
		log_info("request_refused", "room", LOG_B(value.at, value.len), "last", LOG_S("end"));
		const char *line = close_and_read();
		ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
		for (const char *c = line; c[1]; c++)
			ck_assert_msg((unsigned char)*c >= ' ' && *c != 0x7f && !((unsigned char)*c == 0xc2 && (unsigned char)c[1] < 0xa0), "%s", line);
		ck_assert(utf8_valid(line, strlen(line)));
		if (_i) {
			ck_assert(json_member((struct str){ line, strlen(line) - 1 }, "last", &arena).len);
			ck_assert(str_is(json_member((struct str){ line, strlen(line) - 1 }, "event", &arena), "\"request_refused\""));
		} else {
			ck_assert_str_eq(line + strlen(line) - 10, " last=end\n");
		}
		buf_free(&value);
		buf_free(&text);
		arena_reset(&arena);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *t = tcase_create("log");

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 20);
	tcase_add_test(t, logfmt_is_bare_where_it_can_be);
	tcase_add_test(t, json_is_one_object_a_line);
	tcase_add_loop_test(t, no_value_forges_a_line_or_a_field, 0, 2 * (int)(sizeof(values) / sizeof(*values)));
	tcase_add_test(t, what_is_no_number_is_null);
	tcase_add_loop_test(t, long_lines_are_cut_but_whole, 0, 14);
	tcase_add_test(t, full_lines_end_with_a_character);
	tcase_add_test(t, levels_are_kept);
	tcase_add_test(t, a_stuck_reader_costs_lines_and_not_time);
	tcase_add_test(t, a_reader_that_never_reads_does_not_hold_up_the_end);
	tcase_add_test(t, lines_that_a_full_disk_refuses_are_counted);
	tcase_add_test(t, a_reader_that_has_gone_kills_nobody);
	tcase_add_test(t, a_non_blocking_descriptor_loses_nothing);
	tcase_add_test(t, lines_of_threads_do_not_mix);
	tcase_add_test(t, a_flood_of_one_event_is_bounded);
	tcase_add_test(t, a_rate_under_one_lets_one_through);
	tcase_add_test(t, no_limit_holds_nothing_back);
	tcase_add_loop_test(t, hostile_values_are_one_line_that_can_be_read, 0, 2);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
