/* SPDX-License-Identifier: Apache-2.0 */
/* The same names are valid in every program that speaks to usher, because all of them ask here. */
#include "base/str.h"
#include "base/wire/limits.h"

bool room_valid(const char *at, size_t len)
{
	if (!len || len > ROOM_MAX || !utf8_valid(at, len))
		return false;
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)at[i];
		/* C0, DEL, and C1 (U+0080 to U+009F are C2 80 to C2 9F) */
		if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)at[i + 1] < 0xa0))
			return false;
	}
	return true;
}

static bool word_of(const char *at, size_t len, size_t max, bool colon)
{
	for (size_t i = 0; i < len; i++)
		if (at[i] == ':' && !colon)
			return false;
	return len <= max && glob_free_token((struct str){ at, len });
}

bool node_valid(const char *at, size_t len)
{
	return word_of(at, len, NODE_MAX, false);
}

bool incarnation_valid(const char *at, size_t len)
{
	return word_of(at, len, INCARNATION_MAX, true);
}
