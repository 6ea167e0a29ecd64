/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sheet is written by one thread and read by whoever exposes: counters are relaxed atomics, and a new series is made whole
 * before its pointer is published, so neither side locks. Series are found by hash; a sheet never gives one back (its number
 * is bounded), except that a dropped gauge is left out of the exposition.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metric.h"

#define SLOTS (2 * METRIC_SERIES_MAX) /* of one metric's table; half full at most */
#define BUCKETS 13                    /* 1 µs × 4^k */
#define LABEL_BYTES 64

struct series {
	char label[2][LABEL_BYTES];
	_Atomic uint64_t count; /* counter; histogram: observations */
	_Atomic uint64_t bits;  /* gauge: a double's bits; histogram: sum in ns */
	_Atomic bool shown;
	_Atomic uint64_t bucket[];
};
struct column { /* one metric of one sheet */
	_Atomic(struct series *) slot[SLOTS];
	size_t used;
};
struct sheet {
	struct metrics *metrics;
	struct sheet *next;
	struct column *columns;
};
struct teller {
	void (*tell)(void *arg, struct metric_out *);
	void *arg;
};
struct metrics {
	const struct metric_def *defs;
	size_t count;
	struct sheet *sheets;
	struct teller *tellers; /* one for each metric; most are empty */
};
struct metric_out {
	const struct metric_def *def;
	struct buf *out;
};

struct metrics *metrics_new(const struct metric_def *defs, size_t count)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return NULL;
	*metrics = (struct metrics){ .defs = defs, .count = count, .tellers = calloc(count + 1, sizeof(*metrics->tellers)) };
	if (!metrics->tellers)
		abort();
	return metrics;
}

void metrics_free(struct metrics *metrics)
{
	for (struct sheet *sheet = metrics->sheets, *next; sheet; sheet = next) {
		next = sheet->next;
		for (size_t i = 0; i < metrics->count * SLOTS; i++)
			free(atomic_load(&sheet->columns[i / SLOTS].slot[i % SLOTS]));
		free(sheet->columns);
		free(sheet);
	}
	free(metrics->tellers);
	free(metrics);
}

struct sheet *metrics_sheet(struct metrics *metrics)
{
	struct sheet *sheet = calloc(1, sizeof(*sheet));

	if (!sheet || !(sheet->columns = calloc(metrics->count, sizeof(*sheet->columns))))
		abort();
	sheet->metrics = metrics;
	sheet->next = metrics->sheets;
	metrics->sheets = sheet;
	return sheet;
}

static uint64_t hash_labels(const char *l0, const char *l1)
{
	return fnv1a(fnv1a(fnv1a(FNV_BEGIN, str_of(l0)), STR("\0")), str_of(l1));
}

/* A long value is cut, but not within a character: a scrape with broken UTF-8 would be refused as a whole. */
static void cut_label(char out[LABEL_BYTES], const char *value)
{
	size_t len = strnlen(value, LABEL_BYTES);

	if (len == LABEL_BYTES)
		for (len--; len && ((unsigned char)value[len] & 0xc0) == 0x80;)
			len--;
	memcpy(out, value, len);
	out[len] = '\0';
	if (!utf8_valid(out, len))
		strcpy(out, "invalid");
}

static bool is_series(const struct series *s, const char *l0, const char *l1)
{
	return !strcmp(s->label[0], l0) && !strcmp(s->label[1], l1);
}

/* The series, or the free slot where it belongs: there is one, as `used` stays below SLOTS. */
static _Atomic(struct series *) *place_of(struct column *column, const char *l0, const char *l1)
{
	size_t at = hash_labels(l0, l1) % SLOTS;
	struct series *s;

	while ((s = atomic_load_explicit(&column->slot[at], memory_order_relaxed)) && !is_series(s, l0, l1))
		at = (at + 1) % SLOTS;
	return &column->slot[at];
}

static struct series *find_series(struct sheet *sheet, int metric, const char *l0, const char *l1)
{
	const struct metric_def *def = &sheet->metrics->defs[metric];
	struct column *column = &sheet->columns[metric];
	char label[2][LABEL_BYTES];

