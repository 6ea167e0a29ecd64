/* SPDX-License-Identifier: Apache-2.0 */
/* Lists: {"<noun>":[…],"next_cursor":…,"partial":[]} with `limit` and `cursor`. */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct json_out;
struct request;

#define PAGE_DEFAULT 100
#define PAGE_MAX 1000
struct page {
	size_t limit;
	struct str cursor; /* "" from the start; NUL-terminated */
};
int page_read(struct request *, struct page *);                   /* 0 or -ERR_BAD_REQUEST */
void page_open(struct json_out *, const char *noun);              /* {"noun":[ */
void page_close(struct json_out *, const char *next_cursor, const char *const *partial); /* ],…} ; next NULL or "": the end */
