/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What crosses, as lists of what may: a header that nobody has thought of stays on its side. Cookies do not cross: all SFUs
 * share the router's origin, so one could set what another reads. Date, Server and X-Request-Id are of who speaks.
 */
#include <string.h>

#include "base/arena.h"
#include "base/forward_private.h"

/* Of participants, towards SFUs. */
static const char *const of_requests[] = {
	"Accept", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers", "Access-Control-Request-Method", "Authorization",
	"Cache-Control", "Content-Encoding", "Content-Language", "Content-Type", "Idempotency-Key", "If-Match", "If-Modified-Since",
	"If-None-Match", "If-Range", "If-Unmodified-Since", "Last-Event-ID", "Link", "Origin", "Pragma", "Prefer", "Range", "Referer",
	"Sec-Fetch-Mode", "Sec-Fetch-Site", "User-Agent", "X-Requested-With", "traceparent", "tracestate", NULL
};
/* Of SFUs, towards participants. */
static const char *const of_answers[] = {
	"Accept-Patch", "Accept-Post", "Accept-Ranges", "Access-Control-Allow-Credentials", "Access-Control-Allow-Headers",
	"Access-Control-Allow-Methods", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Max-Age", "Age",
	"Allow", "Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Range", "Content-Type", "ETag",
	"Expires", "Last-Modified", "Link", "Location", "Retry-After", "Server-Timing", "Vary", "WWW-Authenticate",
	"X-Content-Type-Options", NULL
};
/* Of one hop only (RFC 9110, 7.6.1), or made anew for each. */
static const char *const of_hops[] = {
	"Connection", "Content-Length", "Expect", "Host", "HTTP2-Settings", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade", NULL
};

static bool listed(const char *const *list, struct str name)
{
	for (; name.len && *list; list++)
		if ((**list | 0x20) == (name.at[0] | 0x20) && str_is_nocase(name, *list)) /* few begin alike */
			return true;
	return false;
}

bool forward_standard_header(struct str name)
{
	return listed(of_requests, name);
}

/* A Referer may have a ticket in its query. */
bool forward_nameless_header(struct str name)
{
	return forward_standard_header(name) && !str_is_nocase(name, "Authorization") && !str_is_nocase(name, "Referer");
}

bool forward_hop_header(struct str name)
{
	return listed(of_hops, name);
}

/* -- the request --------------------------------------------------------------------------------------------------- */
static bool same_name(struct str a, struct str b)
{
	return a.len == b.len && !strncasecmp(a.at, b.at, a.len);
}

/* Connection: names more headers of this hop. */
static bool named_by_connection(const struct header *all, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (str_is_nocase(all[i].name, "Connection") && header_names(all[i].value, name))
			return true;
	return false;
}

static bool replaced(const struct header *by, size_t n, struct str name)
{
	for (size_t i = 0; i < n; i++)
		if (same_name(by[i].name, name))
			return true;
	return false;
}

static bool has_one(const struct exchange *x, const char *name)
{
	size_t n, found = 0;
	const struct header *headers = exchange_headers(x, &n);

	for (size_t i = 0; i < n; i++)
		found += str_is_nocase(headers[i].name, name);
	return found == 1;
}

bool forward_handshake_whole(const struct exchange *x)
{
	return has_one(x, "Sec-WebSocket-Key") && has_one(x, "Sec-WebSocket-Version");
}

bool forward_handshake_headers(const struct exchange *x, bool (*pass)(struct str), struct header *out, size_t *n)
{
	const struct str own = STR("Sec-WebSocket-");
	size_t all_n, added = *n;
	const struct header *all = exchange_headers(x, &all_n);

	for (size_t i = 0; i < all_n; i++) {
		struct str name = all[i].name;
		bool handshake = name.len > own.len && !strncasecmp(name.at, own.at, own.len);
		if (!handshake && (!pass(name) || forward_hop_header(name) || named_by_connection(all, all_n, name)))
			continue;
		if (replaced(out, added, name))
			continue;
		if (*n == HTTP_HEADERS_MAX)
			return false;
		out[(*n)++] = all[i];
	}
	return true;
}

