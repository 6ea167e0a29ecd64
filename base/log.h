/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event: a fixed event name and key=value pairs; logfmt on a terminal, JSON otherwise. A full or stuck
 * log drops lines and counts them; it never blocks a loop (a writer thread owns the descriptor). Any thread.
 *
 *   log_info("node_joined", "node", LOG_S(id), "epoch", LOG_U(epoch));
 *
 * Level: error, someone must act; warn, someone may look; info, state changes; debug, the rest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_kind { LOG_END, LOG_STR, LOG_BYTES, LOG_UINT, LOG_INT, LOG_REAL };
struct log_value {
	enum log_kind kind;
	const char *s;
	size_t len;
	uint64_t u;
	int64_t i;
	double f;
};
#define LOG_S(z) ((struct log_value){ .kind = LOG_STR, .s = (z) })
#define LOG_B(at_, len_) ((struct log_value){ .kind = LOG_BYTES, .s = (at_), .len = (len_) })
#define LOG_U(n) ((struct log_value){ .kind = LOG_UINT, .u = (n) })
#define LOG_I(n) ((struct log_value){ .kind = LOG_INT, .i = (n) })
#define LOG_F(n) ((struct log_value){ .kind = LOG_REAL, .f = (n) })

enum log_format { LOG_AUTO, LOG_LOGFMT, LOG_JSON };
int log_open(int fd, enum log_level, enum log_format); /* starts the writer thread; before it, lines go out directly */
void log_set_level(enum log_level);
bool log_wants(enum log_level);
void log_close(void); /* writes what is queued */
uint64_t log_dropped(void);
/* Lines a second of each event; the others are counted, and told as log_suppressed. 0: all. Before threads start. [100] */
void log_set_rate(double per_s);
uint64_t log_suppressed(void);
/* name, value, name, value, …, NULL. Values that are NULL or empty strings are left out. Long ones are cut. */
void log_event(enum log_level, const char *event, ...) __attribute__((sentinel));
/* The same without a limit: for changes of state, which there are as many of as things that change, and what an operator did.
 * What any participant makes at will (a request, a tunnel) is none of them. */
void log_line(enum log_level, const char *event, ...) __attribute__((sentinel));
#define log_change(...) log_line(LOG_INFO, __VA_ARGS__, NULL)
#define log_debug(...) (log_wants(LOG_DEBUG) ? log_event(LOG_DEBUG, __VA_ARGS__, NULL) : (void)0)
#define log_info(...) (log_wants(LOG_INFO) ? log_event(LOG_INFO, __VA_ARGS__, NULL) : (void)0)
#define log_warn(...) log_event(LOG_WARN, __VA_ARGS__, NULL)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__, NULL)