	cut_label(label[0], l0 ? l0 : "");
	cut_label(label[1], l1 ? l1 : "");
	_Atomic(struct series *) *place = place_of(column, label[0], label[1]);
	struct series *s = atomic_load_explicit(place, memory_order_relaxed);
	if (!s && column->used >= METRIC_SERIES_MAX) {
		strcpy(label[0], def->label[0] ? "other" : "");
		strcpy(label[1], def->label[1] ? "other" : "");
		place = place_of(column, label[0], label[1]);
		s = atomic_load_explicit(place, memory_order_relaxed);
	}
	if (s)
		return s;
	s = calloc(1, sizeof(*s) + (def->kind == METRIC_HISTOGRAM ? (BUCKETS + 1) * sizeof(s->bucket[0]) : 0));
	if (!s)
		abort();
	memcpy(s->label, label, sizeof(label));
	column->used++;
	atomic_store_explicit(place, s, memory_order_release);
	return s;
}

static void show(struct series *s)
{
	atomic_store_explicit(&s->shown, true, memory_order_relaxed);
}

void metric_add(struct sheet *sheet, int metric, const char *l0, const char *l1, uint64_t n)
{
	struct series *s = find_series(sheet, metric, l0, l1);

	atomic_fetch_add_explicit(&s->count, n, memory_order_relaxed);
	show(s);
}

void metric_set(struct sheet *sheet, int metric, const char *l0, const char *l1, double value)
{
	struct series *s = find_series(sheet, metric, l0, l1);
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	atomic_store_explicit(&s->bits, bits, memory_order_relaxed);
	show(s);
}

void metric_drop(struct sheet *sheet, int metric, const char *l0, const char *l1)
{
	atomic_store_explicit(&find_series(sheet, metric, l0, l1)->shown, false, memory_order_relaxed);
}

void metric_time(struct sheet *sheet, int metric, const char *l0, const char *l1, uint64_t ns)
{
	struct series *s = find_series(sheet, metric, l0, l1);
	uint64_t bound = 1000;
	size_t i = 0;

	for (; i < BUCKETS && ns > bound; i++)
		bound *= 4;
	atomic_fetch_add_explicit(&s->bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->bits, ns, memory_order_relaxed);
	show(s);
}

/* -- exposition: the sheets added up -------------------------------------------------------------------------------------- */
struct total {
	const char *label[2];
	uint64_t count, sum, bucket[BUCKETS + 1];
	double value;
};

static struct total *total_of(struct total *totals, size_t *n, const struct series *s)
{
	for (size_t i = 0; i < *n; i++)
		if (is_series(s, totals[i].label[0], totals[i].label[1]))
			return &totals[i];
	totals[*n] = (struct total){ .label = { s->label[0], s->label[1] } };
	return &totals[(*n)++];
}

static size_t add_up(struct metrics *metrics, size_t metric, struct total *totals, size_t max)
{
	enum metric_kind kind = metrics->defs[metric].kind;
	size_t n = 0;

	for (struct sheet *sheet = metrics->sheets; sheet; sheet = sheet->next)
		for (size_t i = 0; i < SLOTS && n < max; i++) {
			struct series *s = atomic_load_explicit(&sheet->columns[metric].slot[i], memory_order_acquire);
			if (!s || !atomic_load_explicit(&s->shown, memory_order_relaxed))
				continue;
			struct total *total = total_of(totals, &n, s);
			uint64_t bits = atomic_load_explicit(&s->bits, memory_order_relaxed);
			double value;
			memcpy(&value, &bits, sizeof(value));
			total->count += atomic_load_explicit(&s->count, memory_order_relaxed);
			total->value += kind == METRIC_GAUGE ? value : 0;
			total->sum += kind == METRIC_HISTOGRAM ? bits : 0;
			for (size_t b = 0; kind == METRIC_HISTOGRAM && b <= BUCKETS; b++)
				total->bucket[b] += atomic_load_explicit(&s->bucket[b], memory_order_relaxed);
		}
	return n;
}

