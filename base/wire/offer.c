/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/arena.h"
#include "base/wire/offer.h"

#define PROTOCOL "usher.ticket."

static bool begins(struct str text, struct str with)
{
	return text.len > with.len && !memcmp(text.at, with.at, with.len);
}

struct str offer_piece(const struct exchange *x, const char *header, char separator, struct str with)
{
	size_t n;
	const struct header *all = exchange_headers(x, &n);

	for (size_t i = 0; i < n; i++) {
		struct str rest = all[i].value, piece;
		while (str_is_nocase(all[i].name, header) && str_cut(&rest, separator, &piece))
			if (begins(str_trim(piece), with))
				return str_trim(piece);
	}
	return (struct str){ 0 };
}

struct str offer_protocol(const struct exchange *x)
{
	return offer_piece(x, "Sec-WebSocket-Protocol", ',', STR(PROTOCOL));
}

bool offer_ticket(const struct exchange *x, struct str *ticket)
{
	struct str offered = offer_protocol(x);

	if (query_get(exchange_query(x), "ticket", ticket))
		return true;
	if (offered.at)
		*ticket = (struct str){ offered.at + strlen(PROTOCOL), offered.len - strlen(PROTOCOL) };
	return offered.at != NULL;
}

/* -- what goes on ------------------------------------------------------------------------------------------------------------ */
static struct str other_protocols(struct arena *arena, struct str offered)
{
	char *kept = arena_alloc(arena, offered.len + 1);
	struct str rest = offered, piece;
	size_t len = 0;

	while (str_cut(&rest, ',', &piece)) {
		piece = str_trim(piece);
		if (!piece.len || begins(piece, STR(PROTOCOL)))
			continue;
		if (len)
			kept[len++] = ',';
		memcpy(kept + len, piece.at, piece.len);
		len += piece.len;
	}
	return (struct str){ kept, len };
}

void offer_hide(struct arena *arena, struct header *headers, size_t *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		bool offers = str_is_nocase(headers[i].name, "Sec-WebSocket-Protocol");
		if (offers)
			headers[i].value = other_protocols(arena, headers[i].value);
		if (!offers || headers[i].value.len)
			headers[kept++] = headers[i];
	}
	*n = kept;
}

static bool is_ticket(struct str piece)
{
	const char *equals = memchr(piece.at, '=', piece.len);
	struct str name = { piece.at, equals ? (size_t)(equals - piece.at) : piece.len };
	char text[18]; /* each letter encoded */

	return name.len <= sizeof(text) && percent_decode(name, text) == 6 && !memcmp(text, "ticket", 6);
}

void offer_pass_query(struct buf *out, struct str query, char separator)
{
	struct str rest = query, piece;

	while (str_cut(&rest, '&', &piece)) {
		if (!piece.len || is_ticket(piece))
			continue;
		buf_add(out, &separator, 1);
		buf_add(out, piece.at, piece.len);
		separator = '&';
	}
}
