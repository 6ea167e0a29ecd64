/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves rooms off draining nodes, and single rooms on demand. Runs on the keeper of every router, which part the rooms of a node
 * among themselves by a hash of the name; each change is by compare-and-set, so that two that take the same room harm nothing.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct json_out;
struct mover;
struct room;
struct router;
struct wait;
struct worker;

struct mover *mover_new(struct router *);
void mover_start(struct mover *);
void mover_free(struct mover *);
void mover_write(const struct mover *, struct json_out *); /* "drains":[…], for the other routers. Keeper */

/* Somebody saw this room `moving`: if it still is a little later, whoever moved it has died, and this router goes on. Any thread;
 * tell-only. */
void mover_meet(struct router *, struct str name, const struct room *);
/* From a worker: moves a room as it was just read, to `target` (NULL: to the node that placement chooses). WAIT; then 0: it is
 * on its way and leaves in any case, or -ERR_X and it stays where it is; *retry_ms when trying again can help. */
int mover_ask(struct worker *, struct str name, const struct room *, const char *target, uint64_t *retry_ms, struct wait *);
