/* SPDX-License-Identifier: Apache-2.0 */
/* The steps, and how the suite runs. Tests fork: each has a process with loops, a registry and stores of its own. */
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "tests/unit/registry/suite_private.h"

struct store *s;
static const struct suite_host *host;

/* -- rooms ------------------------------------------------------------------------------------------------------------------ */

static struct claimed claim(const char *name, uint64_t from, bool released, const char *node)
{
	struct claim claim = { .from_epoch = from, .released = released, .from_registration = 7, .node = node,
		               .incarnation = "inc", .registration = 7 };
	struct claimed got = { 0 };

	OK(rooms_claim(s, str_of(name), &claim, DUE, &got, w));
	return got;
}

struct claimed do_claim(const char *name, uint64_t from, const char *node)
{
	return claim(name, from, false, node);
}

struct claimed do_claim_lost(const char *name, uint64_t from, const char *node)
{
	return claim(name, from, true, node);
}

struct claimed do_publish(const char *name, uint64_t epoch, const char *hints)
{
	struct claimed got = { 0 };

	OK(rooms_publish(s, str_of(name), epoch, str_of(hints), DUE, &got, w));
	return got;
}

struct claimed do_confirm(const char *name, uint64_t epoch)
{
	struct claimed got = { 0 };

	OK(rooms_confirm(s, str_of(name), epoch, DUE, &got, w));
	return got;
}

struct claimed do_shut(const char *name, uint64_t epoch)
{
	struct claimed got = { 0 };

	OK(rooms_shut(s, str_of(name), epoch, DUE, &got, w));
	return got;
}

struct claimed do_forget(const char *name, uint64_t epoch)
{
	struct claimed got = { 0 };

	OK(rooms_forget(s, str_of(name), epoch, DUE, &got, w));
	return got;
}

uint64_t do_open(const char *name, const char *node)
{
	struct claimed got = do_claim(name, 0, node);

	ck_assert(got.won);
	ck_assert(do_publish(name, got.room.epoch, "").won);
	return got.room.epoch;
}

struct room do_find(const char *name, bool fresh)
{
	struct room room = { 0 };

	OK(rooms_find(s, str_of(name), fresh, DUE, &room, w));
	return room;
}

/* -- nodes ------------------------------------------------------------------------------------------------------------------ */

struct registered do_register(const char *node, const char *incarnation, const char *replaces)
{
	struct registration_request request = { .incarnation = incarnation, .replaces = replaces, .info = STR("{\"i\":1}"),
		                                .lease_ms = 4000 };
	struct registered got = { 0 };

	OK(nodes_register(s, node, &request, DUE, &got, w));
	return got;
}

struct renewed do_renew(const char *node, const char *incarnation, uint64_t registration, uint64_t seq)
{
	struct renewal renewal = { .incarnation = incarnation, .registration = registration, .seq = seq, .lease_ms = 5000,
		                   .reported = REPORTED_DRAINING, .load = STR("{\"cpu\":0.5}"), .seen = seq, .shown = 0.25,
		                   .routers = STR("http://a http://b") };
	struct renewed got = { 0 };

	OK(nodes_renew(s, node, &renewal, DUE, &got, w));
	return got;
}

struct reserved do_reserve(const char *node, uint64_t registration, const char *room, double cost, uint64_t rooms_max,
                           bool exclusive)
{
	struct reserve want = { .room = str_of(room), .registration = registration, .cost = cost, .rooms_max = rooms_max,
		                .exclusive = exclusive };
	struct reserved got = { 0 };

	OK(nodes_reserve(s, node, &want, DUE, &got, w));
	return got;
}

bool do_lose(const char *node, uint64_t registration, uint64_t seq)
{
	bool lost = false;

	OK(nodes_lose(s, node, registration, seq, DUE, &lost, w));
	return lost;
}

bool do_leave(const char *node, const char *incarnation)
{
	bool left = false;

	OK(nodes_leave(s, node, incarnation, DUE, &left, w));
	return left;
}

const struct node_record *do_look(const char *node)
{
	struct nodes_all all = { 0 };

	OK(nodes_all(s, &t.arena, DUE, &all, w));
	ck_assert(!all.partial);
	for (size_t i = 0; i < all.count; i++)
		if (strcmp(all.nodes[i].id, node) == 0)
			return &all.nodes[i];
	return NULL;
}

bool has_entry(const char *node, const char *room, struct room_report *out)
{
	int err = CALL(nodes_room(s, node, str_of(room), DUE, out, w));

	ck_assert(err == 0 || err == -ERR_NOT_FOUND);
	return err == 0;
}

bool row_of(const char *node, const char *room, struct rooms_row *out)
{
	struct rooms_query query = { .node = node, .limit = 100 };
	struct rooms_page page = { 0 };

	OK(rooms_list(s, &query, &t.arena, DUE, &page, w));
	ck_assert_str_eq(page.next, "");
	for (size_t i = 0; i < page.count; i++) {
		if (!str_is(page.rows[i].name, room))
			continue;
		*out = page.rows[i];
		return true;
	}
	return false;
}

/* -- running ---------------------------------------------------------------------------------------------------------------- */

static void begin(void)
{
	turning_open(host->begin());
}

static void end(void)
{
	turning_close();
}

int suite_run(const struct suite_host *of, void (*once)(void), void (*at_end)(void))
{
	Suite *suite = suite_create(of->name);
	SRunner *runner;
	int failed;

	host = of;
	signal(SIGPIPE, SIG_IGN);
	suite_rooms(suite, begin, end);
	suite_lists(suite, begin, end);
	suite_nodes(suite, begin, end);
	suite_places(suite, begin, end);
	if (once)
		once();
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	if (at_end)
		at_end();
	return failed;
}
