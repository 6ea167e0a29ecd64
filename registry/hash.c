/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aumasson, Bernstein: "SipHash: a fast short-input PRF" (2012), with one round a block and three at the end, as hash
 * tables use it.
 */
#include <string.h>

#include "registry/hash.h"

static uint64_t rotated(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static void mix(uint64_t v[static 4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = rotated(v[1], 13) ^ v[0];
	v[3] = rotated(v[3], 16) ^ v[2];
	v[0] = rotated(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = rotated(v[1], 17) ^ v[2];
	v[3] = rotated(v[3], 21) ^ v[0];
	v[2] = rotated(v[2], 32);
}

static void absorb(uint64_t v[static 4], uint64_t block)
{
	v[3] ^= block;
	mix(v);
	v[0] ^= block;
}

struct hash_key hash_key_new(void)
{
	struct hash_key key;

	random_bytes(key.k, sizeof key.k);
	return key;
}

uint64_t hash_name(struct hash_key key, struct str name)
{
	uint64_t v[4] = { key.k[0] ^ 0x736f6d6570736575, key.k[1] ^ 0x646f72616e646f6d, key.k[0] ^ 0x6c7967656e657261,
		          key.k[1] ^ 0x7465646279746573 };
	uint64_t block, last = (uint64_t)name.len << 56;
	size_t whole = name.len - name.len % 8;

	for (size_t i = 0; i < whole; i += 8) {
		memcpy(&block, name.at + i, 8);
		absorb(v, block);
	}
	for (size_t i = whole; i < name.len; i++)
		last |= (uint64_t)(unsigned char)name.at[i] << 8 * (i - whole);
	absorb(v, last);
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
