/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several routers' placements over one embedded store, on one loop whose clock the test moves. A charge reaches the other
 * routers as late as the test says; nodes report when the test says. So herds can be made and counted without a process.
 */
#pragma once

#include <check.h>

#include "base/loop.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "router/place.h"

#define BED_ROUTERS_MAX 8
struct bed {
	struct loop *loop;
	struct retire *retire;
	struct registry *registry;
	struct store *store;
	size_t nrouters;
	struct fleet *fleets[BED_ROUTERS_MAX];
	struct place *places[BED_ROUTERS_MAX];
	uint64_t now_ms;
	uint64_t charge_delay_ms; /* until another router hears of a charge; up to so long, at random */
	struct announced *announced;
	size_t nannounced, sannounced;
};
extern struct bed bed;
extern struct place_conf bed_conf; /* changed before bed_open() */

void bed_open(size_t routers);
void bed_close(void);
void bed_pass(uint64_t ms); /* time passes; charges that are due arrive */

/* info: members of the registration, "\"region\":\"eu\""; "" none. Registered, and heard of with this load if it is not NULL. */
void bed_node(const char *id, const char *info, const char *load);
void bed_beat(const char *id, const char *load, bool seen); /* seen: the report knows every charge so far */
void bed_look(void); /* every router reads the store */
const struct node *bed_see(const char *id);

struct place_wish bed_wish(const char *room);
int bed_choose(size_t router, const struct place_wish *, struct placed *out);
void bed_reserve(const struct placed *, const char *room); /* charged for all routers */
int bed_place(size_t router, const char *room, struct placed *out); /* chosen, charged and opened */
