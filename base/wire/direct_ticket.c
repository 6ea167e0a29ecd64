/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/direct_ticket.h"
#include "base/wire/limits.h"
#include "base/wire/pack.h"
#include "base/wire/ticket.h"

#define VERSION 1
#define KIND 'd'
#define TAG_BYTES 16

static struct str view(const struct buf *bytes)
{
	return (struct str){ bytes->at, bytes->len };
}

void direct_ticket_write(const struct direct_ticket *ticket, struct str grants, struct buf *out)
{
	struct buf said = { 0 }, tags = { 0 };
	unsigned char sum[MAC_BYTES];
	struct str grant;

	pack_number(&said, VERSION, 1);
	pack_number(&said, KIND, 1);
	pack_number(&said, ticket->ends_ms, 8);
	pack_number(&said, ticket->epoch, 8);
	pack_text(&said, ticket->room);
	pack_text(&said, (struct str){ ticket->holder.at, ticket->holder.len < TICKET_HOLDER_MAX ? ticket->holder.len : TICKET_HOLDER_MAX });
	while (str_cut(&grants, ',', &grant)) {
		mac_sha256(grant, view(&said), sum);
		buf_add(&tags, sum, TAG_BYTES);
	}
	buf_add(&said, tags.at, tags.len);
	base64url_add(out, said.at, said.len);
	buf_free(&said);
	buf_free(&tags);
}

bool direct_ticket_read(struct str text, struct arena *arena, struct direct_ticket *out)
{
	char *decoded = text.len <= DIRECT_TICKET_TEXT_MAX ? arena_alloc(arena, text.len + 1) : NULL;
	struct str bytes = { decoded, 0 };
	struct direct_ticket ticket = { 0 };

	if (!decoded || !base64url_read(text, decoded, &bytes.len))
		return false;
	struct str rest = bytes;
	uint64_t version, kind;
	if (!unpack_number(&rest, 1, &version) || !unpack_number(&rest, 1, &kind) || version != VERSION || kind != KIND)
		return false;
	if (!unpack_number(&rest, 8, &ticket.ends_ms) || !unpack_number(&rest, 8, &ticket.epoch) || !unpack_text(&rest, &ticket.room) ||
	    !unpack_text(&rest, &ticket.holder))
		return false;
	ticket.said = (struct str){ bytes.at, bytes.len - rest.len };
	ticket.tags = rest;
	*out = ticket;
	return rest.len && rest.len % TAG_BYTES == 0 && room_valid(ticket.room.at, ticket.room.len) && ticket.holder.len <= TICKET_HOLDER_MAX;
}

bool direct_ticket_genuine(const struct direct_ticket *ticket, struct str grant)
{
	unsigned char sum[MAC_BYTES];
	bool found = false;

	mac_sha256(grant, ticket->said, sum);
	for (size_t at = 0; at + TAG_BYTES <= ticket->tags.len; at += TAG_BYTES)
		found |= secret_eq(sum, ticket->tags.at + at, TAG_BYTES);
	return found;
}
