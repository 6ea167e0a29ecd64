/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations only grow; heartbeats are ordered by (registration, seq); a wish outlives its node. */
#include "base/error.h"
#include "tests/unit/registry/suite_private.h"

#define HOUR_MS UINT64_C(3600000)

/* -- register --------------------------------------------------------------------------------------------------------------- */

START_TEST(first_registration)
{
	const struct node_record *n;
	struct registered got;

	FROM_HERE(_i);
	got = do_register("n1", "i1", NULL);
	ck_assert_int_eq(got.verdict, REGISTER_NEW);
	ck_assert_int_eq(got.wish, WISH_ENABLED);
	ck_assert(got.registration + HOUR_MS > wall_ms());
	n = do_look("n1");
	ck_assert_str_eq(n->incarnation, "i1");
	ck_assert(n->registration == got.registration && n->seq == 0 && n->lease_ms == 4000 && !n->lost);
	ck_assert(n->reported == REPORTED_READY && n->wish == WISH_ENABLED && n->rooms == 0 && n->ncharges == 0);
	ck_assert(str_is(n->info, "{\"i\":1}") && str_is(n->load, "{}"));
	ck_assert(n->since_ms && n->heard_ms >= n->since_ms);
	ck_assert_ptr_null(do_look("n2"));
}
END_TEST

START_TEST(same_process_registers_again)
{
	struct registered first, second;
	const struct node_record *n;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "");
	ck_assert_int_eq(do_renew("n1", "i1", first.registration, 3).verdict, RENEW_DONE);
	ck_assert(do_reserve("n1", first.registration, "a", 0.5, 0, false).granted);
	second = do_register("n1", "i1", "");
	ck_assert_int_eq(second.verdict, REGISTER_AGAIN);
	ck_assert_uint_gt(second.registration, first.registration);
	n = do_look("n1");
	ck_assert(n->seq == 0 && n->registration == second.registration);
	ck_assert(str_is(n->load, "{\"cpu\":0.5}") && n->rooms == 1 && n->ncharges == 1); /* it is the same process */
}
END_TEST

/* A copy of the request, given up on long ago, runs late: it must not make the process stale that goes by the first. */
START_TEST(registration_may_be_repeated_until_it_is_used)
{
	struct registered first, second;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "");
	second = do_register("n1", "i1", "");
	ck_assert_int_eq(second.verdict, REGISTER_AGAIN);
	ck_assert_uint_eq(second.registration, first.registration);
	ck_assert_int_eq(do_renew("n1", "i1", first.registration, 1).verdict, RENEW_DONE);
	ck_assert_uint_gt(do_register("n1", "i1", "").registration, first.registration);
	first = do_register("n1", "i1", "");
	ck_assert(do_lose("n1", first.registration, 0)); /* lost: that one renews nothing any more */
	ck_assert_uint_gt(do_register("n1", "i1", "").registration, first.registration);
}
END_TEST

START_TEST(held_node_is_taken)
{
	struct registered first, got;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "");
	got = do_register("n1", "i2", "");
	ck_assert_int_eq(got.verdict, REGISTER_TAKEN);
	ck_assert_int_eq(do_register("n1", "i2", "i0").verdict, REGISTER_TAKEN);
	ck_assert_str_eq(do_look("n1")->incarnation, "i1");
	ck_assert_uint_eq(do_look("n1")->registration, first.registration);
}
END_TEST

START_TEST(replaced_node_begins_anew)
{
	struct registered first, second;
	const struct node_record *n;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "");
	do_renew("n1", "i1", first.registration, 1);
	ck_assert(do_reserve("n1", first.registration, "a", 0.5, 0, true).granted);
	second = do_register("n1", "i2", "i1");
	ck_assert_int_eq(second.verdict, REGISTER_NEW);
	ck_assert_uint_gt(second.registration, first.registration);
	n = do_look("n1");
	ck_assert_str_eq(n->incarnation, "i2");
	ck_assert(n->rooms == 0 && n->ncharges == 0 && !n->exclusive && n->seen == 0 && str_is(n->load, "{}"));
	ck_assert_int_eq(do_renew("n1", "i1", first.registration, 2).verdict, RENEW_STALE);
}
END_TEST

START_TEST(lost_or_gone_node_is_free)
{
	struct registered first;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "");
	ck_assert(do_lose("n1", first.registration, 0));
	ck_assert_int_eq(do_register("n1", "i2", "").verdict, REGISTER_NEW);
	ck_assert(!do_look("n1")->lost);
	ck_assert(do_leave("n1", "i2"));
	ck_assert_int_eq(do_register("n1", "i3", "").verdict, REGISTER_NEW);
}
END_TEST