static void put_label(struct buf *out, bool *any, const char *name, const char *value)
{
	buf_printf(out, "%s%s=\"", *any ? "," : "{", name);
	*any = true;
	for (; *value; value++) {
		if (*value == '\n')
			buf_adds(out, "\\n");
		else if (*value == '"' || *value == '\\')
			buf_printf(out, "\\%c", *value);
		else
			buf_add(out, value, 1);
	}
	buf_adds(out, "\"");
}

static void put_series(struct buf *out, const struct metric_def *def, const struct total *t, const char *suffix, const char *le)
{
	bool any = false;

	buf_printf(out, "%s%s", def->name, suffix);
	for (int i = 0; i < 2; i++)
		if (def->label[i])
			put_label(out, &any, def->label[i], t->label[i]);
	if (le)
		put_label(out, &any, "le", le);
	buf_adds(out, any ? "} " : " ");
}

static void expose_histogram(struct buf *out, const struct metric_def *def, const struct total *t)
{
	uint64_t below = 0;
	double bound = 1e-6;
	char le[32];

	for (int i = 0; i <= BUCKETS; i++, bound *= 4) {
		below += t->bucket[i];
		snprintf(le, sizeof(le), "%g", bound);
		put_series(out, def, t, "_bucket", i < BUCKETS ? le : "+Inf");
		buf_printf(out, "%llu\n", (unsigned long long)below);
	}
	put_series(out, def, t, "_sum", NULL);
	buf_printf(out, "%.9g\n", (double)t->sum / 1e9);
	put_series(out, def, t, "_count", NULL);
	buf_printf(out, "%llu\n", (unsigned long long)below);
}

void metrics_at_scrape(struct metrics *metrics, int metric, void (*tell)(void *arg, struct metric_out *), void *arg)
{
	metrics->tellers[metric] = (struct teller){ tell, arg };
}

void metric_tell(struct metric_out *to, const char *l0, const char *l1, double value)
{
	struct total total = { .label = { l0 ? l0 : "", l1 ? l1 : "" } };

	put_series(to->out, to->def, &total, "", NULL);
	buf_printf(to->out, "%.15g\n", value);
}

static const char *const kind_words[] = { "counter", "gauge", "histogram" };

void metrics_expose(struct metrics *metrics, struct buf *out)
{
	size_t sheets = 0;

	for (struct sheet *sheet = metrics->sheets; sheet; sheet = sheet->next)
		sheets++;
	size_t max = sheets * (METRIC_SERIES_MAX + 1);
	struct total *totals = calloc(max + 1, sizeof(*totals));
	if (!totals)
		abort();
	for (size_t m = 0; m < metrics->count; m++) {
		const struct metric_def *def = &metrics->defs[m];
		size_t n = add_up(metrics, m, totals, max);
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", def->name, def->help, def->name, kind_words[def->kind]);
		if (metrics->tellers[m].tell)
			metrics->tellers[m].tell(metrics->tellers[m].arg, &(struct metric_out){ def, out });
		for (size_t i = 0; i < n; i++) {
			if (def->kind == METRIC_HISTOGRAM) {
				expose_histogram(out, def, &totals[i]);
				continue;
			}
			put_series(out, def, &totals[i], "", NULL);
			if (def->kind == METRIC_COUNTER)
				buf_printf(out, "%llu\n", (unsigned long long)totals[i].count);
			else
				buf_printf(out, "%.15g\n", totals[i].value);
		}
	}
	free(totals);
}

void metrics_print_reference(const struct metric_def *defs, size_t count, struct buf *out)
{
	buf_adds(out, "# Metrics\n\n| name | type | labels | what |\n|---|---|---|---|\n");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "| `%s` | %s | %s%s%s | %s |\n", defs[i].name, kind_words[defs[i].kind],
		           defs[i].label[0] ? defs[i].label[0] : "", defs[i].label[1] ? ", " : "",
		           defs[i].label[1] ? defs[i].label[1] : "", defs[i].help);
}
