/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets. The input is a ticket, or, after '!', what stands in one, which gets a right end here; and, after '#', a file of keys.
 * A ticket that is taken is the very text that usher would write for what it says.
 */
#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/ticket.h"
#include "base/wire/limits.h"
#include "tests/fuzz/fuzz.h"

#define NOW_MS UINT64_C(1800000000000)
#define MAC_KEPT 16

static const struct secret_keys keys = { 2, { { "0123456789abcdef0123456789abcdef", 32 }, { "fedcba9876543210fedcba9876543210", 32 } } };

static void as_keys(struct str in)
{
	struct secret_keys read = { 0 };
	const char *why = NULL;

	if (secret_keys_parse(in, &read, &why)) {
		MUST(read.count > 0 && read.count <= SECRET_KEYS_MAX);
		for (size_t i = 0; i < read.count; i++)
			MUST(secret_key_of(&read, i).len >= SECRET_KEY_BYTES && secret_key_of(&read, i).len <= 64);
	} else {
		MUST(why && *why);
	}
}

static void as_ticket(struct str text, enum ticket_kind kind)
{
	struct arena arena = { 0 };
	struct ticket ticket = { 0 };
	struct buf again = { 0 };
	const char *why = NULL;

	if (ticket_read(text, kind, &keys, NOW_MS, &arena, &ticket, &why)) {
		MUST(ticket.kind == kind && ticket.ends_ms > NOW_MS);
		MUST(ticket.holder.len <= TICKET_HOLDER_MAX && text.len <= TICKET_TEXT_MAX);
		ticket_write(&ticket, &keys, &again);
		MUST(again.len == text.len && !memcmp(again.at, text.at, text.len));
	} else {
		MUST(why && *why);
	}
	buf_free(&again);
	arena_reset(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const enum ticket_kind kinds[] = { TICKET_JOIN, TICKET_SESSION, TICKET_ROUTER };
	struct str in = { (const char *)bytes, len };
	unsigned char mac[MAC_BYTES];
	struct buf raw = { 0 }, text = { 0 };

	if (in.len && in.at[0] == '#') {
		char *copy = copy_of(in, false);
		as_keys((struct str){ copy, in.len });
		free(copy);
		return 0;
	}
	if (in.len && in.at[0] == '!') {
		feed_byte(&in);
		mac_sha256(secret_key_of(&keys, 0), in, mac);
		buf_add(&raw, in.at, in.len);
		buf_add(&raw, mac, MAC_KEPT);
		base64url_add(&text, raw.at, raw.len);
	} else {
		buf_add(&text, in.at, in.len);
	}
	char *copy = copy_of((struct str){ text.at, text.len }, false);
	for (int i = 0; i < 3; i++)
		as_ticket((struct str){ copy, text.len }, kinds[i]);
	free(copy);
	buf_free(&raw);
	buf_free(&text);
	return 0;
}
