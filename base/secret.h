/* SPDX-License-Identifier: Apache-2.0 */
/* Files with secrets: a regular file, ours or root's, that nobody but its owner may read or write; or one in
 * $CREDENTIALS_DIRECTORY, which systemd guards. */
#pragma once

#include <stddef.h>

#include "base/str.h"

#define SECRET_FILE_MAX 262144 /* bytes */
#define SECRET_KEY_BYTES 32    /* of a key for HMAC, at least (RFC 2104: no less than the hash's length) */
#define SECRET_KEYS_MAX 8

/* The whole file, NUL-terminated; the caller frees with secret_free(). NULL: *why says it in words, static. */
char *secret_read(const char *path, size_t *len, const char **why);
void secret_free(char *text, size_t len); /* wiped first */
void secret_wipe(void *bytes, size_t len); /* as no compiler leaves out */
/* For OpenSSL, which would ask on the terminal, where nobody sits. asked: a bool that becomes true, or NULL. */
int secret_no_passphrase(char *out, int size, int writing, void *asked);

/* Keys for HMAC, one a line in base64url; the first signs, all are accepted; lines that begin with '#' are comments. */
struct secret_keys {
	size_t count;
	struct secret_key {
		unsigned char bytes[64];
		size_t len;
	} keys[SECRET_KEYS_MAX];
};
bool secret_keys_parse(struct str text, struct secret_keys *out, const char **why);
bool secret_keys_read(const char *path, struct secret_keys *out, const char **why);
struct str secret_key_of(const struct secret_keys *, size_t i);
