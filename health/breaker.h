/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The circuit breaker of one (router process, node, class). The keeper alone judges results; workers read one atomic word,
 * and take the single trial of a half-open breaker by compare-and-swap. A result carries the generation under which it was
 * admitted: results from before the last change of state are dropped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum breaker_class { CLASS_SIGNAL, CLASS_CONTROL, CLASSES };
extern const char *const breaker_class_words[];
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
extern const char *const breaker_state_words[]; /* "closed", "open", "half-open" */

struct breaker_conf {
	uint64_t failures, window_ms, min_calls, open_ms, max_open_ms;
	double failure_rate, backoff, jitter;
	_Atomic size_t *unclosed; /* counts those of this conf that are not closed; NULL: nobody asks */
};
struct breaker;

/* -- any thread ---------------------------------------------------------------------------------------------------------- */
struct admission {
	uint64_t generation;
	bool trial;
};
/* 0 and an admission, or -ERR_BREAKER_OPEN and how long to wait. Never blocks. now_ms: any loop's clock (same monotonic). */
int breaker_admit(struct breaker *, uint64_t now_ms, struct admission *out, uint64_t *retry_ms);
enum breaker_state breaker_state(const struct breaker *, uint64_t now_ms, uint64_t *retry_ms);
/* For those who would send somebody else there and do not try themselves: open until a trial or a probe has succeeded, however
 * long the wait is over. */
bool breaker_warns(const struct breaker *, uint64_t now_ms, uint64_t *retry_ms);

/* -- keeper ---------------------------------------------------------------------------------------------------------------- */
enum breaker_result {
	RESULT_OK,      /* success, or a 4xx: the SFU works */
	RESULT_FAILURE,
	RESULT_NOTHING  /* cancelled, client left, 503 with Retry-After, 429: says nothing; frees a trial */
};
struct breaker *breaker_new(const struct breaker_conf *);
void breaker_free(struct breaker *);
/* True if the state changed. */
bool breaker_judge(struct breaker *, const struct admission *, enum breaker_result, uint64_t now_ms);
bool breaker_probed(struct breaker *, bool ok, uint64_t now_ms); /* usher's own probe while open: after success it is half-open */
bool breaker_reset(struct breaker *, uint64_t now_ms);
void breaker_uncount(struct breaker *); /* its process is gone: it is not counted any more, whatever trial is still under way */
uint64_t breaker_failures(const struct breaker *); /* in a row; keeper */
