/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials, made here and without a router: what is secret stands on the first line, what the routers' files want on the
 * second. Nothing is written to a file, so that nobody is surprised by its mode.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/jwt.h"
#include "base/mac.h"
#include "base/secret.h"
#include "client/ctl/ctl.h"

#define DEFAULT_FOR_MS 3600000
#define CALL_MS 60000 /* a call with its answer, and clocks that differ */
#define TOKEN_BYTES 32

static int refuse(struct ctl *ctl, const char *what)
{
	fprintf(ctl->err, "usherctl: token %s: %s\n", ctl->name, what);
	return CTL_USAGE;
}

static void print_and_free(struct ctl *ctl, struct buf *line)
{
	fprintf(ctl->out, "%s\n", line->len ? line->at : "");
	buf_free(line);
}

static struct buf random_text(void)
{
	unsigned char bytes[TOKEN_BYTES];
	struct buf text = { 0 };

	random_bytes(bytes, sizeof(bytes));
	base64url_add(&text, bytes, sizeof(bytes));
	return text;
}

static int make_secret(struct ctl *ctl)
{
	struct buf text = random_text();

	print_and_free(ctl, &text);
	return CTL_DONE;
}

/* -- static tokens ------------------------------------------------------------------------------------------------------- */
static void add_limits(struct json_out *json, const struct ctl *ctl, const char *scope)
{
	json_str(json, "scope", scope);
	if (ctl->room)
		json_str(json, "room", ctl->room);
	if (ctl->node)
		json_str(json, "node", ctl->node);
}

static void add_hash(struct json_out *json, struct str token)
{
	unsigned char hash[MAC_BYTES];
	char hex[2 * MAC_BYTES + 1];

	hash_sha256(token, hash);
	for (size_t i = 0; i < MAC_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	json_str(json, "sha256", hex);
}

static int make_static(struct ctl *ctl)
{
	struct buf token, line = { 0 };
	struct json_out json = { .to = &line };

	if (!ctl->scope || !ctl->as)
		return refuse(ctl, "needs --scope and --as");
	token = random_text();
	json_open(&json, NULL, '{');
	json_str(&json, "name", ctl->as);
	add_hash(&json, (struct str){ token.at, token.len });
	add_limits(&json, ctl, ctl->scope);
	json_close(&json, '}');
	print_and_free(ctl, &token);
	print_and_free(ctl, &line);
	return CTL_DONE;
}

/* -- keys, and what they sign --------------------------------------------------------------------------------------------- */
static int make_key(struct ctl *ctl)
{
	struct buf secret = { 0 }, open = { 0 };
	int alg = 0;

	while (ctl->alg && sign_alg_words[alg] && strcmp(sign_alg_words[alg], ctl->alg) != 0)
		alg++;
	if (!ctl->kid || !ctl->alg || !sign_alg_words[alg] || !sign_generate((enum sign_alg)alg, ctl->kid, &secret, &open))
		return refuse(ctl, "needs --kid and --alg (HS256, ES256 or EdDSA; RSA keys come from elsewhere)");
	print_and_free(ctl, &secret);
	print_and_free(ctl, &open);
	return CTL_DONE;
}

static struct sign_key *read_key(struct ctl *ctl)
{
	struct jwk jwk = { 0 };
	const char *why;
	size_t len = 0;
	char *text = secret_read(ctl->key, &len, &why);
	struct sign_key *key = NULL;

	if (text && !json_read((struct str){ text, len }, &jwk_shape, &ctl->arena, &jwk, &why))
		key = sign_key_new(&jwk, &why);
	if (!key)
		fprintf(ctl->err, "usherctl: %s: %s\n", ctl->key, why ? why : "is not a JSON Web Key");
	secret_free(text, len);
	return key;
}

struct called { /* the one request that a token is for */
	const char *method, *target;
};

/* `jti` keeps two tokens of one second apart, for routers that take each but once. */
static void write_claims(const struct ctl *ctl, const char *scope, uint64_t lives_ms, const struct called *only, struct buf *claims)
{
	struct json_out json = { .to = claims };
	struct buf id = random_text();
	uint64_t now = wall_ms();

	json_open(&json, NULL, '{');
	if (ctl->as)
		json_str(&json, "sub", ctl->as);
	if (ctl->audience)
		json_str(&json, "aud", ctl->audience);
	if (ctl->issuer)
		json_str(&json, "iss", ctl->issuer);
	json_str(&json, "jti", id.at);
	json_u64(&json, "iat", now / 1000);
	json_u64(&json, "exp", (now + lives_ms) / 1000);
	add_limits(&json, ctl, scope);
	if (only) {
		json_str(&json, "method", only->method);
		json_str(&json, "target", only->target);
	}
	json_close(&json, '}');
	buf_free(&id);
}

/* CTL_DONE: the token is in `token`. Else it was said what is wrong. */
static int sign(struct ctl *ctl, struct buf *claims, struct buf *token)
{
	struct sign_key *key = read_key(ctl);
	bool made = key && jwt_make(key, (struct str){ claims->at, claims->len }, token);

	if (key && !made)
		fprintf(ctl->err, "usherctl: %s: the key has no private part, or is an RSA key\n", ctl->key);
	sign_key_free(key);
	buf_free(claims);
	return made ? CTL_DONE : CTL_FAILED;
}

static int make_jwt(struct ctl *ctl)
{
	struct buf claims = { 0 }, token = { 0 };

	if (!ctl->scope || !ctl->key)
		return refuse(ctl, "needs --scope and --key");
	write_claims(ctl, ctl->scope, ctl->for_ms ? ctl->for_ms : DEFAULT_FOR_MS, NULL, &claims);
	int code = sign(ctl, &claims, &token);
	if (code == CTL_DONE)
		print_and_free(ctl, &token);
	return code;
}

static const char *scope_of(const char *target)
{
	size_t len = strlen(target);

	return len > 5 && !strcmp(target + len - 5, "/join") ? "join" : "admin";
}

const char *token_for_call(struct ctl *ctl, const char *method, const char *target)
{
	struct buf claims = { 0 }, token = { 0 };
	const struct ctl unbound = { .as = ctl->as, .audience = ctl->audience, .issuer = ctl->issuer };

	write_claims(&unbound, scope_of(target), CALL_MS, &(struct called){ method, target }, &claims);
	if (sign(ctl, &claims, &token) != CTL_DONE)
		return NULL;
	const char *bearer = arena_printf(&ctl->arena, "Bearer %s", token.at);
	buf_free(&token);
	return bearer;
}

int run_token(struct ctl *ctl)
{
	static const struct {
		const char *name;
		int (*make)(struct ctl *);
	} kinds[] = { { "secret", make_secret }, { "static", make_static }, { "key", make_key }, { "jwt", make_jwt } };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].name, ctl->name))
			return kinds[i].make(ctl);
	return refuse(ctl, "must be static, jwt, key or secret");
}
