/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets: short words of a router to whoever shares its keys, carried by somebody else. Each is for one use and one room, ends by
 * the wall clock, and cannot be changed: version, kind, end, room and holder, then the first 16 bytes of their HMAC-SHA256, all in
 * base64url.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/str.h"

#define TICKET_HOLDER_MAX 128 /* bytes */
#define TICKET_TEXT_MAX 576   /* characters: a room of 256 bytes, and the longest holder */

enum ticket_kind {
	TICKET_JOIN = 'j',    /* opens a room's signaling: in the URL of a join's answer */
	TICKET_SESSION = 's', /* goes on with it by plain HTTP: a cookie */
	TICKET_ROUTER = 'r',  /* another router asks what we know of a room */
};
struct arena;
struct ticket {
	enum ticket_kind kind;
	uint64_t ends_ms; /* unix time */
	struct str room, holder;
};
void ticket_write(const struct ticket *, const struct secret_keys *, struct buf *out); /* by the first key */
/* Of this kind and not over. The views land in the arena. False: *why in static words. */
bool ticket_read(struct str text, enum ticket_kind, const struct secret_keys *, uint64_t now_ms, struct arena *, struct ticket *out, const char **why);
