/* SPDX-License-Identifier: Apache-2.0 */
/* The wait before a new try is jittered, so that refused routers do not come back in one moment. */
#include <inttypes.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/httpd.h"
#include "base/json.h"
#include "client/agent/answer.h"

#define RETRY_MS 1000 /* one heartbeat, after which the world may look different */

void answer_json(struct exchange *x, int status, struct buf *json)
{
	struct str body = { arena_copy(exchange_arena(x), json->at, json->len), json->len };

	buf_free(json);
	exchange_add(x, "Cache-Control", STR("no-store"));
	if (status < 400)
		exchange_add(x, "Content-Type", STR("application/json"));
	exchange_answer(x, status, body);
}

void answer_empty(struct exchange *x, int status)
{
	exchange_answer(x, status, STR(""));
}

static uint64_t retry_of(const struct error_info *info)
{
	bool passes = info->status == 503 || info->status == 429 || info->status == 504;

	return passes ? RETRY_MS + (uint64_t)(RETRY_MS * 0.25 * random_unit()) : 0;
}

void answer_problem(struct exchange *x, int err, const char *detail)
{
	const struct error_info *info = error_info(err);
	uint64_t retry_ms = retry_of(info);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	char type[80], seconds[24];

	snprintf(type, sizeof(type), "urn:usher:error:%s", info->slug);
	json_open(&json, NULL, '{');
	json_str(&json, "type", type);
	json_str(&json, "title", info->title);
	json_u64(&json, "status", (uint64_t)info->status);
	json_str(&json, "code", info->slug);
	json_str(&json, "detail", detail ? detail : info->title);
	if (retry_ms) {
		json_u64(&json, "retry_after_ms", retry_ms);
		snprintf(seconds, sizeof(seconds), "%" PRIu64, (retry_ms + 999) / 1000);
		exchange_add(x, "Retry-After", str_of(seconds));
	}
	json_close(&json, '}');
	exchange_add(x, "Content-Type", STR("application/problem+json"));
	answer_json(x, info->status, &text);
}
