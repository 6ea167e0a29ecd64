/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC-SHA256 (RFC 2104) for what must be derivable by whoever has the key, and by nobody else; SHA-256; comparing in constant time. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

#define MAC_BYTES 32
#define MAC_HEX_MAX 65
void mac_sha256(struct str key, struct str text, unsigned char out[static MAC_BYTES]);
void mac_sha256_hex(struct str key, struct str text, char out[static MAC_HEX_MAX]); /* 64 lower-case digits */
void hash_sha256(struct str text, unsigned char out[static MAC_BYTES]);
#define SHA1_BYTES 20
/* Of both, one after the other. For the proof of WebSocket (RFC 6455, 4.2.2), which keeps nobody out. */
void hash_sha1(struct str first, struct str second, unsigned char out[static SHA1_BYTES]);
bool secret_eq(const void *a, const void *b, size_t len); /* takes as long wherever they differ */
