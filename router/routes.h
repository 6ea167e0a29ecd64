/* SPDX-License-Identifier: Apache-2.0 */
/* Every route: one row gives the match, the scope, the body's shape, the steps, and the line of docs/reference/routes.md. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct arena;
struct json_shape;
struct request;
struct step;

enum scope { SCOPE_JOIN, SCOPE_ROUTE, SCOPE_NODE, SCOPE_ADMIN, SCOPE_METRICS, SCOPE_EVERYONE };
extern const char *const scope_words[];

enum body_kind { BODY_NONE, BODY_JSON, BODY_OPTIONAL_JSON, BODY_STREAM };
struct route {
	const char *name;    /* in logs and metrics */
	const char *method;  /* "ANY": all */
	const char *pattern; /* "/v1/rooms/{room}/signal/" "*" : '*' takes the raw rest */
	enum scope scope;
	enum body_kind body;
	const struct json_shape *shape;
	const struct step *steps;
	size_t state_size;
	bool decides;        /* Cache-Control: no-store */
	bool large;          /* the body may have limits.heartbeat_bytes */
	const char *help;
};
extern const struct route routes[];
extern const size_t routes_count;

/* 0 and the route with names and rest filled in; -ERR_NOT_FOUND, -ERR_METHOD_NOT_ALLOWED (allow: a list for the header),
 * -ERR_INVALID_ROOM, -ERR_INVALID_NODE, -ERR_BAD_REQUEST, with rq->detail. */
int routes_match(struct request *, const char *method, struct str path, const struct route **route, const char **allow);
