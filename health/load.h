/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes say: of themselves when they register (info), of their load with each heartbeat. Both are JSON shapes, used
 * for the request bodies and for what the registry keeps, so that the two cannot drift apart.
 *
 * Score: the fullest resource. score = max(cpu, memory, stress, bandwidth_in / capacity, bandwidth_out / capacity,
 * participants / capacity, rooms / capacity) over what was reported; 0 idle, 1 full, not clamped, so that 1.4 loses to 1.2.
 */
#pragma once

#include <stdbool.h>

#include "base/json.h"

enum fences { FENCES_NONE, FENCES_GATE, FENCES_ROOMS };
extern const char *const fences_words[];

struct capacity { /* 0: not said */
	double bandwidth_mbps, rooms, participants;
};
struct node_info { /* strings "" or NULL when not said; health_url, control_url absent: not called */
	const char *signal_url, *http_url, *public_signal_url, *control_url, *health_url;
	const char *region, *zone, *pool; /* pool: "default" when not said */
	struct json_list labels; /* of struct json_pair */
	struct capacity capacity;
	int fences; /* enum fences */
	const char *adapter, *version;
};
extern const struct json_shape node_info_shape; /* without incarnation and replaces: those are router/register.c's */
/* Members of node_info_shape, to be repeated inside a larger shape that embeds struct node_info at offset 0. */

/* As JSON that node_info_shape reads again: what the registry keeps. */
void node_info_write(const struct node_info *, struct buf *out);

struct load {
	double cpu, memory, stress, bandwidth_in_mbps, bandwidth_out_mbps, rooms, participants;
	bool has_cpu, has_memory, has_stress, has_in, has_out, has_rooms, has_participants;
};
extern const struct json_shape load_shape;
void load_write(const struct load *, struct buf *out);

enum score_term { SCORE_CPU, SCORE_MEMORY, SCORE_STRESS, SCORE_IN, SCORE_OUT, SCORE_PARTICIPANTS, SCORE_ROOMS, SCORE_TERMS };
extern const char *const score_term_words[];
struct score {
	bool known;              /* at least one of cpu, stress, bandwidth, participants */
	double value;
	enum score_term fullest;
	double term[SCORE_TERMS]; /* negative: no term */
};
void score_of(const struct load *, const struct capacity *, struct score *out);
