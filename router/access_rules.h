/* SPDX-License-Identifier: Apache-2.0 */
/* What access.c judges by, as read from auth.keys, auth.ticket_keys and auth.grant_keys. Immutable once read. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mac.h"
#include "base/retire.h"
#include "base/secret.h"
#include "base/wire/limits.h"

struct router_conf;
struct sign_key;
struct str;

#define TOKENS_MAX 1000
#define KEYS_MAX 64

/* What a credential allows: copied about, so it holds its texts. */
struct rights {
	unsigned scopes;           /* bits of enum scope */
	uint64_t ends_ms;          /* unix time; UINT64_MAX: never */
	char who[129];             /* for the log: a token's name, or `sub` */
	char room[ROOM_MAX + 2];   /* "": any; "team-*": those that begin so */
	char node[NODE_MAX + 1];   /* "": none of its own */
};
struct static_token {
	unsigned char hash[MAC_BYTES]; /* SHA-256 of the token */
	struct rights rights;
};
struct access_rules {
	struct retired retired;
	uint64_t version;
	struct static_token *tokens; /* sorted by hash */
	size_t ntokens;
	struct sign_key **keys;
	size_t nkeys;
	struct secret_keys tickets, grants; /* no grants: count 0 */
};
/* NULL: the faults are in `err`. */
struct access_rules *access_rules_read(const struct router_conf *, FILE *err);
void access_rules_free(struct access_rules *);
const struct rights *access_rules_token(const struct access_rules *, const unsigned char hash[static MAC_BYTES]); /* NULL: none */
/* Fills from words as they stand in a file or a claim; NULL is absent. False: *why. */
bool rights_fill(struct rights *, const char *scope, const char *room, const char *node, const char *who, const char **why);
