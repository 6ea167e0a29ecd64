/* SPDX-License-Identifier: Apache-2.0 */
/* Heartbeats: what they say and when, what answers do, and for how long the node admits without them. */
#include <math.h>

#include "base/wire/digest.h"
#include "tests/unit/client/node_play.h"

#define LEASE_MS 4000
#define MARGIN_MS 400

static unsigned all_beats(void)
{
	return routers[0].beats + routers[1].beats + routers[2].beats;
}

static void is_hung_up(size_t i)
{
	routers[i].does = FAKE_HANGS_UP;
}

/* -- when and what -------------------------------------------------------------------------------------------------------- */
START_TEST(one_each_interval)
{
	play_start_admitted(2);
	ck_assert_uint_eq(all_beats(), 1);
	pass(999);
	play_settle();
	ck_assert_uint_eq(all_beats(), 1);
	pass(1);
	PLAY_UNTIL(routers[0].beats == 2 && !node->in_round);
	routers[0].heartbeat_ms = 300;
	play_round();
	pass(300);
	PLAY_UNTIL(routers[0].beats == 4);
	ck_assert_uint_eq(routers[1].beats, 0); /* one router is enough */
	CK_HAS(LAST(&routers[0]), "\"seq\":4,");
}
END_TEST

static struct usher_load sample;
static void on_sample(void *arg, struct usher_load *out)
{
	(void)arg;
	*out = sample;
}

START_TEST(says_what_is_known_of_the_load)
{
	options.sample = on_sample;
	sample = (struct usher_load){ .cpu = 0.25, .memory = 0.5, .bandwidth_in_mbps = 7, .has_cpu = true, .has_bandwidth_in = true };
	routers[0].charged = 42;
	play_start_admitted(1);
	CK_HAS(LAST(&routers[0]), "\"load\":{\"cpu\":0.25,\"bandwidth_in_mbps\":7,\"rooms\":0},\"seen\":0,");
	sample = (struct usher_load){ .cpu = (double)NAN, .memory = -1, .stress = 2e9, .participants = (double)INFINITY, .has_cpu = true,
		                      .has_memory = true, .has_stress = true, .has_participants = true };
	usher_node_room_set(node, "a", 1, UINT64_MAX);
	play_round();
	CK_HAS(LAST(&routers[0]), "\"load\":{\"stress\":1000000000,\"rooms\":1},\"seen\":42,");
	CK_HAS(LAST(&routers[0]), "\"changed\":[{\"room\":\"a\",\"epoch\":1,\"participants\":1000000000}]");
}
END_TEST

START_TEST(an_answer_says_whether_the_node_drains)
{
	play_start_admitted(1);
	ck_assert(!usher_node_drains(node));
	routers[0].wish = "draining";
	play_round();
	ck_assert(usher_node_drains(node) && usher_node_admits(node));
	routers[0].wish = "cordoned";
	play_round();
	ck_assert(!usher_node_drains(node));
}
END_TEST

START_TEST(a_report_is_told_at_once)
{
	play_start_admitted(1);
	usher_node_report(node, USHER_READY); /* nothing new */
	play_settle();
	ck_assert_uint_eq(routers[0].beats, 1);
	usher_node_report(node, USHER_DRAINING);
	PLAY_UNTIL(routers[0].beats == 2 && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"state\":\"draining\"");
	pass(1000);
	PLAY_UNTIL(node->in_round);
	usher_node_report(node, USHER_SICK); /* the round under way has gone without it */
	PLAY_UNTIL(routers[0].beats == 4 && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"state\":\"sick\"");
	ck_assert(usher_node_admits(node));
}
END_TEST

/* -- rooms ------------------------------------------------------------------------------------------------------------------- */
START_TEST(changes_digest_and_what_closed)
{
	struct digest digest = { 0 };
	char text[DIGEST_TEXT_MAX], member[80];

	usher_node_room_set((play_start(1), node), "first", 5, 1);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"rooms\":[{\"room\":\"first\",\"epoch\":5,\"participants\":1}]}");
	CK_HAS_NOT(LAST(&routers[0]), "rooms_part");
	usher_node_room_set(node, "a\"b", 6, 2);
	usher_node_room_set(node, "gone", 7, 0);
	usher_node_room_remove(node, "gone", 6); /* an older epoch: stays */
	usher_node_room_remove(node, "gone", 7);
	usher_node_room_set(node, "first", 4, 9); /* lower: ignored */
	play_round();
	digest_toggle(&digest, "first", 5, 5, true);
	digest_toggle(&digest, "a\"b", 3, 6, true);
	digest_print(&digest, text);
	snprintf(member, sizeof(member), "\"rooms_digest\":\"%s\",", text);
	CK_HAS(LAST(&routers[0]), member);
	CK_HAS(LAST(&routers[0]), "\"max_epoch\":7,");
	CK_HAS(LAST(&routers[0]), "{\"room\":\"a\\\"b\",\"epoch\":6,\"participants\":2}");
	CK_HAS(LAST(&routers[0]), "\"closed\":[{\"room\":\"gone\",\"epoch\":7}]}");
	CK_HAS_NOT(LAST(&routers[0]), "\"rooms\":[");
	play_round();
	CK_HAS(LAST(&routers[0]), member);
	CK_HAS(LAST(&routers[0]), "\"closed\":[]}"); /* heard */
}
END_TEST

