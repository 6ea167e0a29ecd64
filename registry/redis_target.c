/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL of a Redis. The last '@' ends the password, so that one that was not percent-encoded still works; its bytes are
 * percent-decoded, and a NUL in it is refused.
 */
#include <string.h>

#include "registry/redis_link.h"

static bool target_host(struct str *rest, struct redis_target *t)
{
	struct str host = *rest;
	const char *end = memchr(rest->at, rest->len && rest->at[0] == '[' ? ']' : ':', rest->len);

	if (!end)
		return false;
	host.len = (size_t)(end - rest->at);
	if (host.len && host.at[0] == '[') {
		host.at++, host.len--;
		end++;
	}
	if (host.len == 0 || host.len >= sizeof t->host || end >= rest->at + rest->len || *end != ':')
		return false;
	memcpy(t->host, host.at, host.len);
	rest->len -= (size_t)(end + 1 - rest->at);
	rest->at = end + 1;
	return true;
}

static bool target_password(struct str *rest, struct redis_target *t)
{
	const char *at = NULL;
	long len;

	for (size_t i = 0; i < rest->len; i++)
		if (rest->at[i] == '@')
			at = rest->at + i;
	if (!at)
		return true;
	if (rest->at[0] != ':' || (size_t)(at - rest->at) > sizeof t->password)
		return false;
	len = percent_decode((struct str){ rest->at + 1, (size_t)(at - rest->at) - 1 }, t->password);
	rest->len -= (size_t)(at + 1 - rest->at);
	rest->at = at + 1;
	return len > 0 && strlen(t->password) == (size_t)len;
}

bool redis_target_parse(const char *url, struct redis_target *out, const char **why)
{
	static const char scheme[] = "redis://";
	struct redis_target t = { 0 };
	struct str rest, port;
	uint64_t n = 0;

	*why = "must be redis://[:password@]host:port[/db]";
	if (strncmp(url, scheme, sizeof scheme - 1) != 0)
		return false;
	rest = str_of(url + sizeof scheme - 1);
	if (!target_password(&rest, &t) || !target_host(&rest, &t) || !str_cut(&rest, '/', &port))
		return false;
	if (!parse_u64(port, &n) || n == 0 || n > 65535)
		return false;
	t.port = (uint16_t)n;
	if (rest.len && (!parse_u64(rest, &t.db) || t.db > 65535))
		return false;
	*out = t;
	return true;
}
