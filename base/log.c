/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines are formatted where they are born and handed to a writer thread through a ring of bytes under a mutex that is held for
 * a memcpy only: the writer writes without it. A loop thus never waits for the descriptor; when the ring is full the line is
 * dropped and counted. Before log_open() and after log_close() lines go straight to standard error. A reader that has stopped
 * holds up the end of the program for CLOSE_MS and no longer.
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/log_limit.h"
#include "base/str.h"

#define RING (1 << 20) /* bytes */
#define CHUNK 65536     /* of it, written at once */
#define LINE_MAX_BYTES 4096
#define VALUE_MAX 512
#define CLOSE_MS 2000
#define TELL_MS 1000

static const char *const level_words[] = { "debug", "info", "warn", "error" };
static _Atomic int least = LOG_INFO;
static _Atomic uint64_t dropped;
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake, told;
	pthread_t thread;
	char *ring;
	size_t head, used; /* head: the oldest byte */
	int fd;
	bool json, open, closing, stuck; /* stuck: the writer never came back from its descriptor */
	bool telling, last_told; /* the writer says what was held back; it does so no more */
} out = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .told = PTHREAD_COND_INITIALIZER, .fd = STDERR_FILENO,
	  .json = true };

struct line {
	char text[LINE_MAX_BYTES];
	size_t len;
};

static void put(struct line *line, const char *bytes, size_t len)
{
	size_t room = sizeof(line->text) - 4 - line->len; /* 4: closing brace, newline and to spare */

	if (len > room)
		len = room;
	memcpy(line->text + line->len, bytes, len);
	line->len += len;
}

static void puts_to(struct line *line, const char *z)
{
	put(line, z, strlen(z));
}

static bool goes_on(char c) /* within a character of UTF-8 */
{
	return ((unsigned char)c & 0xc0) == 0x80;
}

/*
 * Control characters (C0, DEL, and C1, which are C2 80 to C2 9F) and quotes are escaped in both forms, so that no value can forge
 * a line or a field, or command a terminal. What is no UTF-8 is escaped byte by byte.
 */
static void put_quoted(struct line *line, const char *at, size_t len)
{
	bool clean = utf8_valid(at, len);

	puts_to(line, "\"");
	for (size_t i = 0; i < len && (sizeof(line->text) - line->len > 16 || (clean && goes_on(at[i]))); i++) {
		unsigned char c = (unsigned char)at[i];
		char escape[8];
		if (clean && c == 0xc2 && (unsigned char)at[i + 1] < 0xa0)
			c = (unsigned char)at[++i];
		else if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && (c < 0x80 || clean)) {
			put(line, at + i, 1);
			continue;
		}
		snprintf(escape, sizeof(escape), c == '"' || c == '\\' ? "\\%c" : "\\u%04x", c);
		puts_to(line, escape);
	}
	puts_to(line, "\"");
}

static size_t cut_at(const char *at, size_t len)
{
	size_t cut = VALUE_MAX;

	if (len <= VALUE_MAX)
		return len;
	while (cut > VALUE_MAX - 3 && goes_on(at[cut])) /* longer runs are no UTF-8 */
		cut--;
	return cut;
}

static void put_text(struct line *line, const char *at, size_t len)
{
	len = cut_at(at, len);
	bool bare = !out.json && len;
	for (size_t i = 0; i < len && bare; i++)
		bare = at[i] > ' ' && at[i] < 0x7f && at[i] != '"' && at[i] != '=' && at[i] != '\\';
	if (bare)
		put(line, at, len);
	else
		put_quoted(line, at, len);
}

static bool is_empty(const struct log_value *v)
{
	return (v->kind == LOG_STR && (!v->s || !*v->s)) || (v->kind == LOG_BYTES && !v->len);
}