START_TEST(a_room_is_told_with_its_grant)
{
	play_start_admitted(1);
	usher_node_room_set(node, "a", 5, 1);
	ck_assert_int_eq(usher_node_room_grant(node, "a", 5, "AAECAwQFBgcICQoLDA0ODw,AAECAwQFBgcICQoLDA0OEA"), 0);
	play_round();
	CK_HAS(LAST(&routers[0]), "\"changed\":[{\"room\":\"a\",\"epoch\":5,\"participants\":1,\"grant\":\"AAECAwQFBgcICQoLDA0ODw\"}]");
	ck_assert_int_eq(usher_node_room_grant(node, "a", 4, "AAECAwQFBgcICQoLDA0ODw"), -1);
	ck_assert_int_eq(usher_node_room_grant(node, "b", 5, "AAECAwQFBgcICQoLDA0ODw"), -1);
	ck_assert_int_eq(usher_node_room_grant(node, "a", 5, "short"), -1);
	ck_assert_int_eq(usher_node_room_grant(node, "a", 5, NULL), -1);
	usher_node_room_set(node, "a", 5, 2);
	play_round();
	CK_HAS(LAST(&routers[0]), "\"participants\":2,\"grant\":\"AAECAwQFBgcICQoLDA0ODw\"}");
	usher_node_room_set(node, "a", 6, 2); /* another room */
	play_round();
	CK_HAS(LAST(&routers[0]), "\"epoch\":6,\"participants\":2}");
}
END_TEST

START_TEST(calls_are_allowed_by_the_keys_of_the_last_answer)
{
	play_start_admitted(1);
	ck_assert(!usher_node_demands_grants(node) && usher_node_call_allowed(node, NULL) && usher_node_call_allowed(node, "any"));
	routers[0].call_key = "AAECAwQFBgcICQoLDA0ODw,AAECAwQFBgcICQoLDA0OEA";
	play_round();
	ck_assert(usher_node_demands_grants(node) && usher_node_call_allowed(node, "AAECAwQFBgcICQoLDA0ODw"));
	routers[0].call_key = "AAECAwQFBgcICQoLDA0OEA,AAECAwQFBgcICQoLDA0OEQ";
	play_round();
	ck_assert(!usher_node_call_allowed(node, NULL) && !usher_node_call_allowed(node, ""));
	ck_assert(!usher_node_call_allowed(node, "AAECAwQFBgcICQoLDA0ODw")); /* of a key that was taken out */
	ck_assert(usher_node_call_allowed(node, "AAECAwQFBgcICQoLDA0OEA") && usher_node_call_allowed(node, "x, AAECAwQFBgcICQoLDA0OEQ"));
	routers[0].degraded = true;
	play_round();
	ck_assert(usher_node_call_allowed(node, "AAECAwQFBgcICQoLDA0OEA"));
	routers[0].call_key = NULL;
	play_round();
	ck_assert(!usher_node_demands_grants(node) && usher_node_call_allowed(node, NULL));
}
END_TEST

START_TEST(no_call_is_allowed_before_a_router_has_answered)
{
	play_start(1);
	ck_assert(!usher_node_call_allowed(node, NULL) && !usher_node_call_allowed(node, "AAECAwQFBgcICQoLDA0ODw"));
}
END_TEST

START_TEST(held_again_is_not_closed)
{
	play_start_admitted(1);
	usher_node_room_set(node, "a", 5, 0);
	usher_node_room_set(node, "b", 5, 0);
	usher_node_room_remove(node, "a", 5);
	usher_node_room_remove(node, "b", 5);
	usher_node_room_set(node, "a", 5, 0);
	usher_node_room_set(node, "b", 6, 0);
	play_round();
	CK_HAS(LAST(&routers[0]), "\"closed\":[{\"room\":\"b\",\"epoch\":5}]}");
}
END_TEST

