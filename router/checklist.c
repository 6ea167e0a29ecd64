/* SPDX-License-Identifier: Apache-2.0 */
/* One row for each line of docs/operate/security.md, so that the page and --check cannot tell two stories. */
#include <stdbool.h>
#include <string.h>

#include "base/listen.h"
#include "base/secret.h"
#include "router/certificate.h"
#include "router/checklist.h"
#include "router/conf.h"

static bool asks(const struct router_conf *conf)
{
	return conf->auth.mode != AUTH_NONE;
}

static bool admin_apart(const struct router_conf *conf)
{
	return *conf->server.admin_listen != '\0';
}

static bool hosts_named(const struct router_conf *conf)
{
	return !strchr(conf->server.hosts, '*');
}

static bool origins_named(const struct router_conf *conf)
{
	return !strchr(conf->server.origins, '*');
}

static bool encrypted(const struct router_conf *conf)
{
	return !strncmp(conf->server.public_url, "https://", 8) || (!*conf->server.public_url && listen_is_loopback(conf->server.listen));
}

static bool speaks_tls(const struct router_conf *conf)
{
	return *conf->tls.cert || *conf->server.trusted_proxies || listen_is_loopback(conf->server.listen);
}

static bool certificate_young(const struct router_conf *conf)
{
	return certificate_lasts(conf, 14);
}

static bool networks_narrow(const struct router_conf *conf)
{
	return !strstr(conf->nodes.allow_cidr, "/0");
}

static bool tickets_kept(const struct router_conf *conf)
{
	struct secret_keys keys;
	const char *why;

	return *conf->auth.ticket_keys && secret_keys_read(conf->auth.ticket_keys, &keys, &why);
}

static bool changes_once(const struct router_conf *conf)
{
	return conf->auth.admin_once;
}

static bool grants_shared(const struct router_conf *conf)
{
	struct secret_keys keys;
	const char *why;

	return *conf->auth.grant_keys && conf->auth.demand_grants && secret_keys_read(conf->auth.grant_keys, &keys, &why);
}

static const struct {
	bool (*good)(const struct router_conf *);
	const char *what;
} rows[] = {
	{ asks, "auth.mode is token or jwt: with none, whoever reaches a listener may register nodes and close rooms" },
	{ tickets_kept, "auth.ticket_keys is a file: without one a restart ends all sessions, and two routers cannot share a registry" },
	{ changes_once, "auth.admin_once is true, with auth.mode jwt: who overhears an operator can change things with that token otherwise" },
	{ grants_shared, "auth.grant_keys is a file: without one a node may report rooms that it was never given after a loss of all data, and gates let in whoever reaches them and knows an epoch" },
	{ admin_apart, "server.admin_listen is set: nodes, operators and metrics on an address that participants do not reach" },
	{ encrypted, "server.public_url is https: tokens and tickets pass in clear text otherwise" },
	{ speaks_tls, "tls.cert is set, or a proxy of server.trusted_proxies ends TLS before us: what participants send may be read otherwise" },
	{ certificate_young, "the certificate of tls.cert is valid for 14 days and more" },
	{ hosts_named, "server.hosts names its hosts: with * a page elsewhere may reach us by DNS rebinding" },
	{ origins_named, "server.origins names its origins: with * any page may use what its reader is allowed" },
	{ networks_narrow, "nodes.allow_cidr is no whole internet: a node's URL decides where routers connect to" },
};

void checklist_print(const struct router_conf *conf, FILE *out)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		fprintf(out, "%-5s %s\n", rows[i].good(conf) ? "good" : "look", rows[i].what);
}
