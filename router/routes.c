/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matching is a walk over the table, the hot rows first: forty short comparisons cost less than the head's parsing, and
 * a reader sees every path usher has. A path is split raw and each name is decoded once, so that %2F stays in its name.
 */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/wire/limits.h"
#include "router/request.h"
#include "router/routes.h"
#include "router/verbs.h"

const char *const scope_words[] = { "join", "route", "node", "admin", "metrics", NULL };

/* clang-format off */
const struct route routes[] = {
	{ "route", "GET", "/v1/rooms/{room}/route", SCOPE_ROUTE, BODY_NONE, &route_verb, "where a room is; assign=1 places it", .decides = true },
	{ "join", "POST", "/v1/rooms/{room}/join", SCOPE_JOIN, BODY_OPTIONAL_JSON, &join_verb, "where to go for a room, which is placed first if need be", .decides = true, .joins = true },
	{ "heartbeat", "POST", "/v1/nodes/{node}/heartbeat", SCOPE_NODE, BODY_JSON, &heartbeat_verb, "renews a node's lease, brings its load and its rooms", .decides = true, .large = true },
	{ "signal", "ANY", "/v1/rooms/{room}/signal", SCOPE_JOIN, BODY_STREAM, &signal_verb, "carries signaling to the room's node: HTTP and WebSocket", .tickets = true },
	{ "signal", "ANY", "/v1/rooms/{room}/signal/*", SCOPE_JOIN, BODY_STREAM, &signal_verb, "the same, with the rest appended to the node's URL", .tickets = true },
	{ "assign", "POST", "/v1/rooms/{room}/route", SCOPE_ROUTE, BODY_NONE, &route_verb, "where a room is; places it first if need be", .decides = true, .joins = true },
	{ "register", "PUT", "/v1/nodes/{node}", SCOPE_NODE, BODY_JSON, &register_verb, "registers one SFU process", .decides = true },
	{ "leave", "DELETE", "/v1/nodes/{node}", SCOPE_NODE | SCOPE_ADMIN, BODY_NONE, &leave_verb, "the process named by incarnation= leaves at once; force=true (an operator's): whichever is there, as the machine is off", .decides = true },
	{ "nodes", "GET", "/v1/nodes", SCOPE_ADMIN, BODY_NONE, &nodes_verb, "all nodes", .decides = true },
	{ "node", "GET", "/v1/nodes/{node}", SCOPE_ADMIN, BODY_NONE, &node_verb, "one node: states, load, score, charges, breakers", .decides = true },
	{ "node_rooms", "GET", "/v1/nodes/{node}/rooms", SCOPE_ADMIN, BODY_NONE, &node_rooms_verb, "the rooms of a node", .decides = true },
	{ "cordon", "PUT", "/v1/nodes/{node}/cordon", SCOPE_ADMIN, BODY_NONE, &cordon_verb, "no new rooms on this node", .decides = true },
	{ "uncordon", "DELETE", "/v1/nodes/{node}/cordon", SCOPE_ADMIN, BODY_NONE, &cordon_verb, "new rooms again", .decides = true },
	{ "breakers_reset", "POST", "/v1/nodes/{node}/breakers/reset", SCOPE_ADMIN, BODY_NONE, &breakers_reset_verb, "closes the node's breakers at all routers", .decides = true },
	{ "drain", "PUT", "/v1/nodes/{node}/drain", SCOPE_ADMIN | SCOPE_NODE, BODY_OPTIONAL_JSON, &drain_verb, "empties a node: no new rooms, and those it has are waited for or moved", .decides = true },
	{ "undrain", "DELETE", "/v1/nodes/{node}/drain", SCOPE_ADMIN | SCOPE_NODE, BODY_NONE, &undrain_verb, "undoes it: what has not moved stays; incarnation= from the node itself", .decides = true },
	{ "rooms", "GET", "/v1/rooms", SCOPE_ADMIN, BODY_NONE, &rooms_verb, "rooms, by node= or prefix=", .decides = true },
	{ "room", "GET", "/v1/rooms/{room}", SCOPE_ADMIN, BODY_NONE, &room_verb, "one room", .decides = true },
	{ "close", "DELETE", "/v1/rooms/{room}", SCOPE_ADMIN, BODY_NONE, &close_verb, "closes a room at epoch=; without it only with force=true", .decides = true },
	{ "move", "POST", "/v1/rooms/{room}/move", SCOPE_ADMIN, BODY_OPTIONAL_JSON, &move_verb, "moves a room, to node if named; 202 once it is on its way", .decides = true },
	{ "placement", "GET", "/v1/rooms/{room}/placement", SCOPE_ADMIN, BODY_NONE, &placement_verb, "why the room is where it is", .decides = true },
	{ "simulate", "POST", "/v1/placement/simulate", SCOPE_ADMIN, BODY_OPTIONAL_JSON, &simulate_verb, "where a join would be placed now", .decides = true },
	{ "routers", "GET", "/v1/routers", SCOPE_ADMIN, BODY_NONE, &routers_verb, "all routers of this store", .decides = true },
	{ "events", "GET", "/v1/events", SCOPE_ADMIN, BODY_NONE, &events_verb, "what happens, as Server-Sent Events; Last-Event-ID goes on where it broke off", .decides = true },
	{ "calls", "GET", "/v1/calls", SCOPE_ADMIN, BODY_NONE, &later_verb, "later: metadata of calls", .decides = true },
	{ "livez", "GET", "/livez", SCOPE_EVERYONE, BODY_NONE, &livez_verb, "the process works", .decides = true },
	{ "readyz", "GET", "/readyz", SCOPE_EVERYONE, BODY_NONE, &readyz_verb, "this router may get traffic; says why not", .decides = true },
	{ "metrics", "GET", "/metrics", SCOPE_METRICS, BODY_NONE, &metrics_verb, "Prometheus", .decides = true },
};
/* clang-format on */
const size_t routes_count = sizeof(routes) / sizeof(*routes);