START_TEST(unchanged_rooms_are_told_again_in_turn)
{
	char name[8];

	play_start(1);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "r%02d", i);
		usher_node_room_set(node, name, 5, 0);
	}
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round); /* that round has refreshed r00 and r01 */
	play_round();
	CK_HAS(LAST(&routers[0]), "\"changed\":[{\"room\":\"r03\",\"epoch\":5,\"participants\":0},{\"room\":\"r02\",");
	CK_HAS_NOT(LAST(&routers[0]), "r04");
}
END_TEST

static unsigned admitted_early;
static void admits_not_yet(struct fake_router *f)
{
	(void)f;
	admitted_early += usher_node_admits(node);
}

static void set_rooms(size_t n, size_t name_bytes)
{
	char name[300];

	memset(name, '"', sizeof(name)); /* twice as long in JSON */
	for (size_t i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%06zu", i);
		name[6] = '"';
		name[name_bytes] = '\0';
		ck_assert_int_eq(usher_node_room_set(node, name, 5, 0), 0);
		name[name_bytes] = '"';
	}
}

/* Only a list in one part shows what is not held any more. */
START_TEST(as_many_rooms_as_one_part_may_have_go_in_one_with_their_grants)
{
	play_start(1);
	set_rooms(ROOMS_PART_MAX, 36);
	for (const struct held_room *room = node->rooms.oldest; room; room = room->newer)
		memcpy(((struct held_room *)(uintptr_t)room)->grant, "AAECAwQFBgcICQoLDA0ODw", GRANT_MAX);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	ck_assert_uint_eq(routers[0].beats, 1);
	CK_HAS(routers[0].asked[1].body.at, "\"grant\":\"AAECAwQFBgcICQoLDA0ODw\"}]}");
	CK_HAS_NOT(routers[0].asked[1].body.at, "rooms_part");
	ck_assert_uint_le(routers[0].asked[1].body.len, BEAT_BYTES_MAX);
}
END_TEST

START_TEST(long_lists_go_in_parts)
{
	admitted_early = 0;
	routers[0].seen = admits_not_yet;
	routers[0].charged = 42;
	play_start(1);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	ck_assert_uint_eq(routers[0].beats, 2);
	ck_assert_uint_eq(admitted_early, 0); /* the whole list is what confirms */
	CK_HAS(routers[0].asked[1].body.at, "\"rooms_part\":[1,2]}");
	CK_HAS(routers[0].asked[1].body.at, "\"seq\":1,");
	CK_HAS(routers[0].asked[1].body.at, "\"000127\""); /* 129 of them were refreshed: the young end is 0 to 128 */
	CK_HAS_NOT(routers[0].asked[1].body.at, "\"000128\"");
	CK_HAS(routers[0].asked[2].body.at, "\"rooms_part\":[2,2]}");
	CK_HAS(routers[0].asked[2].body.at, "\"seq\":2,");
	CK_HAS(routers[0].asked[2].body.at, "\"seen\":0,"); /* the sample is the round's, older than the first part's answer */
	CK_HAS(routers[0].asked[2].body.at, "\"rooms\":[{\"room\":\"000128\",\"epoch\":5,\"participants\":0}]");
	play_round();
	CK_HAS(LAST(&routers[0]), "\"rooms_digest\":\"4097:");
}
END_TEST

START_TEST(long_names_make_more_parts)
{
	size_t beats;

	play_start(1);
	set_rooms(3000, 256);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	beats = routers[0].beats;
	ck_assert_uint_gt(beats, 1);
	for (size_t i = 0; i < 3000; i++)
		node->rooms.oldest->participants = i; /* not by usher_node_room_set: not to change */
	node_rooms_refresh(&node->rooms, 3000);
	play_round();
	ck_assert_uint_gt(routers[0].beats, beats + 1); /* as many changes make a full list again */
	for (size_t i = 0; i < routers[0].count; i++)
		ck_assert_uint_le(routers[0].asked[i].body.len, BEAT_BYTES_MAX);
}
END_TEST

START_TEST(many_changes_make_a_full_list)
{
	play_start_admitted(1);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	play_round();
	CK_HAS(LAST(&routers[0]), "\"rooms_part\":[2,2]}");
}
END_TEST

START_TEST(a_wanted_list_is_sent_now_and_once)
{
	play_start_admitted(1);
	usher_node_room_set(node, "a", 5, 0);
	play_round();
	routers[0].want_rooms = true;
	play_round();
	ck_assert_uint_eq(routers[0].beats, 4);
	CK_HAS(LAST(&routers[0]), "\"rooms\":[{\"room\":\"a\",");
	ck_assert(usher_node_admits(node));
}
END_TEST

