/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that routes.c binds to paths; each is defined at the end of the file of its name. */
#pragma once

#include "router/routes.h"

extern const struct verb join_verb, route_verb, signal_verb;
extern const struct verb register_verb, heartbeat_verb, leave_verb;
extern const struct verb nodes_verb, node_verb, node_rooms_verb, cordon_verb, drain_verb, undrain_verb, breakers_reset_verb;
extern const struct verb events_verb, rooms_verb, room_verb, close_verb, move_verb, placement_verb, simulate_verb, routers_verb;
extern const struct verb livez_verb, readyz_verb, metrics_verb, later_verb;
