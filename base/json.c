/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in, by shapes. cJSON 1.7.15 parses, but lets leading zeros, raw control characters and duplicate members through, takes
 * "\u12x4" for U+0000 and makes every number a double; so a scan of the text comes first and the shapes refuse the rest. Whole
 * numbers are limited to 2^53 - 1, which a double holds exactly.
 */
#include <assert.h>
#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"

#define DEPTH_MAX 16
#define PATH_MAX_BYTES 200

/* -- what cJSON would let through ------------------------------------------------------------------------------------------ */
static bool number_valid(const char *at, size_t len)
{
	size_t i = at[0] == '-', digits = 0;

	if (i + 1 < len && at[i] == '0' && at[i + 1] >= '0' && at[i + 1] <= '9')
		return false;
	for (; i < len && at[i] >= '0' && at[i] <= '9'; i++)
		digits++;
	if (!digits)
		return false;
	if (i < len && at[i] == '.') {
		size_t before = ++i;
		while (i < len && at[i] >= '0' && at[i] <= '9')
			i++;
		if (i == before)
			return false;
	}
	if (i < len && (at[i] == 'e' || at[i] == 'E')) {
		i++;
		if (i < len && (at[i] == '+' || at[i] == '-'))
			i++;
		size_t before = i;
		while (i < len && at[i] >= '0' && at[i] <= '9')
			i++;
		if (i == before)
			return false;
	}
	return i == len;
}

static bool is_number_byte(char c)
{
	return (c >= '0' && c <= '9') || (c && strchr("+-.eE", c));
}

/* What follows a backslash, as far as cJSON does not see to it; NULL: nothing wrong. */
static const char *check_escape(const char *at, size_t len)
{
	if (!len || at[0] != 'u')
		return NULL;
	for (size_t i = 1; i < 5; i++)
		if (i >= len || !isxdigit((unsigned char)at[i]))
			return "not valid JSON: \\u without four hex digits";
	return memcmp(at, "u0000", 5) ? NULL : "must not have U+0000 in a string";
}

/* Outside of strings: numbers, depth, white space. Inside: no raw control characters, no \u0000. */
static const char *scan(struct str text)
{
	int depth = 0;
	bool inside = false;

	for (size_t i = 0; i < text.len; i++) {
		if (inside && (i += json_plain((struct str){ text.at + i, text.len - i })) == text.len)
			break;
		unsigned char c = (unsigned char)text.at[i];
		if (inside) {
			if (c < 0x20)
				return "not valid JSON: a raw control character in a string";
			const char *why = c == '\\' ? check_escape(text.at + i + 1, text.len - i - 1) : NULL;
			if (why)
				return why;
			if (c == '\\')
				i++;
			else if (c == '"')
				inside = false;
		} else if (c == '"') {
			inside = true;
		} else if (c == '{' || c == '[') {
			if (++depth > DEPTH_MAX)
				return "must not be nested deeper than 16";
		} else if (c == '}' || c == ']') {
			depth--;
		} else if ((c >= '0' && c <= '9') || c == '-') {
			size_t len = 1;
			while (i + len < text.len && is_number_byte(text.at[i + len]))
				len++;
			if (!number_valid(text.at + i, len))
				return "not valid JSON: a malformed number";
			i += len - 1;
		} else if (c < 0x20 && c != ' ' && c != '\t' && c != '\n' && c != '\r') {
			return "not valid JSON: a raw control character";
		}
	}
	return NULL;
}

static cJSON *parse(struct str text, struct arena *arena, const char **fault)
{
	const char *end = NULL;

	if (!text.len || !utf8_valid(text.at, text.len)) {
		*fault = text.len ? "not valid JSON: the text is not UTF-8" : "not valid JSON: the text is empty";
		return NULL;
	}
	if ((*fault = scan(text)))
		return NULL;
	/* A NUL-terminated copy: cJSON must know that nothing follows. */
	char *copy = arena_copy(arena, text.at, text.len);
	cJSON *root = cJSON_ParseWithLengthOpts(copy, text.len + 1, &end, 1);
	if (!root)
		*fault = arena_printf(arena, "not valid JSON at byte %zu", end ? (size_t)(end - copy) : 0);
	return root;
}

