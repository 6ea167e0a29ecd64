/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PUT /v1/nodes/{node}: one SFU process says who it is and how it is reached. The store decides whether the name is free;
 * the answer says how often to report and where else to.
 */
#include <string.h>

#include "base/arena.h"
#include "base/egress.h"
#include "base/log.h"
#include "base/url.h"
#include "health/load.h"
#include "registry/nodes.h"
#include "router/address.h"
#include "router/events.h"
#include "router/grants.h"
#include "router/keeper.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

struct register_body {
	const char *incarnation, *replaces;
	struct node_info info; /* by node_info_shape, from the same text */
};
struct registering {
	struct registered answer;
	struct buf info;
};

static bool is_incarnation(const char *s, const char **why)
{
	*why = "must be letters, digits, '.', '_', ':' or '-'";
	return incarnation_valid(s, strlen(s));
}

static const struct json_member own_members[] = {
	{ "incarnation", JSON_STRING, offsetof(struct register_body, incarnation), JSON_NO_HAS, 1, INCARNATION_MAX, .required = true,
	  .check = is_incarnation, .help = "of the SFU process: boot id, pid and start time" },
	{ "replaces", JSON_STRING, offsetof(struct register_body, replaces), JSON_NO_HAS, 0, INCARNATION_MAX,
	  .help = "the incarnation whose end was seen" },
};
static const struct json_shape own_shape = { own_members, 2, sizeof(struct register_body) };

static int read_info(struct request *);
static int check_urls(struct request *);
static int register_node(struct request *), registered_node(struct request *);
static int answer(struct request *);

static const struct step steps[] = {
	{ "read-info", read_info, NULL, NULL, false },
	{ "check-urls", check_urls, NULL, NULL, false },
	{ "register-node", register_node, registered_node, NULL, true },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};

static const struct node_url {
	const char *member;
	size_t at;
	bool websocket; /* may be ws or wss */
	bool reached;   /* usher connects there */
} node_urls[] = {
#define URL(m, websocket, reached) { #m, offsetof(struct node_info, m), websocket, reached }
	URL(signal_url, true, true),   URL(http_url, false, true),           URL(control_url, false, true),
	URL(health_url, false, true),  URL(public_signal_url, true, false),
#undef URL
};

/* What can be told before anybody connects is told now, when somebody looks; what names resolve to is judged at each connect. */
static int check_url(struct request *rq, const struct node_url *of, const char *text)
{
	struct url url;
	const char *why = NULL;

	if (!url_parse(text, &url, &why))
		return request_fail(rq, ERR_BAD_REQUEST, "%s: %s", of->member, why ? why : "not a URL");
	if (url.websocket && !of->websocket)
		return request_fail(rq, ERR_BAD_REQUEST, "%s: must be http or https", of->member);
	if (!egress_port_allowed(url.port))
		return request_fail(rq, ERR_BAD_REQUEST, "%s: port %u belongs to another protocol", of->member, url.port);
	if (of->reached && !egress_host_allowed(rq->worker->router->egress, url.host))
		return request_fail(rq, ERR_BAD_REQUEST, "%s: %.*s is not in nodes.allow_cidr", of->member, STR_ARG(url.host));
	return 0;
}

static int read_info(struct request *rq)
{
	struct register_body *body = rq->body;
	const char *fault = NULL;

	if (json_read(exchange_body(rq->x), &node_info_shape, request_arena(rq), &body->info, &fault) < 0)
		return request_fail(rq, ERR_BAD_REQUEST, "%s", fault ? fault : "not valid JSON");
	return NEXT;
}

static int check_urls(struct request *rq)
{
	const struct node_info *info = &((const struct register_body *)rq->body)->info;

	for (size_t i = 0; i < sizeof(node_urls) / sizeof(*node_urls); i++) {
		const char *text = *(const char *const *)(const void *)((const char *)info + node_urls[i].at);
		int err = text && *text ? check_url(rq, &node_urls[i], text) : 0;
		if (err)
			return err;
	}
	return NEXT;
}

/* signal_url with its scheme changed. */
static const char *http_url_of(struct request *rq, const char *signal_url)
{
	struct url url;

	if (!url_parse(signal_url, &url, NULL))
		return signal_url;
	return arena_printf(request_arena(rq), "%s://%.*s%.*s", url.tls ? "https" : "http", STR_ARG(url.authority), STR_ARG(url.path));
}

static int register_node(struct request *rq)
{
	struct registering *reg = rq->state;
	struct register_body *body = rq->body;
	const struct router_conf *conf = &rq->worker->router->conf;
	struct buf info = { 0 };

	if (!body->info.http_url || !*body->info.http_url)
		body->info.http_url = http_url_of(rq, body->info.signal_url);
	node_info_write(&body->info, &info);
	struct registration_request want = {
		.incarnation = body->incarnation,
		.replaces = body->replaces,
		.info = { arena_copy(request_arena(rq), info.at, info.len), info.len },
		.lease_ms = conf->nodes.lease_ms,
	};
	buf_free(&info);
	return nodes_register(rq->worker->store, rq->names[NAME_NODE].at, &want, request_store_due(rq), &reg->answer, &rq->wait);
}

static int registered_node(struct request *rq)
{
	struct registering *reg = rq->state;

	keeper_refresh(rq->worker->router);
	if (reg->answer.verdict == REGISTER_TAKEN) {
		events_emit(rq->worker->router, &(struct event){ .type = EVENT_NODE_TAKEN, .node = rq->names[NAME_NODE].at });
		return request_fail(rq, ERR_NODE_TAKEN, "another live process is registered as %s", rq->names[NAME_NODE].at);
	}
	return NEXT;
}

static int answer(struct request *rq)
{
	struct registering *reg = rq->state;
	struct router *router = rq->worker->router;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	bool first = reg->answer.verdict == REGISTER_NEW;
	static const char *const states[] = { "joining", "cordoned", "draining" };

	log_change("node_registered", "request", LOG_S(rq->id), "node", LOG_S(rq->names[NAME_NODE].at), "registration",
	         LOG_U(reg->answer.registration));
	json_open(&json, NULL, '{');
	json_view(&json, "node", rq->names[NAME_NODE]);
	json_u64(&json, "registration", reg->answer.registration);
	json_str(&json, "state", states[reg->answer.wish]);
	json_u64(&json, "lease_ms", router->conf.nodes.lease_ms);
	json_u64(&json, "heartbeat_ms", router->conf.nodes.heartbeat_ms);
	grants_write_call_key(router, rq->names[NAME_NODE].at, ((const struct register_body *)rq->body)->incarnation, &json);
	peers_write_urls(router->peers, &json);
	json_str(&json, "store", registry_kind(router->registry));
	json_close(&json, '}');
	return request_json(rq, first ? 201 : 200, &text);
}

const struct verb register_verb = { steps, sizeof(struct registering), &own_shape };
