/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics as a table owned by the program. Each thread counts into a sheet of its own (relaxed atomics, no sharing);
 * a scrape adds the sheets up. Labels: up to two, values interned per sheet, at most METRIC_SERIES_MAX series for each
 * metric: past that the series "other" counts. Gauges are set by one thread, or told at each scrape by a callback: those have as
 * many series as there are things to tell of.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM /* seconds; fixed buckets 1 µs × 4^k, k = 0..12 */ };
struct metric_def {
	const char *name; /* usher_requests_total */
	enum metric_kind kind;
	const char *label[2]; /* NULL: none */
	const char *help;
};
#define METRIC_SERIES_MAX 256

struct metrics; /* process */
struct sheet;   /* thread */
struct metrics *metrics_new(const struct metric_def *, size_t count);
void metrics_free(struct metrics *);
struct sheet *metrics_sheet(struct metrics *); /* a new sheet, freed with the metrics; before threads start */
void metric_add(struct sheet *, int metric, const char *l0, const char *l1, uint64_t n);
void metric_set(struct sheet *, int metric, const char *l0, const char *l1, double value); /* summed over sheets */
void metric_drop(struct sheet *, int metric, const char *l0, const char *l1);             /* a gauge series that ended */
void metric_time(struct sheet *, int metric, const char *l0, const char *l1, uint64_t ns);
struct metric_out;
void metrics_at_scrape(struct metrics *, int metric, void (*tell)(void *arg, struct metric_out *), void *arg); /* before threads start */
void metric_tell(struct metric_out *, const char *l0, const char *l1, double value); /* from `tell`; on the scraping thread */
void metrics_expose(struct metrics *, struct buf *out); /* Prometheus text 0.0.4; any thread */
void metrics_print_reference(const struct metric_def *, size_t count, struct buf *out); /* Markdown */
