/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A refusal that can be made before the body has come is made then, and costs the connection (the body would have to be read
 * for nothing); without a body it waits for `ready`, and the connection lives on.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/networks.h"
#include "base/url.h"
#include "router/access.h"
#include "router/certificate.h"
#include "router/edge.h"
#include "router/limits.h"
#include "router/metrics.h"
#include "router/problem.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/shed.h"
#include "router/site.h"
#include "router/worker.h"

#define REQUEST_ID_MAX 64
#define SMALL_BODY 4096
#define EXPOSED "Location, Link, Retry-After, X-Request-Id"

/* -- what is believed ------------------------------------------------------------------------------------------------------ */
bool edge_trusts_peer(const struct request *rq)
{
	return networks_contain(rq->worker->router->proxies, exchange_peer(rq->x));
}

/* Without port; in the arena. */
static struct str peer_address(struct request *rq)
{
	char *text = arena_alloc(request_arena(rq), ADDRESS_TEXT_MAX);
	struct str address = address_text(exchange_peer(rq->x), text);

	return address.len ? address : STR("unknown");
}

/* All lines are one list (RFC 9110, 5.3): proxies that append a line leave the client's own, which then stands first. */
struct str edge_forwarded_for(struct request *rq)
{
	size_t n;
	const struct header *headers = exchange_headers(rq->x, &n);
	const char *all = "";

	for (size_t i = 0; edge_trusts_peer(rq) && i < n; i++)
		if (str_is_nocase(headers[i].name, "X-Forwarded-For") && headers[i].value.len)
			all = arena_printf(request_arena(rq), "%s%.*s, ", all, STR_ARG(headers[i].value));
	struct str peer = peer_address(rq);
	return *all ? str_of(arena_printf(request_arena(rq), "%s%.*s", all, STR_ARG(peer))) : peer;
}

/* The last of a name is the word of the proxy that asks us, as far as there are more. */
static struct str proxys_word(const struct request *rq, const char *name)
{
	size_t n;
	const struct header *headers = exchange_headers(rq->x, &n);

	for (; n && edge_trusts_peer(rq); n--)
		if (str_is_nocase(headers[n - 1].name, name))
			return headers[n - 1].value;
	return (struct str){ 0 };
}

struct str edge_forwarded_proto(struct request *rq)
{
	struct str said = proxys_word(rq, "X-Forwarded-Proto");
	bool https = said.at ? str_is_nocase(said, "https") : exchange_tls(rq->x);

	return https ? STR("https") : STR("http");
}

struct str edge_forwarded_host(struct request *rq)
{
	struct str said = proxys_word(rq, "X-Forwarded-Host");

	return authority_valid(said) ? said : exchange_header(rq->x, "Host");
}

/* The last piece of a list, and what is before it. */
static struct str cut_last(struct str *list)
{
	size_t from = list->len;

	while (from && list->at[from - 1] != ',')
		from--;
	struct str piece = { list->at + from, list->len - from };
	list->len = from ? from - 1 : 0;
	return str_trim(piece);
}

void edge_client(struct request *rq, struct sockaddr_storage *out)
{
	struct str hops = edge_forwarded_for(rq);
	struct sockaddr_storage hop;

	*out = *exchange_peer(rq->x);
	while (hops.len && address_parse(cut_last(&hops), &hop)) {
		*out = hop;
		if (!networks_contain(rq->worker->router->proxies, &hop))
			return;
	}
}

void edge_cors(struct request *rq)
{
	struct str origin = exchange_header(rq->x, "Origin");

	if (!origin.at || !rq->route || !(rq->route->scopes & SCOPE_JOIN))
		return;
	exchange_add(rq->x, "Vary", STR("Origin"));
	if (!site_listed(rq, origin))
		return;
	exchange_add(rq->x, "Access-Control-Allow-Origin", origin);
	exchange_add(rq->x, "Access-Control-Expose-Headers", STR(EXPOSED));
}

/* -- Host ------------------------------------------------------------------------------------------------------------------- */
static void add_host(const char **list, size_t *n, struct str host)
{
	if (host.len && host.at[0] != '*')
		list[(*n)++] = strndup(host.at, host.len);
	else if (host.len)
		list[(*n)++] = strdup("*");
}

/* "example.com:8080" -> "example.com", "[::1]:80" -> "[::1]" */
static struct str without_port(struct str host)
{
	size_t end = host.len;

	if (host.len && host.at[0] == '[') {
		const char *close = memchr(host.at, ']', host.len);
		end = close ? (size_t)(close - host.at) + 1 : host.len;
	} else if (host.len && memchr(host.at, ':', host.len)) {
		end = (size_t)((const char *)memchr(host.at, ':', host.len) - host.at);
	}
	return (struct str){ host.at, end };
}

