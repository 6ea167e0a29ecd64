/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bytes may mean: UTF-8 (strict, RFC 3629), percent-coding (RFC 3986), decimal numbers, queries. All of it is read from
 * people we do not know, so each function says no rather than guess.
 */
#include <string.h>

#include "base/str.h"

/* Length of the well-formed sequence at `at`, 0 if there is none. Ranges of the second byte: RFC 3629, section 4. */
static size_t utf8_length(const unsigned char *at, size_t left)
{
	unsigned char first = at[0], low = 0x80, high = 0xbf;
	size_t len = first < 0x80 ? 1 : first >= 0xc2 && first <= 0xdf ? 2 : first >= 0xe0 && first <= 0xef ? 3 : first >= 0xf0 && first <= 0xf4 ? 4 : 0;

	if (!len || len > left)
		return 0;
	low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
	high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
	if (len > 1 && (at[1] < low || at[1] > high))
		return 0;
	for (size_t i = 2; i < len; i++)
		if (at[i] < 0x80 || at[i] > 0xbf)
			return 0;
	return len;
}

static bool are_ascii(const char *eight)
{
	uint64_t word;

	memcpy(&word, eight, sizeof(word));
	return !(word & 0x8080808080808080u);
}

bool utf8_valid(const char *at, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = len - i >= 8 && are_ascii(at + i) ? 8 : utf8_length((const unsigned char *)at + i, len - i);
		if (!n)
			return false;
		i += n;
	}
	return true;
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

long percent_decode(struct str in, char *out)
{
	long n = 0;

	for (size_t i = 0; i < in.len; i++) {
		if (in.at[i] != '%') {
			out[n++] = in.at[i];
			continue;
		}
		if (in.len - i < 3 || hex_value(in.at[i + 1]) < 0 || hex_value(in.at[i + 2]) < 0)
			return -1;
		out[n++] = (char)(hex_value(in.at[i + 1]) * 16 + hex_value(in.at[i + 2]));
		i += 2;
	}
	return n;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_unreserved(char c)
{
	return is_word(c) || (c && strchr("-._~", c));
}

void percent_encode(struct buf *out, struct str in)
{
	static const char hex[] = "0123456789ABCDEF";

	while (in.len) {
		size_t n = 0;
		while (n < in.len && is_unreserved(in.at[n]))
			n++;
		buf_add(out, in.at, n);
		if (n < in.len) {
			unsigned char c = (unsigned char)in.at[n++];
			buf_add(out, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
		}
		in.at += n;
		in.len -= n;
	}
}

static struct str digits_of(char *out, uint64_t value, unsigned base, size_t least)
{
	char digits[U64_TEXT_MAX];
	size_t n = 0;

	do
		digits[n++] = "0123456789abcdef"[value % base];
	while ((value /= base) || n < least);
	for (size_t i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	out[n] = '\0';
	return (struct str){ out, n };
}

struct str u64_text(char out[static U64_TEXT_MAX], uint64_t value)
{
	return digits_of(out, value, 10, 1);
}

struct str u64_hex(char out[static U64_TEXT_MAX], uint64_t value)
{
	return digits_of(out, value, 16, 16);
}

bool parse_u64(struct str text, uint64_t *out)
{
	uint64_t value = 0;

	if (!text.len)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return false;
		uint64_t digit = (uint64_t)(text.at[i] - '0');
		if (value > (UINT64_MAX - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool glob_free_token(struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_word(text.at[i]) && (!text.at[i] || !strchr("._:-", text.at[i])))
			return false;
	return text.len > 0;
}

bool query_get(struct str query, const char *name, struct str *value)
{
	struct str rest = query, piece;
	size_t len = strlen(name);

	while (str_cut(&rest, '&', &piece)) {
		if (piece.len < len || memcmp(piece.at, name, len) || (piece.len > len && piece.at[len] != '='))
			continue;
		size_t skip = piece.len > len ? len + 1 : len;
		*value = (struct str){ piece.at + skip, piece.len - skip };
		return true;
	}
	return false;
}
