/* SPDX-License-Identifier: Apache-2.0 */
/* usher's own calls to a node's control_url, through the guard. One handle per loop. */
#pragma once

#include "base/wire/grant.h"
#include "health/guard.h"

struct arena;
struct sfu;
struct sheet;
struct wait;
struct sfu_proof;
struct sfu_room;
struct sfu_conf {
	uint64_t call_timeout_ms;
	int metric_calls;    /* usher_sfu_calls_total{op,outcome} in `sheet`; sheet NULL: not counted */
	struct sheet *sheet;
	/* What shows the node that a call is its routers' own: sent as X-Usher-Grant and X-Usher-Call-Key. NULL: nothing is. */
	void (*prove)(void *arg, const struct sfu_room *, struct sfu_proof *out);
	void *arg;
};
struct sfu *sfu_new(struct loop *, struct fleet *, struct http *, const struct sfu_conf *);
void sfu_free(struct sfu *);

enum sfu_verdict {
	SFU_DONE,        /* 2xx, or the node has no control_url: nothing to call */
	SFU_REFUSED,     /* 409: draining, or an epoch at or below one that it evicted */
	SFU_FULL,        /* 429, or 503 with Retry-After */
	SFU_FAILED,      /* anything else: the outcome is unknown */
	SFU_HELD_BACK    /* breaker open: not called */
};
struct sfu_answer {
	enum sfu_verdict verdict;
	int status;
	uint64_t retry_ms;
	struct str body; /* of SFU_DONE, in the arena; at most 64 KiB: open's may be {"hints":{…}} */
};
struct sfu_room {
	const char *node, *incarnation;
	struct str room;
	uint64_t epoch;
	uint64_t registration; /* of an open: the node's when the room was claimed for it; 0: its present one */
	uint64_t expected_participants; /* 0: unknown */
	bool fresh;
	bool moves; /* of an eviction: its participants are to come back, for it goes on elsewhere */
	const char *request_id; /* passed as X-Request-Id; NULL: none */
};
struct sfu_proof { /* "": not sent */
	char grants[GRANTS_MAX];    /* of the room, for an open */
	char call_key[GRANTS_MAX];
};
/* NEXT (nothing to call, or held back: out is set) or WAIT; the wake is 0 whatever the verdict. */
int sfu_open(struct sfu *, const struct sfu_room *, struct arena *, struct sfu_answer *out, struct wait *);
int sfu_evict(struct sfu *, const struct sfu_room *, struct arena *, struct sfu_answer *out, struct wait *);
