/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the Redis store: which primary has which key. One server, or the one that Sentinels name, is one shard with
 * every key. A cluster has one for each primary, and a map of its slots, read by `redis_cluster.c` and published here.
 * A shard keeps its number while its primary changes; the numbers are this process's own, and mean nothing to others.
 *
 * On each loop a shard has a connection (two with wait_replicas), and calls find theirs by their key.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/retire.h"
#include "base/str.h"
#include "registry/redis_op.h"
#include "registry/redis_place.h"

#define REDIS_SLOTS 16384
#define REDIS_SHARDS_MAX 128
#define REDIS_NO_SHARD UINT16_MAX

struct redis_shared;
struct redis_watch;

struct redis_shard { /* one a process; never freed before the process's store */
	struct redis_place place;
	struct redis_watch *watch;
};
struct redis_map {
	struct retired retired;
	uint16_t shard[REDIS_SLOTS]; /* its number, or REDIS_NO_SHARD */
	size_t count;
	struct redis_part { /* of each shard that has slots, in the order of the lowest */
		uint16_t shard, lowest;
		char tag[8]; /* "{tag}" lies in the lowest slot */
	} parts[REDIS_SHARDS_MAX];
};
struct redis_marks { /* as the keeper last saw them (redis_mark.c) */
	_Atomic uint64_t all, part[REDIS_SHARDS_MAX]; /* generations: of all together, of each shard */
};
struct redis_shards {
	struct redis_shard *at[REDIS_SHARDS_MAX]; /* the first `count`; only grows */
	_Atomic size_t count;
	_Atomic(struct redis_map *) map; /* NULL: not a cluster, or not known yet */
};

/* -- keeper -------------------------------------------------------------------------------------------------------------------- */
/* The number of a new shard, whose place is nowhere yet; REDIS_NO_SHARD: there are too many. */
size_t redis_shard_add(struct redis_shared *);
void redis_shard_move(struct redis_shared *, size_t shard, const struct redis_endpoint *); /* NULL: it has no primary now */
void redis_map_publish(struct redis_shared *, const uint16_t shard[static REDIS_SLOTS]);

/* -- any thread ---------------------------------------------------------------------------------------------------------------- */
uint16_t redis_slot_of(struct str key); /* CRC16 of what stands between the first {}, or of all */
size_t redis_shard_of(const struct redis_shared *, struct str key); /* REDIS_NO_SHARD: nobody, or not known yet */
/* For what goes through all shards in an order that every router has: by the lowest slot of each. The shard whose lowest
 * slot is `from` or the next above it; REDIS_NO_SHARD: there is none. Where there is one shard it is slot 0's. */
size_t redis_shard_from(const struct redis_shared *, unsigned from, unsigned *lowest);

/* -- a loop's connections -------------------------------------------------------------------------------------------------------- */
struct redis_store;
struct redis_shard_conns { /* of one shard */
	struct redis_conn data, acked;
};
void shards_open(struct redis_store *);  /* those that there are by now, and later ones by themselves */
void shards_close(struct redis_store *);
bool shards_up(const struct redis_store *); /* at least one answers: what lies at the others is refused at once */
uint64_t shards_connections(const struct redis_store *);
uint64_t shard_server(const struct redis_store *, size_t shard); /* struct redis_conn.server of its data connection */
/* Where this call goes: by its key; a call without a key goes to any shard. NULL: nowhere. */
struct redis_conn *shard_conn(struct redis_store *, const struct redis_call *);
/* Like redis_send(), to where its key lives. It follows the key when the cluster says that it moved (redis_error.h). */
int shard_send(struct redis_store *, struct redis_call *);
int shard_send_to(struct redis_store *, size_t shard, struct redis_call *); /* for commands without a key */
bool shard_has_keys(const struct redis_store *, size_t shard); /* not where braces in the prefix keep all at another one */
/* prefix + name as a word; in a cluster with something behind it, so that it lies at this shard. */
void command_shard_key(struct buf *, const struct redis_store *, const char *name, size_t shard);
void shard_tell(struct redis_store *, struct buf *text); /* like redis_tell() */
