/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usherctl reads of the router's answers. Every member may be absent or null: an older or newer router is shown as
 * far as it is understood. --json passes the raw answer on instead, so nothing is lost to these shapes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct breaker_view {
	const char *router, *class, *state;
	uint64_t failures, retry_in_ms;
};
struct load_view {
	double cpu, memory, stress, bandwidth_in_mbps, bandwidth_out_mbps;
	bool has_cpu, has_memory, has_stress, has_in, has_out;
};
struct drain_view {
	const char *by, *policy, *since; /* policy NULL: none */
	uint64_t deadline_ms, rooms_left, participants_left, moved, failed;
	bool has_participants;
};
struct node_view {
	const char *id, *wish, *reported, *state, *incarnation, *region, *zone, *pool, *signal_url, *fences, *adapter, *version;
	uint64_t registration, rooms, participants, load_age_ms, lease_remaining_ms;
	double score, charged;
	struct load_view load;
	struct drain_view drain;
	struct json_list why_not;  /* const char * */
	struct json_list labels;   /* struct json_pair */
	struct json_list breakers; /* struct breaker_view */
	bool placeable, has_score, has_participants;
};
struct room_view {
	const char *room, *node, *state, *created_at, *assigned_by;
	uint64_t epoch, participants;
	bool has_participants;
};
struct router_view {
	const char *id, *url, *version, *started_at;
	uint64_t heard_age_ms, rooms, tunnels, breakers_not_closed;
};
struct joined_node {
	const char *id, *region;
};
struct joined_signal {
	const char *mode, *url;
};
struct joined_view {
	const char *room, *source;
	uint64_t epoch;
	bool created;
	struct joined_node node;
	struct joined_signal signal;
};
struct problem_view {
	const char *title, *code, *detail;
	uint64_t retry_after_ms;
};
struct page_view { /* of any list: which member holds the items depends on the noun */
	struct json_list items;
	struct json_list partial; /* const char * */
	const char *next_cursor;
};

extern const struct json_shape node_shape, room_shape, joined_shape, problem_shape;
extern const struct json_shape nodes_page, rooms_page, routers_page;
