/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings that all routers of a store must agree on (`shared` in conf.c): what a router says of them, where another's are not
 * its own, and which of that was told before. Waits for nothing; the keeper's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct agree;
struct arena;
struct conf_key;
struct json_out;
struct json_shape;

struct agree_setting {
	const char *key, *value;
};
extern const struct json_shape agree_shape; /* of a struct agree_setting */
#define AGREE_MAX 100

struct agree_difference {
	const char *key, *here, *there;
};

/* "settings":[{"key","value"},…] */
void agree_write(const struct conf_key *, size_t nkeys, const void *values, struct json_out *);
/* Where `theirs` are not as ours; a setting that only one of the two has is none, as versions differ while they are replaced.
 * `out` has room for `n`; returns how many. */
size_t agree_compare(const struct conf_key *, size_t nkeys, const void *values, const struct agree_setting *theirs, size_t n,
                     struct arena *, struct agree_difference *out);

/* What was told. In each turn every peer that the store knows is met: its differences, or all of it, where it was silent and
 * says nothing new; what was not met since the last turn agrees again, and would be news. */
struct agree *agree_new(void);
void agree_free(struct agree *);
bool agree_is_news(struct agree *, const char *peer, const struct agree_difference *); /* once for each value */
void agree_keep(struct agree *, const char *peer);
void agree_end_turn(struct agree *);