START_TEST(a_list_that_is_wanted_again_confirms_nothing)
{
	routers[0].want_rooms = true;
	play_start(1);
	PLAY_UNTIL(routers[0].beats == 2 && !node->in_round);
	ck_assert(!usher_node_admits(node));
	routers[0].want_rooms = false;
	play_round();
	ck_assert(usher_node_admits(node));
}
END_TEST

static void wants_the_first_part_again(struct fake_router *f)
{
	f->want_rooms = f->beats == 1;
}

START_TEST(a_part_that_is_wanted_again_confirms_nothing)
{
	routers[0].seen = wants_the_first_part_again;
	play_start(1);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	PLAY_UNTIL(routers[0].beats == 3);
	ck_assert(!usher_node_admits(node));
	CK_HAS(LAST(&routers[0]), "\"rooms_part\":[1,2]}"); /* all of it again, and now */
	PLAY_UNTIL(usher_node_admits(node));
	ck_assert_uint_eq(routers[0].beats, 4);
}
END_TEST

static void loses_the_store_for_the_first_part(struct fake_router *f)
{
	f->degraded = f->beats == 1;
}

START_TEST(a_part_without_the_store_confirms_nothing)
{
	routers[0].seen = loses_the_store_for_the_first_part;
	play_start(1);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	PLAY_UNTIL(routers[0].beats == 2 && !node->in_round);
	ck_assert(!usher_node_admits(node)); /* the rooms of the first part were compared with nothing */
	play_round();
	ck_assert(usher_node_admits(node));
	ck_assert_uint_eq(routers[0].beats, 4);
}
END_TEST

START_TEST(taken_rooms_are_evicted)
{
	play_start_admitted(1);
	usher_node_room_set(node, "mine", 5, 0);
	usher_node_room_set(node, "theirs", 5, 0);
	routers[0].evict = "[{\"room\":\"theirs\",\"epoch\":5},{\"room\":\"unheard of\",\"epoch\":9}]";
	play_round();
	routers[0].evict = NULL;
	ck_assert_uint_eq(told.nevicted, 2);
	ck_assert_str_eq(told.evicted[0], "theirs@5");
	ck_assert_str_eq(told.evicted[1], "unheard of@9");
	play_round();
	CK_HAS(LAST(&routers[0]), "\"closed\":[{\"room\":\"theirs\",\"epoch\":5}]");
	ck_assert(usher_node_admits(node));
}
END_TEST

/* -- routers that do not renew ------------------------------------------------------------------------------------------------ */
static void does_not_renew(size_t i, int how)
{
	switch (how) {
	case 0:
		is_hung_up(i);
		break;
	case 1:
		routers[i].beat_refusal = "503 shutting_down";
		break;
	case 2:
		routers[i].not_renewed = true;
		break;
	case 3:
		routers[i].evict = "3"; /* not a list */
		break;
	case 4:
		routers[i].degraded = true;
		break;
	case 5:
		routers[i].beat_refusal = "404 not_found"; /* of a route, not of the node */
		break;
	case 6:
		fake_router_stop(&routers[i]);
		break;
	}
}

START_TEST(others_are_tried_at_once)
{
	play_start_admitted(3);
	does_not_renew(0, _i);
	pass(1000);
	PLAY_UNTIL(node->renewed && !node->in_round); /* the clock stands */
	ck_assert_ptr_ne(node->current, node->links);
	ck_assert(usher_node_admits(node));
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), LEASE_MS - MARGIN_MS);
	unsigned before = routers[0].beats;
	play_round();
	ck_assert_uint_eq(routers[0].beats, before); /* it stays with the one that answered */
	ck_assert_int_eq((int)usher_node_phase(node), USHER_NODE_ADMITS);
}
END_TEST

static void hangs_up_at_the_second_part(struct fake_router *f)
{
	if (strstr(f->asked[f->count - 1].body.at, "\"rooms_part\":[2,2]"))
		f->does = FAKE_HANGS_UP;
}

START_TEST(a_part_that_is_not_heard_goes_to_others)
{
	routers[0].seen = hangs_up_at_the_second_part;
	play_start(2);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	PLAY_UNTIL(usher_node_admits(node)); /* the clock stands */
	ck_assert_uint_eq(routers[1].beats, 2);
	CK_HAS(routers[1].asked[0].body.at, "\"rooms_part\":[1,2]}"); /* from the first part */
}
END_TEST

