/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to place*.c. A field has a candidate for each node of the fleet, with all reasons against it and the terms of its effective
 * load, so that choosing, refusing and explaining read the same numbers. It is read for each choice; where the fleet is large, once
 * for a view, and its order is kept from one choice to the next (place_order.c).
 */
#pragma once

#include "registry/hash.h"
#include <stdatomic.h>

#include "health/charges.h"
#include "router/place.h"

#define ROOM_COST_START 0.01 /* a hundred rooms fill a node: the usual order of magnitude of a small SFU */
#define ROOM_COST_MIN 0.001
#define ROOM_COST_MAX 0.1
#define TIE 1e-5 /* loads this close are equal; over the sum of a few hundred charges' tags (health/charges.h) */
#define PEOPLE_START 4.0 /* participants of a room until reports say more */

/* Before load counts; a new node that has had its part is better than one that is full by what it was charged with. */
enum turn { TURN_NOW, TURN_LATER, TURN_LAST };
struct candidate {
	const struct node *node;
	/* The same as long as view and wish are, here so that another look need not go to the node, which is not in the cache: */
	unsigned why_not_ever;
	unsigned wishes;   /* how many wishes it fulfils, the weightier ones counted higher */
	double size;       /* its capacity over the pool's mean; of several the scarcest */
	double score;
	uint64_t new_until_ms;
	struct meter *meter;
	struct charges_line line;
	/* At the last look: */
	unsigned why_not;  /* of the node itself and for this wish */
	double cost;       /* of this room on this node */
	double charges, slow_start, effective;
	bool starts_slowly;
	enum turn turn;
	struct standing {
		uint64_t key; /* all that counts, in one number: less is better … */
		uint64_t lot; /* … and between equals */
	} standing;
	uint64_t retry_ms; /* held back by a breaker, or full: for so long */
};
enum { CAP_BANDWIDTH, CAP_ROOMS, CAP_PARTICIPANTS, CAPS };
struct pool { /* what the nodes of the wish's pool have in common */
	const char *name;
	size_t members, scored, fresh;
	double score_sum;
	double cap_sum[CAPS];
	bool cap_stated[CAPS]; /* by every member */
};
struct place_in_order { /* beside each other for all candidates, which would each be read for a look at its standing */
	struct standing standing;
	uint32_t at; /* of the candidate */
};
struct field {
	const struct fleet_view *view;
	const struct place_wish *wish;
	struct pool pool;
	double cost;          /* of this room on an average node */
	struct candidate *at; /* one for each node of the view, in its order; as last read */
	uint64_t version;     /* of the view */
	size_t n, left;       /* left: those without a reason against them, when all were read */
	size_t excluded[WHY_NOT_BITS]; /* how many had it */
	size_t starters;      /* that start slowly */
	bool steered;         /* breakers steer this pool */
	unsigned most_wishes; /* that one of those left fulfilled */
	uint64_t read_ms;     /* when all were read */
	struct place_in_order *order; /* NULL: not kept. A heap of candidates, the best first … */
	uint32_t *slow;               /* … and those that start slowly stand beside it */
	size_t norder, nslow;
};
#define BEST_MAX 12
struct best {
	const struct candidate *at[BEST_MAX]; /* the best first; nothing stands against them */
	size_t n;
};
struct orders; /* fields that are kept */

/* What rooms of one pool cost. The keeper writes; other threads read pool and room_cost: between two pools in one slot, a guess that
 * is another pool's for a moment. 64 take 3 KB; a pool more takes the slot that was learned from longest ago. */
#define POOLS_MAX 64
struct pool_cost {
	_Atomic uint64_t pool; /* hash of its name; 0: from here on none */
	_Atomic double room_cost;
	double people;
	uint64_t version, learned_ms;
};

struct kept; /* one explanation */
struct place {
	struct fleet *fleet;
	struct place_conf conf;
	struct candidate *scratch; /* of a field that is read for one choice */
	size_t nscratch;
	struct orders *orders;
	struct pool_cost costs[POOLS_MAX];
	uint64_t unlearned_version, unlearned_pool; /* a pool that had nothing to learn from when it was looked at last */
	/* Explanations: a ring, found by room through a table of chains. */
	struct kept **ring, **table;
	size_t next, nbuckets;
	struct hash_key key;
};

/* place_field.c */
const char *field_pool(const struct place_wish *);
/* Into out->at; where that is NULL, into scratch that the next reading takes. */
void field_read(struct place *, const struct place_wish *, uint64_t now_ms, struct field *out);
void candidate_read(struct place *, const struct field *, uint64_t now_ms, struct candidate *); /* `node` and `lot` are there */
void candidate_look(struct place *, const struct field *, uint64_t now_ms, struct candidate *); /* again: what time and placements change */
static inline bool stands_before(struct standing one, struct standing other)
{
	return one.key != other.key ? one.key < other.key : one.lot < other.lot;
}
void best_take(struct best *, const struct candidate *); /* where it stands among them, if at all */
/* place_order.c: a field whose order is kept, read anew if it has to be; NULL: for this wish, or in this fleet, none is. */
struct field *order_of(struct place *, const struct place_wish *, uint64_t now_ms);
void order_best(struct place *, struct field *, uint64_t now_ms, struct best *);
void orders_free(struct orders *);
/* place_learn.c: what a room costs, from the reports of the pool that was looked at. */
void place_learn(struct place *, const struct field *, uint64_t now_ms);
double place_cost(const struct place *, const struct place_wish *); /* of this room, on an average node */
double within(double value, double min, double max);
/* place_explain.c */
void field_write(const struct field *, const struct best *, const struct candidate *chosen, int err, struct buf *json);
void place_keep(struct place *, const struct field *, const struct best *, const struct candidate *chosen);
void place_forget_all(struct place *);
