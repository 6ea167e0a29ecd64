/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The highest epoch that was evicted of each room, for TOMB_MS: a late open of that epoch, or of an older one, must not bring
 * the room back. At most TOMBS_MAX rooms (about 200 bytes each); past that the oldest is forgotten first.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "client/lib/room_map.h"

#define TOMB_MS 600000
#define TOMBS_MAX 100000

struct tomb;
struct tombs { /* zero-initialized: empty */
	struct room_map map;
	struct tomb *oldest, *newest;
};
void tombs_set(struct tombs *, struct str room, uint64_t epoch, uint64_t now_ms);
uint64_t tombs_get(const struct tombs *, struct str room, uint64_t now_ms); /* 0: none */
void tombs_free(struct tombs *);