/* -- renew ------------------------------------------------------------------------------------------------------------------ */

START_TEST(heartbeats_are_ordered)
{
	const struct node_record *n;
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(do_renew("n1", "i1", r, 1).verdict, RENEW_DONE);
	ck_assert_int_eq(do_renew("n1", "i1", r, 1).verdict, RENEW_REPEATED);
	ck_assert_int_eq(do_renew("n1", "i1", r, 7).verdict, RENEW_DONE);
	ck_assert_int_eq(do_renew("n1", "i1", r, 6).verdict, RENEW_REPEATED);
	n = do_look("n1");
	ck_assert(n->seq == 7 && n->seen == 7 && n->lease_ms == 5000 && n->reported == REPORTED_DRAINING);
	ck_assert(str_is(n->load, "{\"cpu\":0.5}"));
	ck_assert_double_eq_tol(n->shown, 0.25, 1e-12);
}
END_TEST

/* Who may judge its silence: those that the last renewal named. A process that has said nothing yet has named nobody. */
START_TEST(the_routers_that_a_node_asks_are_of_its_registration)
{
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert(str_is(do_look("n1")->routers, ""));
	do_renew("n1", "i1", r, 1);
	ck_assert(str_is(do_look("n1")->routers, "http://a http://b"));
	do_register("n1", "i1", "");
	ck_assert(str_is(do_look("n1")->routers, ""));
}
END_TEST

START_TEST(older_registration_is_stale)
{
	uint64_t first, second;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "").registration;
	do_renew("n1", "i1", first, 1);
	second = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(do_renew("n1", "i1", first, 99).verdict, RENEW_STALE);
	ck_assert_uint_eq(do_look("n1")->seq, 0);
	ck_assert_int_eq(do_renew("n1", "i1", second, 1).verdict, RENEW_DONE);
}
END_TEST

/* The store lost what it knew: what the node says is newer. */
START_TEST(newer_registration_is_taken)
{
	uint64_t r;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(do_renew("n1", "i1", r, 5).verdict, RENEW_DONE);
	ck_assert_int_eq(do_renew("n1", "i1", r + 1000, 1).verdict, RENEW_DONE);
	ck_assert(do_look("n1")->registration == r + 1000 && do_look("n1")->seq == 1);
	ck_assert_uint_gt(do_register("n1", "i1", "").registration, r + 1000);
}
END_TEST

START_TEST(strangers_must_register)
{
	uint64_t r;

	FROM_HERE(_i);
	ck_assert_int_eq(do_renew("n1", "i1", 5, 1).verdict, RENEW_UNKNOWN);
	ck_assert_ptr_null(do_look("n1"));
	r = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(do_renew("n1", "i2", r, 1).verdict, RENEW_UNKNOWN);
	ck_assert_int_eq(do_renew("n1", "i2", r + 5, 1).verdict, RENEW_UNKNOWN);
	ck_assert_uint_eq(do_look("n1")->registration, r);
}
END_TEST

static enum owner_seen seen(const char *node, const char *incarnation)
{
	enum owner_seen out = OWNER_UNKNOWN;

	OK(nodes_owner(s, node, incarnation, DUE, &out, w));
	return out;
}

START_TEST(owner_is_gone_when_its_own_record_says_so)
{
	uint64_t r;

	FROM_HERE(_i);
	ck_assert_int_eq(seen("n1", "i1"), OWNER_GONE);
	r = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(seen("n1", "i1"), OWNER_HOLDS);
	ck_assert_int_eq(seen("n1", "i0"), OWNER_GONE);
	ck_assert(do_lose("n1", r, 0));
	ck_assert_int_eq(seen("n1", "i1"), OWNER_GONE);
	do_register("n1", "i1", "");
	ck_assert_int_eq(seen("n1", "i1"), OWNER_HOLDS);
	registry_trust_mark(t.registry, &(struct store_mark){ .generation = 12345, .whole = true }); /* not the store's */
	ck_assert_int_eq(seen("n2", "i1"), OWNER_UNKNOWN);
	ck_assert_int_eq(seen("n1", "i1"), OWNER_HOLDS);
}
END_TEST

