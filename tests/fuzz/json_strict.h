/* SPDX-License-Identifier: Apache-2.0 */
/* A recogniser of RFC 8259 that shares nothing with base/json.c: one function for each production. Bytes are UTF-8 already. */
#pragma once

#include "tests/fuzz/fuzz.h"

struct strict {
	const char *at, *end;
	int depth, deepest;
	bool nul;       /* has U+0000 */
	bool surrogate; /* has half of a pair: the grammar allows it, no reader must */
};

static inline bool strict_value(struct strict *);

static inline char strict_peek(const struct strict *s)
{
	return s->at < s->end ? *s->at : '\0';
}

static inline bool strict_take(struct strict *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static inline void strict_blank(struct strict *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' || *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

static inline bool strict_word(struct strict *s, const char *word)
{
	while (*word)
		if (!strict_take(s, *word++))
			return false;
	return true;
}

static inline bool strict_digits(struct strict *s)
{
	const char *from = s->at;

	while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return s->at > from;
}

static inline bool strict_number(struct strict *s)
{
	strict_take(s, '-');
	if (!strict_take(s, '0') && !strict_digits(s))
		return false;
	if (strict_take(s, '.') && !strict_digits(s))
		return false;
	if (strict_take(s, 'e') || strict_take(s, 'E')) {
		if (!strict_take(s, '+'))
			strict_take(s, '-');
		return strict_digits(s);
	}
	return true;
}

/* Four digits of \u; below zero: none. */
static inline long strict_unit(struct strict *s)
{
	long unit = 0;

	for (int i = 0; i < 4; i++, s->at++) {
		char c = strict_peek(s);
		int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (value < 0)
			return -1;
		unit = unit * 16 + value;
	}
	return unit;
}

static inline bool strict_escape(struct strict *s)
{
	char c = strict_peek(s);
	long unit, low;

	if (!c || !strchr("\"\\/bfnrtu", c))
		return false;
	s->at++;
	if (c != 'u')
		return true;
	if ((unit = strict_unit(s)) < 0)
		return false;
	s->nul = s->nul || !unit;
	if (unit < 0xd800 || unit > 0xdfff)
		return true;
	const char *behind = s->at;
	if (unit <= 0xdbff && strict_word(s, "\\u") && (low = strict_unit(s)) >= 0xdc00 && low <= 0xdfff)
		return true;
	s->at = behind; /* what follows is read for itself */
	s->surrogate = true;
	return true;
}

static inline bool strict_string(struct strict *s)
{
	if (!strict_take(s, '"'))
		return false;
	while (s->at < s->end && *s->at != '"') {
		if ((unsigned char)*s->at < 0x20)
			return false;
		if (strict_take(s, '\\')) {
			if (!strict_escape(s))
				return false;
		} else {
			s->at++;
		}
	}
	return strict_take(s, '"');
}

static inline bool strict_items(struct strict *s, bool object, char close)
{
	s->at++;
	s->deepest = ++s->depth > s->deepest ? s->depth : s->deepest;
	strict_blank(s);
	if (strict_peek(s) == close && strict_take(s, close))
		return s->depth--, true;
	do {
		strict_blank(s);
		if (object) {
			if (!strict_string(s))
				return false;
			strict_blank(s);
			if (!strict_take(s, ':'))
				return false;
		}
		if (!strict_value(s))
			return false;
	} while (strict_take(s, ','));
	s->depth--;
	return strict_take(s, close);
}

static inline bool strict_value(struct strict *s)
{
	bool good = false;

	strict_blank(s);
	switch (strict_peek(s)) {
	case '{': good = strict_items(s, true, '}'); break;
	case '[': good = s->depth < 500 && strict_items(s, false, ']'); break;
	case '"': good = strict_string(s); break;
	case 't': good = strict_word(s, "true"); break;
	case 'f': good = strict_word(s, "false"); break;
	case 'n': good = strict_word(s, "null"); break;
	default: good = strict_number(s);
	}
	strict_blank(s);
	return good;
}

/* Is the whole text one value? */
static inline bool strict_json(struct str text, struct strict *s)
{
	*s = (struct strict){ .at = text.at, .end = text.at + text.len };
	return utf8_valid(text.at, text.len) && strict_value(s) && s->at == s->end;
}
