/* SPDX-License-Identifier: Apache-2.0 */
/* Views compare as bytes; only header names and hosts compare without case, and only in ASCII. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/str.h"

struct str str_of(const char *z)
{
	return (struct str){ z, z ? strlen(z) : 0 };
}

bool str_eq(struct str a, struct str b)
{
	return a.len == b.len && (!a.len || !memcmp(a.at, b.at, a.len));
}

bool str_is(struct str s, const char *z)
{
	return str_eq(s, str_of(z));
}

struct str str_trim(struct str s)
{
	while (s.len && (s.at[0] == ' ' || s.at[0] == '\t'))
		s.at++, s.len--;
	while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
		s.len--;
	return s;
}

bool str_cut(struct str *rest, char sep, struct str *piece)
{
	if (!rest->at || !rest->len)
		return false;
	const char *at = memchr(rest->at, sep, rest->len);
	size_t len = at ? (size_t)(at - rest->at) : rest->len;
	*piece = (struct str){ rest->at, len };
	len += at ? 1 : 0;
	rest->at += len;
	rest->len -= len;
	return true;
}

char *str_copy(const char *z)
{
	char *copy = z && *z ? strdup(z) : NULL;

	if (z && *z && !copy)
		abort();
	return copy;
}

/* -- a growing buffer --------------------------------------------------------------------------------------------------- */
static void reserve(struct buf *buf, size_t more)
{
	size_t need = buf->len + more + 1, size = buf->size ? buf->size : 256;

	if (more > PTRDIFF_MAX / 2 - buf->len)
		abort(); /* and neither the sum nor the doubling overflows */
	if (need <= buf->size)
		return;
	while (size < need)
		size *= 2;
	buf->at = realloc(buf->at, size);
	if (!buf->at)
		abort();
	buf->size = size;
}

char *buf_extend(struct buf *buf, size_t len)
{
	reserve(buf, len);
	char *at = buf->at + buf->len;

	at[len] = '\0';
	buf->len += len;
	return at;
}

void buf_add(struct buf *buf, const void *bytes, size_t len)
{
	char *at = buf_extend(buf, len);

	if (len)
		memcpy(at, bytes, len);
}

void buf_adds(struct buf *buf, const char *z)
{
	buf_add(buf, z, strlen(z));
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap, again;

	assert(fmt); /* also what keeps gcc from warning about a NULL that UBSan asks it to think of */
	va_start(ap, fmt);
	va_copy(again, ap);
	reserve(buf, 0);
	size_t room = buf->size - buf->len;
	int len = vsnprintf(buf->at + buf->len, room, fmt, ap);
	assert(len >= 0);
	va_end(ap);
	if ((size_t)len >= room) { /* else it is there already */
		reserve(buf, (size_t)len);
		vsnprintf(buf->at + buf->len, (size_t)len + 1, fmt, again);
	}
	va_end(again);
	buf->len += (size_t)len;
}

void buf_free(struct buf *buf)
{
	free(buf->at);
	*buf = (struct buf){ 0 };
}

/* -- time and chance ------------------------------------------------------------------------------------------------------ */
void time_rfc3339(uint64_t unix_ms, char out[static 25])
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm tm;
	char text[40];

	gmtime_r(&seconds, &tm);
	size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + n, sizeof(text) - n, ".%03uZ", (unsigned)(unix_ms % 1000));
	memcpy(out, text, 24);
	out[24] = '\0';
}

uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void random_bytes(void *out, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = getrandom((char *)out + done, len - done, 0);
		if (n > 0)
			done += (size_t)n;
	}
}

/* xorshift128+ (Vigna 2014): fast and good enough for jitter and ties. */
uint64_t random_u64(void)
{
	static _Thread_local uint64_t state[2];

	while (!state[0] && !state[1])
		random_bytes(state, sizeof(state));
	uint64_t x = state[0], y = state[1];
	state[0] = y;
	x ^= x << 23;
	state[1] = x ^ y ^ (x >> 17) ^ (y >> 26);
	return state[1] + y;
}

double random_unit(void)
{
	return (double)(random_u64() >> 11) * 0x1p-53;
}
