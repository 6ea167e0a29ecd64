/* SPDX-License-Identifier: Apache-2.0 */
/* The shapes of shapes.h as tables. Limits here only keep a broken answer from eating the memory. */
#include <stddef.h>

#include "client/ctl/shapes.h"

#define NAME_BYTES 4096 /* of any text in an answer */
#define ITEMS_MAX 10000 /* of any list in an answer; a page has at most 1,000 */
#define COUNT(a) (sizeof(a) / sizeof(*(a)))
#define MAY .has = JSON_NO_HAS, .nullable = true
#define TEXT(s, field) { .name = #field, .type = JSON_STRING, .at = offsetof(struct s, field), .max = NAME_BYTES, MAY }
#define WHOLE(s, field) { .name = #field, .type = JSON_U64, .at = offsetof(struct s, field), .max = 9007199254740991.0, MAY }
#define FLAG(s, field) { .name = #field, .type = JSON_BOOL, .at = offsetof(struct s, field), MAY }
#define REAL_HAS(s, field, flag)                                                                                       \
	{ .name = #field, .type = JSON_REAL, .at = offsetof(struct s, field), .has = offsetof(struct s, flag),         \
	  .min = -1e15, .max = 1e15, .nullable = true }
#define LIST(s, member, field, shape_)                                                                                 \
	{ .name = member, .type = JSON_LIST, .at = offsetof(struct s, field), .max = ITEMS_MAX, .shape = shape_, MAY }
#define WORDS(s, field) { .name = #field, .type = JSON_STRINGS, .at = offsetof(struct s, field), .max = ITEMS_MAX, MAY }
#define SHAPE(members, s) { members, COUNT(members), sizeof(struct s) }

static const struct json_member breaker_members[] = {
	TEXT(breaker_view, router),
	TEXT(breaker_view, class),
	TEXT(breaker_view, state),
	WHOLE(breaker_view, failures),
	WHOLE(breaker_view, retry_in_ms),
};
static const struct json_shape breaker_shape = SHAPE(breaker_members, breaker_view);

static const struct json_member load_members[] = {
	REAL_HAS(load_view, cpu, has_cpu),
	REAL_HAS(load_view, memory, has_memory),
	REAL_HAS(load_view, stress, has_stress),
	REAL_HAS(load_view, bandwidth_in_mbps, has_in),
	REAL_HAS(load_view, bandwidth_out_mbps, has_out),
};
static const struct json_shape load_shape = SHAPE(load_members, load_view);

static const struct json_member drain_members[] = {
	TEXT(drain_view, by),
	TEXT(drain_view, policy),
	TEXT(drain_view, since),
	WHOLE(drain_view, deadline_ms),
	WHOLE(drain_view, rooms_left),
	{ .name = "participants_left", .type = JSON_U64, .at = offsetof(struct drain_view, participants_left),
	  .has = offsetof(struct drain_view, has_participants), .max = 9007199254740991.0, .nullable = true },
	WHOLE(drain_view, moved),
	WHOLE(drain_view, failed),
};
static const struct json_shape drain_shape = SHAPE(drain_members, drain_view);

static const struct json_member node_members[] = {
	TEXT(node_view, id),
	TEXT(node_view, wish),
	TEXT(node_view, reported),
	TEXT(node_view, state),
	TEXT(node_view, incarnation),
	TEXT(node_view, region),
	TEXT(node_view, zone),
	TEXT(node_view, pool),
	TEXT(node_view, signal_url),
	TEXT(node_view, fences),
	TEXT(node_view, adapter),
	TEXT(node_view, version),
	FLAG(node_view, placeable),
	WHOLE(node_view, registration),
	WHOLE(node_view, rooms),
	{ .name = "participants", .type = JSON_U64, .at = offsetof(struct node_view, participants),
	  .has = offsetof(struct node_view, has_participants), .max = 9007199254740991.0, .nullable = true },
	WHOLE(node_view, load_age_ms),
	WHOLE(node_view, lease_remaining_ms),
	REAL_HAS(node_view, score, has_score),
	{ .name = "charged", .type = JSON_REAL, .at = offsetof(struct node_view, charged), .min = -1e15, .max = 1e15, MAY },
	{ .name = "load", .type = JSON_OBJECT, .at = offsetof(struct node_view, load), .shape = &load_shape, MAY },
	{ .name = "drain", .type = JSON_OBJECT, .at = offsetof(struct node_view, drain), .shape = &drain_shape, MAY },
	WORDS(node_view, why_not),
	{ .name = "labels", .type = JSON_MAP, .at = offsetof(struct node_view, labels), .max = ITEMS_MAX, MAY },
	LIST(node_view, "breakers", breakers, &breaker_shape),
};
const struct json_shape node_shape = SHAPE(node_members, node_view);

static const struct json_member room_members[] = {
	TEXT(room_view, room),
	TEXT(room_view, node),
	TEXT(room_view, state),
	TEXT(room_view, created_at),
	TEXT(room_view, assigned_by),
	WHOLE(room_view, epoch),
	{ .name = "participants", .type = JSON_U64, .at = offsetof(struct room_view, participants),
	  .has = offsetof(struct room_view, has_participants), .max = 9007199254740991.0, .nullable = true },
};
const struct json_shape room_shape = SHAPE(room_members, room_view);

static const struct json_member router_members[] = {
	TEXT(router_view, id),
	TEXT(router_view, url),
	TEXT(router_view, version),
	TEXT(router_view, started_at),
	WHOLE(router_view, heard_age_ms),
	WHOLE(router_view, rooms),
	WHOLE(router_view, tunnels),
	WHOLE(router_view, breakers_not_closed),
};
static const struct json_shape router_shape = SHAPE(router_members, router_view);

static const struct json_member joined_node_members[] = { TEXT(joined_node, id), TEXT(joined_node, region) };
static const struct json_shape joined_node_shape = SHAPE(joined_node_members, joined_node);
static const struct json_member joined_signal_members[] = { TEXT(joined_signal, mode), TEXT(joined_signal, url) };
static const struct json_shape joined_signal_shape = SHAPE(joined_signal_members, joined_signal);
static const struct json_member joined_members[] = {
	TEXT(joined_view, room),
	TEXT(joined_view, source),
	WHOLE(joined_view, epoch),
	FLAG(joined_view, created),
	{ .name = "node", .type = JSON_OBJECT, .at = offsetof(struct joined_view, node), .shape = &joined_node_shape, MAY },
	{ .name = "signal", .type = JSON_OBJECT, .at = offsetof(struct joined_view, signal), .shape = &joined_signal_shape, MAY },
};
const struct json_shape joined_shape = SHAPE(joined_members, joined_view);

static const struct json_member problem_members[] = {
	TEXT(problem_view, title),
	TEXT(problem_view, code),
	TEXT(problem_view, detail),
	WHOLE(problem_view, retry_after_ms),
};
const struct json_shape problem_shape = SHAPE(problem_members, problem_view);

#define PAGE(noun, shape_) { LIST(page_view, noun, items, shape_), WORDS(page_view, partial), TEXT(page_view, next_cursor) }
static const struct json_member nodes_members[] = PAGE("nodes", &node_shape);
static const struct json_member rooms_members[] = PAGE("rooms", &room_shape);
static const struct json_member routers_members[] = PAGE("routers", &router_shape);
const struct json_shape nodes_page = SHAPE(nodes_members, page_view);
const struct json_shape rooms_page = SHAPE(rooms_members, page_view);
const struct json_shape routers_page = SHAPE(routers_members, page_view);
