/* SPDX-License-Identifier: Apache-2.0 */
/* Each page is its table and nothing else, so that the page cannot say what the code does not. */
#include <string.h>

#include "base/error.h"
#include "registry/redis_error.h"
#include "router/conf.h"
#include "router/metrics.h"
#include "router/print.h"
#include "router/routes.h"

static void print_config(FILE *out)
{
	conf_print_reference(router_conf_keys, router_conf_count, "Configuration of usherd", out);
}

static void print_metrics(FILE *out)
{
	struct buf text = { 0 };

	metrics_print_reference(router_metrics, M_COUNT, &text);
	fwrite(text.at, 1, text.len, out);
	buf_free(&text);
}

static void print_errors(FILE *out)
{
	fprintf(out, "# Errors\n\nEvery refusal is `application/problem+json` with `type`, `title`, `status`, `code`, `detail`, and\n"
	             "`retry_after_ms` (with `Retry-After`) where trying again can help. Match on `code`.\n\n"
	             "| code | status | means |\n|---|---|---|\n");
	for (int err = 1; err < ERR_COUNT; err++) {
		const struct error_info *info = error_info(err);
		fprintf(out, "| `%s` | %d | %s |\n", info->slug, info->status, info->title);
	}
}

static void print_scopes(unsigned scopes, FILE *out)
{
	const char *before = "";

	for (size_t i = 0; scope_words[i]; i++)
		if (scopes & 1u << i) {
			fprintf(out, "%s%s", before, scope_words[i]);
			before = " or ";
		}
	if (!scopes)
		fputs("everyone", out);
}

static void print_routes(FILE *out)
{
	fprintf(out, "# Routes\n\n| method | path | scope | what |\n|---|---|---|---|\n");
	for (size_t i = 0; i < routes_count; i++) {
		fprintf(out, "| %s | `%s` | ", routes[i].method, routes[i].pattern);
		print_scopes(routes[i].scopes, out);
		fprintf(out, "%s | %s |\n", routes[i].tickets ? ", or a join's ticket" : "", routes[i].help);
	}
}

int print_reference(const char *what, FILE *out)
{
	static const struct {
		const char *name;
		void (*print)(FILE *);
	} pages[] = { { "config", print_config }, { "metrics", print_metrics }, { "errors", print_errors }, { "routes", print_routes },
		      { "redis-errors", redis_errors_print } };

	for (size_t i = 0; i < sizeof(pages) / sizeof(*pages); i++)
		if (!strcmp(pages[i].name, what)) {
			pages[i].print(out);
			return 0;
		}
	fprintf(stderr, "usherd: --print takes config, metrics, errors, routes or redis-errors\n");
	return 2;
}
