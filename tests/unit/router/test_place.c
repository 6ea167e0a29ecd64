/* SPDX-License-Identifier: Apache-2.0 */
/* Where new rooms go: filters, wishes, loads, and bursts from many routers that see the same numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/str.h"
#include "base/wait.h"
#include "tests/unit/router/place_bed.h"

static struct placed placed;

static void setup(void)
{
	bed_conf = (struct place_conf){ .max_load = 0.9, .room_cost = -1, .ramp_ms = 20000, .slow_start_ms = 0, .opens_per_node = 1000,
		                        .explained = 100, .max_ejected = 0.5, .ordered_from = SIZE_MAX };
}

static void setup_kept(void)
{
	setup();
	bed_conf.ordered_from = 1;
}

static void open_one(void)
{
	setup();
	bed_open(1);
}

static void open_kept(void)
{
	setup_kept();
	bed_open(1);
}

static const char *chosen(const struct place_wish *wish)
{
	ck_assert_int_eq(bed_choose(0, wish, &placed), 0);
	place_opened(bed.places[0], placed.node, bed.now_ms);
	return placed.node;
}

static const char *chosen_for(const char *room)
{
	struct place_wish wish = bed_wish(room);

	return chosen(&wish);
}

static int refused(const struct place_wish *wish)
{
	return -bed_choose(0, wish, &placed);
}

static int refused_for(const char *room)
{
	struct place_wish wish = bed_wish(room);

	return refused(&wish);
}

/* -- refusals ------------------------------------------------------------------------------------------------------------- */
START_TEST(nobody_there)
{
	struct place_wish wish = bed_wish("r");
	bool wait_helps;
	uint64_t retry_ms;

	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_NO_NODES);
	ck_assert(!wait_helps);
	bed_node("a", "", NULL); /* no report is not "no load" */
	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_NO_NODES);
	ck_assert(wait_helps);
}
END_TEST

START_TEST(refusals_name_the_first_stage_that_leaves_nobody)
{
	struct place_wish wish = bed_wish("r");
	struct wait w = { 0 };

	bed_node("a", "\"region\":\"eu\"", "{\"cpu\":0.95}");
	ck_assert_int_eq(refused_for("r"), ERR_NO_CAPACITY);
	wish.require_region = "us";
	ck_assert_int_eq(refused(&wish), ERR_REGION_UNAVAILABLE);
	wish.require_region = "eu";
	wish.pool = "gpu";
	ck_assert_int_eq(refused(&wish), ERR_REGION_UNAVAILABLE);
	ck_assert_int_eq(nodes_set_wish(bed.store, "a", WISH_CORDONED, STR(""), bed.now_ms + 500, &w), 0);
	bed_look();
	ck_assert_int_eq(refused_for("r"), ERR_ALL_DRAINING);
}
END_TEST

START_TEST(empty_load_makes_a_node_unplaceable)
{
	bed_node("a", "", "{}");
	ck_assert_int_eq(refused_for("r"), ERR_NO_CAPACITY);
	bed_node("b", "", "{\"memory\":0.1}"); /* memory alone says nothing */
	ck_assert_int_eq(refused_for("r"), ERR_NO_CAPACITY);
	bed_node("c", "", "{\"participants\":1}");
	ck_assert_int_eq(refused_for("r"), ERR_NO_CAPACITY); /* without a capacity to compare with */
	bed_node("d", "", "{\"cpu\":0.5}");
	ck_assert_str_eq(chosen_for("r"), "d");
}
END_TEST

START_TEST(hard_limits)
{
	struct place_wish wish = bed_wish("r");

	bed_node("a", "\"capacity\":{\"participants\":100}", "{\"cpu\":0.1,\"participants\":85}");
	wish.expected_participants = 16;
	ck_assert_int_eq(refused(&wish), ERR_NO_CAPACITY);
	wish.expected_participants = 15;
	ck_assert_str_eq(chosen(&wish), "a");
	bed_node("a", "\"capacity\":{\"rooms\":1}", "{\"cpu\":0.1}");
	ck_assert_int_eq(bed_place(0, "first", &placed), 0);
	bed_look();
	ck_assert_int_eq(refused_for("second"), ERR_NO_CAPACITY);
}
END_TEST

