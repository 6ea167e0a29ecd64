/* SPDX-License-Identifier: Apache-2.0 */
/* base64url without padding (RFC 4648, 5), read strictly: one text for each sequence of bytes. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

#define BASE64URL_BYTES(bytes) (((bytes) * 4 + 2) / 3) /* characters for so many bytes */
void base64url_add(struct buf *, const void *bytes, size_t len);
/* out: room for text.len * 3 / 4 bytes. False: a foreign character, padding, or bits that stand for nothing. */
bool base64url_read(struct str text, void *out, size_t *len);
