/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of the RFCs, what each rule refuses, and that no byte of a token can be another. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/jwt.h"

#define NOW 1300819379000 /* a second before the RFC's tokens end */

/* RFC 7515, A.1 and A.3. */
static const char hs256_key[] = "{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"h\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3"
                                "Yj0iPS4hcgUuTwjAzZr1Z9CAow\"}";
static const char hs256[] = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9p"
                            "c19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
static const char es256_key[] = "{\"kty\":\"EC\",\"alg\":\"ES256\",\"kid\":\"e\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                                "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
static const char es256[] = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.Dt"
                            "EhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/* RFC 8037, A.4: its payload is no JSON, so only the signature. */
static const char ed25519_key[] = "{\"kty\":\"OKP\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
static const char ed25519_text[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
static const char ed25519_signature[] = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

static struct arena arena;
static const char *why;

static struct sign_key *key_of(const char *json)
{
	struct jwk jwk = { 0 };
	struct sign_key *key;

	if (json_read(str_of(json), &jwk_shape, &arena, &jwk, &why) < 0)
		return NULL;
	key = sign_key_new(&jwk, &why);
	return key;
}

static bool reads(struct str token, struct sign_key *key, struct jwt *out)
{
	struct jwt_rules rules = { &key, key ? 1 : 0, "", "", NOW, 30000 };

	return jwt_read(token, &rules, &arena, out, &why);
}

START_TEST(tokens_of_the_rfc_are_right)
{
	struct sign_key *h = key_of(hs256_key), *e = key_of(es256_key), *d = key_of(ed25519_key);
	char signature[64];
	size_t len;
	struct jwt jwt;

	ck_assert_msg(reads(str_of(hs256), h, &jwt), "%s", why);
	ck_assert_uint_eq(jwt.expires_ms, 1300819380000);
	ck_assert_msg(reads(str_of(es256), e, &jwt), "%s", why);
	ck_assert(base64url_read(str_of(ed25519_signature), signature, &len));
	ck_assert(sign_verify(d, str_of(ed25519_text), (struct str){ signature, len }));
	signature[9] ^= 1;
	ck_assert(!sign_verify(d, str_of(ed25519_text), (struct str){ signature, len }));
	sign_key_free(h);
	sign_key_free(e);
	sign_key_free(d);
}
END_TEST

/* Every place of a token, and every other character that may stand there: one text for each token. */
START_TEST(no_character_can_be_another)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ ";
	struct sign_key *key = key_of(hs256_key);
	char token[sizeof(hs256)];
	struct jwt jwt;

	for (size_t i = 0; i < sizeof(hs256) - 1; i++)
		for (const char *c = letters; *c; c++) {
			memcpy(token, hs256, sizeof(token));
			token[i] = *c;
			ck_assert_msg(*c == hs256[i] || !reads(str_of(token), key, &jwt), "%zu may be %c", i, *c);
			arena_reset(&arena);
		}
	for (size_t len = 0; len < sizeof(hs256) - 1; len++)
		ck_assert(!reads((struct str){ hs256, len }, key, &jwt));
	sign_key_free(key);
}
END_TEST

/* Signs any header and claims by a key that checks HS256. */
static struct str forged(const char *head, const char *claims, struct sign_key *key)
{
	struct buf text = { 0 };
	unsigned char signature[SIGN_MAX];

	base64url_add(&text, head, strlen(head));
	buf_adds(&text, ".");
	base64url_add(&text, claims, strlen(claims));
	size_t len = sign_make(key, (struct str){ text.at, text.len }, signature);
	buf_adds(&text, ".");
	base64url_add(&text, signature, len);
	struct str token = { arena_copy(&arena, text.at, text.len), text.len };
	buf_free(&text);
	return token;
}

#define HEAD "{\"alg\":\"HS256\"}"
#define CLAIMS "{\"exp\":1300819380}"

