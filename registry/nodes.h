/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes: registrations, leases, wishes, charges. What a node says of itself (`info`) and its last load report (`load`)
 * are JSON that the registry stores and hands out without looking inside; health/ reads them.
 *
 * Each script touches the keys of one node: its record, its charges, and the index of its rooms.
 */
#pragma once

#include "base/str.h"
#include "base/wire/limits.h"
#include "registry/registry.h"

struct arena;

enum node_wish { WISH_ENABLED, WISH_CORDONED, WISH_DRAINING };
enum node_report { REPORTED_READY, REPORTED_DRAINING, REPORTED_SICK };
extern const char *const node_wish_words[];   /* "enabled", "cordoned", "draining", NULL */
extern const char *const node_report_words[]; /* "ready", "draining", "sick", NULL */

enum register_verdict { REGISTER_NEW, REGISTER_AGAIN, REGISTER_TAKEN };
struct registration_request {
	const char *incarnation, *replaces; /* replaces: NULL or "" */
	struct str info;
	uint64_t lease_ms;
};
struct registered {
	enum register_verdict verdict;
	uint64_t registration;
	enum node_wish wish;
};
/* Another incarnation under this id that is neither lost nor gone: TAKEN, unless it is the one `replaces` names. May be
 * repeated: the same process gets the same registration until its first heartbeat. */
int nodes_register(struct store *, const char *node, const struct registration_request *, uint64_t due_ms,
                   struct registered *out, struct wait *);

struct renewal {
	const char *incarnation;
	uint64_t registration, seq, lease_ms;
	enum node_report reported;
	struct str load;    /* JSON; "{}" is no load */
	struct str routers; /* URLs of those that the node asks, a space between two; empty: it does not say */
	uint64_t seen;
	double shown;       /* how much of the charges already handed over this report shows (health/charges.h) */
};
enum renew_verdict {
	RENEW_DONE,
	RENEW_REPEATED, /* (registration, seq) is not newer: nothing changed, nothing renewed */
	RENEW_UNKNOWN,  /* no such node, or this registration was declared lost: register again */
	RENEW_STALE     /* a newer registration exists: final for that process */
};
struct renewed {
	enum renew_verdict verdict;
	enum node_wish wish;
	uint64_t charged; /* the highest number charged to this node */
	uint64_t listed;  /* generation of the store's data with which this registration's full list was gone through; 0: none */
};
int nodes_renew(struct store *, const char *node, const struct renewal *, uint64_t due_ms, struct renewed *out, struct wait *);

/* Removes the node if this incarnation holds it; its rooms count as owned by a lost node. *left false: it does not. */
int nodes_leave(struct store *, const char *node, const char *incarnation, uint64_t due_ms, bool *left, struct wait *);
/* Writes `lost` if (registration, seq) is still what the caller watched. */
int nodes_lose(struct store *, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost, struct wait *);
/* Is this process gone? By its node's own record, as the list of all nodes can be lost alone (then it is put into that again), and by
 * the marks of all parts, read after it. */
enum owner_seen {
	OWNER_HOLDS,   /* registered, and not lost */
	OWNER_UNKNOWN, /* its record may be from before a loss, or lost with one */
	OWNER_GONE
};
int nodes_owner(struct store *, const char *node, const char *incarnation, uint64_t due_ms, enum owner_seen *out, struct wait *);
/* -ERR_UNKNOWN_NODE. A wish outlives the node's restarts. `drain`: JSON that goes with WISH_DRAINING, at most DRAIN_MAX bytes; else
 * empty. */
#define DRAIN_MAX 255
/* A drain that begins so is the process's own: it ends with it (when it leaves, or another incarnation registers), and the wish is
 * then what it was before. */
#define DRAIN_OWN "{\"by\":\"node\""
#define DRAIN_OWN_CORDONED DRAIN_OWN ",\"was\":\"cordoned\""
int nodes_set_wish(struct store *, const char *node, enum node_wish, struct str drain, uint64_t due_ms, struct wait *);
/* The full list of this registration was gone through. Tell-only. */
void nodes_listed(struct store *, const char *node, uint64_t registration, uint64_t generation);
int nodes_reset_breakers(struct store *, const char *node, uint64_t due_ms, struct wait *); /* counts `resets` up */

/* A place on a node for one room: charged for all routers, entered into the node's index of rooms, refused when the
 * registration is not the present one or lost, when the node has `rooms_max` rooms, or for exclusiveness. */
struct reserve {
	struct str room;
	uint64_t registration;
	double cost;
	uint64_t rooms_max; /* 0: no limit */
	bool exclusive;
};
struct reserved {
	bool granted;
	const char *why_not; /* static: "registration", "rooms", "exclusive" */
	uint64_t number, at_ms; /* of the charge: for giving it back */
};
int nodes_reserve(struct store *, const char *node, const struct reserve *, uint64_t due_ms, struct reserved *out, struct wait *);
/* Gives a reservation back: tell-only, nobody waits. */
void nodes_release(struct store *, const char *node, struct str room, const struct reserved *, double cost);
/* The node holds this room at this epoch (after a publish): the index says so. Tell-only. */
void nodes_index(struct store *, const char *node, struct str room, uint64_t epoch);
/* What the node reports of rooms it holds: entries of the index at the same epoch take the participants, and count one use
 * where the number changed or is above zero. Tell-only; at most ROOMS_PART_MAX. */
