/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/pack.h"
#include "base/wire/ticket.h"

#define VERSION 1
#define FIXED 10 /* version, kind, end */
#define TAG_BYTES 16

void ticket_write(const struct ticket *ticket, const struct secret_keys *keys, struct buf *out)
{
	struct buf bytes = { 0 };
	unsigned char sum[MAC_BYTES];

	pack_number(&bytes, VERSION, 1);
	pack_number(&bytes, ticket->kind, 1);
	pack_number(&bytes, ticket->ends_ms, 8);
	pack_text(&bytes, ticket->room);
	pack_text(&bytes, (struct str){ ticket->holder.at, ticket->holder.len < TICKET_HOLDER_MAX ? ticket->holder.len : TICKET_HOLDER_MAX });
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
	struct str rest = { bytes.at + 2, bytes.len - 2 - TAG_BYTES };
	struct ticket ticket = { .kind = kind };
	*why = "the ticket is malformed";
	if (!unpack_number(&rest, 8, &ticket.ends_ms) || !unpack_text(&rest, &ticket.room) || !unpack_text(&rest, &ticket.holder) || rest.len ||
	    ticket.holder.len > TICKET_HOLDER_MAX)
		return false;
	*why = "the ticket is over: join again";
	if (ticket.ends_ms <= now_ms)
		return false;
	*out = ticket;
	return true;
}
