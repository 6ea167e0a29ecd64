/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The adapter of libcrypto's keys. What a token says of its algorithm never chooses how it is checked: sign_verify() does what the
 * key was made for, and fails for anything else.
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json.h"
#include "base/mac.h"
#include "base/sign.h"

#define KID_MAX 128
#define PART_MAX 1024 /* characters of a number in a JWK: RSA of 4096 bits has 683 */
#define RSA_BITS_MIN 2048
#define RSA_EXPONENT_BITS_MIN 17 /* 65537 and above: NIST SP 800-56B, 6.2 */
#define P256_BYTES 32
#define ED25519_BYTES 32

const char *const sign_alg_words[] = { "HS256", "RS256", "ES256", "EdDSA", NULL };
static const char *const types[] = { "oct", "RSA", "EC", "OKP" };

struct sign_key {
	enum sign_alg alg;
	bool private;
	char kid[KID_MAX + 1];
	EVP_PKEY *pkey;         /* NULL for HS256 */
	unsigned char secret[PART_MAX];
	size_t secret_len;
};

#define TEXT(member, most) { #member, JSON_STRING, offsetof(struct jwk, member), JSON_NO_HAS, 1, most }
static const struct json_member jwk_members[] = {
	{ "kty", JSON_STRING, offsetof(struct jwk, kty), JSON_NO_HAS, 1, 16, .required = true, .help = "oct, RSA, EC or OKP" },
	{ "alg", JSON_WORD, offsetof(struct jwk, alg), JSON_NO_HAS, .words = sign_alg_words, .required = true, .help = "the only algorithm that this key is for" },
	TEXT(kid, KID_MAX), TEXT(crv, 32), TEXT(k, PART_MAX), TEXT(n, PART_MAX), TEXT(e, 16), TEXT(x, 64), TEXT(y, 64), TEXT(d, PART_MAX),
};
const struct json_shape jwk_shape = { jwk_members, sizeof(jwk_members) / sizeof(*jwk_members), sizeof(struct jwk) };

/* -- from a JWK ------------------------------------------------------------------------------------------------------------ */
/* `size` bytes of room; exactly `want` bytes, 0: however many. */
static bool bytes_of(const char *text, size_t want, unsigned char *out, size_t size, size_t *len)
{
	return text && strlen(text) * 3 / 4 <= size && base64url_read(str_of(text), out, len) && (!want || *len == want);
}

static BIGNUM *number_of(const char *text)
{
	unsigned char bytes[PART_MAX];
	size_t len;

	return bytes_of(text, 0, bytes, sizeof(bytes), &len) ? BN_bin2bn(bytes, (int)len, NULL) : NULL;
}

static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *build, int selection)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (!params || !context || EVP_PKEY_fromdata_init(context) <= 0 || EVP_PKEY_fromdata(context, &pkey, selection, params) <= 0)
		pkey = NULL;
	EVP_PKEY_CTX_free(context);
	OSSL_PARAM_free(params);
	return pkey;
}

static EVP_PKEY *rsa_key(const struct jwk *jwk)
{
	BIGNUM *n = number_of(jwk->n), *e = number_of(jwk->e);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (n && e && build && BN_num_bits(n) >= RSA_BITS_MIN && BN_is_odd(e) && BN_num_bits(e) >= RSA_EXPONENT_BITS_MIN && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e))
		pkey = from_params("RSA", build, EVP_PKEY_PUBLIC_KEY);
	OSSL_PARAM_BLD_free(build);
	BN_free(n);
	BN_free(e);
	return pkey;
}

static bool on_curve(EVP_PKEY *pkey)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
	bool good = context && EVP_PKEY_public_check(context) > 0;

	EVP_PKEY_CTX_free(context);
	return good;
}

static EVP_PKEY *ec_key(const struct jwk *jwk)
{
	unsigned char point[1 + 2 * P256_BYTES] = { POINT_CONVERSION_UNCOMPRESSED };
	size_t x, y;
	BIGNUM *d = jwk->d ? number_of(jwk->d) : NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (build && jwk->crv && !strcmp(jwk->crv, "P-256") && bytes_of(jwk->x, P256_BYTES, point + 1, P256_BYTES, &x) &&
	    bytes_of(jwk->y, P256_BYTES, point + 1 + P256_BYTES, P256_BYTES, &y) && !jwk->d == !d &&
	    OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
	    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * P256_BYTES) &&
	    (!d || OSSL_PARAM_BLD_push_BN_pad(build, OSSL_PKEY_PARAM_PRIV_KEY, d, P256_BYTES)))
		pkey = from_params("EC", build, d ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY);
	OSSL_PARAM_BLD_free(build);
	BN_clear_free(d);
	if (pkey && !on_curve(pkey)) {
		EVP_PKEY_free(pkey);
		return NULL;
	}
	return pkey;
}

static EVP_PKEY *okp_key(const struct jwk *jwk)
{
	unsigned char bytes[ED25519_BYTES];
	size_t len;

	if (!jwk->crv || strcmp(jwk->crv, "Ed25519") != 0 || !bytes_of(jwk->d ? jwk->d : jwk->x, ED25519_BYTES, bytes, sizeof(bytes), &len))
		return NULL;
	return jwk->d ? EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, len) :
			EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes, len);
}

