/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every refusal usher can give, once: the number that functions return (negated), the HTTP status, the stable slug
 * that clients match on, and the words of `title`. `usherd --print errors` prints this table.
 *
 * A function that can fail returns 0 or -ERR_X. Domain outcomes ("taken by another") are result fields, not errors.
 */
#pragma once

#define ERROR_TABLE(X)                                                                                                 \
	X(BAD_REQUEST, 400, "bad_request", "The request is malformed")                                                 \
	X(INVALID_ROOM, 400, "invalid_room", "Not a valid room name")                                                  \
	X(INVALID_NODE, 400, "invalid_node", "Not a valid node id")                                                    \
	X(UNAUTHORIZED, 401, "unauthorized", "Credentials are missing or wrong")                                       \
	X(FORBIDDEN, 403, "forbidden", "Not allowed")                                                                  \
	X(NOT_FOUND, 404, "not_found", "Nothing is here")                                                              \
	X(UNKNOWN_NODE, 404, "unknown_node", "This node is not registered")                                            \
	X(METHOD_NOT_ALLOWED, 405, "method_not_allowed", "The path exists, the method does not")                       \
	X(CONFLICT, 409, "conflict", "The request contradicts the present state")                                      \
	X(STALE_INCARNATION, 409, "stale_incarnation", "A newer registration of this node exists")                     \
	X(STALE_EPOCH, 409, "stale_epoch", "The room has moved on to a newer epoch")                                   \
	X(NODE_TAKEN, 409, "node_taken", "Another live process holds this node id")                                    \
	X(PAYLOAD_TOO_LARGE, 413, "payload_too_large", "The body is over the limit")                                   \
	X(URI_TOO_LONG, 414, "uri_too_long", "The request target is over the limit")                                   \
	X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type", "The body must be application/json")                  \
	X(RATE_LIMITED, 429, "rate_limited", "Too many requests")                                                      \
	X(HEADERS_TOO_LARGE, 431, "headers_too_large", "The headers are over the limit")                               \
	X(INTERNAL, 500, "internal", "usher failed; the log has the reason")                                           \
	X(NOT_IMPLEMENTED, 501, "not_implemented", "Not in this version")                                              \
	X(NODE_UNAVAILABLE, 502, "node_unavailable", "The SFU did not answer as it should")                            \
	X(NO_NODES, 503, "no_nodes", "No node is registered and alive")                                                \
	X(NO_CAPACITY, 503, "no_capacity", "No node has room left")                                                    \
	X(ALL_DRAINING, 503, "all_draining", "Every node is draining or cordoned")                                     \
	X(REGION_UNAVAILABLE, 503, "region_unavailable", "No node matches what the join requires")                     \
	X(BREAKER_OPEN, 503, "breaker_open", "The SFU is failing; calls to it are held back")                          \
	X(OWNER_LOST, 503, "owner_lost", "The room's node is lost")                                                    \
	X(ROOM_MOVING, 503, "room_moving", "The room is moving to another node")                                       \
	X(STORE_UNAVAILABLE, 503, "store_unavailable", "The room registry does not answer")                            \
	X(STORE_REBUILDING, 503, "store_rebuilding", "The room registry is being rebuilt")                             \
	X(CONTENTION, 503, "contention", "Too many changes to this room at once")                                      \
	X(OVERLOADED, 503, "overloaded", "This router has more to do than it can")                                     \
	X(SHUTTING_DOWN, 503, "shutting_down", "This router is stopping")                                              \
	X(TIMEOUT, 504, "timeout", "The deadline of the request passed")

enum error {
	ERR_NONE,
#define X(name, status, slug, words) ERR_##name,
	ERROR_TABLE(X)
#undef X
		ERR_COUNT
};

struct error_info {
	int status;        /* HTTP */
	const char *slug;  /* stable, snake_case */
	const char *title; /* words for people */
};

/* `err` may be -ERR_X or ERR_X; anything else gives the row of INTERNAL. Never NULL. */
const struct error_info *error_info(int err);
