/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent needs of one kind of SFU, as a row of operations; one file for each kind. An adapter knows nothing of
 * routers, leases or the gate: it opens and evicts rooms at given epochs, says which it holds, how many are in them, how
 * loaded and how well the SFU is. The agent calls an operation only while the one before it of the same room has ended,
 * poll and health only one at a time.
 *
 * Operations take the wait last (base/wait.h): NEXT or WAIT, then 0 or -ERR_X. -ERR_CONFLICT: the SFU holds the room at
 * another epoch and will not let go; -ERR_NO_CAPACITY: full; -ERR_TIMEOUT, -ERR_NODE_UNAVAILABLE: it did not answer, or not
 * as it should. Dropping the wait cancels. An adapter allocates answers in the arena it is given; views die with it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct agent_conf;
struct arena;
struct http;
struct loop;
struct wait;

struct adapter_room {
	struct str room;
	uint64_t epoch;        /* 0: not opened by usher (foreign): listed, never touched */
	uint64_t participants;
};
struct adapter_rooms {
	struct adapter_room *rooms; /* in the arena */
	size_t count;
};
struct adapter_open {
	struct str room;
	uint64_t epoch;
	uint64_t expected_participants; /* 0: unknown */
	bool fresh; /* whatever the SFU holds under this name is from before: start empty */
};
struct adapter_opened {
	struct str hints; /* a JSON object for the join's answer, {"janus":{"pin":"…"}}; empty: {} */
};
/* What the host cannot know. The agent adds cpu, memory and bandwidth of the host where `has_…` is false. */
struct adapter_sample {
	double cpu, stress, bandwidth_in_mbps, bandwidth_out_mbps;
	bool has_cpu, has_stress, has_in, has_out;
	struct adapter_rooms rooms;
};

/* The first member of each adapter's own struct. */
struct adapter {
	const struct adapter_ops *ops;
};
struct adapter_conf {
	struct loop *loop;
	struct http *http; /* of the agent; calls to loopback with their own timeouts */
	const struct agent_conf *settings; /* client/agent/conf.h: sfu_url, sfu_http_url, sfu_admin_url, admin_secret, admin_key, echo_load */
};
struct adapter_ops {
	const char *name;    /* the word of agent.adapter */
	const char *version; /* told when registering; NULL: not known */
	bool embedded;       /* the SFU lives in the agent's process: its pid and start time are the incarnation's */
	/* NULL: the settings do not fit; `why` gets static words for people, naming the key. Calls nothing yet. */
	struct adapter *(*start)(const struct adapter_conf *, const char **why);
	void (*free)(struct adapter *); /* no operation is under way */
	/* Where the gate passes participants on to, ws:// and http://. Valid for the adapter's life. */
	const char *(*signal_url)(const struct adapter *);
	const char *(*http_url)(const struct adapter *);
	/* Idempotent by room and epoch: the same one again answers the same hints. A higher epoch than the one held replaces it. */
	int (*open)(struct adapter *, const struct adapter_open *, struct arena *, struct adapter_opened *out, struct wait *);
	/* Ends the room if it is held at this epoch or an older one, else nothing: 0 both ways. */
	int (*evict)(struct adapter *, struct str room, uint64_t epoch, struct wait *);
	/* Load, and every room the SFU holds with its participants: after a restart of the agent also the way it finds them again. */
	int (*poll)(struct adapter *, struct arena *, struct adapter_sample *out, struct wait *);
	/* Is the SFU able to take a participant? Cheap, asked each second; 0 or -ERR_X. */
	int (*health)(struct adapter *, struct wait *);
};
extern const struct adapter_ops adapter_echo, adapter_janus;
