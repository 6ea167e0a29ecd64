/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file holds hashes of tokens and public halves of keys, so that who reads it can ask for nothing; only HS256 needs the secret
 * itself. It must be readable by its owner alone all the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/sign.h"
#include "router/access_rules.h"
#include "router/conf.h"
#include "router/routes.h"

struct token_line {
	const char *name, *sha256, *scope, *room, *node;
};
static const struct json_member token_members[] = {
	{ "name", JSON_STRING, offsetof(struct token_line, name), JSON_NO_HAS, 1, 128, .required = true, .help = "who has it, for the log" },
	{ "sha256", JSON_STRING, offsetof(struct token_line, sha256), JSON_NO_HAS, 64, 64, .required = true, .help = "of the token, in lower-case hex" },
	{ "scope", JSON_STRING, offsetof(struct token_line, scope), JSON_NO_HAS, 1, 256, .required = true, .help = "words with blanks between" },
	{ "room", JSON_STRING, offsetof(struct token_line, room), JSON_NO_HAS, 1, ROOM_MAX + 1, .help = "the only room, or rooms by prefix*" },
	{ "node", JSON_STRING, offsetof(struct token_line, node), JSON_NO_HAS, 1, NODE_MAX, .help = "the only node; required with scope node" },
};
static const struct json_shape token_shape = { token_members, sizeof(token_members) / sizeof(*token_members), sizeof(struct token_line) };

struct file {
	struct json_list tokens, keys;
};
static const struct json_member file_members[] = {
	{ "tokens", JSON_LIST, offsetof(struct file, tokens), JSON_NO_HAS, 0, TOKENS_MAX, .shape = &token_shape },
	{ "keys", JSON_LIST, offsetof(struct file, keys), JSON_NO_HAS, 0, KEYS_MAX, .shape = &jwk_shape },
};
static const struct json_shape file_shape = { file_members, 2, sizeof(struct file) };

/* -- one credential --------------------------------------------------------------------------------------------------------- */
static bool scope_bits(const char *words, unsigned *bits)
{
	struct str rest = str_of(words), word;

	*bits = 0;
	while (str_cut(&rest, ' ', &word)) {
		size_t i = 0;
		while (scope_words[i] && !str_is(word, scope_words[i]))
			i++;
		if (scope_words[i])
			*bits |= 1u << i;
		else if (word.len)
			return false;
	}
	return true;
}

static bool room_limit_valid(const char *room)
{
	size_t len = strlen(room);

	return len && (room_valid(room, len) || (room[len - 1] == '*' && room_valid(room, len - 1)));
}

bool rights_fill(struct rights *out, const char *scope, const char *room, const char *node, const char *who, const char **why)
{
	struct rights rights = { .ends_ms = UINT64_MAX };

	*why = "scope: must be words of join, route, node, admin, metrics";
	if (!scope || !scope_bits(scope, &rights.scopes) || !rights.scopes)
		return false;
	*why = "room: must be a room's name, or the beginning of names and '*'";
	if (room && (strlen(room) >= sizeof(rights.room) || !room_limit_valid(room)))
		return false;
	*why = "node: must be a node's id, and is required with scope node";
	if (node ? !node_valid(node, strlen(node)) : (rights.scopes & SCOPE_NODE) != 0)
		return false;
	snprintf(rights.room, sizeof(rights.room), "%s", room ? room : "");
	snprintf(rights.node, sizeof(rights.node), "%s", node ? node : "");
	snprintf(rights.who, sizeof(rights.who), "%s", who ? who : "");
	*out = rights;
	return true;
}

/* -- the file ------------------------------------------------------------------------------------------------------------- */
static bool unhex(const char *text, unsigned char *out, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		unsigned value;
		if (strspn(text + 2 * i, "0123456789abcdef") < 2 || sscanf(text + 2 * i, "%2x", &value) != 1)
			return false;
		out[i] = (unsigned char)value;
	}
	return true;
}

static int by_hash(const void *a, const void *b)
{
	return memcmp(((const struct static_token *)a)->hash, ((const struct static_token *)b)->hash, MAC_BYTES);
}

static int take_tokens(struct access_rules *rules, const struct file *file, const char *path, FILE *err)
{
	const struct token_line *lines = file->tokens.items;
	int faults = 0;

	rules->tokens = calloc(file->tokens.count + 1, sizeof(*rules->tokens));
	if (!rules->tokens)
		abort();
	for (size_t i = 0; i < file->tokens.count; i++) {
		struct static_token *token = &rules->tokens[rules->ntokens++];
		const char *why = "sha256: must be 64 lower-case hex digits";
		if (!unhex(lines[i].sha256, token->hash, MAC_BYTES) ||
		    !rights_fill(&token->rights, lines[i].scope, lines[i].room, lines[i].node, lines[i].name, &why))
			faults++, fprintf(err, "auth.keys: %s: tokens[%zu] (%s): %s\n", path, i, lines[i].name, why);
	}
	qsort(rules->tokens, rules->ntokens, sizeof(*rules->tokens), by_hash);
	for (size_t i = 1; i < rules->ntokens; i++)
		if (!by_hash(&rules->tokens[i - 1], &rules->tokens[i]))
			faults++, fprintf(err, "auth.keys: %s: %s and %s have one token\n", path, rules->tokens[i - 1].rights.who, rules->tokens[i].rights.who);
	return faults;
}

