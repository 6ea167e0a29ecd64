/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers may be reading the old words, so those are retired, as all that the keeper publishes. Besides the published words
 * nothing of a reloaded configuration is kept: what needs a restart goes on as the process was started.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/http.h"
#include "base/log.h"
#include "base/retire.h"
#include "base/wait.h"
#include "router/access.h"
#include "router/certificate.h"
#include "router/reload.h"
#include "router/router.h"

struct reloaded {
	struct retired retired;
	struct conf conf;
	struct router_conf values;
};

static void free_reloaded(struct retired *retired)
{
	struct reloaded *r = container_of(retired, struct reloaded, retired);

	conf_free(&r->conf);
	free(r);
}

static bool same(const struct conf_key *key, const void *a, const void *b)
{
	switch (key->type) {
	case CONF_BOOL:
		return *(const bool *)a == *(const bool *)b;
	case CONF_INT:
		return *(const uint64_t *)a == *(const uint64_t *)b;
	case CONF_REAL:
		return *(const double *)a <= *(const double *)b && *(const double *)a >= *(const double *)b;
	case CONF_TEXT:
		return !strcmp(*(const char *const *)a, *(const char *const *)b);
	case CONF_WORD:
		return *(const int *)a == *(const int *)b;
	case CONF_MAP:
		break;
	}
	return true; /* the router has no maps */
}

static void name_the_rest(const struct router *router, const struct router_conf *values)
{
	for (size_t i = 0; i < router_conf_count; i++) {
		const struct conf_key *key = &router_conf_keys[i];
		if (!key->reloadable && !same(key, (const char *)&router->conf + key->at, (const char *)values + key->at))
			log_warn("reload_needs_restart", "key", LOG_S(key->name));
	}
}

static void publish(struct router *router, struct reloaded *r)
{
	struct reloaded *old = router->reloaded;

	router->reloaded = r;
	log_set_level((enum log_level)r->values.log.level);
	atomic_store(&router->origins, r->values.server.origins);
	atomic_fetch_add(&router->trust_read, 1); /* workers follow with their next tick */
	http_drop_pool(router->http);
	if (old)
		retire_later(router->retire, &old->retired, free_reloaded);
}

static void reload(void *arg, int signum)
{
	struct router *router = arg;
	struct reloaded *r = calloc(1, sizeof(*r));
	char *words = NULL;
	size_t len;
	FILE *err = open_memstream(&words, &len);

	(void)signum;
	if (!r || !err)
		abort();
	r->conf = (struct conf){ .keys = router_conf_keys, .count = router_conf_count, .values = &r->values, .env_prefix = "USHER_" };
	int faults = conf_load(&r->conf, router->cli->file, router->cli->sets, router->cli->nsets, err);
	if (!faults)
		faults = router_conf_check(&r->values, err);
	if (!faults)
		faults = !certificate_read_anew(router, err);
	if (!faults)
		faults = access_reload(router, err);
	certificate_replace(router, !faults);
	fclose(err);
	if (faults) {
		log_error("reload_failed", "faults", LOG_U((uint64_t)faults), "why", LOG_S(words));
		free_reloaded(&r->retired);
	} else {
		log_info("reloaded");
		name_the_rest(router, &r->values);
		publish(router, r);
	}
	free(words);
}

void reload_on_signal(struct router *router)
{
	loop_on_signal(router->loop, SIGHUP, reload, router);
}

void reload_free(struct router *router)
{
	if (router->reloaded)
		free_reloaded(&router->reloaded->retired);
}