/* -- shapes ---------------------------------------------------------------------------------------------------------------- */
struct reading {
	struct arena *arena;
	struct step {
		const char *name; /* NULL: the item of this index */
		size_t index;
	} path[DEPTH_MAX + 1];
	size_t depth;
	const char *fault;
};

/* The next character of a name, as far as it may be shown: C0, DEL and C1 become '?'. UTF-8, as all of the text is. */
static size_t shown(const char *name, char out[static 4], size_t *len)
{
	unsigned char c = (unsigned char)name[0];

	*len = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
	memcpy(out, name, *len);
	if (c >= 0x20 && c != 0x7f && !(c == 0xc2 && (unsigned char)name[1] < 0xa0))
		return *len;
	out[0] = '?';
	return 1;
}

/* As much as fits, by whole characters. */
static size_t path_add(char path[static PATH_MAX_BYTES], size_t at, const char *text)
{
	size_t used, n;
	char c[4];

	for (; *text && (n = shown(text, c, &used)) < PATH_MAX_BYTES - at; text += used, at += n)
		memcpy(path + at, c, n);
	path[at] = '\0';
	return at;
}

/*
 * "load.cpu", "rooms[3].epoch"; written only once something is wrong. Names of maps are a stranger's, and the path ends up in answers
 * and on terminals.
 */
static void path_print(const struct reading *r, char out[static PATH_MAX_BYTES])
{
	size_t len = path_add(out, 0, "");
	char index[24];

	for (size_t i = 0; i < r->depth; i++) {
		const struct step *step = &r->path[i];
		if (i && step->name)
			len = path_add(out, len, ".");
		snprintf(index, sizeof(index), "[%zu]", step->index);
		len = path_add(out, len, step->name ? step->name : index);
	}
}

static int refuse(struct reading *r, const char *words)
{
	char path[PATH_MAX_BYTES];

	path_print(r, path);
	if (!r->fault)
		r->fault = arena_printf(r->arena, "%s%s%s", path, *path ? ": " : "", words);
	return -ERR_BAD_REQUEST;
}

static int refuse_range(struct reading *r, const struct json_member *m, const char *what)
{
	char words[160];

	snprintf(words, sizeof(words), "must be %s from %.16g to %.16g", what, m->min, m->max);
	return refuse(r, words);
}

static int read_object(struct reading *, const cJSON *, const struct json_shape *, void *out);

static int read_string(struct reading *r, const struct json_member *m, const cJSON *item, const char **out)
{
	const char *why = "not allowed";

	if (!cJSON_IsString(item))
		return refuse(r, "must be a string");
	size_t len = strlen(item->valuestring);
	if ((double)len < m->min || (double)len > m->max) {
		char words[80];
		snprintf(words, sizeof(words), "must be a string of %.0f to %.0f bytes", m->min, m->max);
		return refuse(r, words);
	}
	if (m->check && !m->check(item->valuestring, &why))
		return refuse(r, why);
	*out = arena_copy(r->arena, item->valuestring, len);
	return 0;
}

static int refuse_word(struct reading *r, const struct json_member *m)
{
	char words[160] = "must be one of";

	for (int i = 0; m->words[i]; i++) {
		size_t len = strlen(words);
		snprintf(words + len, sizeof(words) - len, "%s %s", i ? "," : "", m->words[i]);
	}
	return refuse(r, words);
}

static int read_word(struct reading *r, const struct json_member *m, const cJSON *item, int *out)
{
	for (int i = 0; cJSON_IsString(item) && m->words[i]; i++)
		if (!strcmp(item->valuestring, m->words[i])) {
			*out = i;
			return 0;
		}
	return refuse_word(r, m);
}

