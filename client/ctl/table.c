/* SPDX-License-Identifier: Apache-2.0 */
/* Cells are kept as one long text, so that a table of a million rooms costs what its text costs. */
#include <stdarg.h>
#include <string.h>

#include "client/ctl/table.h"

#define GAP 2
#define CELL_MAX 512 /* printed cells; names have at most 256 bytes */

void table_head(struct table *t, const char *const *names)
{
	for (; *names; names++) {
		char right = **names == '>';

		buf_add(&t->right, &right, 1);
		t->columns++;
		table_text(t, *names + right);
	}
}

/* C0, DEL, and C1, which UTF-8 writes as C2 80 to C2 9F. */
static size_t clean_char(const char *at, char out[static 2])
{
	unsigned char c = (unsigned char)*at, next = (unsigned char)at[1];

	if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
		out[0] = '?';
		return 2;
	}
	out[0] = c < 0x20 || c == 0x7f ? '?' : (char)c;
	return 1;
}

void table_text(struct table *t, const char *cell)
{
	char one[2];

	if (!cell || !*cell)
		cell = "-";
	while (*cell) {
		cell += clean_char(cell, one);
		buf_add(&t->text, one, 1);
	}
	buf_add(&t->text, "", 1);
	t->cells++;
}

void clean_print(const char *text, FILE *out)
{
	char one[2];

	while (*text) {
		text += clean_char(text, one);
		fputc(one[0], out);
	}
}

void table_u64(struct table *t, uint64_t n)
{
	table_printf(t, "%llu", (unsigned long long)n);
}

void table_printf(struct table *t, const char *fmt, ...)
{
	char cell[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cell, sizeof(cell), fmt, ap);
	va_end(ap);
	table_text(t, cell);
}

static size_t cell_width(const char *cell)
{
	size_t n = 0;

	for (; *cell; cell++)
		n += ((unsigned char)*cell & 0xc0) != 0x80;
	return n;
}

static void measure(const struct table *t, size_t width[static TABLE_COLUMNS_MAX])
{
	const char *cell = t->text.at;

	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1) {
		size_t w = cell_width(cell), column = i % t->columns;

		if (w > width[column])
			width[column] = w;
	}
}

static void print_cell(const struct table *t, size_t column, size_t width, const char *cell, FILE *out)
{
	int pad = (int)(width - cell_width(cell));

	if (t->right.at[column])
		fprintf(out, "%*s%s", pad, "", cell);
	else if (column + 1 < t->columns)
		fprintf(out, "%s%*s", cell, pad, "");
	else
		fputs(cell, out);
	if (column + 1 < t->columns)
		fprintf(out, "%*s", GAP, "");
	else
		fputc('\n', out);
}

void table_print(const struct table *t, FILE *out)
{
	size_t width[TABLE_COLUMNS_MAX] = { 0 };
	const char *cell = t->text.at;

	if (!t->columns)
		return;
	measure(t, width);
	for (size_t i = 0; i < t->cells; i++, cell += strlen(cell) + 1)
		print_cell(t, i % t->columns, width[i % t->columns], cell, out);
}

void table_free(struct table *t)
{
	buf_free(&t->text);
	buf_free(&t->right);
	*t = (struct table){ 0 };
}
