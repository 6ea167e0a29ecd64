/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ticket for the gate itself. Its keys are the room's grants, so the gate, which has them, can tell a right one, and a node that was
 * taken over can make them for the rooms that it was given and for no other. Who signs has perhaps several grants of the room, one by
 * each of its keys, and the gate knows perhaps one of those: so there is a tag by each, and one that is right will do.
 *
 * Version, kind, end, epoch, room and holder, then the first 16 bytes of their HMAC-SHA256 by each grant, all in base64url.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define DIRECT_TICKET_TEXT_MAX 768 /* characters: a room of 256 bytes, the longest holder, eight tags */

struct arena;
struct direct_ticket {
	uint64_t ends_ms; /* unix time */
	uint64_t epoch;
	struct str room, holder;
	struct str said, tags; /* as read */
};
void direct_ticket_write(const struct direct_ticket *, struct str grants, struct buf *out); /* grants: with commas */
/* What it says, which nobody has vouched for yet; in the arena. False: malformed. */
bool direct_ticket_read(struct str text, struct arena *, struct direct_ticket *out);
bool direct_ticket_genuine(const struct direct_ticket *, struct str grant);
