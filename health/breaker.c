/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that a worker needs is one word: state, whether the trial is taken, until when, and the generation, which counts the
 * changes of state. Workers make two steps on it by compare-and-swap, both of which take the trial: open → half-open once
 * the wait is over, and half-open → half-open when the trial is free or has not come back in time. All other steps are the
 * keeper's. Rows, window and the length of the wait belong to the keeper.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/str.h"
#include "health/breaker.h"

#define TRIAL_MS 5000 /* a trial that says nothing for so long makes way for another one; over sfu.call_timeout_ms */
#define SLICES 10     /* of the rolling window */

#define STATE_BITS 2
#define TRIAL_BIT (UINT64_C(1) << STATE_BITS)
#define UNTIL_SHIFT (STATE_BITS + 1)
#define UNTIL_BITS 41 /* milliseconds of a monotonic clock: 69 years */
#define UNTIL_MASK ((UINT64_C(1) << UNTIL_BITS) - 1)
#define GENERATION_SHIFT (UNTIL_SHIFT + UNTIL_BITS)
#define GENERATION_MASK (UINT64_MAX >> GENERATION_SHIFT) /* wraps after a million changes: no call lives that long */

const char *const breaker_class_words[] = { "signal", "control", NULL };
const char *const breaker_state_words[] = { "closed", "open", "half-open", NULL };

struct slice {
	uint64_t number, calls, failures; /* number: time / slice length */
};
struct breaker {
	_Atomic uint64_t word;
	_Atomic uint64_t row; /* failures one after the other; read by whoever shows it */
	struct breaker_conf conf;
	struct slice window[SLICES];
	unsigned opened; /* times in a row without closing: the exponent of the wait */
};

/* -- the word ------------------------------------------------------------------------------------------------------------ */
static enum breaker_state state_of(uint64_t word)
{
	return (enum breaker_state)(word & ((1u << STATE_BITS) - 1));
}

static uint64_t until_of(uint64_t word)
{
	return word >> UNTIL_SHIFT & UNTIL_MASK;
}

static uint64_t generation_of(uint64_t word)
{
	return word >> GENERATION_SHIFT;
}

static uint64_t word_after(uint64_t word, enum breaker_state state, bool trial, uint64_t until_ms)
{
	uint64_t generation = (generation_of(word) + 1) & GENERATION_MASK;

	return generation << GENERATION_SHIFT | (until_ms & UNTIL_MASK) << UNTIL_SHIFT | (trial ? TRIAL_BIT : 0) | (uint64_t)state;
}

/* -- any thread ------------------------------------------------------------------------------------------------------------- */
/* Open, or a trial is under way: until then nobody passes. */
static bool holds_back(uint64_t word, uint64_t now_ms)
{
	return state_of(word) != BREAKER_CLOSED && (state_of(word) == BREAKER_OPEN || word & TRIAL_BIT) && now_ms < until_of(word);
}

int breaker_admit(struct breaker *b, uint64_t now_ms, struct admission *out, uint64_t *retry_ms)
{
	uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);

	for (;;) {
		if (state_of(word) == BREAKER_CLOSED) {
			*out = (struct admission){ .generation = generation_of(word) };
			return 0;
		}
		if (holds_back(word, now_ms)) {
			*retry_ms = until_of(word) - now_ms;
			return -ERR_BREAKER_OPEN;
		}
		uint64_t tried = word_after(word, BREAKER_HALF_OPEN, true, now_ms + TRIAL_MS);
		if (atomic_compare_exchange_weak_explicit(&b->word, &word, tried, memory_order_acq_rel, memory_order_acquire)) {
			*out = (struct admission){ .generation = generation_of(tried), .trial = true };
			return 0;
		}
	}
}

enum breaker_state breaker_state(const struct breaker *b, uint64_t now_ms, uint64_t *retry_ms)
{
	uint64_t word = atomic_load_explicit(&((struct breaker *)(uintptr_t)b)->word, memory_order_acquire);

	*retry_ms = holds_back(word, now_ms) ? until_of(word) - now_ms : 0;
	return state_of(word) == BREAKER_OPEN && !*retry_ms ? BREAKER_HALF_OPEN : state_of(word);
}

bool breaker_warns(const struct breaker *b, uint64_t now_ms, uint64_t *retry_ms)
{
	uint64_t word = atomic_load_explicit(&((struct breaker *)(uintptr_t)b)->word, memory_order_acquire);
	bool waits = holds_back(word, now_ms);

	*retry_ms = waits ? until_of(word) - now_ms : b->conf.open_ms;
	return waits || state_of(word) == BREAKER_OPEN;
}

uint64_t breaker_failures(const struct breaker *b)
{
	return atomic_load_explicit(&((struct breaker *)(uintptr_t)b)->row, memory_order_relaxed);
}

/* -- keeper ------------------------------------------------------------------------------------------------------------------- */
struct breaker *breaker_new(const struct breaker_conf *conf)
{
	struct breaker *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->conf = *conf;
	return b;
}

