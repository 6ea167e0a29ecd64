/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Since which reading of the nodes a room's owner is missed (fleet_misses()), beyond the request that missed it first: one that
 * may not wait for two more readings (server.park_ms) is refused, and without this memory so would be each that follows, for
 * ever. Of one registration in the record: an owner that took its room back since may be missing in a reading from before that.
 * Any thread. What collides is forgotten, and the asker begins anew.
 */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct doubts;

struct doubts *doubts_new(void);
void doubts_free(struct doubts *);
/* 0: not known, or so long ago that the owner may have been here meanwhile. `version`: of the view now. */
uint64_t doubts_since(const struct doubts *, struct str room, uint64_t epoch, uint64_t registration, uint64_t version);
void doubts_keep(struct doubts *, struct str room, uint64_t epoch, uint64_t registration, uint64_t since); /* 0: it is here */
