/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aligned columns for people. Cells are copied; the first row is the heading; columns are as wide as their widest cell,
 * counted in code points. Control characters of a cell become '?': names come from strangers, and end up in a terminal.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"

#define TABLE_COLUMNS_MAX 12
struct table { /* zero-initialized: empty */
	size_t columns, cells;
	struct buf text;  /* all cells, each with a NUL */
	struct buf right; /* which columns are numbers: one byte each */
};
/* Column names, NULL-terminated; a name that begins with '>' is aligned to the right. */
void table_head(struct table *, const char *const *names);
void table_text(struct table *, const char *cell); /* NULL or "": "-" */
void table_u64(struct table *, uint64_t);
void table_printf(struct table *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *, FILE *out);
void table_free(struct table *);
/* The same care for text outside of tables. */
void clean_print(const char *text, FILE *out);
