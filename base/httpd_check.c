/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libmicrohttpd lets through and RFC 9112 does not. It hides bare LF, NUL, folded lines and a second space before
 * the target from us; those are harmless because nothing is passed on as it came: targets and headers are encoded anew.
 * But for one: a folded line is glued to the *name* before it, so a length that is folded would be no length to us and
 * one to a proxy before us.
 */
#include <string.h>

#include "base/error.h"
#include "base/http_line.h"
#include "base/httpd_mhd.h"
#include "base/url.h"

static int refuse(const char **detail, int err, const char *words)
{
	*detail = words;
	return err;
}

static bool has_control(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (((unsigned char)s.at[i] < 0x20 && s.at[i] != '\t') || s.at[i] == 0x7f)
			return true;
	return false;
}

static int check_target(const struct exchange *x, const struct httpd_conf *conf, const char **detail)
{
	if (!x->target.len || x->target.at[0] != '/')
		return refuse(detail, ERR_BAD_REQUEST, "the request target must be a path");
	if (x->target.len > conf->header_bytes)
		return refuse(detail, ERR_URI_TOO_LONG, "the request target is too long");
	for (size_t i = 0; i < x->target.len; i++) {
		unsigned char c = (unsigned char)x->target.at[i];
		if (c <= ' ' || c >= 0x7f || c == '#')
			return refuse(detail, ERR_BAD_REQUEST, "the request target has bytes that must be encoded");
	}
	return 0;
}

static int check_lines(const struct exchange *x, const struct httpd_conf *conf, const char **detail)
{
	size_t bytes = x->target.len;

	if (x->nheaders > conf->headers)
		return refuse(detail, ERR_HEADERS_TOO_LARGE, "too many header lines");
	for (size_t i = 0; i < x->nheaders; i++) {
		const struct header *h = &x->headers[i];
		bytes += h->name.len + h->value.len + 4;
		if (!is_token(h->name))
			return refuse(detail, ERR_BAD_REQUEST, "a header's name is not a token");
		if (has_control(h->value))
			return refuse(detail, ERR_BAD_REQUEST, "a header's value has control characters");
	}
	return bytes > conf->header_bytes ? refuse(detail, ERR_HEADERS_TOO_LARGE, "the head is too large") : 0;
}

static bool is_folded(struct str name, struct str field)
{
	return name.len > field.len && !strncasecmp(name.at, field.at, field.len);
}

static size_t count_of(const struct exchange *x, const char *name, struct str *value)
{
	size_t n = 0;

	for (size_t i = 0; i < x->nheaders; i++)
		if (str_is_nocase(x->headers[i].name, name)) {
			*value = x->headers[i].value;
			n++;
		}
	return n;
}

static int check_framing(struct exchange *x, const char **detail)
{
	struct str length = { 0 }, coding = { 0 };
	size_t lengths = count_of(x, "Content-Length", &length), codings = count_of(x, "Transfer-Encoding", &coding);
	uint64_t n = 0;

	for (size_t i = 0; i < x->nheaders; i++)
		if (is_folded(x->headers[i].name, STR("Content-Length")) || is_folded(x->headers[i].name, STR("Transfer-Encoding")))
			return refuse(detail, ERR_BAD_REQUEST, "Content-Length and Transfer-Encoding: on one line");
	if (lengths + codings > 1)
		return refuse(detail, ERR_BAD_REQUEST, "Content-Length and Transfer-Encoding: one of them, once");
	if (codings && (!str_is_nocase(coding, "chunked") || x->http10))
		return refuse(detail, ERR_BAD_REQUEST, "Transfer-Encoding: must be chunked, on HTTP/1.1");
	if (lengths && (!parse_u64(length, &n) || n > INT64_MAX))
		return refuse(detail, ERR_BAD_REQUEST, "Content-Length: must be a number");
	x->chunked = codings;
	x->length = codings ? -1 : (int64_t)n;
	return 0;
}

static bool method_known(const char *method)
{
	static const char *const known[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS" };

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (!strcmp(method, known[i]))
			return true;
	return false;
}

int httpd_check_head(struct exchange *x, const struct httpd_conf *conf, const char **detail)
{
	struct str host = { 0 };
	int err = check_framing(x, detail); /* first: whether there is a body decides how a refusal is told */

	if (!err)
		err = check_target(x, conf, detail);
	if (!err)
		err = check_lines(x, conf, detail);
	if (err)
		return err;
	size_t hosts = count_of(x, "Host", &host);
	if (hosts > 1 || (!hosts && !x->http10))
		return refuse(detail, ERR_BAD_REQUEST, "Host: exactly one is required");
	if (hosts && !authority_valid(host))
		return refuse(detail, ERR_BAD_REQUEST, "Host: must be a name or address, with a port or without");
	if (!method_known(x->method))
		return refuse(detail, ERR_METHOD_NOT_ALLOWED, "the method is not known here");
	return 0;
}

/* Upgrade is of this hop and says nothing without Connection, nor on HTTP/1.0 (RFC 9110, 7.8). */
bool headers_ask_websocket(const struct header *headers, size_t n)
{
	bool connection = false;
	struct str upgrade = { 0 };

	for (size_t i = 0; i < n; i++)
		if (str_is_nocase(headers[i].name, "Connection"))
			connection = connection || header_names(headers[i].value, STR("upgrade"));
		else if (!upgrade.at && str_is_nocase(headers[i].name, "Upgrade"))
			upgrade = headers[i].value;
	return connection && str_is_nocase(upgrade, "websocket");
}

bool exchange_asks_websocket(const struct exchange *x)
{
	return !x->http10 && !strcmp(x->method, "GET") && headers_ask_websocket(x->headers, x->nheaders);
}
