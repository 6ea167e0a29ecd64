/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most so many a second for each of very many names, in memory that does not grow: the generic cell rate algorithm (ITU-T I.371,
 * the virtual scheduling form of a token bucket) over two rows of slots. A name that shares one slot with a busy one has its other;
 * only who shares both is held back with it. Any thread, without a lock: a race lets one more through.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct rate;
struct rate *rate_new(double per_s, double burst); /* burst: how many at once; per_s 0: NULL, no limit */
void rate_free(struct rate *);
/* Counts one. False: not counted, as there were too many; *retry_ms says when it would do. A NULL rate never refuses. */
bool rate_take(struct rate *, struct str name, uint64_t now_ms, uint64_t *retry_ms);
bool rate_allows(const struct rate *, struct str name, uint64_t now_ms, uint64_t *retry_ms); /* without counting */
