/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to fleet*.c. A view is thrown away with each reading; what has to outlive it stands in a seat, one for each node's
 * process: breakers, meter, what was watched and told. Another incarnation gets another seat, so it starts closed and free
 * of charges. Seats are written by the keeper; views point to their breakers and meter, so they end by way of retire.
 */
#pragma once

#include <stdatomic.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/retire.h"
#include "base/str.h"
#include "base/wait.h"
#include "health/charges.h"
#include "health/fleet.h"

#define STALL_MS 500 /* a loop that stood longer was not watching */
#define TICK_MS 100  /* how often it shows that it turns */
#define HITS 2

struct hit { /* a room whose participants' requests failed */
	uint64_t room_hash, first_ms, last_ms;
};
struct seat {
	struct retired retired;
	struct fleet *fleet;
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	struct breaker *breakers[CLASSES];
	struct meter *meter;
	struct said *said;                      /* fleet_said.c: info, as views point into it */
	struct buf load_text;
	struct load load;
	unsigned load_why_not;
	struct score score;
	uint64_t registration, seq;             /* as last seen to change */
	uint64_t changed_ms, registered_ms, watched_ms;
	uint64_t full_until_ms, resets, charged;
	enum node_state told;
	enum breaker_state breaker_told[CLASSES];
	struct hit hits[HITS];
	struct wait losing; /* nodes_lose() under way */
	bool lost;
	bool seen_lost;     /* by its record */
};
struct published {
	struct retired retired;
	struct arena arena;
	struct fleet_view view;
	struct node *nodes;     /* while it is filled slice by slice: a place for each seat; NULL: all at once, at the end */
	size_t placed;          /* records of the answer that are in their places */
};
struct fleet {
	struct loop *loop;
	struct store *store;
	struct retire *retire;
	struct fleet_conf conf;
	struct egress *egress;
	_Atomic(struct published *) now;
	_Atomic size_t unclosed; /* breakers of seats */
	_Atomic int64_t store_ahead_ms; /* the store's clock minus ours */
	struct timer timer, ticker;
	struct wait wait;
	struct published *next; /* being filled */
	struct nodes_all answer;
	bool again;             /* asked for while a reading was under way */
	uint64_t began_ms;      /* the last reading */
	uint64_t clock_ms;      /* its first slice came, and with it what the store's clock says */
	size_t nslices;         /* of it; 0: not known yet */
	uint64_t asked_ms;      /* for its last slice */
	uint64_t rested_ms;     /* no other slice or reading begins before */
	_Atomic uint64_t answered_ms; /* the last slice came; read by workers, too */
	bool watching;          /* the last reading came, and in time */
	bool closed;
	_Atomic size_t refs;    /* the owner, and each report under way */
	uint64_t connections;   /* of the store, at the last answer */
	uint64_t watched_since_ms, store_ms, first_store_ms, others_ms, version, shape;
	struct heard *heard;    /* fleet_hearsay.c: until the store has answered once */
	size_t nheard;
	size_t nseats;
	struct seat **seats;    /* by id */
	struct fleet_index *index; /* of both seats and view */
	size_t *order;          /* of each seat, where its record stood in the last answer that was gone through whole */
	struct retired *ended;  /* the published view may still show them */
};

/* fleet.c */
struct seat *fleet_seat(const struct fleet *, const char *node); /* NULL: none */
bool fleet_seat_place(const struct fleet *, const char *node, size_t *place); /* among the seats; false: none */
void fleet_unref(struct fleet *);
void fleet_tell_breakers(struct seat *, uint64_t now_ms);        /* what has changed since last told */
/* Else all breakers are closed, and nobody needs to look at each, which are not in the cache. */
static inline bool fleet_is_unclosed(const struct fleet *fleet)
{
	return atomic_load_explicit(&((struct fleet *)(uintptr_t)fleet)->unclosed, memory_order_relaxed);
}
void fleet_publish(struct fleet *, struct published *, uint64_t now_ms); /* a view, and tells what has changed */
/* fleet_hearsay.c */
void fleet_forget_hearsay(struct fleet *);
/* fleet_read.c: the view from an answer of the store, seats made, watched and ended on the way. Where it comes in slices most of the
 * work can be done with each of them: places are made first, and filled with what has come since the last slice. */
void fleet_make_places(const struct fleet *, struct published *);
void fleet_fill_places(struct fleet *, struct published *, const struct nodes_all *);
void fleet_build(struct fleet *, struct published *, struct nodes_all *, uint64_t now_ms);
void fleet_end(struct fleet *, struct retired *, void (*free_it)(struct retired *)); /* no later view shows it */
void fleet_retire_ended(struct fleet *); /* once a view without them is published */
void seat_free(struct seat *);
/* fleet_index.c: where a node stands, by its id. NULL: for few. A new one for seats that were put in order; id_at(all, place) is the id there. */
struct fleet_index *fleet_index_new(struct seat *const *, size_t n);
struct retired *fleet_index_retired(struct fleet_index *);
void fleet_index_free(struct retired *);
bool fleet_index_find(const struct fleet_index *, const char *id, const char *(*id_at)(const void *all, size_t place), const void *all,
                      size_t n, size_t *place);
/* fleet_said.c: what its node said, read if it is not what it was; put into a view's node; ended with the seat. */
void seat_hear(struct fleet *, struct seat *, const struct node_record *);
void seat_say(const struct seat *, struct node *);
void seat_forget(struct seat *);
/* fleet_state.c: state and why_not of each node, once all are read. */
void fleet_derive(const struct fleet *, const struct fleet_view *, struct node *nodes, uint64_t now_ms);
/* How long this process has watched the node say nothing. */
uint64_t fleet_silence_ms(const struct fleet *, const struct node *, uint64_t now_ms);
bool fleet_should_lose(const struct fleet *, const struct node *, uint64_t now_ms);
/* fleet_judge.c */
void seat_forgive(struct seat *, uint64_t now_ms); /* the operator resets its breakers */
