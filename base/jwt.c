/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/jwt.h"

#define SECONDS_MAX 1e11 /* NumericDate: the year 5138 */
#define TEXT_MAX 1024
#define KEYS_TRIED 2 /* the old one and the new one; each costs a wrong token a signature */

struct head {
	const char *alg, *kid;
	bool critical;
};
static const struct json_member head_members[] = {
	{ "alg", JSON_STRING, offsetof(struct head, alg), JSON_NO_HAS, 1, 32, .required = true },
	{ "kid", JSON_STRING, offsetof(struct head, kid), JSON_NO_HAS, 0, TEXT_MAX },
	{ "crit", JSON_ANY, 0, offsetof(struct head, critical) },
};
static const struct json_shape head_shape = { head_members, 3, sizeof(struct head), .no_twins = true };

struct claims {
	const char *iss, *sub, *scope, *room, *node, *method, *target;
	double exp, nbf, iat;
	struct json_list aud;
	bool for_some;
};
#define TEXT(member) { #member, JSON_STRING, offsetof(struct claims, member), JSON_NO_HAS, 0, TEXT_MAX }
#define DATE(member) #member, JSON_REAL, offsetof(struct claims, member), JSON_NO_HAS, 0, SECONDS_MAX
static const struct json_member claims_members[] = {
	TEXT(iss), TEXT(sub), TEXT(scope), TEXT(room), TEXT(node), TEXT(method), TEXT(target),
	{ DATE(exp), .required = true },
	{ DATE(nbf) },
	{ DATE(iat) },
	{ "aud", JSON_STRINGS, offsetof(struct claims, aud), offsetof(struct claims, for_some), 0, 16, .or_one = true },
};
static const struct json_shape claims_shape = { claims_members, sizeof(claims_members) / sizeof(*claims_members), sizeof(struct claims),
	                                        .no_twins = true };

/* -- parts --------------------------------------------------------------------------------------------------------------- */
struct parts {
	struct str head, claims, signature, signed_text;
};

static bool split(struct str token, struct parts *parts)
{
	struct str rest = token;

	if (!str_cut(&rest, '.', &parts->head) || !str_cut(&rest, '.', &parts->claims) || memchr(rest.at ? rest.at : "", '.', rest.len))
		return false;
	parts->signature = rest;
	parts->signed_text = (struct str){ token.at, parts->head.len + 1 + parts->claims.len };
	return parts->head.len && parts->claims.len && parts->signature.len;
}

bool jwt_looks_so(struct str token)
{
	struct parts parts;

	return split(token, &parts);
}

static bool decode(struct str text, struct arena *arena, struct str *out)
{
	char *bytes = arena_alloc(arena, text.len + 1);

	*out = (struct str){ bytes, 0 };
	return base64url_read(text, bytes, &out->len);
}

/* -- the signature --------------------------------------------------------------------------------------------------------- */
static bool fits(const struct sign_key *key, const struct head *head)
{
	return !strcmp(sign_alg_words[sign_key_alg(key)], head->alg) && (!head->kid || !strcmp(sign_key_kid(key), head->kid));
}

static bool is_signed(const struct parts *parts, const struct head *head, const struct jwt_rules *rules, struct arena *arena, const char **why)
{
	struct str signature;
	size_t tried = 0;

	*why = "the signature is not base64url";
	if (!decode(parts->signature, arena, &signature))
		return false;
	*why = "no key of this kid is for this alg";
	for (size_t i = 0; i < rules->nkeys; i++) {
		if (!fits(rules->keys[i], head))
			continue;
		*why = "it names no key (kid), and more than two are for its alg";
		if (tried++ == KEYS_TRIED)
			return false;
		*why = "the signature is not by that key";
		if (sign_verify(rules->keys[i], parts->signed_text, signature))
			return true;
	}
	return false;
}

/* -- the claims ------------------------------------------------------------------------------------------------------------ */
static bool is_for(const struct json_list *names, const char *audience)
{
	for (size_t i = 0; i < names->count; i++)
		if (!strcmp(((const char *const *)names->items)[i], audience))
			return true;
	return false;
}

static const char *fault_in_time(const struct claims *claims, const struct jwt_rules *rules)
{
	double now = (double)rules->now_ms / 1000, ahead = now + (double)rules->skew_ms / 1000;

	if (claims->exp <= now)
		return "it has expired";
	if (claims->nbf > ahead)
		return "it is not valid yet (nbf)";
	return claims->iat > ahead ? "it was issued in the future (iat)" : NULL;
}

static const char *fault_in(const struct claims *claims, const struct jwt_rules *rules)
{
	const char *fault = fault_in_time(claims, rules);

	if (fault)
		return fault;
	if (claims->for_some && !*rules->audience)
		return "it names an audience (aud), and auth.audience is not set";
	if (*rules->audience && !is_for(&claims->aud, rules->audience))
		return "it is for another audience (aud)";
	if (*rules->issuer && (!claims->iss || strcmp(claims->iss, rules->issuer) != 0))
		return "it is by another issuer (iss)";
	return NULL;
}

bool jwt_read(struct str token, const struct jwt_rules *rules, struct arena *arena, struct jwt *out, const char **why)
{
	struct parts parts;
	struct head head = { 0 };
	struct claims claims = { 0 };
	struct str head_text, claims_text;
	const char *fault;

	*why = "it is over 4096 bytes";
	if (token.len > JWT_MAX)
		return false;
	*why = "it has not three parts of base64url";
	if (!split(token, &parts) || !decode(parts.head, arena, &head_text) || !decode(parts.claims, arena, &claims_text))
		return false;
	*why = "its header is not valid";
	if (json_read(head_text, &head_shape, arena, &head, &fault) < 0)
		return false;
	*why = "its header has crit, and nothing critical is understood";
	if (head.critical)
		return false;
	if (!is_signed(&parts, &head, rules, arena, why))
		return false;
	*why = "a claim is not valid, or exp is missing";
	if (json_read(claims_text, &claims_shape, arena, &claims, &fault) < 0)
		return false;
	*why = fault_in(&claims, rules);
	if (*why)
		return false;
	*out = (struct jwt){ claims.sub, claims.scope, claims.room, claims.node, claims.method, claims.target, (uint64_t)floor(claims.exp * 1000) };
	return true;
}

/* -- making one ------------------------------------------------------------------------------------------------------------ */
bool jwt_make(const struct sign_key *key, struct str claims, struct buf *out)
{
	struct buf head = { 0 };
	struct json_out json = { .to = &head };
	unsigned char signature[SIGN_MAX];
	size_t from = out->len;

	json_open(&json, NULL, '{');
	json_str(&json, "alg", sign_alg_words[sign_key_alg(key)]);
	json_str(&json, "typ", "JWT");
	if (*sign_key_kid(key))
		json_str(&json, "kid", sign_key_kid(key));
	json_close(&json, '}');
	base64url_add(out, head.at, head.len);
	buf_adds(out, ".");
	base64url_add(out, claims.at, claims.len);
	size_t len = sign_make(key, (struct str){ out->at + from, out->len - from }, signature);
	buf_adds(out, ".");
	base64url_add(out, signature, len);
	buf_free(&head);
	return len > 0;
}