START_TEST(lost_registration_renews_nothing)
{
	uint64_t r, next;

	FROM_HERE(_i);
	r = do_register("n1", "i1", "").registration;
	ck_assert_int_eq(do_renew("n1", "i1", r, 1).verdict, RENEW_DONE);
	ck_assert(!do_lose("n1", r, 0)); /* not what was watched */
	ck_assert(!do_lose("n1", r + 1, 1));
	ck_assert(!do_lose("n2", r, 1));
	ck_assert(!do_look("n1")->lost);
	ck_assert(do_lose("n1", r, 1));
	ck_assert(do_look("n1")->lost);
	ck_assert_int_eq(do_renew("n1", "i1", r, 2).verdict, RENEW_UNKNOWN);
	ck_assert_int_eq(do_renew("n1", "i1", r + 1000, 1).verdict, RENEW_UNKNOWN); /* whatever the store has lost since */
	ck_assert_uint_eq(do_look("n1")->seq, 1);
	next = do_register("n1", "i1", "").registration;
	ck_assert_uint_gt(next, r);
	ck_assert_int_eq(do_renew("n1", "i1", next, 1).verdict, RENEW_DONE);
	ck_assert(!do_look("n1")->lost);
	ck_assert(!do_lose("n1", r, 1)); /* a late one by another router */
}
END_TEST

/* -- leave, wish ------------------------------------------------------------------------------------------------------------ */

START_TEST(leaving_is_by_incarnation)
{
	FROM_HERE(_i);
	ck_assert(!do_leave("n1", "i1"));
	do_register("n1", "i1", "");
	ck_assert(!do_leave("n1", "i2"));
	ck_assert_ptr_nonnull(do_look("n1"));
	ck_assert(do_leave("n1", "i1"));
	ck_assert(!do_leave("n1", "i1"));
	UNTIL(!do_look("n1"));
}
END_TEST

START_TEST(wish_outlives_the_node)
{
	const struct node_record *n;
	uint64_t r;

	FROM_HERE(_i);
	ck_assert_int_eq(CALL(nodes_set_wish(s, "n1", WISH_CORDONED, STR(""), DUE, w)), -ERR_UNKNOWN_NODE);
	r = do_register("n1", "i1", "").registration;
	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR(""), DUE, w));
	ck_assert_int_eq(do_renew("n1", "i1", r, 1).wish, WISH_DRAINING);
	ck_assert_int_eq(do_register("n1", "i2", "i1").wish, WISH_DRAINING);
	ck_assert(do_leave("n1", "i2"));
	n = do_look("n1");
	ck_assert(n && n->wish == WISH_DRAINING && n->rooms == 0);
	ck_assert_str_eq(n->incarnation, "");
	ck_assert(!do_leave("n1", ""));
	ck_assert_int_eq(do_renew("n1", "i2", r, 9).verdict, RENEW_UNKNOWN);
	ck_assert_int_eq(do_register("n1", "i3", "").wish, WISH_DRAINING);
	ck_assert(do_leave("n1", "i3"));
	OK(nodes_set_wish(s, "n1", WISH_ENABLED, STR(""), DUE, w)); /* nothing to remember */
	UNTIL(!do_look("n1"));
	ck_assert_int_eq(CALL(nodes_set_wish(s, "n1", WISH_ENABLED, STR(""), DUE, w)), -ERR_UNKNOWN_NODE);
}
END_TEST

START_TEST(drain_goes_with_its_wish)
{
	const struct node_record *n;
	uint64_t since;

	FROM_HERE(_i);
	do_register("n1", "i1", "");
	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR("{\"policy\":\"move\"}"), DUE, w));
	n = do_look("n1");
	ck_assert(str_is(n->drain, "{\"policy\":\"move\"}"));
	since = n->wished_ms;
	ck_assert_uint_gt(since, 0);
	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR("{\"policy\":\"move\"}"), DUE, w)); /* repeated: since then */
	ck_assert_uint_eq(do_look("n1")->wished_ms, since);
	ck_assert(do_leave("n1", "i1"));
	n = do_look("n1");
	ck_assert(n->wish == WISH_DRAINING && str_is(n->drain, "{\"policy\":\"move\"}") && n->wished_ms == since);
	do_register("n1", "i2", "");
	ck_assert(str_is(do_look("n1")->drain, "{\"policy\":\"move\"}"));
	OK(nodes_set_wish(s, "n1", WISH_ENABLED, STR(""), DUE, w));
	ck_assert(str_is(do_look("n1")->drain, ""));
}
END_TEST

#define OWN DRAIN_OWN ",\"policy\":\"move\"}"
#define OWN_OF_CORDONED DRAIN_OWN_CORDONED ",\"policy\":\"move\"}"

