/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base/json.h against a recogniser of the grammar: what is accepted is JSON, and what is JSON is not refused for its syntax, but
 * for the limits that json.h names. What a shape reads, and what json_member() gives back, is JSON again.
 */
#include "base/arena.h"
#include "base/json.h"
#include "tests/fuzz/json_strict.h"

#define DEPTH_MAX 16

struct inner {
	const char *text;
	uint64_t whole;
};
struct outer {
	bool flag, has_flag;
	uint64_t whole;
	double real;
	const char *text, *none;
	int word;
	struct inner inner;
	struct json_list list, strings, numbers, map;
};
#define AT(m) offsetof(struct outer, m)
static const char *const words[] = { "one", "two", NULL };
static const struct json_member inner_members[] = {
	{ "text", JSON_STRING, offsetof(struct inner, text), JSON_NO_HAS, 0, 1e6 },
	{ "whole", JSON_U64, offsetof(struct inner, whole), JSON_NO_HAS, 0, 9007199254740991.0, .required = true },
};
static const struct json_shape inner_shape = { inner_members, 2, sizeof(struct inner) };
static const struct json_member members[] = {
	{ "flag", JSON_BOOL, AT(flag), AT(has_flag) },
	{ "whole", JSON_U64, AT(whole), JSON_NO_HAS, 1, 1000 },
	{ "real", JSON_REAL, AT(real), JSON_NO_HAS, -1e9, 1e9 },
	{ "text", JSON_STRING, AT(text), JSON_NO_HAS, 1, 8 },
	{ "none", JSON_STRING, AT(none), JSON_NO_HAS, 0, 8, .nullable = true },
	{ "word", JSON_WORD, AT(word), JSON_NO_HAS, .words = words },
	{ "inner", JSON_OBJECT, AT(inner), JSON_NO_HAS, .shape = &inner_shape },
	{ "list", JSON_LIST, AT(list), JSON_NO_HAS, 0, 3, .shape = &inner_shape },
	{ "strings", JSON_STRINGS, AT(strings), JSON_NO_HAS, 0, 3 },
	{ "numbers", JSON_NUMBERS, AT(numbers), JSON_NO_HAS, 0, 3 },
	{ "map", JSON_MAP, AT(map), JSON_NO_HAS, 0, 3 },
};
static const struct json_shape shape = { members, sizeof(members) / sizeof(*members), sizeof(struct outer) };
static const struct json_shape empty = { NULL, 0, sizeof(char) };

static void must_agree(struct str text, struct arena *arena)
{
	struct strict strict;
	const char *fault = NULL;
	char nothing = 0;
	bool bom = text.len >= 3 && !memcmp(text.at, "\xef\xbb\xbf", 3);
	struct str bare = { text.at + 3 * bom, text.len - 3 * bom }; /* a reader may ignore it (RFC 8259, 8.1) */
	bool is_json = strict_json(bare, &strict), accepted = json_read(text, &empty, arena, &nothing, &fault) == 0;

	MUST(accepted || (fault && *fault && utf8_valid(fault, strlen(fault))));
	MUST(!accepted || (is_json && strict.deepest <= DEPTH_MAX && !strict.nul));
	if (is_json && strict.deepest <= DEPTH_MAX && !strict.nul && !strict.surrogate && !accepted)
		MUST(strncmp(fault, "not valid JSON", 14) != 0);
}

static void must_be_whole(const struct outer *out, const bool accepted)
{
	const struct json_pair *pairs = out->map.items;
	const char *const *strings = out->strings.items;

	if (!accepted) {
		MUST(!out->text && !out->whole && !out->map.items); /* nothing was written */
		return;
	}
	MUST(out->whole <= 1000 && out->word >= 0 && out->word < 2 && out->real >= -1e9 && out->real <= 1e9);
	MUST(!out->text || (strlen(out->text) >= 1 && strlen(out->text) <= 8));
	MUST(out->list.count <= 3 && out->strings.count <= 3 && out->numbers.count <= 3 && out->map.count <= 3);
	for (size_t i = 0; i < out->map.count; i++)
		MUST(utf8_valid(pairs[i].key, strlen(pairs[i].key)) && utf8_valid(pairs[i].value, strlen(pairs[i].value)));
	for (size_t i = 0; i < out->strings.count; i++)
		MUST(utf8_valid(strings[i], strlen(strings[i])));
}

static void must_pass_on(struct str text, struct arena *arena)
{
	struct str member = json_member(text, "inner", arena);
	struct strict strict;

	if (member.len)
		MUST(strict_json(member, &strict));
}

/* A shape that allows no twins takes nothing that the same one takes not without it. */
static void must_be_stricter(struct str text, struct arena *arena)
{
	struct json_shape strict = shape;
	struct outer first = { 0 }, second = { 0 };
	const char *fault = NULL;

	strict.no_twins = true;
	MUST(json_read(text, &strict, arena, &first, &fault) != 0 || json_read(text, &shape, arena, &second, &fault) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct arena arena = { 0 };
	struct outer out = { 0 };
	const char *fault = NULL;
	char *copy = copy_of((struct str){ (const char *)bytes, len }, false);
	struct str text = { copy, len };

	must_agree(text, &arena);
	must_be_whole(&out, json_read(text, &shape, &arena, &out, &fault) == 0);
	must_pass_on(text, &arena);
	must_be_stricter(text, &arena);
	arena_reset(&arena);
	free(copy);
	return 0;
}
