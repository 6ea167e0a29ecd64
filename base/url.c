/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A URL is taken apart once, strictly, and only of the four schemes usher speaks.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/url.h"

static const struct {
	const char *prefix;
	bool websocket, tls;
	uint16_t port;
} schemes[] = { { "ws://", true, false, 80 }, { "wss://", true, true, 443 }, { "http://", false, false, 80 }, { "https://", false, true, 443 } };

static bool refuse(const char **why, const char *words)
{
	if (why)
		*why = words;
	return false;
}

static bool parse_scheme(struct str *rest, struct url *url)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
		size_t len = strlen(schemes[i].prefix);
		if (rest->len < len || memcmp(rest->at, schemes[i].prefix, len))
			continue;
		url->websocket = schemes[i].websocket;
		url->tls = schemes[i].tls;
		url->port = schemes[i].port;
		rest->at += len;
		rest->len -= len;
		return true;
	}
	return false;
}

static bool host_valid(struct str host, bool bracketed)
{
	for (size_t i = 0; i < host.len; i++) {
		char c = host.at[i];
		bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
		if (!word && !(c && strchr(bracketed ? ":." : "-._", c)))
			return false;
	}
	return host.len > 0 && host.len < 254;
}

/* As a resolver sees it: 127.1, 0x7f000001 and 2130706433 are all 127.0.0.1 there. */
static bool ends_in_number(struct str host)
{
	size_t end = host.len - (host.at[host.len - 1] == '.'), begin = end;

	while (begin > 0 && host.at[begin - 1] != '.')
		begin--;
	struct str last = { host.at + begin, end - begin };
	if (last.len > 1 && last.at[0] == '0' && (last.at[1] == 'x' || last.at[1] == 'X'))
		return true;
	for (size_t i = 0; i < last.len; i++)
		if (last.at[i] < '0' || last.at[i] > '9')
			return false;
	return true;
}

/* An address has one spelling, so that nobody who reads the URL takes it for another one. */
static bool address_plain(struct str host, bool bracketed)
{
	char z[INET6_ADDRSTRLEN + 1], bytes[16];

	if (!bracketed && !ends_in_number(host))
		return true;
	snprintf(z, sizeof(z), "%.*s", STR_ARG(host));
	return host.len < sizeof(z) && inet_pton(bracketed ? AF_INET6 : AF_INET, z, bytes) == 1;
}

/* host, host:port, [v6], [v6]:port */
static bool parse_authority(struct str text, struct url *url)
{
	struct str port = { 0 };
	bool bracketed = text.len && text.at[0] == '[';
	const char *end = bracketed ? memchr(text.at, ']', text.len) : memchr(text.at, ':', text.len);
	uint64_t number;

	url->authority = text;
	if (bracketed && !end)
		return false;
	url->host = (struct str){ text.at + bracketed, (end ? (size_t)(end - text.at) : text.len) - bracketed };
	size_t used = url->host.len + (bracketed ? 2 : 0);
	if (used < text.len) {
		if (text.at[used] != ':')
			return false;
		port = (struct str){ text.at + used + 1, text.len - used - 1 };
		if (!parse_u64(port, &number) || !number || number > 65535)
			return false;
		url->port = (uint16_t)number;
	}
	return host_valid(url->host, bracketed);
}

bool address_parse(struct str text, struct sockaddr_storage *out)
{
	char z[INET6_ADDRSTRLEN];

	*out = (struct sockaddr_storage){ 0 };
	if (text.len >= sizeof(z))
		return false;
	memcpy(z, text.at, text.len);
	z[text.len] = '\0';
	if (inet_pton(AF_INET, z, &((struct sockaddr_in *)(void *)out)->sin_addr) == 1)
		out->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, z, &((struct sockaddr_in6 *)(void *)out)->sin6_addr) == 1)
		out->ss_family = AF_INET6;
	return out->ss_family;
}

/* For each request, so without inet_ntop(), which is a printf. */
static struct str v4_text(const unsigned char *bytes, char *out)
{
	size_t len = 0;

	for (int i = 0; i < 4; i++) {
		char digits[U64_TEXT_MAX];
		struct str number = u64_text(digits, bytes[i]);
		memcpy(out + len, number.at, number.len);
		len += number.len;
		out[len++] = i < 3 ? '.' : '\0';
	}
	return (struct str){ out, len - 1 };
}

struct str address_text(const struct sockaddr_storage *address, char out[static ADDRESS_TEXT_MAX])
{
	if (address->ss_family == AF_INET)
		return v4_text((const unsigned char *)&((const struct sockaddr_in *)(const void *)address)->sin_addr, out);
	out[0] = '\0';
	if (address->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, out, ADDRESS_TEXT_MAX);
	return str_of(out);
}

bool authority_valid(struct str text)
{
	struct url url = { 0 };

	return text.len && parse_authority(text, &url);
}

static bool in_a_url(unsigned char c)
{
	switch (c) {
	case '"': case '<': case '>': case '\\': case '^': case '`': case '{': case '|': case '}':
		return false;
	default:
		return c > ' ' && c < 0x7f;
	}
}

bool url_parse(const char *text, struct url *out, const char **why)
{
	struct str rest = str_of(text);
	struct url url = { 0 };

	for (size_t i = 0; i < rest.len; i++)
		if (!in_a_url((unsigned char)rest.at[i]))
			return refuse(why, "a URL must not contain spaces, control characters or any of \"<>\\^`{|}");
	if (!parse_scheme(&rest, &url))
		return refuse(why, "must begin with ws://, wss://, http:// or https://");
	if (memchr(rest.at, '#', rest.len))
		return refuse(why, "must not have a fragment");
	size_t len = strcspn(rest.at, "/?");
	struct str authority = { rest.at, len };
	if (memchr(authority.at, '@', len))
		return refuse(why, "must not have a user or password");
	if (!parse_authority(authority, &url))
		return refuse(why, "must have a host and, if any, a port from 1 to 65535");
	if (!address_plain(url.host, url.host.at != url.authority.at))
		return refuse(why, "must have a name, or an address like 127.0.0.1 or [::1], as host");
	rest.at += len;
	rest.len -= len;
	const char *query = memchr(rest.at, '?', rest.len);
	url.path = (struct str){ rest.at, query ? (size_t)(query - rest.at) : rest.len };
	if (query)
		url.query = (struct str){ query + 1, rest.len - url.path.len - 1 };
	*out = url;
	return true;
}

bool url_path_stays(struct str path, char *scratch)
{
	long n = percent_decode(path, scratch);
	struct str left = { scratch, n < 0 ? 0 : (size_t)n }, piece;

	for (size_t i = 0; i < left.len; i++) {
		if ((unsigned char)scratch[i] < ' ' || scratch[i] == 0x7f)
			return false;
		scratch[i] = scratch[i] == '\\' ? '/' : scratch[i];
	}
	while (str_cut(&left, '/', &piece))
		if (str_is(piece, ".") || str_is(piece, ".."))
			return false;
	return n >= 0;
}
