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

static struct str cut(struct str *rest, size_t len)
{
	struct str piece = { rest->at, rest->len < len ? 0 : len };

	if (rest->len < len)
		rest->at += rest->len, rest->len = 0;
	else
		rest->at += len, rest->len -= len;
	return piece;
}

uint64_t unpack_number(struct str *rest, unsigned bytes)
{
	struct str piece = cut(rest, bytes);
	uint64_t n = 0;

	for (size_t i = 0; i < piece.len; i++)
		n = n << 8 | (unsigned char)piece.at[i];
	return n;
}

struct str unpack_text(struct str *rest)
{
	return cut(rest, unpack_number(rest, 2));
}