START_TEST(a_kept_connection_that_broke_is_no_silence)
{
	play_start_admitted(2);
	for (struct peer_conn *c = routers[0].peer.conns; c; c = c->next)
		peer_close(c);
	pass(1000);
	PLAY_UNTIL(node->renewed && !node->in_round);
	ck_assert_uint_eq(routers[1].beats, 0);
	ck_assert_uint_eq(routers[0].beats, 2);
}
END_TEST

START_TEST(routers_are_learned_and_forgotten)
{
	char list[200];

	snprintf(list, sizeof(list), "[\"%s/\",\"%s\"]", routers[0].url, routers[1].url);
	routers[0].routers = list;
	play_start_admitted(1);
	ck_assert_uint_eq(node->nlinks, 2); /* a slash at the end makes no other router */
	is_hung_up(0);
	pass(1000);
	PLAY_UNTIL(node->renewed && !node->in_round);
	ck_assert_uint_eq(routers[1].beats, 1);
	routers[1].routers = "[\"http://127.0.0.1:1\"]";
	play_round();
	ck_assert_uint_eq(node->nlinks, 3); /* configured, told, and the one that tells */
	routers[0].routers = NULL;
	routers[0].does = FAKE_ANSWERS;
	is_hung_up(1);
	pass(1000);
	PLAY_UNTIL(node->renewed && !node->in_round);
	routers[0].routers = "[]";
	play_round();
	ck_assert_uint_ge(node->nlinks, 1);
}
END_TEST

START_TEST(heartbeats_name_the_routers_that_are_asked)
{
	char list[200], named[200];

	play_start_admitted(1);
	snprintf(named, sizeof(named), "\"routers\":[\"%s\"],", routers[0].url);
	CK_HAS(LAST(&routers[0]), named);
	snprintf(list, sizeof(list), "[\"%s/\",\"%s\"]", routers[0].url, routers[1].url);
	routers[0].routers = list;
	play_round();
	CK_HAS(LAST(&routers[0]), named); /* it learned of the other by the answer */
	play_round();
	snprintf(named, sizeof(named), "\"routers\":[\"%s\",\"%s\"],", routers[0].url, routers[1].url);
	CK_HAS(LAST(&routers[0]), named);
}
END_TEST

/* What the store has is the last heartbeat that it renewed: whoever is named there may judge our silence, and so must say `degraded`. */
START_TEST(a_router_is_asked_until_a_heartbeat_without_it_was_renewed)
{
	char both[200], one[200];

	snprintf(both, sizeof(both), "[\"%s\",\"%s\"]", routers[0].url, routers[1].url);
	snprintf(one, sizeof(one), "[\"%s\"]", routers[0].url);
	routers[0].routers = both;
	play_start_admitted(1);
	routers[0].routers = one;
	play_round(); /* named the other once more */
	ck_assert_uint_eq(node->nlinks, 2);
	play_round();
	CK_HAS_NOT(LAST(&routers[0]), routers[1].url);
	ck_assert_uint_eq(node->nlinks, 1);
}
END_TEST

/* -- the lease ------------------------------------------------------------------------------------------------------------------ */
START_TEST(refuses_at_lease_minus_margin)
{
	play_start_admitted(2);
	is_hung_up(0);
	is_hung_up(1);
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), LEASE_MS - MARGIN_MS);
	usher_node_room_set(node, "a", 5, 0);
	pass(LEASE_MS - MARGIN_MS - 1);
	ck_assert(usher_node_admits(node));
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), 1);
	boot += 1;
	ck_assert(!usher_node_admits(node)); /* at the call: no timer has rung */
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), 0);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_REFUSES);
	ck_assert_uint_eq(told.nphases, 1);
	now += 2;
	play_turn();
	ck_assert_uint_eq(told.nphases, 2);
	ck_assert_int_eq(told.phases[1], USHER_NODE_REFUSES);
	ck_assert_uint_eq(usher_node_rooms(node), 1); /* rooms stay */
	ck_assert_uint_eq(told.nevicted, 0);
}
END_TEST

START_TEST(after_a_lapse_the_whole_list_comes_first)
{
	play_start_admitted(1);
	usher_node_room_set(node, "a", 5, 0);
	usher_node_room_set(node, "b", 5, 0);
	play_round();
	is_hung_up(0);
	for (int i = 0; i < 5; i++)
		pass(1000);
	PLAY_UNTIL(!node->in_round);
	ck_assert(!usher_node_admits(node));
	routers[0].does = FAKE_ANSWERS;
	routers[0].evict = "[{\"room\":\"a\",\"epoch\":5}]";
	pass(1000);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"rooms\":[");
	CK_HAS(LAST(&routers[0]), "\"registration\":1000,"); /* not lost: the same registration goes on */
	ck_assert_str_eq(told.evicted[0], "a@5");
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_ADMITS);
}
END_TEST