START_TEST(what_is_refused)
{
	static const struct {
		const char *head, *claims, *word; /* of the reason; NULL: good */
	} rows[] = {
		{ HEAD, CLAIMS, NULL },
		{ "{\"alg\":\"HS256\",\"kid\":\"h\",\"typ\":\"JWT\"}", CLAIMS, NULL },
		{ "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"},\"jku\":\"http://x\",\"x5u\":\"http://x\"}", CLAIMS, NULL }, /* ignored */
		{ "{\"alg\":\"none\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"None\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"hs256\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"HS384\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"RS256\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"ES256\"}", CLAIMS, "alg" },
		{ "{\"alg\":\"\"}", CLAIMS, "header" },
		{ "{\"alg\":null}", CLAIMS, "header" },
		{ "{\"alg\":[\"HS256\"]}", CLAIMS, "header" },
		{ "{}", CLAIMS, "header" },
		{ "[]", CLAIMS, "header" },
		{ "{\"alg\":\"HS256\",\"alg\":\"none\"}", CLAIMS, "header" },
		{ "{\"alg\":\"none\",\"alg\":\"HS256\"}", CLAIMS, "header" },
		{ "{\"alg\":\"HS256\",\"crit\":[\"x\"],\"crit\":[\"x\"]}", CLAIMS, "header" },
		{ "{\"alg\":\"HS256\",\"x\":{\"y\":1,\"y\":2}}", CLAIMS, "header" },
		{ HEAD, "{\"exp\":1300819380,\"aud\":\"other\",\"aud\":\"other\"}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"unknown\":1,\"unknown\":1}", "claim" },
		{ "{\"alg\":\"HS256\",\"kid\":\"other\"}", CLAIMS, "kid" },
		{ "{\"alg\":\"HS256\",\"kid\":\"../h\"}", CLAIMS, "kid" },
		{ "{\"alg\":\"HS256\",\"kid\":\"h' OR 1=1\"}", CLAIMS, "kid" },
		{ "{\"alg\":\"HS256\",\"kid\":7}", CLAIMS, "header" },
		{ "{\"alg\":\"HS256\",\"crit\":[\"exp\"]}", CLAIMS, "crit" },
		{ "{\"alg\":\"HS256\",\"crit\":[]}", CLAIMS, "crit" },
		{ "{\"alg\":\"HS256\",\"b64\":false,\"crit\":[\"b64\"]}", CLAIMS, "crit" },
		{ HEAD, "{}", "exp" },
		{ HEAD, "{\"exp\":1300819379}", "expired" },
		{ HEAD, "{\"exp\":1300819379.5}", NULL },
		{ HEAD, "{\"exp\":-1}", "claim" },
		{ HEAD, "{\"exp\":1e300}", "claim" },
		{ HEAD, "{\"exp\":\"1300819380\"}", "claim" },
		{ HEAD, "{\"exp\":null}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"exp\":1300819381}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"nbf\":1300819409}", NULL },
		{ HEAD, "{\"exp\":1300819380,\"nbf\":1300819410}", "nbf" },
		{ HEAD, "{\"exp\":1300819380,\"iat\":1300819410}", "iat" },
		{ HEAD, "{\"exp\":1300819380,\"iat\":\"now\"}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"aud\":\"usher\"}", "aud" },
		{ HEAD, "{\"exp\":1300819380,\"room\":7}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"scope\":[\"join\"]}", "claim" },
		{ HEAD, "{\"exp\":1300819380} ", NULL },
		{ HEAD, "{\"exp\":1300819380}x", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"sub\":\"\xff\"}", "claim" },
		{ HEAD, "{\"exp\":1300819380,\"sub\":\"a\\u0000b\"}", "claim" },
	};
	struct sign_key *key = key_of(hs256_key);
	struct jwt jwt;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		bool good = reads(forged(rows[i].head, rows[i].claims, key), key, &jwt);
		ck_assert_msg(good == !rows[i].word, "%s %s: %s", rows[i].head, rows[i].claims, good ? "good" : why);
		ck_assert_msg(good || strstr(why, rows[i].word), "%s %s: %s", rows[i].head, rows[i].claims, why);
	}
	sign_key_free(key);
}
END_TEST

