/* SPDX-License-Identifier: Apache-2.0 */
/* Both loops get their turn until nothing is under way; the end is in the order in which usherd ends. */
#include <poll.h>
#include <stdio.h>

#include "tests/unit/registry/turning.h"

struct turning t;
unsigned turning_primaries = 1;

static void on_charged(void *arg, const char *node, uint64_t number, double cost)
{
	(void)arg;
	t.charges++;
	t.charged_number = number;
	t.charged_cost = cost;
	snprintf(t.charged_node, sizeof t.charged_node, "%s", node);
}

void turn(void)
{
	struct pollfd fds[2];
	int most = 20;

	for (int i = 0; i < 2; i++) {
		int ms = loop_backend_timeout_ms(t.loops[i]);

		fds[i] = (struct pollfd){ .fd = loop_backend_fd(t.loops[i]), .events = POLLIN };
		most = ms < 0 || ms > most ? most : ms;
	}
	poll(fds, 2, most);
	loop_turn(t.loops[0]);
	loop_turn(t.loops[1]);
}

void awaited_wake(struct wait *w, int err)
{
	struct awaited *a = container_of(w, struct awaited, w);

	ck_assert(!a->woken);
	a->woken = true;
	a->err = err;
}

int awaited_settle(struct awaited *a, int err)
{
	if (err != WAIT) {
		ck_assert(!a->woken && !a->w.op);
		return err;
	}
	ck_assert(!a->woken);
	UNTIL(a->woken);
	return a->err;
}

/* As a router does once every node has told its rooms. */
void turning_trust(void)
{
	struct store_mark mark;
	bool done = false;

	UNTIL(CALL(registry_look_at_mark(t.stores[0], false, DUE, &mark, w)) == 0); /* the server says first which process it is */
	OK(registry_call_whole(t.stores[0], mark.generation, DUE, &done, w));
	ck_assert(done);
	mark.whole = true;
	registry_trust_mark(t.registry, &mark);
}

void turning_open(const char *url)
{
	const char *why = NULL;
	struct registry_conf conf = { .url = url, .prefix = "u*:", .router = "rt", .timeout_ms = 1000, .table_max = 1000,
		                      .trust_ms = 3000, .charged = on_charged };

	t = (struct turning){ .loops = { loop_new(), loop_new() } };
	t.retire = retire_new(t.loops[0], t.loops, 2);
	t.registry = registry_new(t.loops[0], t.retire, &conf, &why);
	ck_assert_msg(t.registry != NULL, "%s", why);
	for (int i = 0; i < 2; i++)
		t.stores[i] = store_new(t.registry, t.loops[i]);
	UNTIL(registry_up(t.registry) && store_up(t.stores[0]) && store_up(t.stores[1]));
	for (int i = 0; turning_primaries > 1 && i < 2; i++)
		UNTIL(store_connections(t.stores[i]) >= turning_primaries);
	turning_trust();
}

static void settle(void)
{
	for (int round = 0; round < 8; round++)
		for (int i = 0; i < 2; i++)
			loop_turn(t.loops[i]);
}

void turning_close(void)
{
	settle();
	store_free(t.stores[1]);
	store_free(t.stores[0]);
	settle();
	retire_free(t.retire);
	registry_free(t.registry);
	settle();
	loop_free(t.loops[1]);
	loop_free(t.loops[0]);
	arena_reset(&t.arena);
}