static void add_url(const char **list, size_t *n, const char *url)
{
	struct url parsed;

	if (url && *url && url_parse(url, &parsed, NULL))
		add_host(list, n, without_port(parsed.authority));
}

static void add_listener(const char **list, size_t *n, const char *address)
{
	struct str host = without_port(str_of(address));

	if (host.len && !str_is(host, "0.0.0.0") && !str_is(host, "[::]") && memchr(address, ':', strlen(address)))
		add_host(list, n, host);
}

const char *const *edge_hosts(const struct router *router)
{
	const struct router_conf *conf = &router->conf;
	const char **list = calloc(64, sizeof(*list));
	struct str rest = str_of(conf->server.hosts), piece;
	size_t n = 0;

	if (!list)
		abort();
	add_host(list, &n, STR("localhost"));
	add_host(list, &n, STR("127.0.0.1"));
	add_host(list, &n, STR("[::1]"));
	add_url(list, &n, conf->server.public_url);
	add_url(list, &n, conf->server.advertise_url);
	add_listener(list, &n, conf->server.listen);
	add_listener(list, &n, conf->server.admin_listen);
	while (n < 62 && str_cut(&rest, ',', &piece)) {
		while (piece.len && *piece.at == ' ')
			piece.at++, piece.len--;
		add_host(list, &n, piece);
	}
	return list;
}

static int check_host(struct request *rq)
{
	struct str host = exchange_header(rq->x, "Host"), path = exchange_path(rq->x), name = without_port(host);

	if (!host.at && (str_is(path, "/livez") || str_is(path, "/readyz")))
		return 0;
	for (const char *const *known = rq->worker->router->hosts; host.at && *known; known++)
		if (str_is_nocase(name, *known) || !strcmp(*known, "*"))
			return 0;
	return request_fail(rq, ERR_BAD_REQUEST, "Host: %.*s is not one of server.hosts", (int)(host.len < 256 ? host.len : 256),
	                    host.len ? host.at : "");
}

/* -- from an exchange to a request --------------------------------------------------------------------------------------------- */
static void name_request(struct request *rq)
{
	struct str id = exchange_header(rq->x, "X-Request-Id");
	char made[U64_TEXT_MAX];

	if (!id.len || id.len > REQUEST_ID_MAX || !glob_free_token(id))
		id = u64_hex(made, random_u64());
	rq->id = arena_copy(request_arena(rq), id.at, id.len);
}

/* With an admin listener of its own, each listener serves its scopes and knows nothing of the others' paths. */
static bool scope_served(const struct request *rq, unsigned scopes)
{
	bool inner = scopes & (SCOPE_NODE | SCOPE_ADMIN | SCOPE_METRICS);

	if (scopes == SCOPE_EVERYONE || !rq->worker->router->admin_listener)
		return true;
	return inner == (exchange_tag(rq->x) == LISTENER_ADMIN);
}