struct room_report {
	struct str room;
	uint64_t epoch;
	int64_t participants; /* -1: not said */
};
/* In place of participants: the node has let go of the room at this epoch. Stays so, whatever late report comes, until the entry
 * goes. */
#define ROOM_LET_GO ((int64_t)EPOCH_MAX)
void nodes_report_rooms(struct store *, const char *node, const struct room_report *, size_t n);
/* One entry of the index: -ERR_NOT_FOUND when there is none. */
int nodes_room(struct store *, const char *node, struct str room, uint64_t due_ms, struct room_report *out, struct wait *);
/* The node does not hold this room at this epoch any more. Tell-only. With epoch 0: a reservation that nobody gave back for
 * RESERVED_MAX_MS. rooms_list() by node does so with the entries it meets that no record answers for, and mends the others. */
#define RESERVED_MAX_MS 60000
void nodes_unindex(struct store *, const char *node, struct str room, uint64_t epoch);

#define CHARGES_MAX 128 /* buckets kept for a node */
#define CHARGE_BUCKET_MS 1500 /* so that together they last for the longest placement.ramp_ms */
#define CHARGES_MS (CHARGES_MAX * CHARGE_BUCKET_MS)
struct charge {
	uint64_t number; /* the highest of the bucket */
	double cost;
	uint64_t at_ms;  /* store's clock, start of the bucket */
};
struct node_record {
	char id[NODE_MAX + 1];
	char incarnation[INCARNATION_MAX + 1]; /* "": only a wish is left of it */
	uint64_t registration, seq, lease_ms;
	enum node_wish wish;
	enum node_report reported;
	bool lost;
	struct str info, load;       /* in the arena */
	uint64_t since_ms, heard_ms; /* store's clock: registered, last heartbeat; for people */
	uint64_t charged, seen, resets, rooms /* entries of the index */;
	double shown;
	uint64_t listed;             /* as in struct renewed */
	struct str routers;          /* of the last renewal, as in struct renewal; in the arena */
	struct str drain;            /* of WISH_DRAINING; in the arena */
	uint64_t wished_ms;          /* store's clock: since when the wish is */
	bool exclusive;              /* an exclusive room holds the node */
	size_t ncharges;
	struct charge *charges;      /* in the arena, oldest first */
};
struct nodes_all {
	uint64_t store_ms; /* the store's clock when it was asked for their list */
	size_t count;
	struct node_record *nodes; /* in the arena */
	bool partial;      /* some nodes' records could not be read this time: */
	size_t nunread;
	const char **unread; /* their ids; in the arena */
	size_t left;       /* so many of the list are still to be read */
	size_t length;     /* the store's own, as the next: of the list */
	uint64_t connections; /* when it was told */
};
#define LISTED_BEATS 8 /* a node that the list of all nodes has lost is in it again after so many renewals at the latest */
/* Every node, for the view that each process keeps. *out begins zeroed. Redis gives NODES_SLICE of them at a time, so that heartbeats get
 * their turn between two slices (docs/internals/performance.md): while `left`, ask again with the same arena and *out; each call has a
 * deadline of its own. -ERR_STORE_UNAVAILABLE also if the store is perhaps another one by then: half of each would be no fleet. */
#define NODES_SLICE 128
int nodes_all(struct store *, struct arena *, uint64_t due_ms, struct nodes_all *out, struct wait *);

/* Nodes by their records, whether they are in the list of all nodes or not: one bounded step of a scan, which may give none and still
 * a cursor. A store that cannot lose its list gives nothing. -ERR_BAD_REQUEST: not a cursor of ours. */
struct nodes_page {
	size_t count;
	const char **ids; /* in the arena */
	char next[32];    /* cursor; "" at the end, and from the start */
};
int nodes_scan(struct store *, const char *cursor, struct arena *, uint64_t due_ms, struct nodes_page *out, struct wait *);
/* Into the list again if its record is still there, and out of it if not. Tell-only. */
void nodes_relist(struct store *, const char *node);

/* -- routers -------------------------------------------------------------------------------------------------------------- */
struct router_record {
	char id[NODE_MAX + 1];
	struct str info;   /* JSON, in the arena */
	uint64_t heard_ms; /* store's clock */
};
struct routers_all {
	uint64_t store_ms;
	size_t count;
	struct router_record *routers;
};
int routers_announce(struct store *, const char *id, struct str info, uint64_t due_ms, struct wait *);
int routers_leave(struct store *, const char *id, uint64_t due_ms, struct wait *);
int routers_all(struct store *, struct arena *, uint64_t due_ms, struct routers_all *out, struct wait *);
