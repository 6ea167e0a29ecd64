/* SPDX-License-Identifier: Apache-2.0 */
/* New keys, written as JSON Web Keys: one text with the private part for whoever signs, one without it for the routers. */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/sign.h"

#define PART_BYTES 32 /* each number of P-256 and Ed25519, and a secret for HS256 */

struct parts {
	unsigned char x[PART_BYTES], y[PART_BYTES], secret[PART_BYTES];
};

static bool p256_parts(EVP_PKEY *pkey, struct parts *parts)
{
	unsigned char point[1 + 2 * PART_BYTES];
	size_t len;
	BIGNUM *d = NULL;
	bool good = EVP_PKEY_get_octet_string_param(pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &len) && len == sizeof(point) &&
		    EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_PRIV_KEY, &d) && BN_bn2binpad(d, parts->secret, PART_BYTES) == PART_BYTES;

	memcpy(parts->x, point + 1, PART_BYTES);
	memcpy(parts->y, point + 1 + PART_BYTES, PART_BYTES);
	BN_clear_free(d);
	return good;
}

static bool ed25519_parts(EVP_PKEY *pkey, struct parts *parts)
{
	size_t x = PART_BYTES, d = PART_BYTES;

	return EVP_PKEY_get_raw_public_key(pkey, parts->x, &x) > 0 && EVP_PKEY_get_raw_private_key(pkey, parts->secret, &d) > 0;
}

static bool make_parts(enum sign_alg alg, struct parts *parts)
{
	if (alg == SIGN_HS256) {
		random_bytes(parts->secret, sizeof(parts->secret));
		return true;
	}
	EVP_PKEY *pkey = alg == SIGN_ES256 ? EVP_EC_gen("P-256") : alg == SIGN_EDDSA ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519") : NULL;
	bool good = pkey && (alg == SIGN_ES256 ? p256_parts(pkey, parts) : ed25519_parts(pkey, parts));
	EVP_PKEY_free(pkey);
	return good;
}

static void write_part(struct json_out *json, const char *name, const unsigned char *part)
{
	struct buf text = { 0 };

	base64url_add(&text, part, PART_BYTES);
	json_view(json, name, (struct str){ text.at, text.len });
	OPENSSL_cleanse(text.at, text.len);
	buf_free(&text);
}

static void write_key(struct buf *out, enum sign_alg alg, const char *kid, const struct parts *parts, bool private)
{
	static const char *const types[] = { [SIGN_HS256] = "oct", [SIGN_ES256] = "EC", [SIGN_EDDSA] = "OKP" };
	struct json_out json = { .to = out };

	json_open(&json, NULL, '{');
	json_str(&json, "kty", types[alg]);
	json_str(&json, "alg", sign_alg_words[alg]);
	json_str(&json, "kid", kid);
	if (alg == SIGN_HS256) {
		write_part(&json, "k", parts->secret);
	} else {
		json_str(&json, "crv", alg == SIGN_ES256 ? "P-256" : "Ed25519");
		write_part(&json, "x", parts->x);
		if (alg == SIGN_ES256)
			write_part(&json, "y", parts->y);
		if (private)
			write_part(&json, "d", parts->secret);
	}
	json_close(&json, '}');
}

bool sign_generate(enum sign_alg alg, const char *kid, struct buf *secret, struct buf *open)
{
	struct parts parts = { 0 };
	bool good = make_parts(alg, &parts);

	if (good) {
		write_key(secret, alg, kid, &parts, true);
		write_key(open, alg, kid, &parts, false);
	}
	OPENSSL_cleanse(&parts, sizeof(parts));
	return good;
}