static bool is_known(const struct access_rules *rules, const char *kid)
{
	for (size_t i = 0; i < rules->nkeys; i++)
		if (!strcmp(sign_key_kid(rules->keys[i]), kid))
			return true;
	return false;
}

static const char *add_key(struct access_rules *rules, const struct jwk *jwk)
{
	const char *why;

	if (jwk->d)
		return "d: a private key belongs to whoever makes tokens, not to routers";
	if (is_known(rules, jwk->kid ? jwk->kid : ""))
		return "kid: each key needs one of its own";
	struct sign_key *key = sign_key_new(jwk, &why);
	if (!key)
		return why;
	rules->keys[rules->nkeys++] = key;
	return NULL;
}

static int take_keys(struct access_rules *rules, const struct file *file, const char *path, FILE *err)
{
	const struct jwk *jwks = file->keys.items;
	int faults = 0;

	rules->keys = calloc(file->keys.count + 1, sizeof(struct sign_key *));
	if (!rules->keys)
		abort();
	for (size_t i = 0; i < file->keys.count; i++) {
		const char *why = add_key(rules, &jwks[i]);
		if (why)
			faults++, fprintf(err, "auth.keys: %s: keys[%zu] (%s): %s\n", path, i, jwks[i].kid ? jwks[i].kid : "no kid", why);
	}
	return faults;
}

static int read_keys(struct access_rules *rules, const struct router_conf *conf, FILE *err)
{
	struct arena arena = { 0 };
	struct file file = { 0 };
	const char *why, *path = conf->auth.keys;
	size_t len = 0;
	char *text = secret_read(path, &len, &why);
	int faults = 0;

	if (!text)
		return fprintf(err, "auth.keys: %s %s\n", path, why), 1;
	if (json_read((struct str){ text, len }, &file_shape, &arena, &file, &why) < 0)
		faults = fprintf(err, "auth.keys: %s: %s\n", path, why ? why : "is not JSON") > 0;
	else
		faults = take_tokens(rules, &file, path, err) + take_keys(rules, &file, path, err);
	if (!faults && conf->auth.mode == AUTH_TOKEN && !rules->ntokens)
		faults = fprintf(err, "auth.keys: %s: auth.mode is token, and there are no tokens\n", path) > 0;
	if (!faults && conf->auth.mode == AUTH_JWT && !rules->nkeys)
		faults = fprintf(err, "auth.keys: %s: auth.mode is jwt, and there are no keys\n", path) > 0;
	arena_reset(&arena);
	secret_free(text, len);
	return faults;
}

static int read_tickets(struct access_rules *rules, const struct router_conf *conf, FILE *err)
{
	const char *why;

	if (*conf->auth.ticket_keys)
		return secret_keys_read(conf->auth.ticket_keys, &rules->tickets, &why) ? 0 :
		       (fprintf(err, "auth.ticket_keys: %s %s\n", conf->auth.ticket_keys, why), 1);
	rules->tickets.count = 1; /* one router alone: nobody else needs to know it */
	rules->tickets.keys[0].len = SECRET_KEY_BYTES;
	random_bytes(rules->tickets.keys[0].bytes, SECRET_KEY_BYTES);
	return 0;
}

static int read_grants(struct access_rules *rules, const struct router_conf *conf, FILE *err)
{
	const char *why;

	if (!*conf->auth.grant_keys || secret_keys_read(conf->auth.grant_keys, &rules->grants, &why))
		return 0;
	return fprintf(err, "auth.grant_keys: %s %s\n", conf->auth.grant_keys, why), 1;
}

struct access_rules *access_rules_read(const struct router_conf *conf, FILE *err)
{
	struct access_rules *rules = calloc(1, sizeof(*rules));

	if (!rules)
		abort();
	int faults = conf->auth.mode == AUTH_NONE ? 0 : read_keys(rules, conf, err) + read_tickets(rules, conf, err);
	if (faults + read_grants(rules, conf, err) == 0)
		return rules;
	access_rules_free(rules);
	return NULL;
}

void access_rules_free(struct access_rules *rules)
{
	for (size_t i = 0; i < rules->nkeys; i++)
		sign_key_free(rules->keys[i]);
	free(rules->keys);
	free(rules->tokens);
	secret_wipe(&rules->tickets, sizeof(rules->tickets));
	secret_wipe(&rules->grants, sizeof(rules->grants));
	free(rules);
}

const struct rights *access_rules_token(const struct access_rules *rules, const unsigned char hash[static MAC_BYTES])
{
	struct static_token wanted;
	const struct static_token *found;

	memcpy(wanted.hash, hash, MAC_BYTES);
	found = bsearch(&wanted, rules->tokens, rules->ntokens, sizeof(*rules->tokens), by_hash);
	return found ? &found->rights : NULL;
}
