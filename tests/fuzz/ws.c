/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream of frames, read three ways: the follower in one piece, the follower in pieces as the first bytes say, and the reader
 * of whole messages. They must agree on where frames end.
 */
#include "base/ws.h"
#include "tests/fuzz/fuzz.h"

#define PIECES 8
#define FRAME_MAX 4096

struct seen {
	size_t frames;
	bool close;
};

static void count(void *arg, const struct ws_frame *f)
{
	struct seen *seen = arg;

	seen->frames++;
	seen->close = seen->close || f->opcode == 8;
	MUST(f->payload.len <= FRAME_MAX);
	for (size_t i = 0; i < f->payload.len; i++) /* each byte is there to be read */
		MUST((f->payload.at[i] ^ f->payload.at[i]) == 0);
}

static void must_be_equal(const struct ws_track *a, const struct ws_track *b)
{
	MUST(a->left == b->left && a->have == b->have && a->need == b->need && a->close_seen == b->close_seen);
	MUST(!memcmp(a->head, b->head, a->have));
}

/* Each piece's boundary is found where following byte by byte finds it. */
static void must_find_boundary(const struct ws_track *from, const char *bytes, size_t len)
{
	size_t at = ws_to_boundary(from, bytes, len), i;
	struct ws_track slow = *from;

	for (i = 0; i < len && !ws_at_boundary(&slow); i++)
		ws_track(&slow, bytes + i, 1);
	MUST(at == i);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	uint8_t sizes[PIECES];
	struct ws_track whole = { 0 }, pieces = { 0 };
	struct ws_reader reader = { .max = FRAME_MAX }, in_pieces = { .max = FRAME_MAX };
	struct seen seen = { 0 }, seen_in_pieces = { 0 };
	bool fine, fine_in_pieces = true;

	for (int i = 0; i < PIECES; i++)
		sizes[i] = feed_byte(&in);
	char *text = copy_of(in, false);
	ws_track(&whole, text, in.len);
	fine = ws_read(&reader, text, in.len, count, &seen);
	for (size_t at = 0, i = 0; at < in.len; i++) {
		size_t n = sizes[i % PIECES] % 64u + 1;
		n = n < in.len - at ? n : in.len - at;
		must_find_boundary(&pieces, text + at, n);
		ws_track(&pieces, text + at, n);
		fine_in_pieces = fine_in_pieces && ws_read(&in_pieces, text + at, n, count, &seen_in_pieces);
		at += n;
	}
	must_be_equal(&whole, &pieces);
	MUST(fine == fine_in_pieces && seen.frames == seen_in_pieces.frames);
	if (fine) {
		MUST(seen.close ? whole.close_seen : true);
		MUST(ws_at_boundary(&whole) == !reader.pending.len);
	}
	buf_free(&reader.pending);
	buf_free(&in_pieces.pending);
	free(text);
	return 0;
}