START_TEST(opens_under_way_only_need_time)
{
	struct place_wish wish = bed_wish("r");
	bool wait_helps;
	uint64_t retry_ms;

	bed_conf.opens_per_node = 2;
	bed_open(1);
	bed_node("a", "", "{\"cpu\":0.1}");
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_NO_CAPACITY);
	ck_assert(wait_helps);
	place_opened(bed.places[0], "a", bed.now_ms);
	bed_pass(1);
	ck_assert_int_eq(bed_choose(0, &wish, &placed), 0);
	bed_close();
}
END_TEST

static void report(const char *node, enum breaker_result result, uint64_t full_ms)
{
	struct call_result call = { .class = CLASS_CONTROL, .result = result, .full_ms = full_ms };
	uint64_t retry_ms;

	snprintf(call.node, sizeof(call.node), "%s", node);
	snprintf(call.incarnation, sizeof(call.incarnation), "i1");
	ck_assert_int_eq(breaker_admit(bed_see(node)->breakers[CLASS_CONTROL], bed.now_ms, &call.admission, &retry_ms), 0);
	fleet_report(bed.fleets[0], &call);
	bed_pass(0);
}

START_TEST(open_breakers_steer_until_too_many_are_open)
{
	struct place_wish wish = bed_wish("r");
	bool wait_helps;
	uint64_t retry_ms;

	bed_node("a", "", "{\"cpu\":0.1}");
	bed_node("b", "", "{\"cpu\":0.5}");
	for (int i = 0; i < 5; i++)
		report("a", RESULT_FAILURE, 0);
	ck_assert_str_eq(chosen_for("r"), "b"); /* at once, before the next look at the store */
	wish.tried[wish.ntried++] = "b";
	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_BREAKER_OPEN);
	ck_assert_uint_gt(retry_ms, 0);
	for (int i = 0; i < 5; i++)
		report("b", RESULT_FAILURE, 0);
	ck_assert_str_eq(chosen_for("r"), "a"); /* more than max_ejected: rather our own fault */
}
END_TEST

START_TEST(full_node_gets_nothing_for_as_long_as_it_said)
{
	struct place_wish wish = bed_wish("r");
	bool wait_helps;
	uint64_t retry_ms;

	bed_node("a", "", "{\"cpu\":0.1}");
	report("a", RESULT_NOTHING, 7000);
	bed_look();
	ck_assert_int_eq(place_choose(bed.places[0], &wish, bed.now_ms, &placed, &wait_helps, &retry_ms), -ERR_NO_CAPACITY);
	ck_assert_uint_ge(retry_ms, 6900);
	bed_pass(7001);
	bed_look();
	ck_assert_str_eq(chosen_for("r"), "a");
}
END_TEST

/* -- choosing ------------------------------------------------------------------------------------------------------------- */
START_TEST(least_load_wins_and_is_not_clamped) /* jicofo#454 */
{
	bed_conf.max_load = 10;
	bed_open(1);
	bed_node("a", "", "{\"cpu\":1.4}");
	bed_node("b", "", "{\"cpu\":1.2}");
	for (int i = 0; i < 10; i++)
		ck_assert_str_eq(chosen_for("r"), "b");
	bed_close();
}
END_TEST

START_TEST(wishes_go_before_load)
{
	struct json_pair ssd = { "disk", "ssd" };
	struct place_wish wish = bed_wish("r");

	bed_node("idle", "", "{\"cpu\":0.0}");
	bed_node("near", "\"region\":\"eu\"", "{\"cpu\":0.8}");
	bed_node("ssd", "\"labels\":{\"disk\":\"ssd\"}", "{\"cpu\":0.5}");
	ck_assert_str_eq(chosen(&wish), "idle");
	wish.prefer = &ssd;
	wish.nprefer = 1;
	ck_assert_str_eq(chosen(&wish), "ssd");
	wish.region = "eu";
	ck_assert_str_eq(chosen(&wish), "near");
	wish.colocate_node = "idle";
	ck_assert_str_eq(chosen(&wish), "idle");
	wish = bed_wish("r");
	wish.region = "nowhere"; /* a wish is no condition */
	ck_assert_str_eq(chosen(&wish), "idle");
	wish.require = &ssd;
	wish.nrequire = 1;
	ck_assert_str_eq(chosen(&wish), "ssd");
}
END_TEST