/* The public key as the secret of HS256: the oldest trick. */
START_TEST(keys_keep_to_their_algorithm)
{
	struct sign_key *e = key_of(es256_key);
	struct sign_key *as_secret = key_of("{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}");
	struct jwt jwt;

	ck_assert(!reads(forged(HEAD, CLAIMS, as_secret), e, &jwt));
	ck_assert(!reads(forged("{\"alg\":\"ES256\"}", CLAIMS, as_secret), e, &jwt));
	ck_assert(!reads(str_of(hs256), e, &jwt));
	ck_assert(!reads(str_of(es256), as_secret, &jwt));
	ck_assert(!reads(str_of("eyJhbGciOiJub25lIn0.eyJleHAiOjEzMDA4MTkzODB9."), e, &jwt));
	sign_key_free(e);
	sign_key_free(as_secret);
}
END_TEST

/* Whoever guesses is not to have a signature checked for each key that we have. */
START_TEST(without_a_name_two_keys_are_tried)
{
	struct sign_key *keys[3];
	struct jwt_rules rules = { keys, 3, "", "", NOW, 30000 };
	struct jwt jwt;

	for (int i = 0; i < 3; i++) {
		char text[160];
		snprintf(text, sizeof(text), "{\"kty\":\"oct\",\"alg\":\"HS256\",\"kid\":\"%d\",\"k\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRV%dU\"}", i, i);
		keys[i] = key_of(text);
	}
	ck_assert(jwt_read(forged("{\"alg\":\"HS256\"}", CLAIMS, keys[1]), &rules, &arena, &jwt, &why));
	ck_assert(!jwt_read(forged("{\"alg\":\"HS256\"}", CLAIMS, keys[2]), &rules, &arena, &jwt, &why));
	ck_assert_ptr_nonnull(strstr(why, "more than two"));
	ck_assert(jwt_read(forged("{\"alg\":\"HS256\",\"kid\":\"2\"}", CLAIMS, keys[2]), &rules, &arena, &jwt, &why));
	for (int i = 0; i < 3; i++)
		sign_key_free(keys[i]);
}
END_TEST

START_TEST(audiences_and_issuers)
{
	static const struct {
		const char *claims, *audience, *issuer;
		bool good;
	} rows[] = {
		{ "{\"exp\":1300819380,\"aud\":\"usher\"}", "usher", "", true },
		{ "{\"exp\":1300819380,\"aud\":[\"a\",\"usher\"]}", "usher", "", true },
		{ "{\"exp\":1300819380,\"aud\":[\"a\",\"b\"]}", "usher", "", false },
		{ "{\"exp\":1300819380,\"aud\":\"usher2\"}", "usher", "", false },
		{ "{\"exp\":1300819380,\"aud\":{\"usher\":1}}", "usher", "", false },
		{ "{\"exp\":1300819380,\"aud\":[7]}", "usher", "", false },
		{ "{\"exp\":1300819380}", "usher", "", false },
		{ "{\"exp\":1300819380,\"iss\":\"me\"}", "", "me", true },
		{ "{\"exp\":1300819380,\"iss\":\"you\"}", "", "me", false },
		{ "{\"exp\":1300819380}", "", "me", false },
	};
	struct sign_key *key = key_of(hs256_key);
	struct jwt jwt;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct jwt_rules rules = { &key, 1, rows[i].audience, rows[i].issuer, NOW, 30000 };
		ck_assert_msg(jwt_read(forged(HEAD, rows[i].claims, key), &rules, &arena, &jwt, &why) == rows[i].good, "%s: %s", rows[i].claims, why);
	}
	sign_key_free(key);
}
END_TEST

