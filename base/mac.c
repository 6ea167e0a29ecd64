/* SPDX-License-Identifier: Apache-2.0 */
/* By libcrypto's one-shot HMAC(): there in OpenSSL 3 as in 1.1, and without state to free. */
#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/mac.h"

#define MAC_BYTES 32

void mac_sha256_hex(struct str key, struct str text, char out[static MAC_HEX_MAX])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	const unsigned char *done;

	assert(key.len <= INT_MAX);
	done = HMAC(EVP_sha256(), key.len ? key.at : "", (int)key.len, (const unsigned char *)text.at, text.len, sum, &len);
	assert(done && len == MAC_BYTES);
	(void)done;
	for (unsigned i = 0; i < MAC_BYTES; i++) {
		out[2 * i] = digits[sum[i] >> 4];
		out[2 * i + 1] = digits[sum[i] & 15];
	}
	out[2 * MAC_BYTES] = '\0';
}
