/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to place*.c. One choice looks at every node of the fleet once: the field has a candidate for each, with all reasons
 * against it and the terms of its effective load, so that choosing, refusing and explaining read the same numbers.
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
	unsigned why_not;  /* of the node itself and for this wish */
	unsigned wishes;   /* how many wishes it fulfils, the weightier ones counted higher */
	double size;       /* its capacity over the pool's mean; of several the scarcest */
	double cost;       /* of this room on this node */
	double charges, slow_start, effective;
	bool starts_slowly;
	enum turn turn;
	int64_t rank;      /* of the effective load, in steps of TIE … */
	uint64_t lot;      /* … and between equals */
	uint64_t retry_ms; /* held back by a breaker, or full: for so long */
};
struct field {
	const struct fleet_view *view;
	const struct place_wish *wish;
	struct candidate *at; /* one for each node of the view, in its order */
	size_t n, left;       /* left: those without a reason against them */
	bool steered;         /* breakers steer this pool */
};

struct kept; /* one explanation */
struct place {
	struct fleet *fleet;
	struct place_conf conf;
	struct candidate *scratch; /* of the field */
	size_t nscratch;
	/* Learned from reports, by the keeper; other threads read room_cost. */
	_Atomic double room_cost;
	double people;
	uint64_t learned_version, learned_ms;
	/* Explanations: a ring, found by room through a table of chains. */
	struct kept **ring, **table;
	size_t next, nbuckets;
	struct hash_key key;
};

/* place_field.c */
void field_read(struct place *, const struct place_wish *, uint64_t now_ms, struct field *out);
/* place_learn.c: what a room costs, from the reports of the pool that was looked at. */
void place_learn(struct place *, const struct field *, uint64_t now_ms);
double place_cost(const struct place *, const struct place_wish *); /* of this room, on an average node */
double within(double value, double min, double max);
/* place_explain.c */
void field_write(const struct field *, const struct candidate *chosen, int err, struct buf *json);
void place_keep(struct place *, const struct field *, const struct candidate *chosen);
void place_forget_all(struct place *);