START_TEST(pools_are_apart)
{
	struct place_wish wish = bed_wish("r");

	bed_node("a", "\"pool\":\"big\"", "{\"cpu\":0.1}");
	bed_node("b", "", "{\"cpu\":0.8}");
	ck_assert_str_eq(chosen(&wish), "b");
	wish.pool = "big";
	ck_assert_str_eq(chosen(&wish), "a");
}
END_TEST

START_TEST(exclusive_rooms_want_an_empty_node)
{
	struct place_wish wish = bed_wish("alone");

	bed_node("a", "", "{\"cpu\":0.1}");
	ck_assert_int_eq(bed_place(0, "r", &placed), 0);
	bed_look();
	wish.exclusive = true;
	ck_assert_int_eq(refused(&wish), ERR_NO_CAPACITY);
	bed_node("b", "", "{\"cpu\":0.8}");
	ck_assert_str_eq(chosen(&wish), "b");
}
END_TEST

static size_t count_of(const size_t *hits, size_t n, size_t *sum)
{
	size_t most = 0;

	*sum = 0;
	for (size_t i = 0; i < n; i++) {
		*sum += hits[i];
		most = hits[i] > most ? hits[i] : most;
	}
	return most;
}

START_TEST(burst_follows_capacity)
{
	size_t hits[3] = { 0 };

	bed_node("0", "\"capacity\":{\"rooms\":1000}", "{\"cpu\":0.1,\"rooms\":0}");
	bed_node("1", "\"capacity\":{\"rooms\":2000}", "{\"cpu\":0.1,\"rooms\":0}");
	bed_node("2", "\"capacity\":{\"rooms\":4000}", "{\"cpu\":0.1,\"rooms\":0}");
	for (int i = 0; i < 700; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
		hits[placed.node[0] - '0']++;
	}
	ck_assert_uint_ge(hits[0], 85);
	ck_assert_uint_le(hits[0], 115);
	ck_assert_uint_ge(hits[1], 170);
	ck_assert_uint_le(hits[1], 230);
	ck_assert_uint_ge(hits[2], 340);
	ck_assert_uint_le(hits[2], 460);
}
END_TEST

/* One room each 2 ms at a random router; between choice and charge up to 1 ms passes, between charge and the others' hearing of
 * it up to charge_delay_ms. */
struct under_way {
	uint64_t due_ms;
	size_t router;
	struct placed placed;
	char room[24];
};
static void herd(size_t rooms, size_t first, size_t *hits)
{
	struct under_way *open = calloc(rooms, sizeof(*open));
	size_t nopen = 0;

	for (size_t i = 0; i < rooms; i++) {
		struct under_way *u = &open[nopen++];
		snprintf(u->room, sizeof(u->room), "r%zu", first + i);
		u->router = random_u64() % bed.nrouters;
		u->due_ms = bed.now_ms + random_u64() % 2;
		struct place_wish wish = bed_wish(u->room);
		ck_assert_int_eq(bed_choose(u->router, &wish, &u->placed), 0);
		hits[atoi(u->placed.node)]++;
		for (int ms = 0; ms < 2; ms++) {
			bed_pass(1);
			for (size_t k = nopen; k-- > 0;) {
				if (open[k].due_ms > bed.now_ms)
					continue;
				bed_reserve(&open[k].placed, open[k].room);
				place_opened(bed.places[open[k].router], open[k].placed.node, bed.now_ms);
				open[k] = open[--nopen];
			}
		}
	}
	for (size_t k = 0; k < nopen; k++)
		bed_reserve(&open[k].placed, open[k].room);
	bed_pass(10);
	free(open);
}