bool room_name_valid(struct str name)
{
	/* "." and ".." cannot be carried in a URL's path: every client and proxy folds them away. */
	return room_valid(name.at, name.len) && !str_is(name, ".") && !str_is(name, "..");
}

/* What the path's names were before decoding; decoded only once the row is certain. */
struct found {
	struct str raw[2], rest;
};

static bool path_fits(const char *pattern, struct str path, struct found *found)
{
	const char *at = path.at, *end = path.at + path.len;

	for (; *pattern; pattern++) {
		if (*pattern == '{') {
			struct str *raw = &found->raw[pattern[1] == 'r' ? NAME_ROOM : NAME_NODE];
			raw->at = at;
			while (at < end && *at != '/')
				at++;
			raw->len = (size_t)(at - raw->at);
			pattern = strchr(pattern, '}');
		} else if (*pattern == '*') {
			/* The slash before it belongs to the rest: it is appended raw to the node's URL. */
			found->rest = (struct str){ at - 1, (size_t)(end - at) + 1 };
			return true;
		} else if (at == end || *at++ != *pattern) {
			return false;
		}
	}
	return at == end;
}

static int decode_name(struct request *rq, int which, struct str raw)
{
	char *name = arena_alloc(request_arena(rq), raw.len + 1);
	long n = percent_decode(raw, name);

	rq->names[which] = (struct str){ name, n < 0 ? 0 : (size_t)n };
	if (which == NAME_ROOM && (n < 0 || !room_name_valid(rq->names[which])))
		return request_fail(rq, ERR_INVALID_ROOM, "room: must be 1 to %d bytes of UTF-8 without control characters, "
		                    "percent-encoded, and not '.' or '..'", ROOM_MAX);
	if (which == NAME_NODE && (n < 0 || !node_valid(name, (size_t)n)))
		return request_fail(rq, ERR_INVALID_NODE, "node: must be 1 to %d of A-Z a-z 0-9 . _ -", NODE_MAX);
	return 0;
}

/* Appended raw to the node's URL, so it must not lead out of it, however the node decodes it; nor hold what no path does. */
static int check_rest(struct request *rq, struct str rest)
{
	char *plain = arena_alloc(request_arena(rq), rest.len + 1);
	long n = percent_decode(rest, plain);
	struct str left = { plain, n < 0 ? 0 : (size_t)n }, piece;

	for (size_t i = 0; i < left.len; i++) {
		if ((unsigned char)plain[i] < ' ' || plain[i] == 0x7f)
			n = -1;
		plain[i] = plain[i] == '\\' ? '/' : plain[i];
	}
	while (n >= 0 && str_cut(&left, '/', &piece))
		if (str_is(piece, ".") || str_is(piece, ".."))
			n = -1;
	return n < 0 ? request_fail(rq, ERR_BAD_REQUEST, "the path must not have . or .. as a name, control characters, or a bad %%XX") : 0;
}

static bool method_fits(const struct route *row, const char *method)
{
	static const char *const any[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", NULL };

	if (!strcmp(row->method, method))
		return true;
	if (!strcmp(method, "HEAD") && !strcmp(row->method, "GET"))
		return true;
	for (size_t i = 0; !strcmp(row->method, "ANY") && any[i]; i++)
		if (!strcmp(any[i], method))
			return true;
	return false;
}

static const char *allowed_methods(struct request *rq, struct str path)
{
	struct found found;
	char list[128] = "";

	for (size_t i = 0; i < routes_count; i++) {
		const char *method = !strcmp(routes[i].method, "ANY") ? "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" : routes[i].method;
		if (!path_fits(routes[i].pattern, path, &found) || strstr(list, method))
			continue;
		if (strlen(list) + strlen(method) + 3 > sizeof(list))
			break;
		if (*list)
			strcat(list, ", ");
		strcat(list, method);
	}
	return arena_copy(request_arena(rq), list, strlen(list));
}

int routes_match(struct request *rq, const char *method, struct str path, const struct route **route, const char **allow)
{
	bool path_known = false;

	for (size_t i = 0; i < routes_count; i++) {
		const struct route *row = &routes[i];
		struct found found = { 0 };
		if (!path_fits(row->pattern, path, &found))
			continue;
		path_known = true;
		if (!method_fits(row, method))
			continue;
		int err = 0;
		for (int which = 0; which < 2 && !err; which++)
			if (found.raw[which].at)
				err = decode_name(rq, which, found.raw[which]);
		rq->rest = found.rest;
		if (!err)
			err = check_rest(rq, found.rest);
		*route = row;
		return err;
	}
	if (!path_known)
		return request_fail(rq, ERR_NOT_FOUND, "no such path");
	*allow = allowed_methods(rq, path);
	return request_fail(rq, ERR_METHOD_NOT_ALLOWED, "allowed here: %s", *allow);
}
