/* SPDX-License-Identifier: Apache-2.0 */
/* The store lives on the same loop, so that every call of it answers at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/retire.h"
#include "base/str.h"
#include "base/wait.h"
#include "tests/unit/router/place_bed.h"

#define NODES_MAX 256

struct announced { /* on its way to one router */
	uint64_t due_ms, number;
	size_t router;
	double cost;
	char node[NODE_MAX + 1];
};
struct bed bed;
struct place_conf bed_conf;
static struct { /* what a node knows of itself */
	char id[NODE_MAX + 1];
	uint64_t registration, seq, charged;
} nodes[NODES_MAX];
static size_t nnodes;

static void on_charged(void *arg, const char *node, uint64_t number, double cost)
{
	(void)arg;
	for (size_t r = 0; r < bed.nrouters; r++) {
		if (bed.nannounced == bed.sannounced) {
			bed.sannounced = bed.sannounced ? 2 * bed.sannounced : 256;
			bed.announced = realloc(bed.announced, bed.sannounced * sizeof(*bed.announced));
			ck_assert_ptr_nonnull(bed.announced);
		}
		struct announced *a = &bed.announced[bed.nannounced++];
		*a = (struct announced){ bed.now_ms + (bed.charge_delay_ms ? random_u64() % (bed.charge_delay_ms + 1) : 0), number, r, cost, "" };
		snprintf(a->node, sizeof(a->node), "%s", node);
	}
}

static void deliver(void)
{
	size_t kept = 0;

	for (size_t i = 0; i < bed.nannounced; i++) {
		struct announced a = bed.announced[i];
		if (a.due_ms <= bed.now_ms)
			fleet_charged(bed.fleets[a.router], a.node, a.number, a.cost);
		else
			bed.announced[kept++] = a;
	}
	bed.nannounced = kept;
}

void bed_pass(uint64_t ms)
{
	bed.now_ms += ms;
	loop_fake_clock(bed.loop, bed.now_ms);
	loop_turn(bed.loop);
	deliver();
}

void bed_open(size_t routers)
{
	const char *why = NULL;
	struct registry_conf registry = { .url = "memory:", .prefix = "u:", .router = "r", .timeout_ms = 1000, .table_max = 1000,
		                          .trust_ms = 1000, .charged = on_charged };
	struct fleet_conf fleet = { .heartbeat_ms = 100000, .lease_ms = 400000, .grace_ms = 500, .unfenced_ms = 400000, .timeout_ms = 500,
		                    .allow_cidr = "127.0.0.0/8",
		                    .ramp_ms = bed_conf.ramp_ms, .max_load = bed_conf.max_load, .max_ejected = bed_conf.max_ejected,
		                    .breaker = { .failures = 5, .window_ms = 10000, .min_calls = 20, .open_ms = 1000,
		                                 .max_open_ms = 30000, .failure_rate = 0.5, .backoff = 2 },
		                    .router = "r" };

	bed = (struct bed){ .nrouters = routers };
	nnodes = 0;
	bed.loop = loop_new();
	bed.retire = retire_new(bed.loop, &bed.loop, 1);
	bed.registry = registry_new(bed.loop, bed.retire, &registry, &why);
	ck_assert_msg(bed.registry != NULL, "%s", why);
	bed.store = store_new(bed.registry, bed.loop);
	bed.now_ms = loop_now_ms(bed.loop) + 1000000;
	loop_fake_clock(bed.loop, bed.now_ms);
	for (size_t r = 0; r < routers; r++) {
		bed.fleets[r] = fleet_new(bed.loop, bed.store, bed.retire, &fleet);
		bed.places[r] = place_new(bed.fleets[r], &bed_conf);
	}
	bed_look();
}

void bed_close(void)
{
	for (size_t r = 0; r < bed.nrouters; r++) {
		place_free(bed.places[r]);
		fleet_free(bed.fleets[r]);
	}
	store_free(bed.store);
	for (int i = 0; i < 4; i++)
		loop_turn(bed.loop);
	retire_free(bed.retire);
	registry_free(bed.registry);
	loop_turn(bed.loop);
	loop_free(bed.loop);
	free(bed.announced);
}

void bed_look(void)
{
	for (size_t r = 0; r < bed.nrouters; r++)
		fleet_refresh(bed.fleets[r]);
	bed_pass(0);
	bed_pass(0);
}

const struct node *bed_see(const char *id)
{
	const struct node *node = fleet_find(bed.fleets[0], id);

	ck_assert_ptr_nonnull(node);
	return node;
}

/* -- nodes ---------------------------------------------------------------------------------------------------------------- */
static size_t own(const char *id)
{
	for (size_t i = 0; i < nnodes; i++)
		if (!strcmp(nodes[i].id, id))
			return i;
	ck_assert_uint_lt(nnodes, NODES_MAX);
	snprintf(nodes[nnodes].id, sizeof(nodes[nnodes].id), "%s", id);
	return nnodes++;
}

void bed_node(const char *id, const char *info, const char *load)
{
	char text[512];
	struct registered got;
	struct wait w = { 0 };
	size_t i = own(id);

	snprintf(text, sizeof(text), "{\"signal_url\":\"ws://127.0.0.1:1/\"%s%s}", *info ? "," : "", info);
	struct registration_request request = { .incarnation = "i1", .info = str_of(text), .lease_ms = 400000 };
	ck_assert_int_eq(nodes_register(bed.store, id, &request, bed.now_ms + 500, &got, &w), 0);
	nodes[i].registration = got.registration;
	nodes[i].seq = nodes[i].charged = 0;
	if (load)
		bed_beat(id, load, true);
	bed_look();
}

void bed_beat(const char *id, const char *load, bool seen)
{
	size_t i = own(id);
	struct renewed got;
	struct wait w = { 0 };
	struct renewal renewal = { .incarnation = "i1", .registration = nodes[i].registration, .seq = ++nodes[i].seq, .lease_ms = 400000,
		                   .load = str_of(load), .seen = seen ? nodes[i].charged : 0 };

	ck_assert_int_eq(nodes_renew(bed.store, id, &renewal, bed.now_ms + 500, &got, &w), 0);
	ck_assert_int_eq(got.verdict, RENEW_DONE);
	nodes[i].charged = got.charged;
}

/* -- placing -------------------------------------------------------------------------------------------------------------- */
struct place_wish bed_wish(const char *room)
{
	return (struct place_wish){ .room = str_of(room) };
}

int bed_choose(size_t router, const struct place_wish *wish, struct placed *out)
{
	bool wait_helps;
	uint64_t retry_ms;

	return place_choose(bed.places[router], wish, bed.now_ms, out, &wait_helps, &retry_ms);
}

void bed_reserve(const struct placed *placed, const char *room)
{
	struct reserve want = { .room = str_of(room), .registration = placed->registration, .cost = placed->cost,
		                .rooms_max = placed->rooms_max };
	struct reserved got;
	struct wait w = { 0 };

	ck_assert_int_eq(nodes_reserve(bed.store, placed->node, &want, bed.now_ms + 500, &got, &w), 0);
	ck_assert_msg(got.granted, "%s", got.why_not);
}

int bed_place(size_t router, const char *room, struct placed *out)
{
	struct place_wish wish = bed_wish(room);
	int err = bed_choose(router, &wish, out);

	if (err)
		return err;
	bed_reserve(out, room);
	deliver();
	place_opened(bed.places[router], out->node, bed.now_ms);
	return 0;
}
