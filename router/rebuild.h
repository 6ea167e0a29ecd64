/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the store's data all there? The keeper looks at the store's mark with each reading; while it says `rebuilding`, rooms that
 * the store does not know are not placed, as a node may hold them. (protocol.md, "Data loss")
 */
#pragma once

struct router;
struct rebuild;

struct rebuild *rebuild_new(struct router *);
void rebuild_start(struct rebuild *);
void rebuild_free(struct rebuild *);
void rebuild_look(struct rebuild *);          /* keeper: now, as the store came back */
void rebuild_look_soon(struct router *); /* any thread: something of another generation was met */
