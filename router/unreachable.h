/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that heartbeat and that no router reaches: their lease holds, so nothing else would ever take their rooms away. After
 * nodes.unreachable_ms that is an event (node_unreachable) and, with nodes.unreachable_drain, a wish to drain the node.
 */
#pragma once

struct router;
struct unreachables;

struct unreachables *unreachables_new(struct router *);
void unreachables_start(struct unreachables *);
void unreachables_free(struct unreachables *);
