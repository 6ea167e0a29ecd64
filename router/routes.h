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

/* A route asks for one of its scopes; a credential has some. */
enum scope { SCOPE_EVERYONE = 0, SCOPE_JOIN = 1, SCOPE_ROUTE = 2, SCOPE_NODE = 4, SCOPE_ADMIN = 8, SCOPE_METRICS = 16 };
extern const char *const scope_words[]; /* in the order of the bits; NULL-terminated */

enum body_kind { BODY_NONE, BODY_JSON, BODY_OPTIONAL_JSON, BODY_STREAM };
struct verb { /* what happens; a verb's file exports one, routes.c binds it to a path */
	const struct step *steps;
	size_t state_size;              /* of the struct that rq->state points to */
	const struct json_shape *shape; /* of the body; rq->body */
};
struct route {
	const char *name;    /* in logs and metrics */
	const char *method;  /* "ANY": all */
	const char *pattern; /* "/v1/rooms/{room}/signal/" "*" : '*' takes the raw rest */
	unsigned scopes;     /* of enum scope; 0: everyone */
	enum body_kind body;
	const struct verb *verb;
	const char *help;
	bool decides;        /* Cache-Control: no-store */
	bool tickets;        /* what a join handed out opens it, too */
	bool joins;          /* somebody who is not in yet: refused before those who are, when there is too much to do */
	bool large;          /* the body may have limits.heartbeat_bytes */
};
extern const struct route routes[];
extern const size_t routes_count;

/* 0 and the route with names and rest filled in; -ERR_NOT_FOUND, -ERR_METHOD_NOT_ALLOWED (allow: a list for the header),
 * -ERR_INVALID_ROOM, -ERR_INVALID_NODE, -ERR_BAD_REQUEST, with rq->detail. */
int routes_match(struct request *, const char *method, struct str path, const struct route **route, const char **allow);
bool room_name_valid(struct str name); /* as a path can carry it */
