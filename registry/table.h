/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's table of open rooms: read by every worker without a lock, written by the keeper alone. It is a cache
 * with rules (protocol.md, "Known is enough"), not a second truth:
 *
 * - Only `open` records enter. A reply that an invalidation overtook does not: the reader notes table_stamp() before it
 *   asks the store and hands it in with the reply; an announced change in between makes the stamp differ.
 * - An entry is sure while the invalidation link of its generation answers (table_alive()), else unsure: to be asked
 *   again before use while the store answers, used as it is while it does not. Nothing makes entries vanish but the
 *   room's own end, or the bound.
 * - Bound: `max` entries; past it the longest unused of a few looked at goes.
 */
#pragma once

#include "registry/rooms.h"

struct table;
struct retire;
struct loop;

enum table_hit { TABLE_MISS, TABLE_SURE, TABLE_UNSURE };

struct table *table_new(struct loop *keeper, struct retire *, uint64_t max, uint64_t trust_ms);
void table_free(struct table *);

/* -- any thread ------------------------------------------------------------------------------------------------------------ */
enum table_hit table_find(struct table *, struct str name, struct room *out);
uint64_t table_stamp(const struct table *, struct str name);
/* Sends what a worker read to the keeper. `room` of another state than open: takes the entry of a lower or equal epoch out. */
void table_learn(struct table *, struct str name, const struct room *room, uint64_t stamp);
/* The same of what this process has written. That is announced to others only, so where the reply was overtaken the entry is unsure. */
void table_learn_own(struct table *, struct str name, const struct room *room, uint64_t stamp);
/* In use. False: known, and said less than a second ago. */
bool table_touch(struct table *, struct str name, uint64_t now_ms);
void table_distrust(struct table *, struct str name);
uint64_t table_count(const struct table *);

/* -- keeper only ------------------------------------------------------------------------------------------------------------ */
void table_put(struct table *, struct str name, const struct room *room); /* the truth itself (memory store, reports) */
void table_drop(struct table *, struct str name, uint64_t up_to_epoch);
void table_changed(struct table *, struct str name); /* the store announced a change: unsure until learnt anew */
void table_changed_all(struct table *);              /* link lost, other primary, flush: all unsure */
/* How sure entries are: tracking on: sure while table_alive() was called within trust_ms; off: for trust_ms from their
 * learning. A store that is this process itself (memory:) is always sure. */
enum table_trust { TRUST_LINK, TRUST_AGE, TRUST_ALWAYS };
void table_set_trust(struct table *, enum table_trust);
void table_alive(struct table *);
/* For the idle rule and listings: walks a slice of the table; fn may drop the entry it is at. Returns the next cursor, 0 at
 * the end. */
size_t table_walk(struct table *, size_t cursor, size_t buckets,
                  void (*fn)(void *arg, struct str name, const struct room *, uint64_t used_ms), void *arg);
void table_fake_clock(struct table *, uint64_t now_ms); /* tests: trust by this time, instead of the monotonic clock */
