/* SPDX-License-Identifier: Apache-2.0 */
/* JSON out. Text that is not UTF-8 is escaped byte by byte as U+FFFD, so that an answer always parses. */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define EACH(byte) (UINT64_MAX / 255 * (byte)) /* of the eight of a word */

static bool any_below(uint64_t word, unsigned char limit) /* at most 128 */
{
	return (word - EACH(limit)) & ~word & EACH(0x80);
}

static bool is_plain(unsigned char c)
{
	return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

size_t json_plain(struct str s)
{
	size_t n = 0;
	uint64_t word;

	for (; n + sizeof(word) <= s.len; n += sizeof(word)) {
		memcpy(&word, s.at + n, sizeof(word));
		if (word & EACH(0x80) || any_below(word, 0x20) || any_below(word ^ EACH('"'), 1) || any_below(word ^ EACH('\\'), 1))
			break;
	}
	while (n < s.len && is_plain((unsigned char)s.at[n]))
		n++;
	return n;
}

static void put_escaped(struct buf *to, struct str s)
{
	bool utf8 = utf8_valid(s.at, s.len);
	size_t from = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.at[i];
		if (is_plain(c) || (c >= 0x80 && utf8))
			continue;
		buf_add(to, s.at + from, i - from);
		from = i + 1;
		if (c == '"' || c == '\\')
			buf_printf(to, "\\%c", c);
		else if (c < 0x20)
			buf_printf(to, "\\u%04x", c);
		else
			buf_adds(to, "\xef\xbf\xbd");
	}
	buf_add(to, s.at + from, s.len - from);
}

/* In quotes, with what stands before and behind, each up to one byte; at once, where nothing is to be escaped. */
static void put_string(struct buf *to, const char *before, struct str s, const char *behind)
{
	if (json_plain(s) < s.len) {
		buf_adds(to, before);
		buf_add(to, "\"", 1);
		put_escaped(to, s);
		buf_add(to, "\"", 1);
		buf_adds(to, behind);
		return;
	}
	char *at = buf_extend(to, s.len + 2 + (*before != 0) + (*behind != 0));
	if (*before)
		*at++ = *before;
	*at++ = '"';
	if (s.len)
		memcpy(at, s.at, s.len);
	at += s.len;
	*at++ = '"';
	if (*behind)
		*at = *behind;
}

static void begin(struct json_out *json, const char *name)
{
	if (name)
		put_string(json->to, json->comma ? "," : "", str_of(name), ":");
	else if (json->comma)
		buf_add(json->to, ",", 1);
	json->comma = true;
}

void json_open(struct json_out *json, const char *name, char bracket)
{
	begin(json, name);
	buf_add(json->to, &bracket, 1);
	json->comma = false;
}

void json_close(struct json_out *json, char bracket)
{
	buf_add(json->to, &bracket, 1);
	json->comma = true;
}

void json_view(struct json_out *json, const char *name, struct str value)
{
	begin(json, name);
	put_string(json->to, "", value, "");
}

void json_str(struct json_out *json, const char *name, const char *value)
{
	if (value)
		json_view(json, name, str_of(value));
	else
		json_null(json, name);
}

void json_u64(struct json_out *json, const char *name, uint64_t value)
{
	char text[U64_TEXT_MAX];

	begin(json, name);
	struct str digits = u64_text(text, value);
	buf_add(json->to, digits.at, digits.len);
}

#define WHOLE_MAX 9007199254740992.0 /* 2^53: below it each whole number is a double; counts are, and printf would be felt */

void json_real(struct json_out *json, const char *name, double value)
{
	char text[400];

	assert(isfinite(value));
	if (value >= 0 && value < WHOLE_MAX && value == floor(value)) {
		json_u64(json, name, (uint64_t)value);
		return;
	}
	snprintf(text, sizeof(text), "%.6f", value);
	size_t len = strlen(text);
	while (text[len - 1] == '0')
		len--;
	if (text[len - 1] == '.')
		len--;
	begin(json, name);
	buf_add(json->to, text, len);
}

void json_bool(struct json_out *json, const char *name, bool value)
{
	begin(json, name);
	buf_adds(json->to, value ? "true" : "false");
}

void json_null(struct json_out *json, const char *name)
{
	begin(json, name);
	buf_adds(json->to, "null");
}

void json_raw(struct json_out *json, const char *name, struct str text)
{
	begin(json, name);
	buf_add(json->to, text.at, text.len);
}
