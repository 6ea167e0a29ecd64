/* SPDX-License-Identifier: Apache-2.0 */
/* By libcrypto's one-shot functions: there in OpenSSL 3 as in 1.1, and without state to free. */
#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include "base/mac.h"

void mac_sha256(struct str key, struct str text, unsigned char out[static MAC_BYTES])
{
	unsigned len = MAC_BYTES;
	const unsigned char *done;

	assert(key.len <= INT_MAX);
	done = HMAC(EVP_sha256(), key.len ? key.at : "", (int)key.len, (const unsigned char *)text.at, text.len, out, &len);
	assert(done && len == MAC_BYTES);
	(void)done;
}

void mac_sha256_hex(struct str key, struct str text, char out[static MAC_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[MAC_BYTES];

	mac_sha256(key, text, sum);
	for (unsigned i = 0; i < MAC_BYTES; i++) {
		out[2 * i] = digits[sum[i] >> 4];
		out[2 * i + 1] = digits[sum[i] & 15];
	}
	out[2 * MAC_BYTES] = '\0';
}

void hash_sha256(struct str text, unsigned char out[static MAC_BYTES])
{
	SHA256((const unsigned char *)text.at, text.len, out);
}

bool secret_eq(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
