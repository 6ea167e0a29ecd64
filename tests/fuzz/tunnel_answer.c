/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The far side's answer to a handshake. Read from its beginning each time more has come: what was whole stays the same answer,
 * and what was garbage stays garbage, however much comes behind it.
 */
#include "base/arena.h"
#include "base/tunnel_private.h"
#include "tests/fuzz/fuzz.h"

/* The key of RFC 6455, 1.3, whose answer the corpus knows. */
static const struct offer offer = { .key = { "dGhlIHNhbXBsZSBub25jZQ==", 24 },
	                            .protocols = { "janus-protocol, chat", 20 },
	                            .extensions = { "permessage-deflate; client_max_window_bits", 42 } };

static void must_be_fit(const struct dial_answer *a, size_t used, size_t len)
{
	MUST(used <= len && a->status >= 101 && a->status <= 599 && a->status != 103 && a->body.len <= 16384);
	for (size_t i = 0; i < a->nheaders; i++)
		MUST(a->headers[i].name.len && !memchr(a->headers[i].value.at, '\n', a->headers[i].value.len));
	MUST(a->status != 101 || !a->body.len);
	MUST(a->status == 101 || a->status >= 200);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	size_t step = feed_byte(&in) % 61u + 1;
	struct arena arena = { 0 };
	struct dial_answer whole = { 0 }, part;
	size_t used = 0, part_used;
	char *all = copy_of(in, false);
	int got = dial_answer_read((struct str){ all, in.len }, false, &offer, &arena, &whole, &used), before = 0;

	if (got > 0)
		must_be_fit(&whole, used, in.len);
	for (size_t n = 0; n <= in.len; n = n + step > in.len && n < in.len ? in.len : n + step) {
		char *piece = copy_of((struct str){ all, n }, false);
		part = (struct dial_answer){ 0 };
		part_used = 0;
		int now = dial_answer_read((struct str){ piece, n }, n == in.len && got == 0, &offer, &arena, &part, &part_used);
		if (now > 0)
			must_be_fit(&part, part_used, n);
		MUST(before >= 0 || now < 0);
		MUST(before <= 0 || (now > 0 && part.status == whole.status && part_used == used));
		before = now;
		free(piece);
	}
	MUST(got == 0 || before == got);
	arena_reset(&arena);
	free(all);
	return 0;
}
