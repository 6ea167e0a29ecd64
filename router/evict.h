/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a room from a node without waiting: for rooms that were opened in vain. What fails is mended by the node's reports. */
#pragma once

#include "base/str.h"

struct worker;
void evictions_drop(struct worker *); /* at a stop */
void evict_room(struct worker *, const char *node, const char *incarnation, struct str room, uint64_t epoch);
