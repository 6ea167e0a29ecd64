/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/secret.h"

/* systemd's are root's, and an access list gives them to us alone: its mask shows as bits of the group. */
static bool is_credential(const char *path)
{
	const char *directory = getenv("CREDENTIALS_DIRECTORY");
	size_t len = directory ? strlen(directory) : 0;

	return len && !strncmp(path, directory, len) && path[len] == '/';
}

static const char *unfit(const char *path, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return "is not a file";
	if (is_credential(path))
		return st->st_mode & S_IRWXO ? "may be read by everybody" : NULL;
	if (st->st_uid != geteuid() && st->st_uid)
		return "belongs to another user";
	if (st->st_mode & (S_IRWXG | S_IRWXO))
		return "may be read by others: its mode must be 0600 (or 0400)";
	return st->st_size > SECRET_FILE_MAX ? "is over 256 KiB" : NULL;
}

static ssize_t read_all(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(fd, text + len, size - len)) != 0) {
		if (n < 0 && errno != EINTR)
			return -1;
		len += n > 0 ? (size_t)n : 0;
	}
	return (ssize_t)len;
}

char *secret_read(const char *path, size_t *len, const char **why)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char *text = NULL;
	ssize_t got = -1;

	*why = fd < 0 || fstat(fd, &st) < 0 ? "cannot be opened" : unfit(path, &st);
	if (!*why) {
		text = calloc(1, (size_t)st.st_size + 1);
		got = text ? read_all(fd, text, (size_t)st.st_size) : -1;
		if (got < 0)
			*why = "cannot be read";
	}
	if (fd >= 0)
		close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	*len = (size_t)got;
	return text;
}

void secret_wipe(void *bytes, size_t len)
{
	OPENSSL_cleanse(bytes, len);
}

void secret_free(char *text, size_t len)
{
	if (text)
		secret_wipe(text, len);
	free(text);
}

static bool add_key(struct secret_keys *keys, struct str line, const char **why)
{
	struct secret_key *key = &keys->keys[keys->count];

	*why = "has more than 8 keys";
	if (keys->count == SECRET_KEYS_MAX)
		return false;
	*why = "has a line that is not base64url of 32 to 64 bytes";
	if (line.len * 3 / 4 > sizeof(key->bytes) || !base64url_read(line, key->bytes, &key->len) || key->len < SECRET_KEY_BYTES)
		return false;
	keys->count++;
	return true;
}

bool secret_keys_parse(struct str text, struct secret_keys *out, const char **why)
{
	struct secret_keys keys = { 0 };
	struct str line;

	while (str_cut(&text, '\n', &line)) {
		while (line.len && (line.at[line.len - 1] == '\r' || line.at[line.len - 1] == ' '))
			line.len--;
		if (line.len && line.at[0] != '#' && !add_key(&keys, line, why))
			return false;
	}
	*why = "has no key";
	if (keys.count)
		*out = keys;
	return keys.count > 0;
}

bool secret_keys_read(const char *path, struct secret_keys *out, const char **why)
{
	size_t len;
	char *text = secret_read(path, &len, why);
	bool good = text && secret_keys_parse((struct str){ text, len }, out, why);

	secret_free(text, len);
	return good;
}

struct str secret_key_of(const struct secret_keys *keys, size_t i)
{
	return (struct str){ (const char *)keys->keys[i].bytes, keys->keys[i].len };
}

int secret_no_passphrase(char *out, int size, int writing, void *asked)
{
	(void)out, (void)size, (void)writing;
	if (asked)
		*(bool *)asked = true;
	return -1;
}
