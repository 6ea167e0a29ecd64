/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wish to empty a node, as it is stored beside WISH_DRAINING: who wished it, how, until when, and what the wish was before. It
 * is a JSON object of at most DRAIN_MAX bytes; repeated with the same values it is the same bytes, so that a repetition changes
 * nothing.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "registry/nodes.h"

struct arena;
struct json_out;
struct node;
struct router;

enum drain_policy { DRAIN_WAIT, DRAIN_MOVE };
extern const char *const drain_policy_words[]; /* "wait", "move", NULL */
enum drain_by { BY_OPERATOR, BY_NODE /* the process itself: ends with it */, BY_ROUTER /* unreachable.c */ };
struct drain_wish {
	int policy, by;          /* enum drain_by */
	uint64_t deadline_ms;    /* after its beginning; 0: none */
	bool cordoned;           /* what it was before */
	const char *incarnation; /* of an own one; else "" */
};
/* Of a node whose wish is to drain. What is not there, or not ours, is read as the mildest: policy wait, no deadline. */
void drain_read(struct str stored, struct arena *, struct drain_wish *out);
void drain_print(const struct drain_wish *, char out[static DRAIN_MAX + 1]);
/* The member "drain" of a node's JSON: the wish and how far it is; null where there is none. Any thread. */
void drain_write(struct json_out *, const struct router *, const struct node *, struct arena *);