void breaker_free(struct breaker *b)
{
	free(b);
}

static void set_row(struct breaker *b, uint64_t row)
{
	atomic_store_explicit(&b->row, row, memory_order_relaxed);
}

static void forget_window(struct breaker *b)
{
	for (size_t i = 0; i < SLICES; i++)
		b->window[i] = (struct slice){ 0 };
}

static void count(struct breaker *b, bool failed, uint64_t now_ms)
{
	uint64_t number = now_ms / (b->conf.window_ms / SLICES + 1);
	struct slice *slice = &b->window[number % SLICES];

	if (slice->number != number)
		*slice = (struct slice){ .number = number };
	slice->calls++;
	slice->failures += failed;
	set_row(b, failed ? breaker_failures(b) + 1 : 0);
}

static bool too_many(const struct breaker *b, uint64_t now_ms)
{
	uint64_t number = now_ms / (b->conf.window_ms / SLICES + 1), calls = 0, failures = 0;

	for (size_t i = 0; i < SLICES; i++) {
		if (b->window[i].number + SLICES <= number)
			continue;
		calls += b->window[i].calls;
		failures += b->window[i].failures;
	}
	return calls >= b->conf.min_calls && (double)failures >= b->conf.failure_rate * (double)calls;
}

/* open_ms · backoff^n up to max_open_ms, spread by ± jitter so that routers do not try together. */
static uint64_t wait_of(struct breaker *b)
{
	double wait = (double)b->conf.open_ms * pow(b->conf.backoff, b->opened);

	if (wait < (double)b->conf.max_open_ms)
		b->opened++;
	else
		wait = (double)b->conf.max_open_ms;
	return (uint64_t)(wait * (1 + b->conf.jitter * (2 * random_unit() - 1)));
}

/* Only the keeper leaves CLOSED, and workers leave the other states only towards a trial: whoever lost that race looks again. */
static bool step(struct breaker *b, uint64_t *word, uint64_t next)
{
	return atomic_compare_exchange_strong_explicit(&b->word, word, next, memory_order_acq_rel, memory_order_acquire);
}

/* One more that is not closed, or one less. */
static void count_unclosed(const struct breaker *b, int by)
{
	if (b->conf.unclosed)
		atomic_fetch_add_explicit(b->conf.unclosed, (size_t)by, memory_order_relaxed);
}

static bool open_it(struct breaker *b, uint64_t word, uint64_t now_ms)
{
	if (!step(b, &word, word_after(word, BREAKER_OPEN, false, now_ms + wait_of(b))))
		return false;
	if (state_of(word) == BREAKER_CLOSED)
		count_unclosed(b, 1);
	forget_window(b);
	return true;
}

static bool close_it(struct breaker *b, uint64_t word)
{
	if (!step(b, &word, word_after(word, BREAKER_CLOSED, false, 0)))
		return false;
	if (state_of(word) != BREAKER_CLOSED)
		count_unclosed(b, -1);
	forget_window(b);
	set_row(b, 0);
	b->opened = 0;
	return true;
}

static bool judge_trial(struct breaker *b, uint64_t word, enum breaker_result result, uint64_t now_ms)
{
	if (result == RESULT_OK)
		return close_it(b, word);
	if (result == RESULT_FAILURE) {
		set_row(b, breaker_failures(b) + 1);
		return open_it(b, word, now_ms);
	}
	step(b, &word, word & ~TRIAL_BIT); /* the same generation: nothing was learned */
	return false;
}

bool breaker_judge(struct breaker *b, const struct admission *admission, enum breaker_result result, uint64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);

	if (generation_of(word) != admission->generation)
		return false;
	if (state_of(word) == BREAKER_HALF_OPEN)
		return admission->trial && word & TRIAL_BIT && judge_trial(b, word, result, now_ms);
	if (state_of(word) != BREAKER_CLOSED || result == RESULT_NOTHING)
		return false;
	count(b, result == RESULT_FAILURE, now_ms);
	if (result == RESULT_OK || (breaker_failures(b) < b->conf.failures && !too_many(b, now_ms)))
		return false;
	return open_it(b, word, now_ms);
}

bool breaker_probed(struct breaker *b, bool ok, uint64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);

	return ok && state_of(word) == BREAKER_OPEN &&
	       step(b, &word, word_after(word, BREAKER_HALF_OPEN, false, now_ms));
}

bool breaker_reset(struct breaker *b, uint64_t now_ms)
{
	uint64_t word = atomic_load_explicit(&b->word, memory_order_acquire);
	bool was_closed = state_of(word) == BREAKER_CLOSED;

	(void)now_ms;
	while (!close_it(b, word))
		word = atomic_load_explicit(&b->word, memory_order_acquire);
	return !was_closed;
}

void breaker_uncount(struct breaker *b)
{
	if (state_of(atomic_load_explicit(&b->word, memory_order_acquire)) != BREAKER_CLOSED)
		count_unclosed(b, -1);
	b->conf.unclosed = NULL;
}
