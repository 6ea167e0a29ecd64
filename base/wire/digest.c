/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 by OpenSSL. XOR makes the set's digest independent of order and updatable in place; it guards against drift, not malice. */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "base/wire/digest.h"
#include "base/wire/limits.h"

uint64_t digest_room(const char *room, size_t len, uint64_t epoch)
{
	unsigned char text[ROOM_MAX + 32], hash[EVP_MAX_MD_SIZE];
	uint64_t sum = 0;

	if (len > ROOM_MAX)
		len = ROOM_MAX;
	memcpy(text, room, len);
	text[len] = '\0';
	int digits = snprintf((char *)text + len + 1, 24, "%llu", (unsigned long long)epoch);
	if (!EVP_Digest(text, len + 1 + (size_t)digits, hash, NULL, EVP_sha256(), NULL))
		abort();
	for (int i = 0; i < 8; i++)
		sum = sum << 8 | hash[i];
	return sum;
}

void digest_toggle(struct digest *digest, const char *room, size_t len, uint64_t epoch, bool add)
{
	digest->sum ^= digest_room(room, len, epoch);
	digest->count += add ? 1 : (uint64_t)-1;
}

void digest_print(const struct digest *digest, char out[static DIGEST_TEXT_MAX])
{
	snprintf(out, DIGEST_TEXT_MAX, "%llu:%016llx", (unsigned long long)digest->count, (unsigned long long)digest->sum);
}

bool digest_parse(const char *text, struct digest *out)
{
	const char *colon = strchr(text, ':');
	struct digest digest = { 0 };

	if (!colon || strlen(colon + 1) != 16 || strspn(colon + 1, "0123456789abcdef") != 16 ||
	    !parse_u64((struct str){ text, (size_t)(colon - text) }, &digest.count))
		return false;
	digest.sum = strtoull(colon + 1, NULL, 16);
	*out = digest;
	return true;
}
