/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and text: a growing buffer, views, percent-coding, UTF-8, numbers. Nothing here waits. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct str { /* a view; not NUL-terminated, owns nothing */
	const char *at;
	size_t len;
};
#define STR(literal) ((struct str){ (literal), sizeof(literal) - 1 })
#define STR_ARG(s) (int)(s).len, (s).at /* for "%.*s" */
struct str str_of(const char *z); /* NULL gives an empty view */
bool str_eq(struct str, struct str);
bool str_is(struct str, const char *z);
/* Here, as most names differ in length, and that of a literal is known where it stands. */
static inline bool str_is_nocase(struct str s, const char *z)
{
	return s.len == strlen(z) && (!s.len || !strncasecmp(s.at, z, s.len));
}
struct str str_trim(struct str); /* without blanks and tabs around */
bool str_cut(struct str *rest, char sep, struct str *piece); /* next piece; false when nothing is left */

char *str_copy(const char *z); /* the caller's to free; NULL for NULL and "" */

struct buf { /* grows; free with buf_free(); zero-initialized is empty. at[len] is NUL once anything was added */
	char *at;
	size_t len, size;
};
void buf_add(struct buf *, const void *bytes, size_t len);
void buf_adds(struct buf *, const char *z);
char *buf_extend(struct buf *, size_t len); /* where the caller then writes all of them, before anything else is added */
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_free(struct buf *);

bool utf8_valid(const char *at, size_t len); /* strict: no surrogates, no overlong forms, at most U+10FFFF */
/* Decodes %XX into out (room for len). Returns the length, or -1 for a bad escape. '+' stays '+'. */
long percent_decode(struct str in, char *out);
void percent_encode(struct buf *, struct str in); /* all but unreserved bytes of RFC 3986 */
bool parse_u64(struct str, uint64_t *out);        /* decimal digits only, whole view, no overflow */
#define U64_TEXT_MAX 21
struct str u64_text(char out[static U64_TEXT_MAX], uint64_t); /* decimal, with a NUL; for each request, where printf would be felt */
struct str u64_hex(char out[static U64_TEXT_MAX], uint64_t);  /* 16 digits */
bool glob_free_token(struct str); /* [A-Za-z0-9._:-]+ : safe in keys, logs, URLs */
/* The value of `name` in a raw query string, undecoded. False: absent. */
bool query_get(struct str query, const char *name, struct str *value);
void time_rfc3339(uint64_t unix_ms, char out[static 25]); /* 2026-01-31T12:00:00.000Z */
uint64_t wall_ms(void); /* unix time; for people and tickets, never for ownership */
/* FNV-1a, gone on with from `hash`, FNV_BEGIN at first. For keys that no stranger chooses: collisions are easily made. */
#define FNV_BEGIN UINT64_C(0xcbf29ce484222325)
static inline uint64_t fnv1a(uint64_t hash, struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		hash = (hash ^ (unsigned char)text.at[i]) * UINT64_C(0x100000001b3);
	return hash;
}
void random_bytes(void *out, size_t len);
uint64_t random_u64(void);              /* per-thread generator, seeded from the kernel: not for secrets */
double random_unit(void);               /* [0, 1) */