void forward_request_headers(struct transfer *t, const struct exchange *x, const struct forward_to *to)
{
	size_t n;
	const struct header *all = exchange_headers(x, &n);
	bool (*pass)(struct str) = to->pass ? to->pass : forward_standard_header, accepts = false, typed = false;

	for (size_t i = 0; i < to->nheaders; i++)
		transfer_header(t, to->headers[i].name, to->headers[i].value);
	for (size_t i = 0; i < n; i++) {
		struct str name = all[i].name;
		if (!pass(name) || forward_hop_header(name) || replaced(to->headers, to->nheaders, name) || named_by_connection(all, n, name))
			continue;
		accepts = accepts || str_is_nocase(name, "Accept");
		typed = typed || str_is_nocase(name, "Content-Type");
		transfer_header(t, name, all[i].value);
	}
	/* What curl would add of its own. */
	transfer_no_header(t, "Expect");
	if (!accepts && !replaced(to->headers, to->nheaders, STR("Accept")))
		transfer_no_header(t, "Accept");
	if (!typed && !replaced(to->headers, to->nheaders, STR("Content-Type")))
		transfer_no_header(t, "Content-Type");
}

/* -- the answer ------------------------------------------------------------------------------------------------------ */
static bool answer_header_crosses(const struct answer_head *h, struct str name)
{
	return listed(of_answers, name) && !named_by_connection(h->headers, h->n, name);
}

void forward_answer_headers(struct exchange *x, const struct answer_head *h)
{
	for (size_t i = 0; i < h->n; i++) {
		struct str name = h->headers[i].name;
		if (answer_header_crosses(h, name))
			exchange_add(x, arena_copy(exchange_arena(x), name.at, name.len), h->headers[i].value);
	}
}

/* -- the head of the answer ---------------------------------------------------------------------------------------- */
/* Two lengths, or a length and chunks, may mean one body to us and another to the next (request smuggling). */
static bool framing_clear(struct answer_head *h)
{
	int lengths = 0, chunks = 0;
	uint64_t length = 0;

	h->length = -1;
	for (size_t i = 0; i < h->n; i++) {
		if (str_is_nocase(h->headers[i].name, "Transfer-Encoding")) {
			chunks++;
			if (!str_is_nocase(h->headers[i].value, "chunked") || h->http10)
				return false;
		}
		if (!str_is_nocase(h->headers[i].name, "Content-Length"))
			continue;
		lengths++;
		if (!parse_u64(h->headers[i].value, &length) || length > INT64_MAX)
			return false;
		h->length = (int64_t)length;
	}
	if (h->status < 200 || h->status == 204) /* has no body: what says one would be the next answer's beginning */
		return !chunks && lengths <= 1 && h->length <= 0;
	return lengths + chunks <= 1;
}

static bool headers_fit(const struct answer_head *h)
{
	size_t crossing = 0;

	for (size_t i = 0; i < h->n; i++)
		crossing += answer_header_crosses(h, h->headers[i].name);
	return crossing <= CROSSING_MAX;
}

static bool end_of_head(struct answer_head *h)
{
	if (!h->status || h->status == 101)
		return false; /* nobody asked to switch */
	if (!framing_clear(h))
		return false;
	if (h->status < 200) {
		h->n = h->used = 0;
		h->status = 0;
		return ++h->interims <= INTERIMS_MAX;
	}
	h->complete = true;
	return h->status <= 599 && headers_fit(h);
}

bool answer_head_line(struct answer_head *h, const char *line, size_t len)
{
	struct header header;

	if (h->complete)
		return true; /* trailers: they do not cross */
	if (!line_ends(line, len))
		return false;
	if (len == 2)
		return end_of_head(h);
	if (!h->status) {
		h->status = status_line(line, len);
		h->http10 = h->status && line[7] == '0';
		return h->status >= 100;
	}
	if (h->n == HEAD_LINES || h->used + len > HEAD_BYTES)
		return false;
	char *copy = memcpy(h->bytes + h->used, line, len);
	h->used += len;
	if (!header_line(copy, len, &header))
		return false;
	h->headers[h->n++] = header;
	return true;
}
