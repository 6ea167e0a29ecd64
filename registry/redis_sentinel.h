/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks the Sentinels where the primary is, on the keeper's loop: all of them, each second, and at once when a connection
 * was lost or refused. Writes the place of shard 0.
 */
#pragma once

struct redis_sentinels;
struct redis_shared;

struct redis_sentinels *redis_sentinels_new(struct redis_shared *);
void redis_sentinels_free(struct redis_sentinels *); /* NULL is fine */
