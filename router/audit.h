/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are the open tunnels still where their rooms are? Each second a worker looks its tunnels up: one of an older epoch than the
 * room's is closed (1012 room_moved), one whose room has ended as well (1000 room_closed). A lost node's tunnels are closed at once
 * (1012 node_lost). Each is told another wait, so that their clients do not come back all at once.
 */
#pragma once

struct audits;
struct router;
struct worker;

struct audits *audits_new(struct worker *);
void audits_free(struct audits *);
void audit_close_node(struct router *, const char *node); /* any thread, all workers */
