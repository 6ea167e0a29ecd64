/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values are said as one would write them, so that an operator can see what differs; a long one by its length and its sum, so that
 * no setting makes the announcement one that others cannot read.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/conf.h"
#include "base/json.h"
#include "registry/hash.h"
#include "router/agree.h"

#define SAID_MAX 512  /* bytes: the longest list of networks that one would read */
#define READ_MAX 8192

static const struct json_member members[] = {
	{ "key", JSON_STRING, offsetof(struct agree_setting, key), JSON_NO_HAS, 0, 160, .required = true },
	{ "value", JSON_STRING, offsetof(struct agree_setting, value), JSON_NO_HAS, 0, READ_MAX, .required = true },
};
const struct json_shape agree_shape = { members, 2, sizeof(struct agree_setting) };

struct told {
	struct told *next;
	bool met;
	char *peer, *there;
	const char *key; /* of the table */
};
struct agree {
	struct told *told;
};

/* -- what is said, and what differs --------------------------------------------------------------------------------------- */
static void write_value(const struct conf_key *key, const void *values, struct buf *out)
{
	conf_write(key, values, out);
	if (out->len <= SAID_MAX)
		return;
	uint64_t sum = hash_name((struct hash_key){ 0 }, (struct str){ out->at, out->len }); /* no secret: the same at every router */
	size_t bytes = out->len;
	out->len = 0;
	buf_printf(out, "%zu bytes, sum %016" PRIx64, bytes, sum);
}

void agree_write(const struct conf_key *keys, size_t nkeys, const void *values, struct json_out *json)
{
	json_open(json, "settings", '[');
	for (size_t i = 0; i < nkeys; i++) {
		struct buf value = { 0 };
		if (!keys[i].shared || keys[i].secret)
			continue;
		write_value(&keys[i], values, &value);
		json_open(json, NULL, '{');
		json_str(json, "key", keys[i].name);
		json_view(json, "value", (struct str){ value.at, value.len });
		json_close(json, '}');
		buf_free(&value);
	}
	json_close(json, ']');
}

static const struct conf_key *shared_key(const struct conf_key *keys, size_t nkeys, const char *name)
{
	for (size_t i = 0; i < nkeys; i++)
		if (keys[i].shared && !strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

size_t agree_compare(const struct conf_key *keys, size_t nkeys, const void *values, const struct agree_setting *theirs, size_t n,
                     struct arena *arena, struct agree_difference *out)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct conf_key *key = shared_key(keys, nkeys, theirs[i].key);
		struct buf here = { 0 };
		if (!key)
			continue;
		write_value(key, values, &here);
		if (!str_is((struct str){ here.at, here.len }, theirs[i].value))
			out[count++] = (struct agree_difference){ key->name, arena_copy(arena, here.at, here.len), theirs[i].value };
		buf_free(&here);
	}
	return count;
}

/* -- what was told -------------------------------------------------------------------------------------------------------- */
struct agree *agree_new(void)
{
	struct agree *agree = calloc(1, sizeof(*agree));

	if (!agree)
		abort();
	return agree;
}

static void free_told(struct told *told)
{
	free(told->peer);
	free(told->there);
	free(told);
}

void agree_free(struct agree *agree)
{
	for (struct told *told; (told = agree->told);) {
		agree->told = told->next;
		free_told(told);
	}
	free(agree);
}

bool agree_is_news(struct agree *agree, const char *peer, const struct agree_difference *difference)
{
	struct told *told = agree->told;

	while (told && (strcmp(told->peer, peer) || strcmp(told->key, difference->key) || strcmp(told->there, difference->there)))
		told = told->next;
	if (told)
		return told->met = true, false;
	told = calloc(1, sizeof(*told));
	if (!told || !(told->peer = strdup(peer)) || !(told->there = strdup(difference->there)))
		abort();
	told->key = difference->key;
	told->met = true;
	told->next = agree->told;
	agree->told = told;
	return true;
}

void agree_keep(struct agree *agree, const char *peer)
{
	for (struct told *told = agree->told; told; told = told->next)
		told->met = told->met || !strcmp(told->peer, peer);
}

void agree_end_turn(struct agree *agree)
{
	for (struct told **at = &agree->told, *told; (told = *at);) {
		if (told->met) {
			told->met = false;
			at = &told->next;
		} else {
			*at = told->next;
			free_told(told);
		}
	}
}
