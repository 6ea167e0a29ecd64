/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON in by table, JSON out by writer. The adapter of cJSON: nothing else includes its header.
 *
 * Reading: a shape lists the members of an object; json_read() fills a struct from it. Unknown members pass. A wrong
 * type or range, a duplicate member, a raw control character, a leading zero, broken UTF-8, trailing bytes, nesting
 * over 16 or more items than a list allows are -ERR_BAD_REQUEST, and `fault` names the member: "load.cpu: must be …".
 * Strings, lists and maps land in the arena. Nothing is written to `out` unless all is good.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct arena;

enum json_type {
	JSON_BOOL,   /* bool */
	JSON_U64,    /* uint64_t; a whole number, min..max, at most 2^53 - 1 */
	JSON_REAL,   /* double, min..max */
	JSON_STRING, /* const char *, NUL-terminated, no U+0000; min..max bytes; `check` may refuse */
	JSON_WORD,   /* int: index into words[] */
	JSON_OBJECT, /* embedded struct, by shape */
	JSON_LIST,   /* struct json_list of shape->size items, at most max */
	JSON_STRINGS,/* struct json_list of const char *, at most max */
	JSON_NUMBERS,/* struct json_list of uint64_t, at most max */
	JSON_MAP,    /* struct json_list of struct json_pair: string to string, at most max */
	JSON_ANY     /* nothing: only `has` says that it was there */
};
struct json_shape;
struct json_member {
	const char *name;
	enum json_type type;
	size_t at;                 /* offset of the field */
	size_t has;                /* offset of a bool that says "was there"; JSON_NO_HAS: none */
	double min, max;
	const char *const *words;  /* NULL-terminated */
	const struct json_shape *shape;
	bool required;
	bool nullable; /* null counts as absent; else it is a wrong type */
	bool or_one;   /* of JSON_STRINGS: a string alone is a list of one */
	bool (*check)(const char *s, const char **why);
	const char *help;          /* for the reference pages */
};
#define JSON_NO_HAS ((size_t)-1)
struct json_shape {
	const struct json_member *members;
	size_t count;
	size_t size; /* of the struct */
	bool no_twins; /* no object in the whole text may have a name twice, in members that are not read neither, or over 64 names */
};
struct json_list {
	void *items;
	size_t count;
};
struct json_pair {
	const char *key, *value;
};
int json_read(struct str text, const struct json_shape *, struct arena *, void *out, const char **fault);

/* Writing: commas and escapes are the writer's; names and strings are NUL-terminated or views. Numbers are finite. */
struct json_out {
	struct buf *to;
	bool comma;
};
void json_open(struct json_out *, const char *name, char bracket); /* name NULL inside lists; '{' or '[' */
void json_close(struct json_out *, char bracket);                  /* '}' or ']' */
void json_str(struct json_out *, const char *name, const char *value);  /* NULL value: null */
void json_view(struct json_out *, const char *name, struct str value);
void json_u64(struct json_out *, const char *name, uint64_t value);
void json_real(struct json_out *, const char *name, double value);      /* shortest, at most 6 digits after the point */
void json_bool(struct json_out *, const char *name, bool value);
void json_null(struct json_out *, const char *name);
void json_raw(struct json_out *, const char *name, struct str json);    /* already JSON */

/* How many of its first bytes stand in a JSON string as they are: 0x20 to 0x7f, but for quotes and backslashes. */
size_t json_plain(struct str);
/* The member `name` of an object, as JSON text in the arena; absent, or not an object: empty. For what is only passed on. */
struct str json_member(struct str object, const char *name, struct arena *);
