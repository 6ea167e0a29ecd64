/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every node as this process sees it: the store's record, what it said, its liveness by our own watching, its breakers, its
 * score and charges. One fleet a process, owned by the keeper, which reads the store every half heartbeat (a large fleet in slices,
 * without a pause between readings); workers read the published view without a lock. A pointer from a view is good until the callback
 * that took it returns.
 */
#pragma once

#include "health/breaker.h"
#include "health/charges.h"
#include "health/load.h"
#include "registry/nodes.h"

struct fleet;
struct loop;
struct retire;
struct store;

enum node_state { NODE_JOINING, NODE_READY, NODE_LATE, NODE_CORDONED, NODE_DRAINING, NODE_DRAINED, NODE_SICK, NODE_LOST };
extern const char *const node_state_words[];

/* Why a node gets no new room; bits. The words are the ones of `why_not` and of placement explanations. */
#define WHY_NOT_TABLE(X)                                                                                               \
	X(JOINING, "joining") X(LATE, "late") X(LOST, "lost") X(CORDONED, "cordoned") X(DRAINING, "draining")          \
	X(SICK, "sick") X(NO_LOAD, "no_load") X(BREAKER, "breaker_open") X(FULL, "full") X(MAX_LOAD, "max_load")       \
	X(POOL, "pool") X(REGION, "region") X(LABELS, "labels") X(ROOMS, "rooms") X(PARTICIPANTS, "participants")      \
	X(EXCLUSIVE, "exclusive") X(OPENS, "opens_under_way") X(TRIED, "tried") X(ADDRESS, "address_not_allowed")     \
	X(UNREADABLE, "unreadable")
enum why_not {
#define X(name, word) WHY_NOT_BIT_##name,
	WHY_NOT_TABLE(X)
#undef X
		WHY_NOT_BITS
};
#define WHY_NOT(name) (1u << WHY_NOT_BIT_##name)
extern const char *const why_not_words[];

struct node { /* immutable once published, but for what breakers and meter point to */
	struct node_record record; /* strings and lists in the view's arena */
	struct node_info info;     /* strings and lists are the fleet's, and good for as long as the view */
	struct load load;
	struct score score;
	enum node_state state;
	unsigned why_not;         /* of the node itself; a join adds its own */
	uint64_t changed_ms;      /* loop time of the last heartbeat that we saw */
	uint64_t registered_ms;   /* loop time when we first saw this incarnation heartbeat; for slow start */
	uint64_t watched_ms;      /* loop time when we first saw it at all: silence counts from there */
	uint64_t full_until_ms;   /* a 503 with Retry-After or 429 said so */
	struct breaker *breakers[CLASSES];
	struct meter *meter;      /* charges, see health/charges.h */
};
struct fleet_view {
	size_t count;
	const struct node *nodes; /* sorted by id */
	const struct fleet_index *index; /* fleet_find()'s */
	uint64_t began_ms;        /* loop time when its reading began: what it says was so then or later */
	uint64_t seen_ms;         /* loop time of the last answer behind it: and no later than that */
	uint64_t version;
	uint64_t shape;           /* another one where a node has come, gone, begun anew, is lost or no more, or says another `info` */
	bool ready;               /* the store has answered once */
	uint64_t since_ms;        /* the store's clock at its first answer: what began later, we have watched from its beginning */
	const _Atomic size_t *unclosed; /* breakers of the fleet, as of now */
	const char *const *unread; /* ids whose record could not be read this time; NULL-terminated, NULL: none */
};

