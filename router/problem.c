/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One shape for every refusal. `Retry-After` has whole seconds only, so retry_after_ms says it finer; both are jittered so
 * that a thousand refused clients do not come back in one moment.
 */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/httpd.h"
#include "base/json.h"
#include "router/problem.h"

#define RETRY_MS 1000 /* where nothing better is known: one heartbeat, after which the world may look different */

static uint64_t retry_of(const struct error_info *info, uint64_t retry_ms)
{
	if (!retry_ms && (info->status == 503 || info->status == 429 || info->status == 504))
		retry_ms = RETRY_MS;
	return retry_ms ? retry_ms + (uint64_t)((double)retry_ms * 0.25 * random_unit()) : 0;
}

void problem_answer(struct exchange *x, int err, const char *detail, uint64_t retry_ms)
{
	const struct error_info *info = error_info(err);
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	char type[80], seconds[24];

	retry_ms = retry_of(info, retry_ms);
	snprintf(type, sizeof(type), "urn:usher:error:%s", info->slug);
	json_open(&json, NULL, '{');
	json_str(&json, "type", type);
	json_str(&json, "title", info->title);
	json_u64(&json, "status", (uint64_t)info->status);
	json_str(&json, "code", info->slug);
	json_str(&json, "detail", detail ? detail : info->title);
	if (retry_ms) {
		json_u64(&json, "retry_after_ms", retry_ms);
		snprintf(seconds, sizeof(seconds), "%llu", (unsigned long long)((retry_ms + 999) / 1000));
		exchange_add(x, "Retry-After", str_of(seconds));
	}
	json_close(&json, '}');
	exchange_add(x, "Content-Type", STR("application/problem+json"));
	struct str body = { arena_copy(exchange_arena(x), text.at, text.len), text.len };
	buf_free(&text);
	exchange_answer(x, info->status, body);
}