/* jicofo#1298: 58 of 92 joins in 31 s on one node whose report was stale. */
START_TEST(jicofo_1298_herd_of_eight_routers)
{
	size_t hits[100] = { 0 }, again[100] = { 0 }, sum;

	bed_open(8);
	bed.charge_delay_ms = 1;
	for (int i = 0; i < 100; i++) {
		char id[8];
		snprintf(id, sizeof(id), "%d", i);
		bed_node(id, "", "{\"cpu\":0.2,\"participants\":0,\"rooms\":0}");
	}
	herd(500, 0, hits);
	ck_assert_uint_le(count_of(hits, 100, &sum), 6);
	ck_assert_uint_eq(sum, 500);
	bed_pass(4000);
	/* The first rooms' people have not come yet: reports know the charges and show no load. */
	for (int i = 0; i < 100; i++) {
		char id[8], load[64];
		snprintf(id, sizeof(id), "%d", i);
		snprintf(load, sizeof(load), "{\"cpu\":0.2,\"participants\":0,\"rooms\":%zu}", hits[i]);
		bed_beat(id, load, true);
		bed_beat(id, load, true);
	}
	bed_look();
	herd(500, 500, again);
	ck_assert_uint_le(count_of(again, 100, &sum), 7);
	for (int i = 0; i < 100; i++)
		again[i] += hits[i];
	ck_assert_uint_le(count_of(again, 100, &sum), 12); /* of a mean of 10 */
	bed_close();
}
END_TEST

/* livekit#3784: the least loaded one takes all until it dies. Here charges are heard of late, and no two loads are equal, so
 * that all routers see the same minimum. Of nine bursts the middle one: 8 or 9 rooms on the most-hit node, 13 or 14 if each
 * router took the minimum. */
static size_t late_burst(void)
{
	size_t hits[100] = { 0 }, sum;

	bed_open(8);
	bed.charge_delay_ms = 100;
	for (int i = 0; i < 100; i++) {
		char id[8], load[32];
		snprintf(id, sizeof(id), "%d", i);
		snprintf(load, sizeof(load), "{\"cpu\":%.4f}", 0.2 + i * 0.0001);
		bed_node(id, "", load);
	}
	herd(500, 0, hits);
	bed_close();
	return count_of(hits, 100, &sum);
}

static int by_size(const void *a, const void *b)
{
	size_t x = *(const size_t *)a, y = *(const size_t *)b;

	return x < y ? -1 : x > y;
}

START_TEST(livekit_3784_routers_do_not_all_take_the_same_minimum)
{
	size_t most[9];

	for (int i = 0; i < 9; i++)
		most[i] = late_burst();
	qsort(most, 9, sizeof(*most), by_size);
	ck_assert_uint_le(most[4], 11);
}
END_TEST

/* livekit#4591: a new node must not take everything. */
START_TEST(livekit_4591_new_node_starts_slowly)
{
	size_t hits[10] = { 0 };

	bed_conf.slow_start_ms = 10000;
	bed_conf.room_cost = 0.0005;
	bed_open(1);
	for (int i = 0; i < 9; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":0.5}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.0}");
	for (int i = 0; i < 400; i++) { /* 10 s, 40 rooms each; a room shows its load within the second: 0.0005, which fills nothing */
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
		hits[atoi(placed.node)]++;
		bed_pass(25);
		for (int n = 0; i % 40 == 39 && n < 10; n++) {
			char load[48];
			snprintf(load, sizeof(load), "{\"cpu\":%.4f,\"rooms\":%zu}", (n < 9 ? 0.5 : 0) + 0.0005 * (double)hits[n], hits[n]);
			bed_beat((char[]){ (char)('0' + n), 0 }, load, true);
			bed_beat((char[]){ (char)('0' + n), 0 }, load, true);
		}
		if (i % 40 == 39)
			bed_look();
	}
	ck_assert_uint_gt(hits[9], 40); /* it is the least loaded all the same */
	ck_assert_uint_le(hits[9], 80); /* fair would be 40; all without */
	bed_close();
}
END_TEST

