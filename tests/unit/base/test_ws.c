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

static const struct ws_rules followed = { 0 };

/* What ws_track() lets pass of one more piece goes to the end of `passed`. */
static void pass(struct ws_track *t, const struct ws_rules *rules, const char *bytes, size_t len, struct buf *passed)
{
	char waited[14];
	size_t nwaited = t->have;

	memcpy(waited, t->head, nwaited);
	size_t n = ws_track(t, rules, bytes, len);
	if (n)
		buf_add(passed, waited, nwaited);
	buf_add(passed, bytes, n);
}

static size_t head_len(const struct buf *all, size_t at)
{
	uint8_t len = (uint8_t)all->at[at + 1];

	return (size_t)2 + ((len & 0x7f) == 126 ? 2 : (len & 0x7f) == 127 ? 8 : 0) + (len & 0x80 ? 4 : 0);
}

START_TEST(tracker_finds_every_boundary_whatever_the_pieces)
{
	struct buf all = { 0 }, passed = { 0 };
	size_t ends[16], n = sample(&all, ends), piece = (size_t)_i;
	struct ws_track t = { 0 };

	ck_assert(ws_at_boundary(&t));
	for (size_t at = 0, next = 0; at < all.len;) {
		size_t len = piece < all.len - at ? piece : all.len - at;
		bool inside = !ws_at_boundary(&t);
		size_t to = ws_to_boundary(&t, len);
		/* libcheck tells its parent of each assertion that holds: too slow for every byte. */
		if (to != (!inside ? 0 : ends[next] - at < len ? ends[next] - at : len))
			ck_abort_msg("at %zu: to_boundary says %zu", at, to);
		pass(&t, &followed, all.at + at, len, &passed);
		at += len;
		while (next < n && ends[next] <= at)
			next++;
		size_t begun = next ? ends[next - 1] : 0;
		bool in_head = next < n && at > begun && at < begun + head_len(&all, begun);
		if (passed.len != (in_head ? begun : at))
			ck_abort_msg("at %zu: %zu bytes have passed", at, passed.len);
		if (ws_at_boundary(&t) != (begun == at || in_head))
			ck_abort_msg("at %zu: wrong about the boundary", at);
	}
	ck_assert(!t.close_seen && passed.len == all.len && !memcmp(passed.at, all.at, all.len));
	buf_free(&all);
	buf_free(&passed);
}
END_TEST

/* -- rules --------------------------------------------------------------------------------------------------------- */
#define FRAME 1000
#define MESSAGE 2500
#define MORE 0x100 /* a continuation that is not the last: 0x00 */
struct piece { /* of the stream: a frame, its payload zeros */
	unsigned first; /* byte; 0: no piece */
	bool masked;
	uint64_t len;
	bool head_only; /* as its payload will never come */
};
static const struct {
	const char *name;
	enum ws_fault fault;
	bool from_client, extended;
	struct piece pieces[6]; /* the last one is the offence, if there is one */
} rules_rows[] = {
	{ "text, binary, ping, pong, close", WS_FINE, false, false, { { 0x81, false, 5 }, { 0x82, false, FRAME }, { 0x89, false, 125 }, { 0x8a, false, 0 }, { 0x88, false, 2 } } },
	{ "masked from a client", WS_FINE, true, false, { { 0x81, true, 5 }, { 0x82, true, 300 }, { 0x88, true, 2 } } },
	{ "fragments with a ping between", WS_FINE, false, false, { { 0x01, false, 900 }, { 0x89, false, 4 }, { MORE, false, 900 }, { 0x80, false, 700 }, { 0x81, false, 1 } } },
	{ "two whole messages of the limit", WS_FINE, false, false, { { 0x01, false, 900 }, { MORE, false, 900 }, { 0x80, false, 700 }, { 0x02, false, 1000 }, { MORE, false, 1000 }, { 0x80, false, 500 } } },
	{ "a frame of one byte over", WS_TOO_BIG, false, false, { { 0x81, false, 5 }, { 0x82, false, FRAME + 1, true } } },
	{ "a frame of 2^62", WS_TOO_BIG, false, false, { { 0x82, false, (uint64_t)1 << 62, true } } },
	{ "a frame of 2^64 - 1", WS_TOO_BIG, true, false, { { 0x82, true, UINT64_MAX, true } } },
	{ "fragments of one byte over", WS_TOO_BIG, false, false, { { 0x01, false, 1000 }, { MORE, false, 1000 }, { 0x80, false, 501, true } } },
	{ "fragments without end", WS_TOO_BIG, true, false, { { 0x01, true, 1000 }, { MORE, true, 1000 }, { MORE, true, 500 }, { MORE, true, 0 }, { MORE, true, 1, true } } },
	{ "a ping of 126", WS_PROTOCOL, false, false, { { 0x89, false, 126, true } } },
	{ "a close of 70000", WS_PROTOCOL, false, false, { { 0x88, false, 70000, true } } },
	{ "a fragmented ping", WS_PROTOCOL, false, false, { { 0x09, false, 1, true } } },
	{ "opcode 3", WS_PROTOCOL, false, false, { { 0x83, false, 1, true } } },
	{ "opcode 7", WS_PROTOCOL, false, false, { { 0x87, false, 1, true } } },
	{ "opcode 11", WS_PROTOCOL, false, false, { { 0x8b, false, 1, true } } },
	{ "opcode 15", WS_PROTOCOL, true, false, { { 0x8f, true, 1, true } } },
	{ "RSV1 that nobody agreed on", WS_PROTOCOL, false, false, { { 0xc1, false, 1, true } } },
	{ "RSV2 that nobody agreed on", WS_PROTOCOL, false, false, { { 0xa1, false, 1, true } } },
	{ "RSV3 that nobody agreed on", WS_PROTOCOL, true, false, { { 0x91, true, 1, true } } },
	{ "RSV1 of an extension", WS_FINE, false, true, { { 0xc1, false, 1 } } },
	{ "a client that does not mask", WS_PROTOCOL, true, false, { { 0x81, true, 1 }, { 0x81, false, 1, true } } },
	{ "a server that masks", WS_PROTOCOL, false, false, { { 0x81, false, 1 }, { 0x81, true, 1, true } } },
	{ "a continuation of nothing", WS_PROTOCOL, false, false, { { 0x80, false, 1, true } } },
	{ "a continuation behind the end", WS_PROTOCOL, false, false, { { 0x01, false, 1 }, { 0x80, false, 1 }, { 0x80, false, 1, true } } },
	{ "a message within a message", WS_PROTOCOL, false, false, { { 0x01, false, 1 }, { 0x81, false, 1, true } } },
};
#define RULES_ROWS (int)(sizeof(rules_rows) / sizeof(*rules_rows))

