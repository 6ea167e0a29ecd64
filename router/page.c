/* SPDX-License-Identifier: Apache-2.0 */
/* One place for the frame of every list, so that clients can follow any of them with the same loop. */
#include "base/json.h"
#include "router/page.h"
#include "router/request.h"

int page_read(struct request *rq, struct page *page)
{
	struct str limit;
	uint64_t n = PAGE_DEFAULT;

	if (!request_param(rq, "limit", &limit) || !request_param(rq, "cursor", &page->cursor))
		return -ERR_BAD_REQUEST;
	if (limit.at && (!parse_u64(limit, &n) || !n || n > PAGE_MAX))
		return request_fail(rq, ERR_BAD_REQUEST, "limit: must be 1 to %d", PAGE_MAX);
	if (!page->cursor.at)
		page->cursor = STR("");
	page->limit = n;
	return 0;
}

void page_open(struct json_out *json, const char *noun)
{
	json_open(json, NULL, '{');
	json_open(json, noun, '[');
}

void page_close(struct json_out *json, const char *next_cursor, const char *const *partial)
{
	json_close(json, ']');
	json_str(json, "next_cursor", next_cursor && *next_cursor ? next_cursor : NULL);
	json_open(json, "partial", '[');
	for (; partial && *partial; partial++)
		json_str(json, NULL, *partial);
	json_close(json, ']');
	json_close(json, '}');
}