START_TEST(livekit_4591_new_node_does_not_take_a_burst)
{
	size_t hits[10] = { 0 };

	bed_conf.slow_start_ms = 10000;
	bed_conf.room_cost = 0.002;
	bed_open(1);
	for (int i = 0; i < 9; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":0.5}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.0}");
	for (int i = 0; i < 100; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
		hits[atoi(placed.node)]++;
	}
	ck_assert_uint_gt(hits[9], 10);
	ck_assert_uint_le(hits[9], 20); /* all 100 without */
	bed_close();
}
END_TEST

START_TEST(new_node_counts_as_loaded)
{
	bed_conf.slow_start_ms = 10000;
	bed_open(1);
	for (int i = 0; i < 3; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":0.5}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.3}"); /* and the pool's mean, 0.45 */
	for (int i = 0; i < 12; i++)
		ck_assert_str_ne(chosen_for("r"), "9");
	bed_close();
}
END_TEST

START_TEST(who_starts_slowly_takes_what_nobody_else_can)
{
	bed_conf.slow_start_ms = 10000;
	bed_open(1);
	for (int i = 0; i < 9; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":0.95}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.1}");
	for (int i = 0; i < 20; i++)
		ck_assert_str_eq(chosen_for("r"), "9");
	bed_close();
}
END_TEST

START_TEST(new_node_gets_twice_its_share_among_three)
{
	size_t hits = 0;

	bed_conf.slow_start_ms = 10000;
	bed_conf.room_cost = 0.001;
	bed_open(1);
	bed_node("0", "", "{\"cpu\":0.5}");
	bed_node("1", "", "{\"cpu\":0.5}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.0}");
	for (int i = 0; i < 60; i++)
		hits += !strcmp(chosen_for("r"), "9");
	ck_assert(hits == 39 || hits == 40);
	bed_close();
}
END_TEST

/* One pool, two regions: what the other region chooses is no turn of a node here. */
START_TEST(turns_are_of_choices_that_could_have_been)
{
	size_t hits = 0;

	bed_conf.slow_start_ms = 10000;
	bed_conf.room_cost = 0.001;
	bed_open(1);
	for (int i = 0; i < 9; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, i < 4 ? "\"region\":\"here\"" : "\"region\":\"there\"", "{\"cpu\":0.5}");
	bed_pass(20000);
	bed_node("9", "\"region\":\"here\"", "{\"cpu\":0.0}");
	for (int i = 0; i < 200; i++) {
		struct place_wish wish = bed_wish("r");
		wish.region = i % 10 ? "there" : "here";
		hits += !strcmp(chosen(&wish), "9");
	}
	ck_assert(hits == 7 || hits == 8); /* of 20 among five */
	bed_close();
}
END_TEST

START_TEST(full_nodes_do_not_wait_for_a_new_ones_turn)
{
	size_t hits[10] = { 0 };

	bed_conf.slow_start_ms = 600000;
	bed_open(1);
	for (int i = 0; i < 9; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":0.88}");
	bed_pass(700000);
	for (int i = 0; i < 9; i++)
		bed_beat((char[]){ (char)('0' + i), 0 }, "{\"cpu\":0.88}", true);
	bed_node("9", "", "{\"cpu\":0.0}");
	for (int i = 0; i < 100; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
		hits[atoi(placed.node)]++;
	}
	for (int i = 0; i < 9; i++)
		ck_assert_uint_le(hits[i], 3); /* a room costs 0.01 */
	bed_close();
}
END_TEST

START_TEST(new_node_is_not_full_of_what_it_counts_as)
{
	bed_conf.slow_start_ms = 10000;
	bed_conf.room_cost = 0.01;
	bed_open(1);
	for (int i = 0; i < 3; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "", "{\"cpu\":1.0}");
	bed_pass(20000);
	bed_node("9", "", "{\"cpu\":0.3}"); /* and the pool's mean of 0.8 */
	ck_assert_str_eq(chosen_for("r"), "9");
	bed_close();
}
END_TEST

