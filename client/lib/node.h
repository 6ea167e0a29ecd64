/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a node: what node.c (life), node_beat.c (heartbeats), node_lease.c (may it admit) and node_wire.c (JSON)
 * share. usher-agent and the tests run it on a loop of their own with node_new_on().
 */
#pragma once

#include "base/arena.h"
#include "base/http.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/trust.h"
#include "base/wait.h"
#include "base/wire/limits.h"
#include "client/lib/node_rooms.h"
#include "client/lib/usher/usher.h"

#define ROUTERS_MAX 32
#define ANSWER_MAX (4u << 20)
#define BEAT_BYTES_MAX (768u << 10) /* routers take limits.heartbeat_bytes, 1 MiB; names have up to 256 bytes */

/* One router: configured, or told by another's answer. */
struct router_link {
	struct router_link *next;
	struct usher_node *node;
	char *url; /* without a slash at the end */
	bool configured, told;

	bool full;       /* it needs the full list next */
	uint64_t acked;  /* it knows every change up to this number */
	struct buf *parts; /* of a full list under way: each a JSON array */
	size_t nparts, part;
	uint64_t parts_upto;
	bool wanted, unchecked; /* one of these parts was answered with want_rooms; or without a renewal */

	struct wait wait; /* for the heartbeat in flight */
	struct arena arena;
	struct http_answer answer;
	uint64_t seq, sent_ms, upto;
	bool resent, asked_again; /* once a round each */

	uint64_t named_seq;  /* the last heartbeat that named it among those asked */
	uint64_t degraded_sent_ms; /* when the heartbeat was sent that it answered with `degraded`; 0: its last word was another */
};

/* All times by CLOCK_BOOTTIME, which goes on while the machine sleeps. */
struct lease {
	uint64_t granted_ms;
	uint64_t until_ms;    /* of the store: last renewal's sending + granted */
	uint64_t covered_ms;  /* by the exception for a lost store; 0: it does not apply */
	bool confirmed;       /* the full list of this registration was answered */
};

struct node_identity { /* owned copies */
	char *node, *incarnation, *replaces, *token;
	char *signal_url, *http_url, *public_signal_url, *control_url, *health_url;
	char *region, *zone, *pool, *adapter, *version, *fences;
	char *tls_ca, *tls_cert, *tls_key;
	struct usher_label *labels;
	size_t nlabels;
	double capacity_bandwidth_mbps, capacity_rooms, capacity_participants;
};

enum node_doing { NODE_REGISTERS, NODE_BEATS, NODE_LEAVES, NODE_DONE };

struct usher_node {
	struct loop *loop;
	bool owns_loop;
	struct http *http;
	struct node_identity self;
	struct trust trust; /* views into it */
	char *registered; /* the incarnation that a router has taken last; NULL: none */
	struct usher_node_options ops; /* callbacks and switches; its strings are not kept */
	uint64_t (*boot_ms)(void);     /* CLOCK_BOOTTIME; tests replace it */

	enum usher_node_phase phase;
	enum usher_node_report report;
	enum node_doing doing;
	struct router_link *links, *current;
	size_t nlinks;

	uint64_t registration, seq, renewed_seq, heartbeat_ms, charged, sample_seen;
	struct usher_load load;
	struct lease lease;
	struct node_rooms rooms;
	struct known_grants call_keys; /* empty: the last answer had none, and nothing is demanded */

	struct timer timer;       /* the next thing to do */
	struct timer lease_timer; /* tells the owner that the lease ended; usher_node_admits() does not rely on it */
	unsigned attempts;        /* failed rounds in a row */
	bool hurry;               /* another round as soon as this one has ended */

	bool in_round, fanned_out, renewed; /* of this round; renewed: by its last answer */
	bool drains;   /* as the last renewal said */
	bool degraded; /* since the last renewal some router has said so */
	uint64_t unbroken_until_ms; /* the lease of the registration before this one would hold until then */
	bool unasked;  /* a router was told that there is no link for: over ROUTERS_MAX, or no URL */
	bool turning;
	size_t pending;
	uint64_t round_ms;

	struct wait wait; /* registering, leaving */
	struct arena arena;
	struct http_answer answer;
	size_t tried;
	uint64_t leave_by_ms;
};

struct usher_node *node_new_on(struct loop *, const struct usher_node_options *, const char **why);

/* -- node.c ------------------------------------------------------------------------------------------------------------------- */
void node_set_phase(struct usher_node *, enum usher_node_phase, const char *detail);
void node_judge_phase(struct usher_node *, const char *detail); /* ADMITS or REFUSES, by the lease; sets its timer */
void node_take_call_key(struct usher_node *, const char *call_key); /* NULL: answered without one */
void node_take_routers(struct usher_node *, const struct json_list *, bool only_add);
void node_register_again(struct usher_node *, const char *detail);
void node_end_stale(struct usher_node *, const char *detail);
void node_next(struct usher_node *, uint64_t after_ms); /* the next thing to do, by then */
uint64_t node_backoff_ms(const struct usher_node *, uint64_t cap_ms); /* full jitter */
int node_call(struct usher_node *, struct router_link *, const char *method, const char *rest, struct str body, uint64_t timeout_ms,
              struct arena *, struct http_answer *, struct wait *);

/* -- node_beat.c ---------------------------------------------------------------------------------------------------------------- */
void node_round(struct usher_node *);      /* a heartbeat to whom it may concern */
void node_round_drop(struct usher_node *); /* whatever is in flight */
void link_forget_parts(struct router_link *);

/* -- node_lease.c --------------------------------------------------------------------------------------------------------------- */
uint64_t lease_margin_ms(const struct lease *);
bool lease_holds(const struct lease *, uint64_t boot_ms);
void lease_renew(struct lease *, uint64_t sent_ms, uint64_t granted_ms);
void lease_end(struct lease *);
/* Every listed router's last word: extends the cover while all of them said `degraded` within the last lease. */
void lease_degraded(struct lease *, uint64_t boot_ms, const struct router_link *links);

/* -- node_wire.c ---------------------------------------------------------------------------------------------------------------- */
struct evicted_room {
	const char *room;
	uint64_t epoch;
};
struct beat_answer {
	bool renewed, want_rooms, degraded;
	uint64_t lease_ms, heartbeat_ms, charged;
	const char *call_key;     /* NULL: routers have no keys for grants */
	const char *state;        /* what usher wishes of the node: "ready", "cordoned", "draining"; NULL: not said */
	struct json_list evict;   /* of struct evicted_room */
	struct json_list routers; /* of const char * */
};
struct register_answer {
	uint64_t registration, lease_ms, heartbeat_ms;
	const char *call_key;
	struct json_list routers;
};
void wire_register(const struct usher_node *, struct buf *out);
/* The link's next part of a full list if it has one under way, else digest, changed and closed. Sets link->upto. */
void wire_beat(struct usher_node *, struct router_link *, struct buf *out);
struct buf *wire_parts(const struct node_rooms *, size_t *nparts); /* at least one */
bool wire_read_beat(struct str body, struct arena *, struct beat_answer *);
bool wire_read_register(struct str body, struct arena *, struct register_answer *);
const char *wire_read_code(struct str body, struct arena *); /* of a problem; "" when there is none */
