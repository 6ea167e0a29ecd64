/* SPDX-License-Identifier: Apache-2.0 */
/* What holds whatever is asked in whatever order: epochs of a room only grow, and the table holds what a plain list would. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tests/unit/chance.h"
#include "tests/unit/registry/turning.h"

#define ROOMS 8
#define STEPS 4000

/* -- epochs ------------------------------------------------------------------------------------------------------------------ */
static struct {
	uint64_t highest; /* ever given */
	struct room last; /* as the store last said */
} told[ROOMS];

static void hear(size_t i, const struct claimed *c)
{
	if (c->room.state != ROOM_NONE)
		ck_assert_uint_le(c->room.epoch, told[i].highest);
	told[i].last = c->room;
}

/* Any claim: of nothing, of what we know, of what was long ago. */
static void claim(size_t i, struct str name)
{
	struct room *known = &told[i].last;
	struct claim claim = { .node = "n", .incarnation = "inc", .registration = 1 + chance_below(3) };
	struct claimed c = { 0 };
	uint64_t floor = registry_floor(t.registry);

	claim.from_epoch = chance_below(3) ? (known->state == ROOM_NONE ? 0 : known->epoch) : chance_below(2) ? 0 : told[i].highest / 2;
	claim.released = claim.from_epoch && chance_below(2);
	claim.from_registration = claim.from_epoch ? known->registration : 0;
	ck_assert_int_eq(CALL(rooms_claim(t.stores[chance_below(2)], name, &claim, DUE, &c, w)), 0);
	if (c.won) {
		ck_assert_msg(c.room.epoch > told[i].highest && c.room.state == ROOM_OPENING, "%llu after %llu", (unsigned long long)c.room.epoch,
		              (unsigned long long)told[i].highest);
		ck_assert_uint_gt(c.room.epoch, floor);
		ck_assert_uint_le(c.room.epoch, EPOCH_MAX);
		told[i].highest = c.room.epoch;
	}
	hear(i, &c);
}

/* Whatever is done at an epoch that is not the record's changes nothing. */
static void change(size_t i, struct str name)
{
	uint64_t epoch = chance_below(4) ? told[i].last.epoch : told[i].highest / (1 + chance_below(3));
	struct store *store = t.stores[chance_below(2)];
	struct claimed c = { 0 };
	struct room before;

	OK(rooms_find(store, name, true, DUE, &before, w));
	switch (chance_below(5)) {
	case 0: OK(rooms_publish(store, name, epoch, STR("{}"), DUE, &c, w)); break;
	case 1: OK(rooms_move(store, name, epoch, DUE, &c, w)); break;
	case 2: OK(rooms_shut(store, name, epoch, DUE, &c, w)); break;
	case 3: OK(rooms_confirm(store, name, epoch, DUE, &c, w)); break;
	default: OK(rooms_forget(store, name, epoch, DUE, &c, w));
	}
	if (before.state == ROOM_NONE || before.epoch != epoch)
		ck_assert(!c.won);
	hear(i, &c);
}

START_TEST(epochs_only_grow)
{
	char name[16];

	turning_open("memory:");
	memset(told, 0, sizeof told);
	for (int step = 0; step < STEPS; step++) {
		size_t i = chance_below(ROOMS);
		struct str room = { name, (size_t)snprintf(name, sizeof name, "room %zu", i) };
		if (!chance_below(50))
			registry_met_epoch(t.registry, told[i].highest + chance_below(1000000));
		chance_below(2) ? claim(i, room) : change(i, room);
	}
	turning_close();
}
END_TEST

/* -- the table ----------------------------------------------------------------------------------------------------------------- */
static struct {
	bool there;
	uint64_t epoch;
} listed[ROOMS];

static void put_or_drop(struct table *table, size_t i, struct str name)
{
	struct room room = { .state = chance_below(4) ? ROOM_OPEN : ROOM_MOVING, .epoch = 1 + chance_below(20), .node = "n", .incarnation = "inc" };

	if (chance_below(3)) {
		table_put(table, name, &room);
		if (room.state == ROOM_OPEN) {
			listed[i].there = true;
			listed[i].epoch = room.epoch;
		} else {
			listed[i].there = listed[i].there && listed[i].epoch > room.epoch;
		}
	} else {
		table_drop(table, name, room.epoch);
		listed[i].there = listed[i].there && listed[i].epoch > room.epoch;
	}
}

START_TEST(the_table_holds_what_a_list_would)
{
	struct loop *loop = loop_new();
	struct retire *retire = retire_new(loop, &loop, 1);
	struct table *table = table_new(loop, retire, 1000, 2000);
	char name[16];
	struct room room;

	memset(listed, 0, sizeof listed);
	table_set_trust(table, TRUST_ALWAYS);
	for (int step = 0; step < 20000; step++) {
		size_t i = chance_below(ROOMS), count = 0;
		struct str it = { name, (size_t)snprintf(name, sizeof name, "room %zu", i) };
		put_or_drop(table, i, it);
		ck_assert(table_find(table, it, &room) == (listed[i].there ? TABLE_SURE : TABLE_MISS));
		ck_assert(!listed[i].there || room.epoch == listed[i].epoch);
		for (size_t n = 0; n < ROOMS; n++)
			count += listed[n].there;
		ck_assert_uint_eq(table_count(table), count);
		if (step % 100 == 0)
			loop_turn(loop);
	}
	table_free(table);
	loop_turn(loop);
	retire_free(retire);
	loop_free(loop);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("properties");
	TCase *c = tcase_create("registry");

	chance_begin();
	tcase_add_test(c, epochs_only_grow);
	tcase_add_test(c, the_table_holds_what_a_list_would);
	suite_add_tcase(s, c);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