START_TEST(wishes_go_before_turns)
{
	struct place_wish wish = bed_wish("r");

	bed_conf.slow_start_ms = 10000;
	bed_open(1);
	for (int i = 0; i < 3; i++)
		bed_node((char[]){ (char)('0' + i), 0 }, "\"region\":\"there\"", "{\"cpu\":0.1}");
	bed_pass(20000);
	bed_node("9", "\"region\":\"here\"", "{\"cpu\":0.1}");
	wish.region = "here";
	for (int i = 0; i < 10; i++)
		ck_assert_str_eq(chosen(&wish), "9");
	bed_close();
}
END_TEST

START_TEST(ties_are_broken_at_random)
{
	size_t hits[2] = { 0 };

	for (int i = 0; i < 40; i++) { /* each time the first room of a fleet */
		bed_open(1);
		bed_node("0", "", "{\"cpu\":0.1}");
		bed_node("1", "", "{\"cpu\":0.1}");
		hits[atoi(chosen_for("r"))]++;
		bed_close();
	}
	ck_assert(hits[0] > 0 && hits[1] > 0);
}
END_TEST

START_TEST(new_fleet_has_no_slow_start)
{
	size_t hits[2] = { 0 };

	bed_conf.slow_start_ms = 10000;
	bed_open(1);
	bed_node("0", "", "{\"cpu\":0.6}");
	bed_pass(20000);
	bed_node("1", "", "{\"cpu\":0.3}"); /* raised by the mean it would not be chosen */
	for (int i = 0; i < 20; i++)
		hits[atoi(chosen_for("r"))]++;
	ck_assert_uint_eq(hits[1], 20); /* half of the pool is new: it counts as it is */
	bed_close();
}
END_TEST

/* -- what a room costs ---------------------------------------------------------------------------------------------------- */
START_TEST(cost_is_learned_from_reports)
{
	bed_node("a", "", "{\"cpu\":0.4,\"rooms\":100,\"participants\":800}");
	bed_node("b", "", "{\"cpu\":0.2,\"rooms\":50,\"participants\":400}");
	ck_assert_double_eq(place_room_cost(bed.places[0], "default"), 0.01);
	for (int i = 0; i < 20; i++) {
		chosen_for("r");
		bed_pass(10000);
		bed_beat("a", "{\"cpu\":0.4,\"rooms\":100,\"participants\":800}", true);
		bed_beat("b", "{\"cpu\":0.2,\"rooms\":50,\"participants\":400}", true);
		bed_look();
	}
	ck_assert_double_eq_tol(place_room_cost(bed.places[0], "default"), 0.004, 0.0002);
	struct place_wish wish = bed_wish("r");
	chosen(&wish);
	double usual = placed.cost;
	wish.expected_participants = 80;
	chosen(&wish);
	ck_assert_double_eq_tol(placed.cost / usual, 10, 0.2); /* ten times the people of a usual room */
}
END_TEST

static void choose_in(const char *pool, uint64_t expected)
{
	struct place_wish wish = bed_wish("r");

	wish.pool = pool;
	wish.expected_participants = expected;
	chosen(&wish);
}

/* Webinars beside stand-ups: what one pool's rooms cost says nothing of the other's. */
START_TEST(each_pool_has_a_cost_of_its_own)
{
	bed_node("a", "", "{\"cpu\":0.2,\"rooms\":50,\"participants\":200}");
	bed_node("b", "\"pool\":\"big\"", "{\"cpu\":0.8,\"rooms\":20,\"participants\":1600}");
	for (int i = 0; i < 20; i++) {
		choose_in("default", 0);
		choose_in("big", 0);
		bed_pass(10000);
		bed_beat("a", "{\"cpu\":0.2,\"rooms\":50,\"participants\":200}", true);
		bed_beat("b", "{\"cpu\":0.8,\"rooms\":20,\"participants\":1600}", true);
		bed_look();
	}
	ck_assert_double_eq_tol(place_room_cost(bed.places[0], "default"), 0.004, 0.0002);
	ck_assert_double_eq_tol(place_room_cost(bed.places[0], "big"), 0.04, 0.002);
	choose_in("default", 40); /* ten times the people of a usual room there … */
	ck_assert_double_eq_tol(placed.cost, 0.04, 0.002);
	choose_in("big", 40);     /* … and half of them here, which is no less than a usual room */
	ck_assert_double_eq_tol(placed.cost, 0.04, 0.002);
	choose_in("big", 160);
	ck_assert_double_eq_tol(placed.cost, 0.08, 0.004);
}
END_TEST

