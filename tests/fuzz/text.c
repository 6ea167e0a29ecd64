/* SPDX-License-Identifier: Apache-2.0 */
/* The small readings of base/str.h and base/wire/: what is written and read again is the same, what is valid stays so. */
#include "base/arena.h"
#include "base/base64.h"
#include "base/wire/digest.h"
#include "base/wire/limits.h"
#include "tests/fuzz/fuzz.h"

static void percent(struct str in)
{
	char *out = copy_of(in, false); /* as much room as the text has */
	long n = percent_decode(in, out);
	struct buf encoded = { 0 };

	MUST(n <= (long)in.len);
	percent_encode(&encoded, in);
	struct str written = { encoded.at ? encoded.at : "", encoded.len };
	char *again = copy_of(written, false);
	MUST(percent_decode(written, again) == (long)in.len);
	MUST(!in.len || !memcmp(again, in.at, in.len));
	for (size_t i = 0; i < written.len; i++)
		MUST(written.at[i] > ' ' && written.at[i] < 0x7f && !strchr("/?#&=;+", written.at[i]));
	if (n > 0 && room_valid(out, (size_t)n))
		MUST(utf8_valid(out, (size_t)n) && n <= ROOM_MAX && !memchr(out, '\n', (size_t)n));
	free(out);
	free(again);
	buf_free(&encoded);
}

static void base64(struct str in)
{
	struct buf text = { 0 }, again = { 0 };
	char *out = calloc(1, in.len + 1), *room = calloc(1, in.len * 3 / 4 + 1);
	size_t len = 0;

	base64url_add(&text, in.at, in.len);
	MUST(text.len == BASE64URL_BYTES(in.len));
	MUST(base64url_read((struct str){ text.at ? text.at : "", text.len }, out, &len) && len == in.len);
	MUST(!len || !memcmp(out, in.at, len));
	if (base64url_read(in, room, &len)) { /* one text for each sequence of bytes */
		MUST(len <= in.len * 3 / 4);
		base64url_add(&again, room, len);
		MUST(again.len == in.len && (!in.len || !memcmp(again.at, in.at, in.len)));
	}
	free(out);
	free(room);
	buf_free(&text);
	buf_free(&again);
}

static void numbers(struct str in)
{
	struct digest digest, again;
	char printed[DIGEST_TEXT_MAX], digits[24], time[25], *z = copy_of(in, true);
	uint64_t n;

	if (parse_u64(in, &n)) {
		snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
		const char *bare = z;
		while (bare[0] == '0' && bare[1])
			bare++;
		MUST(!strcmp(bare, digits));
		time_rfc3339(n % 253402300799999u, time);
		MUST(time[23] == 'Z' && !time[24]);
	}
	if (digest_parse(z, &digest)) {
		digest_print(&digest, printed);
		MUST(digest_parse(printed, &again) && again.count == digest.count && again.sum == digest.sum);
	}
	free(z);
}

static void pieces(struct str in)
{
	struct str value = { 0 }, rest = in, piece;
	size_t sum = 0, cuts = 0;

	while (str_cut(&rest, '&', &piece)) {
		sum += piece.len;
		cuts++;
		struct str trimmed = str_trim(piece);
		MUST(trimmed.len <= piece.len);
	}
	MUST(in.len == 0 || sum + cuts == in.len || sum + cuts == in.len + 1);
	if (query_get(in, "ticket", &value))
		MUST(value.len <= in.len && !memchr(value.at, '&', value.len));
	if (glob_free_token(in))
		MUST(incarnation_valid(in.at, in.len) == (in.len <= INCARNATION_MAX));
	if (node_valid(in.at, in.len))
		MUST(room_valid(in.at, in.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	char *copy = copy_of((struct str){ (const char *)bytes, len }, false);
	struct str in = { copy, len };

	percent(in);
	base64(in);
	numbers(in);
	pieces(in);
	free(copy);
	return 0;
}
