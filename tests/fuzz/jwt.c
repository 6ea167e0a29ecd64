/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens. The input is a token, or, after '!', header and claims with a line's end between them, which are signed here with the
 * key that the rules know: else nothing would ever get past the signature.
 */
#include "base/arena.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/jwt.h"
#include "base/mac.h"
#include "tests/fuzz/fuzz.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define NOW_MS UINT64_C(1800000000000)

static struct sign_key *keys[3];

static struct sign_key *key_of(const struct jwk *jwk)
{
	const char *why = NULL;
	struct sign_key *key = sign_key_new(jwk, &why);

	MUST(key);
	return key;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct buf secret = { 0 }, open = { 0 }, k = { 0 };
	struct arena arena = { 0 };
	struct jwk jwk;
	const char *fault;

	(void)argc, (void)argv;
	base64url_add(&k, SECRET, strlen(SECRET));
	keys[0] = key_of(&(struct jwk){ .kty = "oct", .kid = "h", .k = k.at, .alg = SIGN_HS256 });
	for (int i = 1; i < 3; i++) {
		secret.len = open.len = 0;
		MUST(sign_generate(i == 1 ? SIGN_ES256 : SIGN_EDDSA, i == 1 ? "e" : "d", &secret, &open));
		jwk = (struct jwk){ 0 };
		MUST(!json_read((struct str){ open.at, open.len }, &jwk_shape, &arena, &jwk, &fault));
		keys[i] = key_of(&jwk);
	}
	buf_free(&secret);
	buf_free(&open);
	buf_free(&k);
	arena_reset(&arena);
	return 0;
}

/* header.claims.signature by the HS256 key, of whatever bytes they are. */
static void sign_text(struct str in, struct buf *out)
{
	unsigned char mac[MAC_BYTES];
	struct str head = { 0 };

	str_cut(&in, '\n', &head);
	base64url_add(out, head.at, head.len);
	buf_adds(out, ".");
	base64url_add(out, in.at, in.len);
	mac_sha256(STR(SECRET), (struct str){ out->at, out->len }, mac);
	buf_adds(out, ".");
	base64url_add(out, mac, sizeof(mac));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	struct jwt_rules rules = { keys, 3, "usher", "", NOW_MS, 30000 };
	struct arena arena = { 0 };
	struct buf token = { 0 };
	struct jwt jwt = { 0 };
	const char *why = NULL;
	bool is_signed = in.len && in.at[0] == '!';

	if (is_signed) {
		feed_byte(&in);
		sign_text(in, &token);
	} else {
		buf_add(&token, in.at, in.len);
	}
	char *copy = copy_of((struct str){ token.at, token.len }, false);
	struct str text = { copy, token.len };
	if (jwt_read(text, &rules, &arena, &jwt, &why)) {
		MUST(is_signed && jwt_looks_so(text) && text.len <= JWT_MAX); /* nobody guesses a signature */
		MUST(jwt.expires_ms > NOW_MS);
	} else {
		MUST(why && *why && !jwt.expires_ms && !jwt.subject);
	}
	arena_reset(&arena);
	buf_free(&token);
	free(copy);
	return 0;
}
