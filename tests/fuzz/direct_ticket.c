/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of a gate, which are read before anybody has vouched for them, and the grants beside them. The input is a ticket; or, after '!',
 * what stands in one, which gets a right tag here; or, after ',', what a request says of grants. A ticket with one right tag is the
 * very text that usher would write for what it says.
 */
#include "base/arena.h"
#include "base/base64.h"
#include "base/mac.h"
#include "base/wire/direct_ticket.h"
#include "base/wire/grant.h"
#include "base/wire/limits.h"
#include "base/wire/ticket.h"
#include "tests/fuzz/fuzz.h"

#define GRANT "AAECAwQFBgcICQoLDA0ODw"
#define TAG_KEPT 16

static void as_ticket(struct str text, bool made)
{
	struct arena arena = { 0 };
	struct direct_ticket ticket;
	struct buf again = { 0 };

	if (direct_ticket_read(text, &arena, &ticket)) {
		MUST(text.len <= DIRECT_TICKET_TEXT_MAX && room_valid(ticket.room.at, ticket.room.len));
		MUST(ticket.tags.len && ticket.tags.len % TAG_KEPT == 0 && ticket.holder.len <= TICKET_HOLDER_MAX);
		MUST(direct_ticket_genuine(&ticket, STR(GRANT)) || !made || ticket.tags.len > TAG_KEPT);
		direct_ticket_write(&ticket, STR(GRANT), &again);
		if (direct_ticket_genuine(&ticket, STR(GRANT)) && ticket.tags.len == TAG_KEPT)
			MUST(again.len == text.len && !memcmp(again.at, text.at, text.len));
	}
	buf_free(&again);
	arena_reset(&arena);
}

static void as_grants(struct str said)
{
	struct known_grants known = { 0 };

	MUST(!known_grants_match(&known, said));
	if (known_grants_replace(&known, said))
		MUST(said.len >= GRANT_LEN && known_grants_match(&known, said));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	unsigned char mac[MAC_BYTES];
	struct buf raw = { 0 }, text = { 0 };
	bool made = in.len && in.at[0] == '!', grants = in.len && in.at[0] == ',';

	if (made || grants)
		feed_byte(&in);
	if (made) {
		mac_sha256(STR(GRANT), in, mac);
		buf_add(&raw, in.at, in.len);
		buf_add(&raw, mac, TAG_KEPT);
		base64url_add(&text, raw.at, raw.len);
	} else {
		buf_add(&text, in.at, in.len);
	}
	char *copy = copy_of((struct str){ text.at, text.len }, false);
	if (grants)
		as_grants((struct str){ copy, text.len });
	else
		as_ticket((struct str){ copy, text.len }, made);
	free(copy);
	buf_free(&raw);
	buf_free(&text);
	return 0;
}