START_TEST(own_drain_ends_with_its_process)
{
	FROM_HERE(_i);
	do_register("n1", "i1", "");
	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR(OWN), DUE, w));
	ck_assert_int_eq(do_register("n1", "i1", "").wish, WISH_DRAINING); /* the same process */
	ck_assert_int_eq(do_register("n1", "i2", "i1").wish, WISH_ENABLED);
	ck_assert(do_look("n1")->wish == WISH_ENABLED && str_is(do_look("n1")->drain, ""));

	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR(OWN_OF_CORDONED), DUE, w));
	ck_assert(do_leave("n1", "i2"));
	ck_assert(do_look("n1")->wish == WISH_CORDONED && str_is(do_look("n1")->drain, ""));
	ck_assert_int_eq(do_register("n1", "i3", "").wish, WISH_CORDONED);

	OK(nodes_set_wish(s, "n1", WISH_DRAINING, STR(OWN), DUE, w));
	ck_assert(do_leave("n1", "i3"));
	ck_assert_ptr_null(do_look("n1")); /* nothing to remember */
}
END_TEST

START_TEST(full_list_is_of_one_registration)
{
	uint64_t first, second;

	FROM_HERE(_i);
	first = do_register("n1", "i1", "").registration;
	ck_assert_uint_eq(do_renew("n1", "i1", first, 1).listed, 0);
	nodes_listed(s, "n1", first, 77);
	ck_assert_uint_eq(do_renew("n1", "i1", first, 2).listed, 77);
	ck_assert_uint_eq(do_look("n1")->listed, 77);
	second = do_register("n1", "i1", "").registration; /* it must tell its rooms again */
	ck_assert_uint_eq(do_renew("n1", "i1", second, 1).listed, 0);
	nodes_listed(s, "n1", first, 77);
	ck_assert_uint_eq(do_renew("n1", "i1", second, 2).listed, 0);
}
END_TEST

START_TEST(resets_count_up)
{
	FROM_HERE(_i);
	ck_assert_int_eq(CALL(nodes_reset_breakers(s, "n1", DUE, w)), -ERR_UNKNOWN_NODE);
	do_register("n1", "i1", "");
	for (uint64_t i = 1; i <= 3; i++) {
		OK(nodes_reset_breakers(s, "n1", DUE, w));
		ck_assert_uint_eq(do_look("n1")->resets, i);
	}
}
END_TEST

/* -- routers ---------------------------------------------------------------------------------------------------------------- */

static struct routers_all routers(void)
{
	struct routers_all all = { 0 };

	OK(routers_all(s, &t.arena, DUE, &all, w));
	return all;
}

START_TEST(routers_come_and_go)
{
	struct routers_all all;

	FROM_HERE(_i);
	ck_assert_uint_eq(routers().count, 0);
	OK(routers_announce(s, "r1", STR("{\"a\":\"b c\"}"), DUE, w));
	OK(routers_announce(s, "r2", STR("{}"), DUE, w));
	OK(routers_announce(s, "r1", STR("{\"a\":\"d\"}"), DUE, w));
	all = routers();
	ck_assert_uint_eq(all.count, 2);
	ck_assert(all.store_ms + HOUR_MS > wall_ms());
	for (size_t i = 0; i < 2; i++) {
		ck_assert(all.routers[i].heard_ms <= all.store_ms);
		ck_assert(str_is(all.routers[i].info, str_is(str_of(all.routers[i].id), "r1") ? "{\"a\":\"d\"}" : "{}"));
	}
	OK(routers_leave(s, "r1", DUE, w));
	OK(routers_leave(s, "r1", DUE, w));
	ck_assert_uint_eq(routers().count, 1);
}
END_TEST

void suite_nodes(Suite *suite, SFun begin, SFun end)
{
	TCase *tc = tcase_create("nodes");

	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 30);
	BOTH(tc, first_registration);
	BOTH(tc, same_process_registers_again);
	BOTH(tc, registration_may_be_repeated_until_it_is_used);
	BOTH(tc, held_node_is_taken);
	BOTH(tc, replaced_node_begins_anew);
	BOTH(tc, lost_or_gone_node_is_free);
	BOTH(tc, heartbeats_are_ordered);
	BOTH(tc, the_routers_that_a_node_asks_are_of_its_registration);
	BOTH(tc, older_registration_is_stale);
	BOTH(tc, newer_registration_is_taken);
	BOTH(tc, strangers_must_register);
	BOTH(tc, owner_is_gone_when_its_own_record_says_so);
	BOTH(tc, lost_registration_renews_nothing);
	BOTH(tc, leaving_is_by_incarnation);
	BOTH(tc, wish_outlives_the_node);
	BOTH(tc, drain_goes_with_its_wish);
	BOTH(tc, own_drain_ends_with_its_process);
	BOTH(tc, full_list_is_of_one_registration);
	BOTH(tc, resets_count_up);
	BOTH(tc, routers_come_and_go);
	suite_add_tcase(suite, tc);
}
