/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/ticket.h"

#define VERSION 1
#define FIXED 10 /* version, kind, end */
#define TAG_BYTES 16

static void add_number(struct buf *out, uint64_t n, unsigned bytes)
{
	while (bytes--) {
		unsigned char byte = (unsigned char)(n >> 8 * bytes);
		buf_add(out, &byte, 1);
	}
}

static void add_text(struct buf *out, struct str text)
{
	add_number(out, text.len, 2);
	buf_add(out, text.at, text.len);
}

void ticket_write(const struct ticket *ticket, const struct secret_keys *keys, struct buf *out)
{
	struct buf bytes = { 0 };
	unsigned char sum[MAC_BYTES];

	add_number(&bytes, VERSION, 1);
	add_number(&bytes, ticket->kind, 1);
	add_number(&bytes, ticket->ends_ms, 8);
	add_text(&bytes, ticket->room);
	add_text(&bytes, (struct str){ ticket->holder.at, ticket->holder.len < TICKET_HOLDER_MAX ? ticket->holder.len : TICKET_HOLDER_MAX });
	mac_sha256(secret_key_of(keys, 0), (struct str){ bytes.at, bytes.len }, sum);
	buf_add(&bytes, sum, TAG_BYTES);
	base64url_add(out, bytes.at, bytes.len);
	buf_free(&bytes);
}

static bool is_genuine(struct str bytes, const struct secret_keys *keys)
{
	struct str said = { bytes.at, bytes.len - TAG_BYTES };
	unsigned char sum[MAC_BYTES];

	for (size_t i = 0; i < keys->count; i++) {
		mac_sha256(secret_key_of(keys, i), said, sum);
		if (secret_eq(sum, bytes.at + said.len, TAG_BYTES))
			return true;
	}
	return false;
}

static uint64_t take_number(const char **at, unsigned bytes)
{
	uint64_t n = 0;

	while (bytes--)
		n = n << 8 | (unsigned char)*(*at)++;
	return n;
}

static bool take_text(const char **at, const char *end, struct str *out)
{
	if (end - *at < 2)
		return false;
	size_t len = (size_t)take_number(at, 2);
	*out = (struct str){ *at, len };
	if (len > (size_t)(end - *at))
		return false;
	*at += len;
	return true;
}

bool ticket_read(struct str text, enum ticket_kind kind, const struct secret_keys *keys, uint64_t now_ms, struct arena *arena,
                 struct ticket *out, const char **why)
{
	char *decoded = text.len <= TICKET_TEXT_MAX ? arena_alloc(arena, text.len + 1) : NULL;
	struct str bytes = { decoded, 0 };

	*why = "the ticket is malformed";
	if (!decoded || !base64url_read(text, decoded, &bytes.len) || bytes.len < FIXED + 4 + TAG_BYTES || bytes.at[0] != VERSION)
		return false;
	*why = "the ticket is not one of this fleet's";
	if (!is_genuine(bytes, keys))
		return false;
	*why = "the ticket is for another use";
	if ((unsigned char)bytes.at[1] != kind)
		return false;
	const char *at = bytes.at + 2, *end = bytes.at + bytes.len - TAG_BYTES;
	struct ticket ticket = { .kind = kind, .ends_ms = take_number(&at, 8) };
	*why = "the ticket is malformed";
	if (!take_text(&at, end, &ticket.room) || !take_text(&at, end, &ticket.holder) || at != end)
		return false;
	*why = "the ticket is over: join again";
	if (ticket.ends_ms <= now_ms)
		return false;
	*out = ticket;
	return true;
}