/* While the store is rebuilt this is what tells a node that has its rooms for certain from one that may have lost them. */
START_TEST(a_heartbeat_says_whether_the_lease_was_unbroken)
{
	play_start_admitted(1);
	CK_HAS(LAST(&routers[0]), "\"unbroken\":false"); /* nobody has confirmed a room yet */
	play_round();
	CK_HAS(LAST(&routers[0]), "\"unbroken\":true");
	is_hung_up(0);
	pass(LEASE_MS);
	PLAY_UNTIL(!node->in_round);
	routers[0].does = FAKE_ANSWERS;
	pass(1000);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"unbroken\":false");
	play_round();
	CK_HAS(LAST(&routers[0]), "\"unbroken\":true");
}
END_TEST

static void forgets_the_node_once(struct fake_router *f)
{
	if (!f->beat_refusal)
		return;
	f->beat_refusal = f->registers > 1 ? NULL : f->beat_refusal;
	f->want_rooms = true;
}

/* The store has forgotten it; by the lease that it had, nobody else can have its rooms yet. */
START_TEST(a_lease_that_the_store_forgot_counts_to_its_end)
{
	play_start_admitted(1);
	play_round();
	routers[0].beat_refusal = "404 unknown_node";
	routers[0].seen = forgets_the_node_once;
	pass(1000);
	PLAY_UNTIL(routers[0].registers == 2 && node->renewed && !node->in_round);
	ck_assert(!usher_node_admits(node)); /* its list is wanted again */
	CK_HAS(LAST(&routers[0]), "\"unbroken\":true");
	pass(LEASE_MS - MARGIN_MS - 1000 - 1); /* that lease was counted from the round before */
	PLAY_UNTIL(!node->in_round);
	CK_HAS(LAST(&routers[0]), "\"unbroken\":true");
	pass(1000);
	PLAY_UNTIL(!node->in_round);
	CK_HAS(LAST(&routers[0]), "\"unbroken\":false");
	ck_assert(!usher_node_admits(node));
}
END_TEST

START_TEST(after_a_lapse_nobody_is_let_in_before_the_last_part)
{
	play_start(1);
	set_rooms(ROOMS_PART_MAX + 1, 6);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	is_hung_up(0);
	for (int i = 0; i < 5; i++)
		pass(1000);
	PLAY_UNTIL(!node->in_round);
	routers[0].does = FAKE_ANSWERS;
	routers[0].seen = admits_not_yet;
	admitted_early = 0;
	pass(1000);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
	CK_HAS(LAST(&routers[0]), "\"rooms_part\":[2,2]}");
	ck_assert_uint_eq(admitted_early, 0);
}
END_TEST

static uint64_t answer_takes_ms;
static void answer_takes(struct fake_router *f)
{
	(void)f;
	boot += answer_takes_ms;
}

START_TEST(the_lease_counts_from_before_the_sending)
{
	play_start_admitted(1);
	routers[0].seen = answer_takes;
	answer_takes_ms = 700;
	play_round();
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), LEASE_MS - MARGIN_MS - 700);
	answer_takes_ms = LEASE_MS; /* as after the machine slept */
	play_round();
	ck_assert(!usher_node_admits(node));
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_REFUSES);
	answer_takes_ms = 0;
	play_round();
	ck_assert(usher_node_admits(node));
}
END_TEST

START_TEST(failed_rounds_come_again_within_the_interval)
{
	play_start_admitted(2);
	is_hung_up(0);
	is_hung_up(1);
	for (unsigned rounds = 1; rounds < 8; rounds++) {
		uint64_t top = UINT64_C(50) << rounds;
		pass(node->timer.due_ms - now);
		PLAY_UNTIL(node->attempts == rounds && !node->in_round);
		ck_assert_uint_gt(node->timer.due_ms, now);
		ck_assert_uint_le(node->timer.due_ms, now + (top < 1000 ? top : 1000));
	}
}
END_TEST

START_TEST(an_answer_may_change_the_lease)
{
	play_start_admitted(1);
	routers[0].lease_ms = 900; /* a tenth is less than the least margin */
	play_round();
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), 800);
}
END_TEST

/* -- the store is gone ------------------------------------------------------------------------------------------------------------ */
static void all_degraded(void)
{
	for (size_t i = 0; i < 3; i++)
		routers[i].degraded = true;
}

