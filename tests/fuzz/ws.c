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

/* The follower, fed piece after piece: how many bytes it has let pass, those that waited for their head among them. */
static size_t follow(struct ws_track *t, const struct ws_rules *rules, struct str in, const uint8_t *sizes)
{
	size_t passed = 0;

	for (size_t at = 0, i = 0, n; at < in.len; at += n, i++) {
		uint8_t waited = t->have;
		n = sizes ? sizes[i % PIECES] % 64u + 1 : in.len;
		n = n < in.len - at ? n : in.len - at;
		size_t pass = ws_track(t, rules, in.at + at, n);
		MUST(pass <= n);
		passed += pass ? waited + pass : 0;
		MUST(passed <= at + n);
		if (t->fault)
			break;
		MUST(passed + t->have == at + n);
	}
	return passed;
}

static void must_agree(const struct ws_rules *rules, struct str in, const uint8_t *sizes, struct ws_track *whole)
{
	struct ws_track pieces = { 0 };

	MUST(follow(whole, rules, in, NULL) == follow(&pieces, rules, in, sizes));
	MUST(whole->left == pieces.left && whole->have == pieces.have && whole->close_seen == pieces.close_seen);
	MUST(whole->fault == pieces.fault && whole->message == pieces.message && whole->fragmented == pieces.fragmented);
	MUST(!memcmp(whole->head, pieces.head, whole->have));
	MUST(!whole->fault || ws_at_boundary(whole));
	MUST(whole->message <= rules->message_bytes || !rules->frame_bytes);
}

/* What is not judged is only counted, so the reader of messages ends where the follower does. */
static void must_end_alike(struct str in, const uint8_t *sizes)
{
	struct ws_rules none = { 0 };
	struct ws_track track = { 0 };
	struct ws_reader reader = { .max = FRAME_MAX }, in_pieces = { .max = FRAME_MAX };
	struct seen seen = { 0 }, seen_in_pieces = { 0 };
	bool fine = ws_read(&reader, in.at, in.len, count, &seen), fine_in_pieces = true;

	for (size_t at = 0, i = 0, n; at < in.len; at += n, i++) {
		n = sizes[i % PIECES] % 64u + 1;
		n = n < in.len - at ? n : in.len - at;
		fine_in_pieces = fine_in_pieces && ws_read(&in_pieces, in.at + at, n, count, &seen_in_pieces);
	}
	must_agree(&none, in, sizes, &track);
	MUST(fine == fine_in_pieces && seen.frames == seen_in_pieces.frames);
	MUST(!fine || ((!track.left && !track.have) == !reader.pending.len && (!seen.close || track.close_seen)));
	buf_free(&reader.pending);
	buf_free(&in_pieces.pending);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	uint8_t sizes[PIECES], flags;
	struct ws_track track = { 0 };
	struct ws_rules rules;

	for (int i = 0; i < PIECES; i++)
		sizes[i] = feed_byte(&in);
	flags = sizes[0];
	rules = (struct ws_rules){ .frame_bytes = 16u + sizes[1], .message_bytes = 16u + sizes[2], .masked = flags & 1, .extended = flags & 2 };
	char *text = copy_of(in, false);
	in.at = text;
	must_agree(&rules, in, sizes, &track);
	must_end_alike(in, sizes);
	free(text);
	return 0;
}