static void add_piece(struct buf *out, const struct piece *p)
{
	static const char zeros[2000];
	uint8_t head[14] = { (uint8_t)p->first, (uint8_t)(p->masked ? 0x80 : 0) };
	int bytes = p->len < 126 ? 0 : p->len < 65536 ? 2 : 8;

	head[1] = (uint8_t)(head[1] | (bytes == 0 ? p->len : bytes == 2 ? 126 : 127));
	for (int i = 0; i < bytes; i++)
		head[2 + i] = (uint8_t)(p->len >> (8 * (bytes - 1 - i)));
	buf_add(out, head, (size_t)(2 + bytes + (p->masked ? 4 : 0)));
	if (!p->head_only)
		buf_add(out, zeros, (size_t)p->len);
}

/* The same in two pieces, cut at `cut`; in single bytes with cut 0. */
static void judge(int row, const struct buf *all, size_t good, size_t cut)
{
	const struct ws_rules rules = { FRAME, MESSAGE, rules_rows[row].from_client, rules_rows[row].extended };
	struct ws_track t = { 0 };
	struct buf passed = { 0 };

	for (size_t at = 0, len; at < all->len; at += len) {
		len = !cut ? 1 : at ? all->len - cut : cut;
		pass(&t, &rules, all->at + at, len, &passed);
	}
	if (t.fault != rules_rows[row].fault || passed.len != good || memcmp(passed.at, all->at, good) || !ws_at_boundary(&t))
		ck_abort_msg("%s, cut at %zu: fault %d, %zu of %zu passed", rules_rows[row].name, cut, t.fault, passed.len, good);
	buf_free(&passed);
}

START_TEST(rules_hold_wherever_a_head_is_cut)
{
	struct buf all = { 0 };
	size_t good = 0;

	for (const struct piece *p = rules_rows[_i].pieces; p < rules_rows[_i].pieces + 6 && p->first; p++) {
		good = all.len;
		add_piece(&all, p);
	}
	if (rules_rows[_i].fault)
		buf_add(&all, "more that must not pass", 23);
	else
		good = all.len;
	for (size_t cut = 0; cut < all.len; cut++)
		judge(_i, &all, good, cut);
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
		ck_assert_uint_eq(ws_track(&t, &followed, frame, len), len);
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
	tcase_add_loop_test(c, rules_hold_wherever_a_head_is_cut, 0, RULES_ROWS);
	tcase_add_test(c, close_frame_is_read_back);
	tcase_add_test(c, accept_key_is_that_of_the_rfc);
	tcase_add_test(c, reader_takes_any_pieces_and_refuses_large_frames);
	suite_add_tcase(suite, c);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