static int read_u64(struct reading *r, const struct json_member *m, const cJSON *item, uint64_t *out)
{
	double value = cJSON_IsNumber(item) ? item->valuedouble : -1;

	if (!cJSON_IsNumber(item) || value < m->min || value > m->max || value > 9007199254740991.0 || value != floor(value))
		return refuse_range(r, m, "a whole number");
	*out = (uint64_t)value;
	return 0;
}

static int read_real(struct reading *r, const struct json_member *m, const cJSON *item, double *out)
{
	if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble) || item->valuedouble < m->min || item->valuedouble > m->max)
		return refuse_range(r, m, "a number");
	*out = item->valuedouble;
	return 0;
}

/* Each bracket of the text is one step at most, and scan() has counted those. */
static void descend(struct reading *r, const char *name, size_t index)
{
	assert(r->depth < DEPTH_MAX + 1);
	r->path[r->depth++] = (struct step){ name, index };
}

static size_t count_of(const cJSON *list)
{
	size_t n = 0;

	for (const cJSON *item = list->child; item; item = item->next)
		n++;
	return n;
}

static int check_count(struct reading *r, const struct json_member *m, size_t n)
{
	char words[60];

	if ((double)n <= m->max)
		return 0;
	snprintf(words, sizeof(words), "must have at most %.0f items", m->max);
	return refuse(r, words);
}

static int read_item(struct reading *r, const struct json_member *m, const cJSON *item, char *out)
{
	static const struct json_member text = { .max = 1e6 }, number = { .max = 9007199254740991.0 };

	if (m->type == JSON_LIST)
		return read_object(r, item, m->shape, out);
	if (m->type == JSON_NUMBERS)
		return read_u64(r, &number, item, (uint64_t *)(void *)out);
	return read_string(r, &text, item, (const char **)(void *)out);
}

static int read_one(struct reading *r, const cJSON *item, struct json_list *out)
{
	static const struct json_member text = { .max = 1e6 };
	const char **only = arena_alloc(r->arena, sizeof(*only));

	*out = (struct json_list){ only, 1 };
	return read_string(r, &text, item, only);
}

static int read_list(struct reading *r, const struct json_member *m, const cJSON *item, struct json_list *out)
{
	size_t size = m->type == JSON_LIST ? m->shape->size : m->type == JSON_NUMBERS ? sizeof(uint64_t) : sizeof(char *);

	if (m->or_one && cJSON_IsString(item))
		return read_one(r, item, out);
	if (!cJSON_IsArray(item))
		return refuse(r, "must be a list");
	size_t n = count_of(item), i = 0;
	if (check_count(r, m, n) < 0)
		return -ERR_BAD_REQUEST;
	char *items = n ? arena_alloc(r->arena, n * size) : NULL;
	for (const cJSON *child = item->child; child; child = child->next, i++) {
		descend(r, NULL, i);
		if (read_item(r, m, child, items + i * size) < 0)
			return -ERR_BAD_REQUEST;
		r->depth--;
	}
	*out = (struct json_list){ items, n };
	return 0;
}

static int read_map(struct reading *r, const struct json_member *m, const cJSON *item, struct json_list *out)
{
	static const struct json_member text = { .max = 1024 };

	if (!cJSON_IsObject(item))
		return refuse(r, "must be an object of strings");
	size_t n = count_of(item), i = 0;
	if (check_count(r, m, n) < 0)
		return -ERR_BAD_REQUEST;
	struct json_pair *pairs = n ? arena_alloc(r->arena, n * sizeof(*pairs)) : NULL;
	for (const cJSON *child = item->child; child; child = child->next, i++) {
		descend(r, child->string, 0);
		for (const cJSON *before = item->child; before != child; before = before->next)
			if (!strcmp(before->string, child->string))
				return refuse(r, "given twice");
		pairs[i].key = arena_copy(r->arena, child->string, strlen(child->string));
		if (read_string(r, &text, child, &pairs[i].value) < 0)
			return -ERR_BAD_REQUEST;
		r->depth--;
	}
	*out = (struct json_list){ pairs, n };
	return 0;
}

