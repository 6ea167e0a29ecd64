/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/retire.h"
#include "base/str.h"
#include "base/tls.h"
#include "base/wait.h"
#include "router/certificate.h"
#include "router/metrics.h"
#include "router/router.h"

#define DAY_MS UINT64_C(86400000)
#define WARN_DAYS 14

struct held { /* one that was read */
	struct retired retired;
	struct tls *tls;
};
struct certificate {
	_Atomic(struct held *) now; /* NULL: none is set */
	struct held *next;          /* read, and not in force yet */
	uint64_t warned_ms;
};

static bool is_set(const struct router_conf *conf)
{
	return *conf->tls.cert != '\0';
}

/* -- reading ---------------------------------------------------------------------------------------------------------------- */
static struct tls *read_files(const struct router_conf *conf, FILE *err)
{
	struct tls_conf files = { conf->tls.cert, conf->tls.key, conf->tls.client_ca, conf->tls.min_version };

	return tls_read(&files, err);
}

static struct held *hold(struct tls *tls)
{
	struct held *held = calloc(1, sizeof(*held));

	if (!held)
		abort();
	held->tls = tls;
	return held;
}

static void drop(struct held *held)
{
	if (held)
		tls_free(held->tls);
	free(held);
}

struct certificate *certificate_new(const struct router_conf *conf, FILE *err)
{
	struct tls *tls = is_set(conf) ? read_files(conf, err) : NULL;
	struct certificate *certificate = calloc(1, sizeof(*certificate));

	if (!certificate)
		abort();
	if (tls)
		atomic_store(&certificate->now, hold(tls));
	if (tls || !is_set(conf))
		return certificate;
	free(certificate);
	return NULL;
}

void certificate_free(struct certificate *certificate)
{
	if (certificate)
		drop(atomic_load(&certificate->now));
	free(certificate);
}

const struct tls *certificate_now(const struct router *router)
{
	const struct held *held = atomic_load(&router->certificate->now);

	return held ? held->tls : NULL;
}

/* -- reading anew ----------------------------------------------------------------------------------------------------------- */
bool certificate_read_anew(struct router *router, FILE *err)
{
	struct tls *tls = is_set(&router->conf) ? read_files(&router->conf, err) : NULL;

	if (tls)
		router->certificate->next = hold(tls);
	return tls || !is_set(&router->conf);
}

static void free_retired(struct retired *retired)
{
	drop(container_of(retired, struct held, retired));
}

void certificate_replace(struct router *router, bool go)
{
	struct certificate *certificate = router->certificate;
	struct held *next = certificate->next;

	certificate->next = NULL;
	if (!next || !go) {
		drop(next);
		return;
	}
	struct held *old = atomic_exchange(&certificate->now, next);
	retire_later(router->retire, &old->retired, free_retired);
	certificate->warned_ms = 0;
	certificate_look(router);
}

/* -- its end ---------------------------------------------------------------------------------------------------------------- */
void certificate_look(struct router *router)
{
	struct certificate *certificate = router->certificate;
	const struct tls *tls = certificate_now(router);
	uint64_t now_ms = wall_ms(), ends_ms = tls ? tls_ends_ms(tls) : 0;
	char when[25];

	if (!tls)
		return;
	metric_set(router->sheet, M_TLS_EXPIRY, NULL, NULL, (double)ends_ms / 1000);
	if (now_ms + WARN_DAYS * DAY_MS < ends_ms || (certificate->warned_ms && now_ms < certificate->warned_ms + DAY_MS))
		return;
	certificate->warned_ms = now_ms;
	time_rfc3339(ends_ms, when);
	log_warn("tls_certificate_ends", "file", LOG_S(router->conf.tls.cert), "valid_until", LOG_S(when), "days_left",
	         LOG_U(ends_ms > now_ms ? (ends_ms - now_ms) / DAY_MS : 0));
}

bool certificate_lasts(const struct router_conf *conf, unsigned days)
{
	struct tls *tls = is_set(conf) ? read_files(conf, stderr) : NULL;
	bool lasts = !is_set(conf) || (tls && tls_ends_ms(tls) > wall_ms() + days * DAY_MS);

	tls_free(tls);
	return lasts;
}