START_TEST(what_we_make_we_take)
{
	static const char claims[] = "{\"exp\":1300819380,\"sub\":\"ann\",\"scope\":\"join\",\"room\":\"team-*\",\"node\":\"n1\"}";
	static const enum sign_alg algs[] = { SIGN_HS256, SIGN_ES256, SIGN_EDDSA };
	struct jwt jwt;

	for (size_t i = 0; i < 3; i++) {
		struct buf secret = { 0 }, open = { 0 }, token = { 0 };
		ck_assert(sign_generate(algs[i], "k", &secret, &open));
		ck_assert(algs[i] == SIGN_HS256 || !strstr(open.at, "\"d\""));
		struct sign_key *signs = key_of(secret.at), *checks = key_of(open.at);
		ck_assert(jwt_make(signs, STR(claims), &token));
		ck_assert_msg(reads((struct str){ token.at, token.len }, checks, &jwt), "%s", why);
		ck_assert_str_eq(jwt.subject, "ann");
		ck_assert_str_eq(jwt.room, "team-*");
		ck_assert_str_eq(jwt.node, "n1");
		ck_assert(algs[i] == SIGN_HS256 || !jwt_make(checks, STR(claims), &token));
		sign_key_free(signs);
		sign_key_free(checks);
		buf_free(&secret), buf_free(&open), buf_free(&token);
	}
}
END_TEST

#define A64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
START_TEST(bad_keys_are_named)
{
	static const struct {
		const char *json, *word;
	} rows[] = {
		{ "{\"kty\":\"oct\",\"alg\":\"HS256\",\"k\":\"c2hvcnQ\"}", "k:" },
		{ "{\"kty\":\"oct\",\"alg\":\"ES256\",\"k\":\"c2hvcnQ\"}", "kty" },
		{ "{\"kty\":\"EC\",\"alg\":\"ES256\",\"crv\":\"P-384\",\"x\":\"AA\",\"y\":\"AA\"}", "P-256" },
		{ "{\"kty\":\"EC\",\"alg\":\"ES256\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		  "\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}", "P-256" }, /* not on the curve */
		{ "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"n\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\",\"e\":\"AQAB\"}", "2048" },
		{ "{\"kty\":\"RSA\",\"alg\":\"RS256\",\"e\":\"AQAB\"}", "2048" },
		{ "{\"kty\":\"OKP\",\"alg\":\"EdDSA\",\"crv\":\"X25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}", "Ed25519" },
		{ "{\"kty\":\"OKP\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}", "Ed25519" },
		{ "{\"kty\":\"OKP\",\"alg\":\"EdDSA\",\"crv\":\"Ed25519\",\"x\":\"AAAA\",\"d\":\"" A64 A64 A64 A64 "\"}", "Ed25519" },
		{ "{\"kty\":\"oct\",\"alg\":\"none\",\"k\":\"\"}", "alg" },
		{ "{\"kty\":\"oct\"}", "alg" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_ptr_null(key_of(rows[i].json));
		ck_assert_msg(why && strstr(why, rows[i].word), "%s: %s", rows[i].json, why);
	}
}
END_TEST

static void teardown(void)
{
	arena_reset(&arena);
}

int main(void)
{
	Suite *s = suite_create("jwt");
	TCase *t = tcase_create("jwt");

	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, tokens_of_the_rfc_are_right);
	tcase_add_test(t, no_character_can_be_another);
	tcase_add_test(t, what_is_refused);
	tcase_add_test(t, keys_keep_to_their_algorithm);
	tcase_add_test(t, without_a_name_two_keys_are_tried);
	tcase_add_test(t, audiences_and_issuers);
	tcase_add_test(t, what_we_make_we_take);
	tcase_add_test(t, bad_keys_are_named);
	suite_add_tcase(s, t);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