static void put_value(struct line *line, const struct log_value *v)
{
	char number[40] = "";

	if (v->kind == LOG_STR || v->kind == LOG_BYTES) {
		put_text(line, v->s, v->kind == LOG_STR ? strlen(v->s) : v->len);
		return;
	}
	if (v->kind == LOG_UINT)
		snprintf(number, sizeof(number), "%llu", (unsigned long long)v->u);
	else if (v->kind == LOG_INT)
		snprintf(number, sizeof(number), "%lld", (long long)v->i);
	else if (isfinite(v->f))
		snprintf(number, sizeof(number), "%g", v->f);
	else
		snprintf(number, sizeof(number), "null"); /* JSON has no other word for it */
	puts_to(line, number);
}

static void put_name(struct line *line, const char *name, bool first)
{
	if (!first)
		puts_to(line, out.json ? "," : " ");
	if (out.json)
		puts_to(line, "\"");
	puts_to(line, name);
	puts_to(line, out.json ? "\":" : "=");
}

/* The descriptor may be one that somebody else made non-blocking: a shared terminal, a pipe of the supervisor. Gives how many
 * bytes could not be written: the disk is full, or the reader has gone. */
static size_t write_all(int fd, const char *at, size_t len)
{
	while (len) {
		struct pollfd writable = { .fd = fd, .events = POLLOUT };
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EAGAIN)
			poll(&writable, 1, -1);
		else if (n <= 0 && errno != EINTR)
			break;
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return len;
}

static void enqueue(const struct line *line)
{
	pthread_mutex_lock(&out.lock);
	if (!out.open) {
		write_all(STDERR_FILENO, line->text, line->len);
	} else if (RING - out.used < line->len) {
		atomic_fetch_add(&dropped, 1);
	} else {
		size_t at = (out.head + out.used) % RING, first = RING - at < line->len ? RING - at : line->len;
		memcpy(out.ring + at, line->text, first);
		memcpy(out.ring, line->text + first, line->len - first);
		out.used += line->len;
		pthread_cond_signal(&out.wake);
	}
	pthread_mutex_unlock(&out.lock);
}

static void write_line(enum log_level level, const char *event, va_list ap)
{
	struct line line;
	char now[25];
	const char *name;

	line.len = 0;
	time_rfc3339(wall_ms(), now);
	if (out.json)
		puts_to(&line, "{");
	put_name(&line, out.json ? "time" : "t", true);
	put_text(&line, now, 24);
	put_name(&line, "level", false);
	put_text(&line, level_words[level], strlen(level_words[level]));
	put_name(&line, "event", false);
	put_text(&line, event, strlen(event));
	while ((name = va_arg(ap, const char *))) {
		struct log_value value = va_arg(ap, struct log_value);
		/* A line that is nearly full takes no more fields, rather than half of one. */
		if (is_empty(&value) || sizeof(line.text) - line.len < 6 * VALUE_MAX / 4 + 64)
			continue;
		put_name(&line, name, false);
		put_value(&line, &value);
	}
	puts_to(&line, out.json ? "}\n" : "\n");
	enqueue(&line);
}

void log_line(enum log_level level, const char *event, ...)
{
	va_list ap;

	va_start(ap, event);
	if (log_wants(level))
		write_line(level, event, ap);
	va_end(ap);
}

static uint64_t steady_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* With the lock: the writer may have looked, and not yet wait. */
static void wake_writer(void)
{
	pthread_mutex_lock(&out.lock);
	pthread_cond_signal(&out.wake);
	pthread_mutex_unlock(&out.lock);
}

void log_event(enum log_level level, const char *event, ...)
{
	bool first = false;
	va_list ap;

	va_start(ap, event);
	if (log_wants(level) && (level == LOG_DEBUG || log_limit_takes(event, steady_ms(), &first)))
		write_line(level, event, ap);
	va_end(ap);
	if (first)
		wake_writer();
}

static void tell_suppressed(const char *event, uint64_t count)
{
	log_line(LOG_WARN, "log_suppressed", "of", LOG_S(event), "count", LOG_U(count), NULL);
}

