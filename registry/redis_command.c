/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands are written here and not by hiredis, so that one allocation holds a command until it is answered: EVALSHA
 * that meets an empty script cache is repeated as EVAL from the same bytes.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "registry/redis_command.h"

#define SHA1_HEX 40
static const char evalsha_word[] = "$7\r\nEVALSHA\r\n$40\r\n";

/* A dozen of them are in each command, so without printf. */
static void put_count(struct buf *to, char mark, size_t count)
{
	char digits[U64_TEXT_MAX], line[U64_TEXT_MAX + 3];
	struct str number = u64_text(digits, count);

	line[0] = mark;
	memcpy(line + 1, number.at, number.len);
	memcpy(line + 1 + number.len, "\r\n", 2);
	buf_add(to, line, number.len + 3);
}

void command_start(struct buf *to, size_t words)
{
	put_count(to, '*', words);
}

void command_str(struct buf *to, struct str word)
{
	put_count(to, '$', word.len);
	buf_add(to, word.at, word.len);
	buf_add(to, "\r\n", 2);
}

void command_z(struct buf *to, const char *word)
{
	command_str(to, str_of(word));
}

void command_u64(struct buf *to, uint64_t word)
{
	char text[U64_TEXT_MAX];

	command_str(to, u64_text(text, word));
}

void command_i64(struct buf *to, int64_t word)
{
	char text[24];

	snprintf(text, sizeof text, "%" PRId64, word);
	command_z(to, text);
}

void command_real(struct buf *to, double word)
{
	char text[32];

	snprintf(text, sizeof text, "%.15g", word);
	command_z(to, text);
}

void command_script(struct buf *to, enum script script, size_t keys, size_t args)
{
	command_start(to, 3 + keys + args);
	buf_adds(to, evalsha_word);
	buf_add(to, script_text(script)->sha1, SHA1_HEX);
	buf_add(to, "\r\n", 2);
	command_u64(to, keys);
}

/* "$len\r\nbytes\r\n"; false at the end. */
static bool word_cut(struct str *rest, struct str *word)
{
	struct str line;
	uint64_t len;

	if (!str_cut(rest, '\n', &line) || line.len < 3 || line.at[0] != '$' ||
	    !parse_u64((struct str){ line.at + 1, line.len - 2 }, &len) || len + 2 > rest->len)
		return false;
	*word = (struct str){ rest->at, len };
	rest->at += len + 2;
	rest->len -= len + 2;
	return true;
}

struct str command_first_key(const struct buf *text)
{
	static const char *const keyless[] = { "PING", "TIME", "INFO", "ROLE", "SCAN", "WAIT", "CLIENT", "SCRIPT", "PUBLISH" };
	struct str rest = { text->at, text->len }, verb, word, none = { NULL, 0 };

	if (!str_cut(&rest, '\n', &word) || !word_cut(&rest, &verb))
		return none;
	for (size_t i = 0; i < sizeof keyless / sizeof *keyless; i++)
		if (str_is(verb, keyless[i]))
			return none;
	if (str_is(verb, "EVALSHA") || str_is(verb, "EVAL"))
		if (!word_cut(&rest, &word) || !word_cut(&rest, &word) || str_is(word, "0"))
			return none;
	return word_cut(&rest, &word) ? word : none;
}

void command_eval(struct buf *to, const struct buf *evalsha, enum script script)
{
	const char *words = strstr(evalsha->at, evalsha_word);
	const char *rest;

	assert(words);
	rest = words + sizeof evalsha_word - 1 + SHA1_HEX + 2;
	buf_add(to, evalsha->at, (size_t)(words - evalsha->at));
	command_z(to, "EVAL");
	command_str(to, script_text(script)->body);
	buf_add(to, rest, evalsha->len - (size_t)(rest - evalsha->at));
}