static int check_media(struct request *rq)
{
	struct str type = exchange_header(rq->x, "Content-Type"), base = type;

	for (size_t i = 0; i < type.len; i++)
		if (type.at[i] == ';' || type.at[i] == ' ') {
			base.len = i;
			break;
		}
	return str_is_nocase(base, "application/json") ? 0 : request_fail(rq, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type: must be application/json");
}

static int check_size(struct request *rq, const struct route *route, int64_t bytes)
{
	const struct router_conf *conf = &rq->worker->router->conf;
	uint64_t most = route->large ? conf->limits.heartbeat_bytes : conf->limits.body_bytes;

	if (route->body == BODY_STREAM || bytes <= (int64_t)most)
		return 0;
	return request_fail(rq, ERR_PAYLOAD_TOO_LARGE, "the body has %lld bytes; at most %llu", (long long)bytes, (unsigned long long)most);
}

/* Of a chunked body the length is not known yet (-1): it is checked again when it is here. */
static int check_body(struct request *rq, const struct route *route)
{
	if (!exchange_has_body(rq->x) || route->body == BODY_STREAM)
		return 0;
	int err = check_size(rq, route, exchange_body_length(rq->x));
	if (err || route->body == BODY_NONE)
		return err;
	return check_media(rq);
}

static bool is_preflight(const struct request *rq)
{
	return !strcmp(exchange_method(rq->x), "OPTIONS") && exchange_header(rq->x, "Origin").at &&
	       exchange_header(rq->x, "Access-Control-Request-Method").at;
}

static int admit_asker(struct request *rq, const struct route *route)
{
	int err = limits_address(rq, route);

	if (!err)
		err = access_admit(rq, route);
	return err ? err : limits_share(rq, route);
}

static int admit(struct request *rq, const struct route **route)
{
	struct str method = exchange_header(rq->x, "Access-Control-Request-Method");
	const char *wanted = is_preflight(rq) ? arena_copy(request_arena(rq), method.at, method.len) : exchange_method(rq->x);
	const char *allow = NULL;
	int err = check_host(rq);

	if (!err)
		err = routes_match(rq, wanted, exchange_path(rq->x), route, &allow);
	if (!err && !scope_served(rq, (*route)->scopes))
		err = request_fail(rq, ERR_NOT_FOUND, "no such path on this listener");
	if (!err && !is_preflight(rq)) /* a browser takes a refused preflight for a no, and does not come back */
		err = shed_request(rq, *route);
	if (!err && !is_preflight(rq))
		err = admit_asker(rq, *route);
	if (!err && !is_preflight(rq))
		err = check_body(rq, *route);
	if (allow)
		exchange_add(rq->x, "Allow", str_of(allow));
	return err;
}

static void answer_preflight(struct request *rq, const struct route *route)
{
	struct str origin = exchange_header(rq->x, "Origin");

	rq->route = route;
	if (!(route->scopes & SCOPE_JOIN) || !site_listed(rq, origin)) {
		rq->detail = "Origin: not in server.origins, or a path that browsers may not use";
		request_refuse(rq, ERR_FORBIDDEN);
		return;
	}
	exchange_add(rq->x, "Access-Control-Allow-Methods", exchange_header(rq->x, "Access-Control-Request-Method"));
	exchange_add(rq->x, "Access-Control-Allow-Headers", STR("Content-Type, Authorization, X-Request-Id, traceparent"));
	exchange_add(rq->x, "Access-Control-Max-Age", STR("600"));
	request_empty(rq, 204);
}

/* It has most likely come with the head: to read it is cheaper than the new connection that a refusal without would cost us. */
static bool body_is_small(const struct exchange *x)
{
	return exchange_has_body(x) && exchange_body_length(x) >= 0 && exchange_body_length(x) <= SMALL_BODY;
}

static void begin(void *arg, struct exchange *x)
{
	struct request *rq = arena_alloc(exchange_arena(x), sizeof(*rq));
	const struct route *route = NULL;

	rq->worker = arg;
	rq->x = x;
	exchange_set(x, rq);
	name_request(rq);
	rq->refusal = -admit(rq, &route);
	rq->matched = route;
	if (rq->refusal == ERR_OVERLOADED && body_is_small(x))
		return;
	if (rq->refusal && exchange_has_body(x)) {
		rq->route = route;
		request_refuse(rq, rq->refusal);
	} else if (route && route->body == BODY_STREAM && exchange_has_body(x) && !is_preflight(rq)) {
		rq->in_begin = true;
		request_start(rq, route);
		rq->in_begin = false;
	}
}

static int read_body(struct request *rq)
{
	const struct json_shape *shape = rq->matched->verb->shape;
	struct str text = exchange_body(rq->x);
	const char *fault = NULL;

	if (!shape || (!text.len && rq->matched->body == BODY_OPTIONAL_JSON))
		return 0;
	void *body = arena_alloc(request_arena(rq), shape->size);
	if (json_read(text, shape, request_arena(rq), body, &fault) < 0)
		return request_fail(rq, ERR_BAD_REQUEST, "%s", fault ? fault : "not valid JSON");
	rq->body = body;
	return 0;
}

static void ready(void *arg, struct exchange *x)
{
	struct request *rq = exchange_get(x);

	(void)arg;
	if (exchange_answered(x))
		return;
	if (rq->steps) {
		request_body_here(rq);
		return;
	}
	if (!rq->refusal && is_preflight(rq)) {
		answer_preflight(rq, rq->matched);
		return;
	}
	if (!rq->refusal)
		rq->refusal = -check_size(rq, rq->matched, (int64_t)exchange_body(x).len);
	if (!rq->refusal)
		rq->refusal = -read_body(rq);
	rq->body_here = true;
	if (!rq->refusal) {
		request_start(rq, rq->matched);
		return;
	}
	rq->route = rq->matched;
	if (rq->hold_ms)
		request_hold(rq);
	else
		request_refuse(rq, rq->refusal);
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	(void)arg, (void)how;
	request_gone(exchange_get(x));
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	log_debug("head_refused", "code", LOG_S(error_info(err)->slug), "detail", LOG_S(detail));
	problem_answer(x, err, detail, 0);
}

/* -- connections: the acceptor counts them ---------------------------------------------------------------------------------------- */
static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	if (!given) /* else a tunnel counts on */
		worker_release_connection(arg, peer);
}

static const struct tls *tls(void *arg)
{
	const struct worker *worker = arg;

	return certificate_now(worker->router);
}

static void shaken(void *arg, const char *outcome)
{
	const struct worker *worker = arg;

	metric_add(worker->sheet, M_TLS_HANDSHAKES, outcome, NULL, 1);
}

const struct httpd_ops edge_ops = { .begin = begin, .ready = ready, .end = end, .refuse = refuse, .closed = closed, .tls = tls,
	                            .shaken = shaken };