START_TEST(every_router_degraded_and_the_node_goes_on)
{
	play_start_admitted(3);
	usher_node_room_set(node, "a", 5, 0);
	play_round();
	all_degraded();
	for (int i = 0; i < 20; i++) {
		play_round();
		ck_assert(usher_node_admits(node));
	}
	ck_assert_uint_eq(told.nphases, 1);
	for (size_t i = 0; i < 3; i++) { /* each knows all rooms, then what changes */
		size_t first = 0;
		while (!strstr(routers[i].asked[first].body.at, "\"rooms\":[{\"room\":\"a\","))
			ck_assert_uint_lt(++first, routers[i].count);
		CK_HAS(LAST(&routers[i]), "\"rooms_digest\":\"1:");
		ck_assert_uint_ge(routers[i].beats, 20);
	}
	for (size_t i = 0; i < 3; i++)
		routers[i].degraded = false;
	play_round();
	ck_assert(node->renewed && usher_node_admits(node));
	ck_assert_int_eq((int)usher_node_lease_left_ms(node), LEASE_MS - MARGIN_MS);
	play_round();
	unsigned before = all_beats();
	play_round();
	ck_assert_uint_eq(all_beats(), before + 1); /* one router is enough again */
}
END_TEST

/* Lives on for `ms` of rounds; how long until it refused. */
static uint64_t refuses_after(uint64_t most_ms)
{
	uint64_t begun = boot;

	while (usher_node_admits(node) && boot < begun + most_ms) {
		pass(100);
		PLAY_UNTIL(!node->in_round);
	}
	return boot - begun;
}

START_TEST(one_silent_router_and_there_is_no_exception)
{
	play_start_admitted(3);
	all_degraded();
	does_not_renew(2, _i);
	if (_i != 0)
		routers[2].degraded = false;
	ck_assert_uint_le(refuses_after(20000), LEASE_MS - MARGIN_MS);
	ck_assert_int_eq(usher_node_phase(node), USHER_NODE_REFUSES);
	pass(2);
	ck_assert_int_eq(told.phases[told.nphases - 1], USHER_NODE_REFUSES);
	/* Nor later: after the gap somebody may have placed the rooms anew. */
	routers[2].does = FAKE_ANSWERS;
	routers[2].beat_refusal = NULL;
	routers[2].not_renewed = false;
	routers[2].degraded = true;
	for (int i = 0; i < 5; i++)
		play_round();
	ck_assert(!usher_node_admits(node));
}
END_TEST

START_TEST(a_router_that_stays_silent_for_a_lease_ends_the_exception)
{
	play_start_admitted(3);
	all_degraded();
	for (int i = 0; i < 10; i++)
		play_round();
	ck_assert(usher_node_admits(node));
	does_not_renew(1, _i);
	if (_i != 0)
		routers[1].degraded = false;
	uint64_t after = refuses_after(20000);
	ck_assert_uint_gt(after, 0);
	ck_assert_uint_le(after, LEASE_MS - MARGIN_MS);
	routers[1].does = FAKE_ANSWERS;
	routers[1].beat_refusal = NULL;
	routers[1].not_renewed = false;
	routers[1].degraded = true;
	for (int i = 0; i < 5; i++)
		play_round();
	ck_assert(!usher_node_admits(node));
}
END_TEST

START_TEST(a_router_that_starts_anew_does_not_end_the_exception)
{
	play_start_admitted(3);
	usher_node_room_set(node, "a", 5, 0);
	all_degraded();
	for (int i = 0; i < 10; i++)
		play_round();
	for (int i = 0; i < 10; i++) {
		is_hung_up(1);
		play_round();
		ck_assert(usher_node_admits(node));
		routers[1].does = FAKE_ANSWERS;
		play_round();
		ck_assert(usher_node_admits(node));
		ck_assert_ptr_nonnull(strstr(fake_router_last(&routers[1])->body.at, "\"rooms\":[{\"room\":\"a\",")); /* it knows nothing of before */
	}
}
END_TEST

START_TEST(without_the_store_all_are_asked_at_the_same_time)
{
	play_start_admitted(3);
	all_degraded();
	play_round();
	routers[0].does = FAKE_SILENT;
	unsigned before = routers[1].beats + routers[2].beats;
	pass(1000);
	PLAY_UNTIL(routers[1].beats + routers[2].beats == before + 2); /* the clock stands: nobody waited for the first */
}
END_TEST