static bool fill(struct sign_key *key, const struct jwk *jwk, const char **why)
{
	switch (key->alg) {
	case SIGN_HS256:
		*why = "k: must be base64url of 32 bytes or more";
		return bytes_of(jwk->k, 0, key->secret, sizeof(key->secret), &key->secret_len) && key->secret_len >= MAC_BYTES;
	case SIGN_RS256:
		*why = "n, e: must be an RSA key of at least 2048 bits, with 65537 or more";
		return (key->pkey = rsa_key(jwk)) != NULL;
	case SIGN_ES256:
		*why = "crv, x, y, d: must be a key of P-256";
		return (key->pkey = ec_key(jwk)) != NULL;
	case SIGN_EDDSA:
		*why = "crv, x, d: must be a key of Ed25519";
		return (key->pkey = okp_key(jwk)) != NULL;
	case SIGN_ALGS:
		break;
	}
	return false;
}

struct sign_key *sign_key_new(const struct jwk *jwk, const char **why)
{
	struct sign_key *key = calloc(1, sizeof(*key));

	if (!key)
		abort();
	key->alg = (enum sign_alg)jwk->alg;
	key->private = key->alg == SIGN_HS256 || (jwk->d && key->alg != SIGN_RS256);
	snprintf(key->kid, sizeof(key->kid), "%s", jwk->kid ? jwk->kid : "");
	*why = "kty: does not go with alg";
	bool good = !strcmp(jwk->kty, types[key->alg]) && fill(key, jwk, why);
	ERR_clear_error();
	if (good)
		return key;
	sign_key_free(key);
	return NULL;
}

void sign_key_free(struct sign_key *key)
{
	if (!key)
		return;
	EVP_PKEY_free(key->pkey);
	OPENSSL_cleanse(key, sizeof(*key));
	free(key);
}

const char *sign_key_kid(const struct sign_key *key)
{
	return key->kid;
}

enum sign_alg sign_key_alg(const struct sign_key *key)
{
	return key->alg;
}

/* -- signatures ------------------------------------------------------------------------------------------------------------ */
static struct str secret_of(const struct sign_key *key)
{
	return (struct str){ (const char *)key->secret, key->secret_len };
}

/* JWS has r and s side by side (RFC 7518, 3.4), libcrypto wants DER. */
static size_t to_der(struct str raw, unsigned char *out, size_t size)
{
	ECDSA_SIG *sig = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn((const unsigned char *)raw.at, P256_BYTES, NULL), *s = BN_bin2bn((const unsigned char *)raw.at + P256_BYTES, P256_BYTES, NULL);
	int len = 0;

	if (sig && r && s && ECDSA_SIG_set0(sig, r, s)) {
		r = s = NULL;
		len = i2d_ECDSA_SIG(sig, NULL);
		len = len > 0 && (size_t)len <= size ? i2d_ECDSA_SIG(sig, &out) : 0;
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return len > 0 ? (size_t)len : 0;
}

static size_t from_der(const unsigned char *der, size_t len, unsigned char out[static SIGN_MAX])
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)len);
	bool good = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, P256_BYTES) == P256_BYTES &&
		    BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + P256_BYTES, P256_BYTES) == P256_BYTES;

	ECDSA_SIG_free(sig);
	return good ? 2 * P256_BYTES : 0;
}

static const EVP_MD *digest_of(const struct sign_key *key)
{
	return key->alg == SIGN_EDDSA ? NULL : EVP_sha256();
}

static bool verify_with(EVP_PKEY *pkey, const EVP_MD *digest, struct str text, const unsigned char *sig, size_t len)
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestVerifyInit(context, NULL, digest, NULL, pkey) > 0 &&
		    EVP_DigestVerify(context, sig, len, (const unsigned char *)text.at, text.len) == 1;

	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}

bool sign_verify(const struct sign_key *key, struct str text, struct str signature)
{
	unsigned char made[MAC_BYTES], der[2 * P256_BYTES + 16];

	if (key->alg == SIGN_HS256) {
		mac_sha256(secret_of(key), text, made);
		return signature.len == MAC_BYTES && secret_eq(made, signature.at, MAC_BYTES);
	}
	if (key->alg != SIGN_ES256)
		return verify_with(key->pkey, digest_of(key), text, (const unsigned char *)signature.at, signature.len);
	size_t len = signature.len == 2 * P256_BYTES ? to_der(signature, der, sizeof(der)) : 0;
	return len && verify_with(key->pkey, digest_of(key), text, der, len);
}

size_t sign_make(const struct sign_key *key, struct str text, unsigned char out[static SIGN_MAX])
{
	unsigned char sig[SIGN_MAX];
	size_t len = sizeof(sig);
	EVP_MD_CTX *context;

	if (!key->private)
		return 0;
	if (key->alg == SIGN_HS256) {
		mac_sha256(secret_of(key), text, out);
		return MAC_BYTES;
	}
	context = EVP_MD_CTX_new();
	bool good = context && EVP_DigestSignInit(context, NULL, digest_of(key), NULL, key->pkey) > 0 &&
		    EVP_DigestSign(context, sig, &len, (const unsigned char *)text.at, text.len) > 0;
	EVP_MD_CTX_free(context);
	if (!good)
		return 0;
	if (key->alg == SIGN_ES256)
		return from_der(sig, len, out);
	memcpy(out, sig, len);
	return len;
}