static int read_member(struct reading *r, const struct json_member *m, const cJSON *item, char *out)
{
	void *field = out + m->at;

	switch (m->type) {
	case JSON_BOOL:
		if (!cJSON_IsBool(item))
			return refuse(r, "must be true or false");
		*(bool *)field = cJSON_IsTrue(item);
		return 0;
	case JSON_U64:
		return read_u64(r, m, item, field);
	case JSON_REAL:
		return read_real(r, m, item, field);
	case JSON_STRING:
		return read_string(r, m, item, field);
	case JSON_WORD:
		return read_word(r, m, item, field);
	case JSON_OBJECT:
		return read_object(r, item, m->shape, field);
	case JSON_LIST:
	case JSON_STRINGS:
	case JSON_NUMBERS:
		return read_list(r, m, item, field);
	case JSON_MAP:
		return read_map(r, m, item, field);
	case JSON_ANY:
		return 0;
	}
	return refuse(r, "of no known type");
}

/* The member of that name; *twice when there are two. Exact: cJSON's own look-up ignores case. */
static const cJSON *member_of(const cJSON *object, const char *name, bool *twice)
{
	const cJSON *found = NULL;

	for (const cJSON *child = object->child; child; child = child->next) {
		if (*child->string != *name || strcmp(child->string, name)) /* of many pairs hardly one begins alike */
			continue;
		*twice = found != NULL;
		found = child;
		if (*twice)
			break;
	}
	return found;
}

static int read_object(struct reading *r, const cJSON *object, const struct json_shape *shape, void *out)
{
	if (!cJSON_IsObject(object))
		return refuse(r, "must be an object");
	for (size_t i = 0; i < shape->count; i++) {
		const struct json_member *m = &shape->members[i];
		bool twice = false;
		const cJSON *item = member_of(object, m->name, &twice);
		descend(r, m->name, 0);
		if (twice)
			return refuse(r, "given twice");
		if (m->nullable && cJSON_IsNull(item))
			item = NULL;
		if (!item && m->required)
			return refuse(r, "required");
		if (item && read_member(r, m, item, out) < 0)
			return -ERR_BAD_REQUEST;
		if (item && m->has != JSON_NO_HAS)
			*(bool *)(void *)((char *)out + m->has) = true;
		r->depth--;
	}
	return 0;
}

#define NAMES_MAX 64 /* each is held against each */

static bool has_twins(const cJSON *value)
{
	int n = 0;

	for (const cJSON *item = value->child; item; item = item->next) {
		if (has_twins(item) || (cJSON_IsObject(value) && ++n > NAMES_MAX))
			return true;
		for (const cJSON *other = item->next; other && item->string; other = other->next)
			if (!strcmp(item->string, other->string))
				return true;
	}
	return false;
}

int json_read(struct str text, const struct json_shape *shape, struct arena *arena, void *out, const char **fault)
{
	struct reading reading = { .arena = arena };
	const char *words = NULL;
	cJSON *root = parse(text, arena, &words);

	if (!root) {
		*fault = words;
		return -ERR_BAD_REQUEST;
	}
	/* Into a copy first: a fault leaves `out` as it was. */
	void *copy = arena_alloc(arena, shape->size);
	memcpy(copy, out, shape->size);
	int err = shape->no_twins && has_twins(root) ? refuse(&reading, "a name is given twice, or there are over 64 of them") : 0;
	if (!err)
		err = read_object(&reading, root, shape, copy);
	cJSON_Delete(root);
	if (err < 0)
		*fault = reading.fault;
	else
		memcpy(out, copy, shape->size);
	return err;
}

struct str json_member(struct str object, const char *name, struct arena *arena)
{
	const char *fault;
	bool twice = false;
	cJSON *root = parse(object, arena, &fault);
	const cJSON *item = cJSON_IsObject(root) ? member_of(root, name, &twice) : NULL;
	char *text = item && !twice ? cJSON_PrintUnformatted(item) : NULL;
	struct str out = { 0 };

	if (text)
		out = (struct str){ arena_copy(arena, text, strlen(text)), strlen(text) };
	cJSON_free(text);
	cJSON_Delete(root);
	return out;
}
