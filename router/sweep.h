/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms that nobody uses any more: each router looks at one node at a time, page by page, by its own monotonic clock, and
 * closes what has stood still for too long. All changes are by compare-and-set, so several routers may sweep the same room.
 */
#pragma once

struct router;
struct sweep;

struct sweep *sweep_new(struct router *);
void sweep_start(struct sweep *);
void sweep_free(struct sweep *);