static void pool_node(int i)
{
	char id[8], info[32];

	snprintf(id, sizeof(id), "n%d", i);
	snprintf(info, sizeof(info), "\"pool\":\"p%d\"", i);
	bed_node(id, info, "{\"cpu\":0.2,\"rooms\":100}");
}

static double cost_in(int i)
{
	char pool[8];

	snprintf(pool, sizeof(pool), "p%d", i);
	return place_room_cost(bed.places[0], pool);
}

START_TEST(costs_are_kept_for_so_many_pools)
{
	for (int i = 0; i <= 64; i++)
		pool_node(i);
	for (int i = 0; i <= 64; i++) {
		char pool[8];
		snprintf(pool, sizeof(pool), "p%d", i);
		choose_in(pool, 0);
		bed_pass(1);
	}
	ck_assert_double_eq(cost_in(0), 0.01); /* learned from longest ago: it begins again */
	for (int i = 1; i <= 64; i++)
		ck_assert_double_eq_tol(cost_in(i), 0.002, 0.0001);
}
END_TEST

/* Who joins may name any pool; that pushes none out that there is. */
START_TEST(a_pool_without_rooms_is_not_kept)
{
	bed_node("a", "", "{\"cpu\":0.2,\"rooms\":100}");
	choose_in("default", 0);
	for (int i = 0; i < 200; i++) {
		struct place_wish wish = bed_wish("r");
		char pool[8];
		snprintf(pool, sizeof(pool), "x%d", i);
		wish.pool = pool;
		ck_assert_int_eq(refused(&wish), ERR_REGION_UNAVAILABLE);
	}
	ck_assert_double_eq_tol(place_room_cost(bed.places[0], "default"), 0.002, 0.0001);
}
END_TEST

START_TEST(set_cost_is_not_learned_and_refuses)
{
	bed_conf.room_cost = 0.3;
	bed_open(1);
	bed_node("a", "", "{\"cpu\":0.2,\"rooms\":50}");
	ck_assert_int_eq(bed_place(0, "one", &placed), 0);
	ck_assert_int_eq(bed_place(0, "two", &placed), 0);
	ck_assert_int_eq(refused_for("three"), ERR_NO_CAPACITY);
	bed_pass(30000);
	ck_assert_double_eq(place_room_cost(bed.places[0], "default"), 0.3);
	bed_close();
}
END_TEST

START_TEST(learned_cost_refuses_nobody)
{
	bed_node("a", "", "{\"cpu\":0.2}");
	for (int i = 0; i < 200; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
	}
}
END_TEST

/* -- explanations --------------------------------------------------------------------------------------------------------- */
static const char *explained(const char *room)
{
	static char text[8192];
	struct buf json = { 0 };

	if (!place_explain(bed.places[0], str_of(room), &json))
		return "";
	snprintf(text, sizeof(text), "%s", json.at);
	buf_free(&json);
	return text;
}

START_TEST(placements_are_explained_up_to_the_bound)
{
	for (int i = 0; i < 12; i++)
		bed_node((char[]){ 'n', (char)('a' + i), 0 }, "", i < 10 ? "{\"cpu\":0.1}" : "{\"cpu\":0.95}");
	for (int i = 0; i < 101; i++) {
		char room[16];
		snprintf(room, sizeof(room), "r%d", i);
		ck_assert_int_eq(bed_place(0, room, &placed), 0);
	}
	ck_assert_str_eq(explained("r0"), ""); /* 100 are kept */
	ck_assert_ptr_nonnull(strstr(explained("r1"), "\"max_load\":2"));
	char chosen_member[80];
	snprintf(chosen_member, sizeof(chosen_member), "\"chosen\":\"%s\"", placed.node);
	ck_assert_ptr_nonnull(strstr(explained("r100"), chosen_member));
	size_t shown = 0;
	for (const char *at = explained("r100"); (at = strstr(at, "\"effective\"")); at++)
		shown++;
	ck_assert_uint_eq(shown, 8);
	ck_assert_int_eq(bed_place(0, "r50", &placed), 0); /* placed anew: the newest is told */
	snprintf(chosen_member, sizeof(chosen_member), "\"chosen\":\"%s\"", placed.node);
	ck_assert_ptr_nonnull(strstr(explained("r50"), chosen_member));
}
END_TEST

