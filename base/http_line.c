/* SPDX-License-Identifier: Apache-2.0 */
/* Lines that come from SFUs, judged as strictly as those of clients: what is passed on must mean the same to everybody. */
#include <string.h>

#include "base/http_line.h"

static bool is_control(char c)
{
	return ((unsigned char)c < ' ' && c != '\t') || c == 0x7f;
}

bool line_ends(const char *line, size_t len)
{
	return len >= 2 && line[len - 2] == '\r' && line[len - 1] == '\n';
}

int status_line(const char *line, size_t len)
{
	if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ' || (len > 12 && (!line[12] || !strchr(" \r\n", line[12]))))
		return 0;
	for (int i = 7; i < 12; i++)
		if (i != 8 && (line[i] < '0' || line[i] > (i == 7 ? '1' : '9')))
			return 0;
	for (size_t i = 12; i < len && line[i] != '\r' && line[i] != '\n'; i++)
		if (is_control(line[i]))
			return 0;
	return (line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0';
}

bool is_token(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.at[i];
		/* The hyphen first: most names have one, and hardly any has another sign. */
		bool usual = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || (c >= '0' && c <= '9');
		if (!usual && !(c && strchr("!#$%&'*+.^_`|~", c)))
			return false;
	}
	return s.len > 0;
}

bool header_line(const char *line, size_t len, struct header *out)
{
	const char *colon = memchr(line, ':', len), *end = line + len, *value;

	if (end > line && end[-1] == '\n')
		end--;
	if (end > line && end[-1] == '\r')
		end--;
	while (end > line && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	if (!colon || !is_token((struct str){ line, (size_t)(colon - line) }))
		return false;
	for (value = colon + 1; value < end && (*value == ' ' || *value == '\t'); value++)
		;
	for (const char *c = value; c < end; c++)
		if (is_control(*c))
			return false;
	*out = (struct header){ { line, (size_t)(colon - line) }, { value, (size_t)(end - value) } };
	return true;
}

bool header_names(struct str list, struct str word)
{
	struct str piece;

	while (str_cut(&list, ',', &piece)) {
		piece = str_trim(piece);
		if (piece.len == word.len && !strncasecmp(piece.at, word.at, word.len))
			return true;
	}
	return false;
}
