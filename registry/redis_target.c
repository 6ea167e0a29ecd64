/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The URL of a store in Redis: one server, Sentinels that know it, or nodes of a cluster. The first ':' ends the user and the last
 * '@' the password, so that one that was not percent-encoded still works; their bytes are percent-decoded, and a NUL is refused.
 */
#include <string.h>

#include "registry/redis_link.h"

static const struct {
	const char *scheme, *why;
} kinds[] = {
	[REDIS_ONE] = { "redis://", "must be redis://[[user]:password@]host:port[/db]" },
	[REDIS_SENTINEL] = { "redis+sentinel://", "must be redis+sentinel://[[user]:password@]host:port,host:port/master-name[/db]" },
	[REDIS_CLUSTER] = { "redis+cluster://", "must be redis+cluster://[[user]:password@]host:port,host:port" },
};

static bool seed_port(struct str text, uint16_t *out)
{
	uint64_t n = 0;

	if (!parse_u64(text, &n) || n == 0 || n > 65535)
		return false;
	*out = (uint16_t)n;
	return true;
}

/* host:port, or [address]:port */
static bool seed_read(struct str text, struct redis_endpoint *out)
{
	struct str host = text;
	const char *end = memchr(text.at, text.len && text.at[0] == '[' ? ']' : ':', text.len);

	if (!end)
		return false;
	host.len = (size_t)(end - text.at);
	if (host.len && host.at[0] == '[') {
		host.at++, host.len--;
		end++;
	}
	if (host.len == 0 || host.len > REDIS_HOST_MAX || end >= text.at + text.len || *end != ':')
		return false;
	memcpy(out->host, host.at, host.len);
	return seed_port((struct str){ end + 1, text.len - (size_t)(end + 1 - text.at) }, &out->port);
}

static bool word_read(struct str text, char *out, size_t size)
{
	long len = text.len < size ? percent_decode(text, out) : -1;

	return len >= 0 && strlen(out) == (size_t)len;
}

static bool target_credentials(struct str *rest, struct redis_target *t)
{
	struct str user = *rest, password;
	const char *at = NULL, *colon;

	for (size_t i = 0; i < rest->len; i++)
		if (rest->at[i] == '@')
			at = rest->at + i;
	if (!at)
		return true;
	colon = memchr(rest->at, ':', (size_t)(at - rest->at));
	if (!colon)
		return false;
	user.len = (size_t)(colon - rest->at);
	password = (struct str){ colon + 1, (size_t)(at - colon) - 1 };
	rest->len -= (size_t)(at + 1 - rest->at);
	rest->at = at + 1;
	return password.len && word_read(user, t->data.user, sizeof t->data.user) &&
	       word_read(password, t->data.password, sizeof t->data.password);
}

static bool target_seeds(struct str list, struct redis_target *t)
{
	struct str seed;

	while (str_cut(&list, ',', &seed))
		if (t->nseeds == REDIS_SEEDS_MAX || !seed_read(seed, &t->seeds[t->nseeds++]))
			return false;
	return t->nseeds > 0;
}

static bool target_master(struct str *rest, struct redis_target *t)
{
	struct str name;

	if (!str_cut(rest, '/', &name) || name.len == 0 || name.len >= sizeof t->master || !glob_free_token(name))
		return false;
	memcpy(t->master, name.at, name.len);
	return true;
}

static bool target_read(struct str rest, struct redis_target *t)
{
	struct str list;

	if (!target_credentials(&rest, t) || !str_cut(&rest, '/', &list) || list.len == 0 || list.at[list.len - 1] == ',' ||
	    !target_seeds(list, t))
		return false;
	if (t->kind == REDIS_SENTINEL && !target_master(&rest, t))
		return false;
	if (t->kind != REDIS_SENTINEL && t->kind != REDIS_CLUSTER && t->nseeds != 1)
		return false;
	if (t->kind == REDIS_CLUSTER)
		return rest.len == 0; /* a cluster has one database */
	return rest.len == 0 || (parse_u64(rest, &t->db) && t->db <= 65535);
}

bool redis_target_parse(const char *url, struct redis_target *out, const char **why)
{
	*why = kinds[REDIS_ONE].why;
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		struct redis_target t = { .kind = (enum redis_kind)i };

		if (strncmp(url, kinds[i].scheme, strlen(kinds[i].scheme)) != 0)
			continue;
		*why = kinds[i].why;
		if (!target_read(str_of(url + strlen(kinds[i].scheme)), &t))
			return false;
		*out = t;
		return true;
	}
	return false;
}
