/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/ws.h"

/* Frames of all three length forms, masked and not; `ends` are the boundaries. */
static size_t sample(struct buf *out, size_t *ends)
{
	static const size_t sizes[] = { 0, 1, 125, 126, 300, 65535, 65536, 70000 };
	static char payload[70000];
	size_t n = 0;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		ws_frame_out(out, 2, true, (struct str){ payload, sizes[i] });
		ends[n++] = out->len;
	}
	buf_add(out, "\x81\x83" "mask" "abc", 9);
	ends[n++] = out->len;
	return n;
}

START_TEST(tracker_finds_every_boundary_whatever_the_pieces)
{
	struct buf all = { 0 };
	size_t ends[16], n = sample(&all, ends), piece = (size_t)_i;
	struct ws_track t = { 0 };

	ck_assert(ws_at_boundary(&t));
	for (size_t at = 0, next = 0; at < all.len;) {
		size_t len = piece < all.len - at ? piece : all.len - at;
		bool inside = !ws_at_boundary(&t);
		size_t to = ws_to_boundary(&t, all.at + at, len);
		/* libcheck tells its parent of each assertion that holds: too slow for every byte. */
		if (to != (!inside ? 0 : ends[next] - at < len ? ends[next] - at : len))
			ck_abort_msg("at %zu: to_boundary says %zu", at, to);
		ws_track(&t, all.at + at, len);
		at += len;
		while (next < n && ends[next] <= at)
			next++;
		if (ws_at_boundary(&t) != (next > 0 && ends[next - 1] == at))
			ck_abort_msg("at %zu: wrong about the boundary", at);
	}
	ck_assert(!t.close_seen);
	buf_free(&all);
}
END_TEST

struct seen {
	unsigned frames;
	uint8_t opcode;
	struct buf payload;
};

static void on_frame(void *arg, const struct ws_frame *f)
{
	struct seen *s = arg;

	s->frames++;
	s->opcode = f->opcode;
	buf_add(&s->payload, f->payload.at, f->payload.len);
}

START_TEST(close_frame_is_read_back)
{
	char frame[WS_CLOSE_MAX], longer[300];
	struct ws_reader r = { .max = 125 };
	struct seen s = { 0 };
	struct ws_track t = { 0 };

	memset(longer, 'x', sizeof(longer));
	longer[299] = '\0';
	for (int masked = 0; masked < 2; masked++) {
		size_t len = ws_close_frame(frame, 1012, "room_moved;retry=250", masked);
		ck_assert_int_eq(!!(frame[1] & 0x80), masked);
		ws_track(&t, frame, len);
		ck_assert(ws_at_boundary(&t) && t.close_seen);
		ck_assert(ws_read(&r, frame, len, on_frame, &s));
		ck_assert_int_eq(s.opcode, 8);
		ck_assert_uint_eq(s.payload.len, 22);
		ck_assert_mem_eq(s.payload.at, "\x03\xf4room_moved;retry=250", 22);
		s.payload.len = 0;
		ck_assert_uint_eq(ws_close_frame(frame, 1000, longer, masked), (size_t)(2 + 125 + (masked ? 4 : 0)));
	}
	ck_assert_uint_eq(s.frames, 2);
	buf_free(&s.payload);
	buf_free(&r.pending);
}
END_TEST

START_TEST(accept_key_is_that_of_the_rfc)
{
	char out[29];

	ws_accept_key(STR("dGhlIHNhbXBsZSBub25jZQ=="), out);
	ck_assert_str_eq(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}
END_TEST

START_TEST(reader_takes_any_pieces_and_refuses_large_frames)
{
	struct buf all = { 0 };
	size_t ends[16], n = sample(&all, ends);
	struct ws_reader r = { .max = 100000 };
	struct seen s = { 0 };

	for (size_t at = 0; at < all.len; at += 777)
		ck_assert(ws_read(&r, all.at + at, all.len - at < 777 ? all.len - at : 777, on_frame, &s));
	ck_assert_uint_eq(s.frames, n);
	ck_assert_uint_eq(r.pending.len, 0);
	r.max = 1000;
	ck_assert(!ws_read(&r, all.at, all.len, on_frame, &s));
	buf_free(&all);
	buf_free(&s.payload);
	buf_free(&r.pending);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ws");
	TCase *c = tcase_create("ws");
	SRunner *runner = srunner_create(suite);

	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, tracker_finds_every_boundary_whatever_the_pieces, 1, 24);
	tcase_add_test(c, close_frame_is_read_back);
	tcase_add_test(c, accept_key_is_that_of_the_rfc);
	tcase_add_test(c, reader_takes_any_pieces_and_refuses_large_frames);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
