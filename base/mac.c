/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcrypto's one-shot functions look their algorithm up by name and allocate at each call, which costs several times the hashing.
 * So the algorithm is fetched once, and each thread keeps a context; HMAC is the two hashings of RFC 2104.
 */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/mac.h"

#define BLOCK_BYTES 64

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t contexts; /* frees them when their threads end */
static EVP_MD *sha256, *sha1;

static void free_context(void *context)
{
	EVP_MD_CTX_free(context);
}

static void set_up(void)
{
	sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	if (!sha256 || !sha1 || pthread_key_create(&contexts, free_context))
		abort();
}

static EVP_MD_CTX *context_of_thread(void)
{
	static _Thread_local EVP_MD_CTX *context;

	if (context)
		return context;
	pthread_once(&once, set_up);
	context = EVP_MD_CTX_new();
	if (!context || pthread_setspecific(contexts, context))
		abort();
	return context;
}

/* *with is there once context_of_thread() has fetched it. */
static void hash_two(EVP_MD *const *with, struct str first, struct str second, unsigned char *out)
{
	EVP_MD_CTX *context = context_of_thread();
	bool good = EVP_DigestInit_ex2(context, *with, NULL) > 0 && EVP_DigestUpdate(context, first.at, first.len) > 0 &&
		    EVP_DigestUpdate(context, second.at, second.len) > 0 && EVP_DigestFinal_ex(context, out, NULL) > 0;

	if (!good)
		abort(); /* nothing that it depends on can fail once it is fetched */
}

void hash_sha256(struct str text, unsigned char out[static MAC_BYTES])
{
	hash_two(&sha256, text, (struct str){ "", 0 }, out);
}

void hash_sha1(struct str first, struct str second, unsigned char out[static SHA1_BYTES])
{
	hash_two(&sha1, first, second, out);
}

void mac_sha256(struct str key, struct str text, unsigned char out[static MAC_BYTES])
{
	unsigned char block[BLOCK_BYTES] = { 0 }, inner[MAC_BYTES];

	if (key.len > BLOCK_BYTES)
		hash_sha256(key, block);
	else if (key.len)
		memcpy(block, key.at, key.len);
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		block[i] ^= 0x36;
	hash_two(&sha256, (struct str){ (const char *)block, BLOCK_BYTES }, text, inner);
	for (size_t i = 0; i < BLOCK_BYTES; i++)
		block[i] ^= 0x36 ^ 0x5c;
	hash_two(&sha256, (struct str){ (const char *)block, BLOCK_BYTES }, (struct str){ (const char *)inner, MAC_BYTES }, out);
	OPENSSL_cleanse(block, sizeof(block));
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

bool secret_eq(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}
