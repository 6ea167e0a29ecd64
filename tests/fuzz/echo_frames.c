/* SPDX-License-Identifier: Apache-2.0 */
/* The echo of a client's WebSocket, in one piece and in pieces: the same bytes, and frames that a client can read. */
#include "base/ws.h"
#include "client/agent/echo_frames.h"
#include "tests/fuzz/fuzz.h"

static void count(void *arg, const struct ws_frame *f)
{
	(void)arg;
	MUST(f->opcode != 9 && !f->rsv);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	size_t step = feed_byte(&in) % 61u + 1;
	struct echo_frames whole = { 0 }, pieces = { 0 };
	struct buf out = { 0 }, out_pieces = { 0 };
	struct ws_reader reader = { .max = 1 << 20 };
	char *copy = copy_of(in, false), *again = copy_of(in, false);
	bool good = echo_frames(&whole, copy, in.len, &out), good_pieces = true;

	for (size_t at = 0; at < in.len && good_pieces; at += step)
		good_pieces = echo_frames(&pieces, again + at, in.len - at < step ? in.len - at : step, &out_pieces);
	MUST(good == good_pieces && out.len == out_pieces.len && echo_at_boundary(&whole) == echo_at_boundary(&pieces));
	MUST(!out.len || !memcmp(out.at, out_pieces.at, out.len));
	if (out.len)
		ws_read(&reader, out.at, out.len, count, NULL);
	MUST(out.len <= in.len + WS_CLOSE_MAX);
	buf_free(&reader.pending);
	buf_free(&out);
	buf_free(&out_pieces);
	free(copy);
	free(again);
	return 0;
}