START_TEST(the_exception_can_be_switched_off)
{
	options.fence_on_store_loss = true;
	play_start_admitted(3);
	CK_HAS_NOT(LAST(&routers[0]), "\"routers\""); /* the lease alone counts: anybody may judge our silence */
	all_degraded();
	ck_assert_uint_le(refuses_after(20000), LEASE_MS - MARGIN_MS);
	for (size_t i = 0; i < 3; i++)
		routers[i].degraded = false;
	play_round();
	ck_assert(usher_node_admits(node));
}
END_TEST

START_TEST(a_listed_router_that_cannot_be_asked_ends_the_exception)
{
	char list[200];

	snprintf(list, sizeof(list), "[\"%s\",\"gopher://elsewhere\"]", routers[0].url);
	routers[0].routers = list;
	play_start_admitted(1);
	routers[0].degraded = true;
	ck_assert_uint_le(refuses_after(20000), LEASE_MS - MARGIN_MS);
}
END_TEST

START_TEST(a_router_told_of_by_another_must_be_degraded_too)
{
	char list[200];

	snprintf(list, sizeof(list), "[\"%s\",\"%s\"]", routers[0].url, routers[1].url);
	play_start_admitted(1);
	routers[0].routers = list;
	routers[0].degraded = true;
	routers[1].not_renewed = true;
	ck_assert_uint_le(refuses_after(20000), LEASE_MS - MARGIN_MS);
	ck_assert_uint_gt(routers[1].beats, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("node_beat");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, play_setup, play_teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, one_each_interval);
	tcase_add_test(all, says_what_is_known_of_the_load);
	tcase_add_test(all, an_answer_says_whether_the_node_drains);
	tcase_add_test(all, a_report_is_told_at_once);
	tcase_add_test(all, changes_digest_and_what_closed);
	tcase_add_test(all, a_room_is_told_with_its_grant);
	tcase_add_test(all, calls_are_allowed_by_the_keys_of_the_last_answer);
	tcase_add_test(all, no_call_is_allowed_before_a_router_has_answered);
	tcase_add_test(all, held_again_is_not_closed);
	tcase_add_test(all, unchanged_rooms_are_told_again_in_turn);
	tcase_add_test(all, as_many_rooms_as_one_part_may_have_go_in_one_with_their_grants);
	tcase_add_test(all, long_lists_go_in_parts);
	tcase_add_test(all, long_names_make_more_parts);
	tcase_add_test(all, many_changes_make_a_full_list);
	tcase_add_test(all, a_wanted_list_is_sent_now_and_once);
	tcase_add_test(all, a_list_that_is_wanted_again_confirms_nothing);
	tcase_add_test(all, a_part_that_is_wanted_again_confirms_nothing);
	tcase_add_test(all, a_part_without_the_store_confirms_nothing);
	tcase_add_test(all, taken_rooms_are_evicted);
	tcase_add_loop_test(all, others_are_tried_at_once, 0, 7);
	tcase_add_test(all, a_part_that_is_not_heard_goes_to_others);
	tcase_add_test(all, a_kept_connection_that_broke_is_no_silence);
	tcase_add_test(all, routers_are_learned_and_forgotten);
	tcase_add_test(all, heartbeats_name_the_routers_that_are_asked);
	tcase_add_test(all, a_router_is_asked_until_a_heartbeat_without_it_was_renewed);
	tcase_add_test(all, refuses_at_lease_minus_margin);
	tcase_add_test(all, after_a_lapse_the_whole_list_comes_first);
	tcase_add_test(all, a_heartbeat_says_whether_the_lease_was_unbroken);
	tcase_add_test(all, a_lease_that_the_store_forgot_counts_to_its_end);
	tcase_add_test(all, after_a_lapse_nobody_is_let_in_before_the_last_part);
	tcase_add_test(all, the_lease_counts_from_before_the_sending);
	tcase_add_test(all, failed_rounds_come_again_within_the_interval);
	tcase_add_test(all, an_answer_may_change_the_lease);
	tcase_add_test(all, every_router_degraded_and_the_node_goes_on);
	tcase_add_loop_test(all, one_silent_router_and_there_is_no_exception, 0, 3);
	tcase_add_loop_test(all, a_router_that_stays_silent_for_a_lease_ends_the_exception, 0, 3);
	tcase_add_test(all, a_router_that_starts_anew_does_not_end_the_exception);
	tcase_add_test(all, without_the_store_all_are_asked_at_the_same_time);
	tcase_add_test(all, the_exception_can_be_switched_off);
	tcase_add_test(all, a_listed_router_that_cannot_be_asked_ends_the_exception);
	tcase_add_test(all, a_router_told_of_by_another_must_be_degraded_too);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