/* What is lost is counted by lines; of one that was cut the rest is ended before the next, so that no two run together. */
static void write_chunk(const char *chunk, size_t len)
{
	static bool within, torn; /* the writer's own: a line has begun and not ended; its end was lost */
	size_t lost = len;

	if (torn && within)
		within = write_all(out.fd, "\n", 1) > 0;
	if (!torn || !within)
		lost = write_all(out.fd, chunk, len);
	if (lost < len)
		within = chunk[len - lost - 1] != '\n';
	torn = lost > 0;
	for (const char *at = chunk + len - lost; (at = memchr(at, '\n', (size_t)(chunk + len - at))); at++)
		atomic_fetch_add(&dropped, 1);
}

/* Both with the lock. This thread tells what was held back, as the flood may be over and nobody else come. */
static void tell_if_due(void)
{
	static uint64_t told_ms;

	if (out.last_told || !log_limit_holds() || steady_ms() < told_ms + TELL_MS)
		return;
	told_ms = steady_ms();
	out.telling = true;
	pthread_mutex_unlock(&out.lock);
	log_limit_tell(tell_suppressed);
	pthread_mutex_lock(&out.lock);
	out.telling = false;
	pthread_cond_signal(&out.told);
}

/* What is held back at the end; after the writer, which may be about to tell and must not find the log closed. */
static void tell_the_rest(void)
{
	pthread_mutex_lock(&out.lock);
	out.last_told = true;
	while (out.telling)
		pthread_cond_wait(&out.told, &out.lock);
	pthread_mutex_unlock(&out.lock);
	log_limit_tell(tell_suppressed);
}

static void await_lines(void)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += TELL_MS / 1000;
	if (log_limit_holds())
		pthread_cond_timedwait(&out.wake, &out.lock, &until);
	else
		pthread_cond_wait(&out.wake, &out.lock);
}

static void *write_lines(void *arg)
{
	char *chunk = arg;
	sigset_t all;

	/* Signals are others' business; and a reader that has gone (SIGPIPE) is no reason to die. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_mutex_lock(&out.lock);
	while (out.used || !out.closing) {
		tell_if_due();
		if (!out.used) {
			await_lines();
			continue;
		}
		size_t len = RING - out.head < out.used ? RING - out.head : out.used;
		len = len > CHUNK ? CHUNK : len;
		memcpy(chunk, out.ring + out.head, len);
		out.head = (out.head + len) % RING;
		out.used -= len;
		pthread_mutex_unlock(&out.lock);
		write_chunk(chunk, len);
		pthread_mutex_lock(&out.lock);
	}
	pthread_mutex_unlock(&out.lock);
	free(chunk);
	return NULL;
}

int log_open(int fd, enum log_level level, enum log_format format)
{
	char *chunk = out.stuck ? NULL : malloc(CHUNK);

	if (!chunk || !(out.ring = malloc(RING))) {
		free(chunk);
		return -1;
	}
	out.fd = fd;
	out.json = format == LOG_JSON || (format == LOG_AUTO && !isatty(fd));
	out.closing = out.last_told = false;
	out.head = out.used = 0;
	atomic_store(&least, level);
	out.open = pthread_create(&out.thread, NULL, write_lines, chunk) == 0;
	if (out.open)
		return 0;
	free(chunk);
	free(out.ring);
	return -1;
}

void log_set_level(enum log_level level)
{
	atomic_store(&least, level);
}

bool log_wants(enum log_level level)
{
	return (int)level >= atomic_load_explicit(&least, memory_order_relaxed);
}

void log_close(void)
{
	tell_the_rest();
	pthread_mutex_lock(&out.lock);
	bool was_open = out.open;
	out.open = false;
	out.closing = true;
	pthread_cond_signal(&out.wake);
	pthread_mutex_unlock(&out.lock);
	if (!was_open)
		return;
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until); /* the only clock that pthread_timedjoin_np() knows */
	until.tv_sec += CLOSE_MS / 1000;
	out.stuck = pthread_timedjoin_np(out.thread, NULL, &until) != 0;
	if (out.stuck)
		return; /* it keeps the ring */
	free(out.ring);
	out.ring = NULL;
}

void log_set_rate(double per_s)
{
	log_limit_set(per_s);
}

uint64_t log_suppressed(void)
{
	return log_limit_total();
}

uint64_t log_dropped(void)
{
	return atomic_load(&dropped);
}
