/* SPDX-License-Identifier: Apache-2.0 */
/* HMAC-SHA256 (RFC 2104) for what must be derivable by whoever has the key, and by nobody else. */
#pragma once

#include "base/str.h"

#define MAC_HEX_MAX 65
void mac_sha256_hex(struct str key, struct str text, char out[static MAC_HEX_MAX]); /* 64 lower-case digits */
