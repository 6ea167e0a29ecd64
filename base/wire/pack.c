/* SPDX-License-Identifier: Apache-2.0 */
#include "base/wire/pack.h"

void pack_number(struct buf *out, uint64_t n, unsigned bytes)
{
	while (bytes--) {
		unsigned char byte = (unsigned char)(n >> 8 * bytes);
		buf_add(out, &byte, 1);
	}
}

void pack_text(struct buf *out, struct str text)
{
	pack_number(out, text.len, 2);
	buf_add(out, text.at, text.len);
}

static bool cut(struct str *rest, uint64_t len, struct str *out)
{
	if (len > rest->len)
		return false;
	*out = (struct str){ rest->at, (size_t)len };
	rest->at += len;
	rest->len -= (size_t)len;
	return true;
}

bool unpack_number(struct str *rest, unsigned bytes, uint64_t *out)
{
	struct str piece;
	uint64_t n = 0;

	if (!cut(rest, bytes, &piece))
		return false;
	for (size_t i = 0; i < piece.len; i++)
		n = n << 8 | (unsigned char)piece.at[i];
	*out = n;
	return true;
}

bool unpack_text(struct str *rest, struct str *out)
{
	uint64_t len;

	return unpack_number(rest, 2, &len) && cut(rest, len, out);
}