struct fleet_conf {
	uint64_t heartbeat_ms, lease_ms, grace_ms, unfenced_ms, unasked_ms, timeout_ms;
	uint64_t ramp_ms;
	double max_load, max_ejected;
	struct breaker_conf breaker;
	const char *allow_cidr;
	const char *router, *url; /* url: where nodes reach this one */
	void (*changed)(void *arg, const char *node, enum node_state from, enum node_state to); /* keeper */
	void (*breaker_changed)(void *arg, const char *node, enum breaker_class, enum breaker_state from, enum breaker_state to);
	void *arg;
};
struct fleet *fleet_new(struct loop *keeper, struct store *, struct retire *, const struct fleet_conf *);
void fleet_free(struct fleet *);
void fleet_start(struct fleet *); /* begins to read the store */
/* Reads the store soon: after a register, a wish, a leave at this router. At once, unless the last reading took long. */
void fleet_refresh(struct fleet *);

const struct fleet_view *fleet_view(const struct fleet *); /* any thread */
const struct node *fleet_find(const struct fleet *, const char *id); /* any thread; NULL: unknown */
/* Does this record's owner live, as far as this process knows: present, same incarnation, not lost. */
bool fleet_owns(const struct fleet *, const char *node, const char *incarnation); /* any thread */
/* An owner that our view misses is doubted before it is given up, as the view may be older than the record: true once it was
 * read twice since the first asking (the first reading may have begun before) and misses it still. *since is the asker's, 0 at
 * first. Any thread. */
bool fleet_misses(const struct fleet *, const char *node, const char *incarnation, uint64_t *since);

/* A node's own word of itself, while this process has not read the store yet: `record` needs id, incarnation, registration, seq,
 * lease, and `listed` (1: with this its full list of rooms was told). Its rooms can be reached then; nothing is placed on it. Any thread. */
void fleet_hear(struct fleet *, const struct node_record *, const struct node_info *);

/* -- results of calls: from any thread to the keeper ------------------------------------------------------------------------ */
struct call_result {
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	enum breaker_class class;
	struct admission admission;
	enum breaker_result result;
	uint64_t full_ms;      /* > 0: the node says it is full for so long */
	uint64_t room_hash;    /* != 0: a participant's proxied 5xx of that room: counts once a second room was hit */
};
void fleet_report(struct fleet *, const struct call_result *);

/* Some breaker of the fleet is not closed; else no node is held back, and nobody needs to look at each. Any thread. */
bool breakers_matter(const struct fleet_view *);
/* A breaker of the node is open, or its trial under way: no new rooms for *retry_ms. Any thread. */
bool node_held_back(const struct node *, uint64_t now_ms, uint64_t *retry_ms);
/* False: more than max_ejected of the pool's live nodes are held back; then breakers steer no placement. Any thread. */
bool breakers_steer(const struct fleet_view *, const char *pool, double max_ejected, uint64_t now_ms);
/* Present charges of a node, faded, without what reports have shown; in score units. Any thread. */
double fleet_charges(const struct fleet *, const struct node *, uint64_t now_ms);
void fleet_draw_charges(const struct fleet *, const struct node *, uint64_t now_ms, struct charges_line *); /* but for its meter's */
/* The store has not answered when it should have (half a heartbeat and registry.timeout_ms, at least 500 ms), or never yet. Who has been
 * told so knows that nobody's silence counts but from a later answer on. Any thread. */
bool fleet_is_away(const struct fleet *, uint64_t now_ms);
uint64_t fleet_store_ms(const struct fleet *, uint64_t now_ms); /* the store's clock at this loop time, near enough. Any thread */

/* -- keeper ----------------------------------------------------------------------------------------------------------------- */
/* The outcome of usher's own probe outside of the breaker: while it is open, success allows the trial now. */
void fleet_probed(struct fleet *, const char *node, const char *incarnation, enum breaker_class, bool ok);
void fleet_charged(struct fleet *, const char *node, uint64_t number, double cost); /* the store announced a charge */
/* Loop time of the last announced charge that was not ours; 0: none. Other routers place rooms too, then. */
uint64_t fleet_others_ms(const struct fleet *);
struct breaker_line {
	const char *node;
	enum breaker_class class;
	enum breaker_state state;
	uint64_t failures, retry_ms;
};
void fleet_breakers(const struct fleet *, void (*each)(void *arg, const struct breaker_line *), void *arg); /* not closed ones */
