/* SPDX-License-Identifier: Apache-2.0 */
/* The head of an SFU's answer, line by line as libcurl hands it on, with what comes after it. */
#include "base/forward_private.h"
#include "base/http_line.h"
#include "tests/fuzz/fuzz.h"

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.at[i] < ' ' && s.at[i] != '\t') || s.at[i] == 0x7f)
			return true;
	return false;
}

static void must_be_header(const char *line, size_t len)
{
	struct header h;

	if (!header_line(line, len, &h))
		return;
	MUST(h.name.len && !has_control(h.name) && !memchr(h.name.at, ' ', h.name.len) && !memchr(h.name.at, ':', h.name.len));
	MUST(!has_control(h.value) && h.name.at >= line && h.value.at + h.value.len <= line + len);
	MUST(retry_after_ms(h.value) <= 3600000);
	if (header_names(h.value, STR("close")))
		MUST(h.value.len >= 5);
}

static void must_be_clear(const struct answer_head *h)
{
	int lengths = 0, chunks = 0;

	MUST(h->status >= 200 && h->status <= 599 && h->n <= HEAD_LINES && h->used <= HEAD_BYTES);
	for (size_t i = 0; i < h->n; i++) {
		lengths += str_is_nocase(h->headers[i].name, "Content-Length");
		chunks += str_is_nocase(h->headers[i].name, "Transfer-Encoding");
		MUST(!has_control(h->headers[i].name) && !has_control(h->headers[i].value));
	}
	MUST(lengths + chunks <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct answer_head *head = calloc(1, sizeof(*head));
	struct str rest = { (const char *)bytes, len };
	bool good = true;

	while (rest.len) {
		const char *end = memchr(rest.at, '\n', rest.len);
		size_t n = end ? (size_t)(end - rest.at) + 1 : rest.len;
		char *line = copy_of((struct str){ rest.at, n }, false);
		int status = status_line(line, n);
		MUST(status >= 0 && status <= 999 && (!status || n >= 12));
		MUST(!line_ends(line, n) || n >= 2);
		must_be_header(line, n);
		good = good && answer_head_line(head, line, n);
		if (good && head->complete)
			must_be_clear(head);
		free(line);
		rest.at += n;
		rest.len -= n;
	}
	free(head);
	return 0;
}