START_TEST(simulation_changes_nothing_and_says_why_not)
{
	struct place_wish wish = bed_wish("r");
	struct buf json = { 0 };

	bed_node("a", "\"region\":\"eu\"", "{\"cpu\":0.1}");
	wish.require_region = "us";
	ck_assert_int_eq(place_simulate(bed.places[0], &wish, bed.now_ms, &json), 0);
	ck_assert_ptr_nonnull(strstr(json.at, "\"refused\":\"region_unavailable\""));
	ck_assert_ptr_nonnull(strstr(json.at, "\"region\":1"));
	buf_free(&json);
	json = (struct buf){ 0 };
	wish.require_region = NULL;
	ck_assert_int_eq(place_simulate(bed.places[0], &wish, bed.now_ms, &json), 0);
	ck_assert_ptr_nonnull(strstr(json.at, "\"chosen\":\"a\""));
	buf_free(&json);
	ck_assert_double_eq(fleet_charges(bed.fleets[0], bed_see("a"), bed.now_ms), 0);
	ck_assert_str_eq(explained("r"), "");
}
END_TEST

static void add_tests(Suite *suite, const char *name, void (*set_up)(void), void (*tear_down)(void), const TTest *const *tests, size_t n)
{
	TCase *t = tcase_create(name);

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_set_timeout(t, 30);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(suite, t);
}

int main(void)
{
	const TTest *const open[] = {
		nobody_there, refusals_name_the_first_stage_that_leaves_nobody, empty_load_makes_a_node_unplaceable, hard_limits,
		open_breakers_steer_until_too_many_are_open, full_node_gets_nothing_for_as_long_as_it_said, wishes_go_before_load,
		pools_are_apart, exclusive_rooms_want_an_empty_node, burst_follows_capacity, cost_is_learned_from_reports,
		each_pool_has_a_cost_of_its_own, costs_are_kept_for_so_many_pools, a_pool_without_rooms_is_not_kept,
		learned_cost_refuses_nobody, placements_are_explained_up_to_the_bound, simulation_changes_nothing_and_says_why_not,
	};
	const TTest *const bare[] = {
		opens_under_way_only_need_time, least_load_wins_and_is_not_clamped, jicofo_1298_herd_of_eight_routers,
		livekit_3784_routers_do_not_all_take_the_same_minimum, livekit_4591_new_node_starts_slowly,
		livekit_4591_new_node_does_not_take_a_burst, new_node_counts_as_loaded, who_starts_slowly_takes_what_nobody_else_can,
		new_node_gets_twice_its_share_among_three, turns_are_of_choices_that_could_have_been, full_nodes_do_not_wait_for_a_new_ones_turn,
		new_node_is_not_full_of_what_it_counts_as, wishes_go_before_turns, ties_are_broken_at_random, new_fleet_has_no_slow_start, set_cost_is_not_learned_and_refuses,
	};
	Suite *suite = suite_create("router/place");
	SRunner *runner = srunner_create(suite);

	/* All of it holds whether the order of the fleet is kept between choices or not. */
	add_tests(suite, "one router", open_one, bed_close, open, sizeof(open) / sizeof(*open));
	add_tests(suite, "one router, order kept", open_kept, bed_close, open, sizeof(open) / sizeof(*open));
	add_tests(suite, "own bed", setup, NULL, bare, sizeof(bare) / sizeof(*bare));
	add_tests(suite, "own bed, order kept", setup_kept, NULL, bare, sizeof(bare) / sizeof(*bare));
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
