/* SPDX-License-Identifier: Apache-2.0 */
/* What a node is told without anybody waiting: to let go of a room that was opened in vain, or to hold one again that it lost.
 * What fails is mended by the node's reports. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct sfu_room;
struct worker;
void errands_drop(struct worker *); /* at a stop */
void evict_room(struct worker *, const char *node, const char *incarnation, struct str room, uint64_t epoch);
/* At the epoch that it had: a room that the store knows and the node, which had confirmed it, holds no longer. */
void reopen_room(struct worker *, const char *node, const char *incarnation, struct str room, uint64_t epoch);
/* The same, for a room that the node does hold under the registration that is said: for the grant that comes with it. At most
 * placement.opens_per_node at once at a node. False: it is under way already, or too many are. */
bool bring_grant(struct worker *, const struct sfu_room *);
