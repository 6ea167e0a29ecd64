/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line, whatever is in it: in JSON it parses and holds the value, as much as there is room for; in logfmt nothing in it
 * ends a field or commands a terminal. The first byte chooses the form; the values of the line are the input's lines.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/fuzz/json_strict.h"

#define VALUES 6

static size_t log_and_read(enum log_format format, const struct str *v, char *out, size_t size)
{
	int fd = memfd_create("log", MFD_CLOEXEC);

	MUST(fd >= 0 && log_open(fd, LOG_DEBUG, format) == 0);
	char *z = copy_of(v[5], true);
	log_line(LOG_WARN, "event", "a", LOG_B(v[0].at, v[0].len), "b", LOG_B(v[1].at, v[1].len), "c", LOG_B(v[2].at, v[2].len), "n",
	         LOG_U(v[3].len), "d", LOG_B(v[3].at, v[3].len), "e", LOG_B(v[4].at, v[4].len), "f", LOG_S(z), "g",
	         LOG_F((double)v[1].len / 3), NULL);
	free(z);
	log_close();
	ssize_t n = pread(fd, out, size, 0);
	close(fd);
	MUST(n > 0);
	return (size_t)n;
}

static bool is_plain(struct str v)
{
	for (size_t i = 0; i < v.len; i++)
		if (v.at[i] < ' ' || v.at[i] > '~' || v.at[i] == '"' || v.at[i] == '\\')
			return false;
	return v.len && v.len <= 500;
}

/* What needs no escape and is not too long is in the line as it is. */
static void must_hold(const char *out, size_t n, struct str v)
{
	char member[512];
	size_t len = (size_t)snprintf(member, sizeof(member), "\"a\":\"%.*s\"", STR_ARG(v));

	MUST(memmem(out, n, member, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static char out[16384];
	struct str in = { (const char *)bytes, len }, values[VALUES] = { 0 };
	struct strict strict;
	enum log_format format = feed_byte(&in) & 1 ? LOG_JSON : LOG_LOGFMT;
	char *copy = copy_of(in, false);

	in.at = copy;
	for (int i = 0; i < VALUES - 1; i++)
		str_cut(&in, '\xff', &values[i]);
	values[VALUES - 1] = in;
	size_t n = log_and_read(format, values, out, sizeof(out));
	MUST(n <= 4096 && out[n - 1] == '\n' && !memchr(out, '\n', n - 1));
	for (size_t i = 0; i + 1 < n; i++) {
		unsigned char c = (unsigned char)out[i];
		MUST(c >= ' ' && c != 0x7f && !(c == 0xc2 && (unsigned char)out[i + 1] < 0xa0));
	}
	MUST(utf8_valid(out, n));
	if (format == LOG_JSON)
		MUST(strict_json((struct str){ out, n - 1 }, &strict));
	if (format == LOG_JSON && is_plain(values[0]))
		must_hold(out, n, values[0]);
	free(copy);
	return 0;
}
