/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "client/agent/echo_frames.h"

static struct echo_frames frames;
static struct buf in, out, expected;

static void setup(void)
{
	frames = (struct echo_frames){ 0 };
}

static void teardown(void)
{
	buf_free(&in);
	buf_free(&out);
	buf_free(&expected);
}

static void add_frame(struct buf *to, uint8_t first, const char *payload, size_t len, bool masked)
{
	static const unsigned char mask[4] = { 0x11, 0x80, 0xff, 0x00 };
	unsigned char head[10] = { first };
	size_t n = 2;

	if (len < 126) {
		head[1] = (unsigned char)len;
	} else if (len < 65536) {
		head[1] = 126;
		head[2] = (unsigned char)(len >> 8);
		head[3] = (unsigned char)len;
		n = 4;
	} else {
		head[1] = 127;
		for (int i = 0; i < 8; i++)
			head[2 + i] = (unsigned char)((uint64_t)len >> (56 - 8 * i));
		n = 10;
	}
	head[1] |= masked ? 0x80 : 0;
	buf_add(to, head, n);
	if (masked)
		buf_add(to, mask, 4);
	for (size_t i = 0; i < len; i++) {
		char c = masked ? (char)((unsigned char)payload[i] ^ mask[i % 4]) : payload[i];
		buf_add(to, &c, 1);
	}
}

static void says(uint8_t first, const char *payload, size_t len, int echoed)
{
	add_frame(&in, first, payload, len, true);
	if (echoed >= 0)
		add_frame(&expected, (uint8_t)echoed, payload, len, false);
}

/* In pieces of this size; the frames must not depend on it. */
static bool feed(size_t piece)
{
	bool good = true;

	for (size_t at = 0; at < in.len && good; at += piece)
		good = echo_frames(&frames, in.at + at, in.len - at < piece ? in.len - at : piece, &out);
	return good;
}

static void same(void)
{
	ck_assert_uint_eq(out.len, expected.len);
	ck_assert_mem_eq(out.at, expected.at, out.len);
}

static const size_t pieces[] = { 1, 2, 3, 7, 1000, 1u << 20 };

START_TEST(messages_of_all_kinds_come_back)
{
	char *big = calloc(1, 70000);

	for (size_t i = 0; i < 70000; i++)
		big[i] = (char)(i * 31);
	says(0x81, "text", 4, 0x81);
	says(0x82, "", 0, 0x82);
	says(0x02, big, 125, 0x02); /* a fragment, */
	says(0x89, "beat", 4, 0x8a); /* a ping between, */
	says(0x00, big, 126, 0x00);
	says(0x80, big, 70000, 0x80); /* and the last one */
	says(0x8a, "unasked", 7, -1);
	says(0x88, "\x10\xe1so long", 9, 0x88);
	says(0x81, "after the close", 15, -1);
	ck_assert(feed(pieces[_i]));
	same();
	ck_assert(frames.closed);
	free(big);
}
END_TEST

START_TEST(nothing_is_collected)
{
	/* Of a frame that says it has a terabyte, the first byte comes back at once. */
	char head[] = "\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00x";

	ck_assert(echo_frames(&frames, head, 15, &out));
	ck_assert_uint_eq(out.len, 11);
	ck_assert(!echo_at_boundary(&frames));
}
END_TEST

static const struct {
	const char *bytes;
	size_t len;
} bad[] = {
	{ "\x81\x04text", 6 },                                  /* not masked */
	{ "\xc1\x84\0\0\0\0text", 10 },                          /* compressed, which was not agreed on */
	{ "\x83\x80\0\0\0\0", 6 },                               /* no such opcode */
	{ "\x09\x80\0\0\0\0", 6 },                               /* a ping in fragments */
	{ "\x89\xfe\x00\x7e\0\0\0\0", 8 },                       /* a ping of 126 bytes */
	{ "\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14 },            /* a length below zero */
};

START_TEST(what_is_no_websocket_is_refused)
{
	buf_add(&in, bad[_i].bytes, bad[_i].len);
	ck_assert(!feed(1));
	ck_assert(frames.closed);
	ck_assert_uint_gt(out.len, 4);
	ck_assert_mem_eq(out.at, "\x88", 1);
	ck_assert_mem_eq(out.at + 2, "\x03\xea", 2);
	ck_assert(echo_frames(&frames, in.at, in.len, &out)); /* and nothing more is said */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("echo_frames");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_loop_test(all, messages_of_all_kinds_come_back, 0, (int)(sizeof(pieces) / sizeof(*pieces)));
	tcase_add_test(all, nothing_is_collected);
	tcase_add_loop_test(all, what_is_no_websocket_is_refused, 0, (int)(sizeof(bad) / sizeof(*bad)));
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
