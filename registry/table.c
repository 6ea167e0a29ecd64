/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing in many small parts, chosen by the hash's upper bits: growing copies one part's pointers and never all,
 * so that the keeper does not stall. A part that grew, like an entry that was replaced, is retired: readers that stand in
 * the old one finish there. What is taken out leaves a tombstone, as moving entries would hide them from readers.
 *
 * Trust is judged by the reader, from the clock: a keeper that hangs hears no changes either, and must not leave entries
 * sure by its silence.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "base/wait.h"
#include "registry/hash.h"
#include "registry/table.h"
#include "registry/table_entry.h"

#define PART_ROOMS 256 /* rooms in a part of a full table, about */
#define PARTS_MIN 16
#define PARTS_MAX 65536
#define SLOTS_MIN 8
#define STRIPES 4096    /* of stamps: a change makes replies for 1 in so many rooms go unkept */
#define LOOKED_AT 8     /* entries, of which the longest unused goes */
#define TOUCH_MS 1000

struct part_index {
	struct retired retired;
	size_t mask;
	_Atomic(struct table_entry *) slot[];
};
struct part {
	_Atomic(struct part_index *) index; /* NULL: nothing was ever in it */
	size_t live, filled;                /* entries; entries and tombstones */
};
struct table {
	struct loop *keeper;
	struct retire *retire;
	struct hash_key key;
	uint64_t max, trust_ms;
	unsigned shift; /* of the hash, to the part's number */
	size_t nparts;
	bool closed;
	_Atomic size_t refs; /* the owner, and each message under way */
	_Atomic uint64_t count, generation, alive_ms, fake_ms;
	_Atomic int trust;
	_Atomic uint64_t stamps[STRIPES];
	struct part parts[];
};
static struct table_entry tombstone;

/* -- life ------------------------------------------------------------------------------------------------------------------ */

struct table *table_new(struct loop *keeper, struct retire *retire, uint64_t max, uint64_t trust_ms)
{
	size_t nparts = PARTS_MIN;
	unsigned shift = 60;
	struct table *t;

	while (nparts < PARTS_MAX && nparts < max / PART_ROOMS)
		nparts *= 2, shift--;
	t = calloc(1, sizeof *t + nparts * sizeof t->parts[0]);
	if (!t)
		abort();
	t->keeper = keeper;
	t->retire = retire;
	t->key = hash_key_new();
	t->max = max;
	t->trust_ms = trust_ms;
	t->shift = shift;
	t->nparts = nparts;
	atomic_init(&t->refs, 1);
	atomic_init(&t->generation, 1);
	atomic_init(&t->trust, TRUST_LINK);
	return t;
}

static void table_unref(struct table *t)
{
	if (atomic_fetch_sub(&t->refs, 1) == 1)
		free(t);
}

static void part_clear(struct part *part)
{
	struct part_index *index = atomic_load(&part->index);

	for (size_t i = 0; index && i <= index->mask; i++) {
		struct table_entry *e = atomic_load(&index->slot[i]);

		if (e != &tombstone)
			free(e);
	}
	free(index);
	atomic_store(&part->index, NULL);
}

/* What was retired is freed by whoever frees `retire`, what is under way by its arrival. */
void table_free(struct table *t)
{
	if (!t)
		return;
	t->closed = true;
	for (size_t i = 0; i < t->nparts; i++)
		part_clear(&t->parts[i]);
	table_unref(t);
}

static uint64_t table_now(const struct table *t)
{
	uint64_t fake = atomic_load_explicit(&t->fake_ms, memory_order_relaxed);
	struct timespec now;

	if (fake)
		return fake;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void table_fake_clock(struct table *t, uint64_t now_ms)
{
	atomic_store(&t->fake_ms, now_ms);
}

/* -- finding --------------------------------------------------------------------------------------------------------------- */

static struct part *part_of(struct table *t, uint64_t hash)
{
	return &t->parts[hash >> t->shift];
}

/* The slot it stands in; NULL: not here. A part is never full, so this ends. */
static _Atomic(struct table_entry *) *slot_of(struct table *t, uint64_t hash, struct str name)
{
	struct part_index *index = atomic_load_explicit(&part_of(t, hash)->index, memory_order_acquire);

	for (size_t i = hash; index; i++) {
		_Atomic(struct table_entry *) *slot = &index->slot[i & index->mask];
		struct table_entry *e = atomic_load_explicit(slot, memory_order_acquire);

		if (!e)
			return NULL;
		if (e != &tombstone && entry_named(e, hash, name))
			return slot;
	}
	return NULL;
}

/* The keeper may put another entry, or a tombstone, into the slot at any time: hence the walk of its own. */
static struct table_entry *entry_of(struct table *t, uint64_t hash, struct str name)
{
	struct part_index *index = atomic_load_explicit(&part_of(t, hash)->index, memory_order_acquire);

	for (size_t i = hash; index; i++) {
		struct table_entry *e = atomic_load_explicit(&index->slot[i & index->mask], memory_order_acquire);

		if (!e || (e != &tombstone && entry_named(e, hash, name)))
			return e;
	}
	return NULL;
}

/* Clocks of two threads may differ by a tick: what lies ahead is now. */
static bool is_recent(uint64_t then, uint64_t now, uint64_t limit)
{
	return then >= now || now - then <= limit;
}

static bool is_sure(const struct table *t, const struct table_entry *e)
{
	int trust = atomic_load(&t->trust);

	if (atomic_load(&e->generation) != atomic_load(&t->generation))
		return false;
	if (trust == TRUST_ALWAYS)
		return true;
	return is_recent(atomic_load(trust == TRUST_LINK ? &t->alive_ms : &e->learned_ms), table_now(t), t->trust_ms);
}

/* Sure is asked after the copy was made: a change in between makes the copy unsure. */
enum table_hit table_find(struct table *t, struct str name, struct room *out)
{
	struct table_entry *e = entry_of(t, hash_name(t->key, name), name);

	if (!e)
		return TABLE_MISS;
	entry_read(e, out);
	return is_sure(t, e) ? TABLE_SURE : TABLE_UNSURE;
}

uint64_t table_count(const struct table *t)
{
	return atomic_load_explicit(&t->count, memory_order_relaxed);
}

bool table_touch(struct table *t, struct str name, uint64_t now_ms)
{
	struct table_entry *e = entry_of(t, hash_name(t->key, name), name);
	uint64_t then;

	if (!e)
		return true;
	then = atomic_load_explicit(&e->touched_ms, memory_order_relaxed);
	if (then && is_recent(then, now_ms, TOUCH_MS - 1))
		return false;
	atomic_store_explicit(&e->used_ms, now_ms, memory_order_relaxed);
	return atomic_compare_exchange_strong(&e->touched_ms, &then, now_ms);
}

/* -- changes announced by the store ---------------------------------------------------------------------------------------- */

static _Atomic uint64_t *stripe_of(struct table *t, uint64_t hash)
{
	return &t->stamps[hash % STRIPES];
}

static uint64_t stamp_of(struct table *t, uint64_t hash)
{
	return atomic_load(&t->generation) + atomic_load(stripe_of(t, hash)); /* both only grow, so the sum tells of either */
}

uint64_t table_stamp(const struct table *t, struct str name)
{
	return stamp_of((struct table *)(uintptr_t)t, hash_name(t->key, name));
}

/* First the stamp, then the entry: whoever makes it sure looks at the stamp once more after that (entry_confirm). */
void table_changed(struct table *t, struct str name)
{
	uint64_t hash = hash_name(t->key, name);
	struct table_entry *e;

	atomic_fetch_add(stripe_of(t, hash), 1);
	e = entry_of(t, hash, name);
	if (e)
		atomic_store(&e->generation, 0);
}

void table_distrust(struct table *t, struct str name)
{
	table_changed(t, name);
}

void table_changed_all(struct table *t)
{
	atomic_fetch_add(&t->generation, 1);
}

void table_set_trust(struct table *t, enum table_trust trust)
{
	atomic_store(&t->trust, (int)trust);
}

void table_alive(struct table *t)
{
	atomic_store(&t->alive_ms, table_now(t));
}

/* -- taking out ------------------------------------------------------------------------------------------------------------- */

static void entry_free(struct retired *retired)
{
	free(container_of(retired, struct table_entry, retired));
}

static void index_free(struct retired *retired)
{
	free(container_of(retired, struct part_index, retired));
}

static void slot_clear(struct table *t, struct part *part, _Atomic(struct table_entry *) *slot)
{
	struct table_entry *e = atomic_load_explicit(slot, memory_order_relaxed);

	atomic_store_explicit(slot, &tombstone, memory_order_release);
	part->live--;
	atomic_fetch_sub(&t->count, 1);
	retire_later(t->retire, &e->retired, entry_free);
}

void table_drop(struct table *t, struct str name, uint64_t up_to_epoch)
{
	uint64_t hash = hash_name(t->key, name);
	_Atomic(struct table_entry *) *slot = slot_of(t, hash, name);

	if (slot && atomic_load(slot)->epoch <= up_to_epoch)
		slot_clear(t, part_of(t, hash), slot);
}

/* The longest unused of a few, from a random part on. */
static void evict_one(struct table *t, const struct table_entry *keep)
{
	_Atomic(struct table_entry *) *oldest = NULL;
	struct part *of = NULL;
	size_t first = (size_t)random_u64(), seen = 0;

	for (size_t n = 0; n < t->nparts && seen < LOOKED_AT; n++) {
		struct part *part = &t->parts[(first + n) % t->nparts];
		struct part_index *index = atomic_load_explicit(&part->index, memory_order_relaxed);
		size_t start = (size_t)random_u64();

		for (size_t i = 0; index && i <= index->mask && seen < LOOKED_AT; i++) {
			_Atomic(struct table_entry *) *slot = &index->slot[(start + i) & index->mask];
			struct table_entry *e = atomic_load(slot);

			if (!e || e == &tombstone || e == keep)
				continue;
			seen++;
			if (!oldest || atomic_load(&e->used_ms) < atomic_load(&atomic_load(oldest)->used_ms))
				oldest = slot, of = part;
		}
	}
	if (oldest)
		slot_clear(t, of, oldest);
}

/* -- putting in ------------------------------------------------------------------------------------------------------------- */

static void index_add(struct part_index *index, struct table_entry *e)
{
	size_t i = e->hash;

	while (atomic_load_explicit(&index->slot[i & index->mask], memory_order_relaxed))
		i++;
	atomic_store_explicit(&index->slot[i & index->mask], e, memory_order_release);
}

/* At most three quarters filled; made anew without tombstones, with room for as many again. */
static void part_make_room(struct table *t, struct part *part)
{
	struct part_index *old = atomic_load_explicit(&part->index, memory_order_relaxed), *index;
	size_t slots = SLOTS_MIN;

	if (old && (part->filled + 1) * 4 <= (old->mask + 1) * 3)
		return;
	while (slots < 2 * (part->live + 1))
		slots *= 2;
	index = calloc(1, sizeof *index + slots * sizeof index->slot[0]);
	if (!index)
		abort();
	index->mask = slots - 1;
	for (size_t i = 0; old && i <= old->mask; i++) {
		struct table_entry *e = atomic_load_explicit(&old->slot[i], memory_order_relaxed);

		if (e && e != &tombstone)
			index_add(index, e);
	}
	part->filled = part->live;
	atomic_store_explicit(&part->index, index, memory_order_release);
	if (old)
		retire_later(t->retire, &old->retired, index_free);
}

static void entry_insert(struct table *t, struct table_entry *e)
{
	struct part *part = part_of(t, e->hash);

	part_make_room(t, part);
	index_add(atomic_load_explicit(&part->index, memory_order_relaxed), e);
	part->live++;
	part->filled++;
	if (atomic_fetch_add(&t->count, 1) >= t->max)
		evict_one(t, e);
}

static void entry_date(struct table *t, struct table_entry *e)
{
	atomic_store(&e->learned_ms, table_now(t));
	atomic_store(&e->generation, atomic_load(&t->generation));
}

/* Takes `e`, which is freed if it tells nothing new. Returns the entry that is in the table. */
static struct table_entry *entry_put(struct table *t, struct table_entry *e)
{
	_Atomic(struct table_entry *) *slot = slot_of(t, e->hash, entry_name(e));
	struct table_entry *known = slot ? atomic_load(slot) : NULL;

	if (known && entry_same(known, e)) {
		entry_date(t, known);
		free(e);
		return known;
	}
	entry_date(t, e);
	atomic_store(&e->used_ms, known ? atomic_load(&known->used_ms) : table_now(t));
	if (known) {
		atomic_store_explicit(slot, e, memory_order_release);
		retire_later(t->retire, &known->retired, entry_free);
	} else {
		entry_insert(t, e);
	}
	return e;
}

void table_put(struct table *t, struct str name, const struct room *room)
{
	if (room->state == ROOM_OPEN)
		entry_put(t, entry_new(name, hash_name(t->key, name), room));
	else
		table_drop(t, name, room->state == ROOM_NONE ? UINT64_MAX : room->epoch);
}

/* -- learning --------------------------------------------------------------------------------------------------------------- */

/* A sure entry of a higher epoch knows better: the reply was made before it. An unsure one may be of a store that has lost it. */
static bool is_outdone(struct table *t, const struct table_entry *e)
{
	const struct table_entry *known = entry_of(t, e->hash, entry_name(e));

	return known && known->epoch > e->epoch && is_sure(t, known);
}

static void entry_confirm(struct table *t, struct table_entry *e, uint64_t stamp)
{
	if (stamp_of(t, e->hash) != stamp)
		atomic_store(&e->generation, 0); /* a worker's distrust came in between */
}

static void learn(struct table *t, struct table_entry *e, uint64_t stamp)
{
	if (t->closed || stamp_of(t, e->hash) != stamp) {
		free(e);
	} else if (e->state != ROOM_OPEN) {
		table_drop(t, entry_name(e), e->state == ROOM_NONE ? UINT64_MAX : e->epoch);
		free(e);
	} else if (is_outdone(t, e)) {
		free(e);
	} else {
		entry_confirm(t, entry_put(t, e), stamp);
	}
}

static void learnt(struct task *task)
{
	struct table_entry *e = container_of(task, struct table_entry, flight.task);
	struct table *t = e->flight.table;

	if (e->flight.own && stamp_of(t, e->hash) != e->flight.stamp)
		table_changed(t, entry_name(e));
	learn(t, e, e->flight.stamp);
	table_unref(t);
}

static void tell(struct table *t, struct str name, const struct room *room, uint64_t stamp, bool own)
{
	uint64_t hash = hash_name(t->key, name);
	struct table_entry *known, *e;

	if (stamp_of(t, hash) != stamp) {
		if (own)
			table_changed(t, name);
		return;
	}
	known = room->state == ROOM_OPEN ? entry_of(t, hash, name) : NULL;
	/* With TRUST_AGE the date is news, so an entry at half its age is told of again. */
	if (known && entry_tells(known, room) && is_sure(t, known) &&
	    is_recent(atomic_load(&known->learned_ms), table_now(t), t->trust_ms / 2))
		return;
	e = entry_new(name, hash, room);
	e->flight.table = t;
	e->flight.stamp = stamp;
	e->flight.own = own;
	atomic_fetch_add(&t->refs, 1);
	loop_post(t->keeper, &e->flight.task, learnt);
}

void table_learn(struct table *t, struct str name, const struct room *room, uint64_t stamp)
{
	tell(t, name, room, stamp, false);
}

void table_learn_own(struct table *t, struct str name, const struct room *room, uint64_t stamp)
{
	tell(t, name, room, stamp, true);
}

/* -- walking ---------------------------------------------------------------------------------------------------------------- */

size_t table_walk(struct table *t, size_t cursor, size_t buckets,
                  void (*fn)(void *arg, struct str name, const struct room *, uint64_t used_ms), void *arg)
{
	struct room room;

	for (; buckets && cursor < t->nparts; buckets--, cursor++) {
		struct part_index *index = atomic_load(&t->parts[cursor].index);

		for (size_t i = 0; index && i <= index->mask; i++) {
			struct table_entry *e = atomic_load(&index->slot[i]);

			if (!e || e == &tombstone)
				continue;
			entry_read(e, &room);
			fn(arg, entry_name(e), &room, atomic_load(&e->used_ms));
		}
	}
	return cursor < t->nparts ? cursor : 0;
}
