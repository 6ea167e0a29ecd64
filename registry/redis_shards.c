/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other threads see new shards by looking: on each loop of a cluster's router a timer does, and who needs one, so that no
 * message needs to reach a loop that is ending. A call to a cluster that is not known yet is refused.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/wait.h"
#include "registry/redis_command.h"
#include "registry/redis_shards.h"
#include "registry/redis_store.h"
#include "registry/redis_watch.h"

#define LOOK_MS 100

/* -- of the process ---------------------------------------------------------------------------------------------------------------- */

size_t redis_shard_add(struct redis_shared *shared)
{
	size_t i = atomic_load(&shared->shards.count);
	struct redis_shard *shard;

	if (i == REDIS_SHARDS_MAX)
		return REDIS_NO_SHARD;
	shard = calloc(1, sizeof *shard);
	if (!shard)
		abort();
	shared->shards.at[i] = shard;
	shard->watch = redis_watch_new(shared->watches, &(struct redis_how){
		.target = &shared->target, .place = &shard->place, .login = shared->login, .use = USE_STORE });
	atomic_store(&shared->shards.count, i + 1);
	return i;
}

void redis_shard_move(struct redis_shared *shared, size_t shard, const struct redis_endpoint *to)
{
	struct redis_shard *s = shared->shards.at[shard];

	if (!redis_place_set(&s->place, shared->retire, to))
		return;
	log_info("store_primary", "shard", LOG_U(shard), "host", LOG_S(to ? to->host : "none"), "port", LOG_U(to ? to->port : 0));
	redis_watch_moved(s->watch);
}

static void map_free(struct retired *retired)
{
	free(container_of(retired, struct redis_map, retired));
}

/* Tries numbers: every slot is met within some ten thousands. */
static void parts_tag(struct redis_map *map)
{
	size_t missing = map->count;
	char text[8];

	for (unsigned n = 0; missing && n < 9999999; n++) {
		uint16_t slot = redis_slot_of((struct str){ text, (size_t)snprintf(text, sizeof text, "%u", n) });

		for (size_t i = 0; i < map->count; i++) {
			if (map->parts[i].lowest != slot || map->parts[i].tag[0])
				continue;
			memcpy(map->parts[i].tag, text, sizeof text);
			missing--;
		}
	}
}

static void map_parts(struct redis_map *map)
{
	bool seen[REDIS_SHARDS_MAX] = { false };

	for (unsigned slot = 0; slot < REDIS_SLOTS; slot++) {
		uint16_t shard = map->shard[slot];

		if (shard == REDIS_NO_SHARD || seen[shard])
			continue;
		seen[shard] = true;
		map->parts[map->count++] = (struct redis_part){ .shard = shard, .lowest = (uint16_t)slot };
	}
	parts_tag(map);
}

void redis_map_publish(struct redis_shared *shared, const uint16_t shard[static REDIS_SLOTS])
{
	struct redis_map *map, *old = atomic_load(&shared->shards.map);

	if (old && memcmp(old->shard, shard, sizeof old->shard) == 0)
		return;
	map = calloc(1, sizeof *map);
	if (!map)
		abort();
	memcpy(map->shard, shard, sizeof map->shard);
	map_parts(map);
	atomic_store(&shared->shards.map, map);
	if (old)
		retire_later(shared->retire, &old->retired, map_free);
}

/* -- whose is a key ------------------------------------------------------------------------------------------------------------------ */

static uint16_t crc16(struct str text) /* XMODEM: 0x1021 from 0 */
{
	uint16_t crc = 0;

	for (size_t i = 0; i < text.len; i++) {
		crc = (uint16_t)(crc ^ (uint16_t)((unsigned char)text.at[i] << 8));
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
	}
	return crc;
}

uint16_t redis_slot_of(struct str key)
{
	const char *open = key.len ? memchr(key.at, '{', key.len) : NULL, *close = NULL;

	if (open)
		close = memchr(open, '}', key.len - (size_t)(open - key.at));
	if (close && close > open + 1)
		key = (struct str){ open + 1, (size_t)(close - open) - 1 };
	return crc16(key) % REDIS_SLOTS;
}

size_t redis_shard_of(const struct redis_shared *shared, struct str key)
{
	const struct redis_map *map;

	if (shared->target.kind != REDIS_CLUSTER)
		return 0;
	map = atomic_load(&shared->shards.map);
	return map ? map->shard[redis_slot_of(key)] : REDIS_NO_SHARD;
}

size_t redis_shard_from(const struct redis_shared *shared, unsigned from, unsigned *lowest)
{
	const struct redis_map *map = atomic_load(&shared->shards.map);

	*lowest = 0;
	if (shared->target.kind != REDIS_CLUSTER)
		return from == 0 ? 0 : REDIS_NO_SHARD;
	for (size_t i = 0; map && i < map->count; i++) {
		*lowest = map->parts[i].lowest;
		if (*lowest >= from)
			return map->parts[i].shard;
	}
	return REDIS_NO_SHARD;
}

/* -- a loop's connections ------------------------------------------------------------------------------------------------------------- */

static void shards_look(struct timer *timer)
{
	struct redis_store *store = container_of(timer, struct redis_store, look);

	shards_open(store);
}

void shards_open(struct redis_store *store)
{
	const struct redis_shared *shared = store->shared;
	size_t count = atomic_load(&shared->shards.count);

	for (; store->nshards < count; store->nshards++) {
		struct redis_shard_conns *conns = calloc(1, sizeof *conns);

		if (!conns)
			abort();
		conn_open(&conns->data, store, shared->shards.at[store->nshards]);
		if (shared->wait_replicas)
			conn_open(&conns->acked, store, shared->shards.at[store->nshards]);
		store->shards[store->nshards] = conns;
	}
	if (shared->target.kind == REDIS_CLUSTER)
		timer_set(store->loop, &store->look, LOOK_MS, shards_look);
}

void shards_close(struct redis_store *store)
{
	timer_clear(store->loop, &store->look);
	for (size_t i = 0; i < store->nshards; i++) {
		conn_close(&store->shards[i]->data);
		conn_close(&store->shards[i]->acked);
	}
	for (size_t i = 0; i < store->nshards; i++)
		free(store->shards[i]);
	store->nshards = 0;
}

static bool conns_up(const struct redis_shard_conns *conns)
{
	return redis_up(conns->data.link) && (!conns->acked.link || redis_up(conns->acked.link));
}

bool shards_up(const struct redis_store *store)
{
	for (size_t i = 0; i < store->nshards; i++)
		if (conns_up(store->shards[i]))
			return true;
	return false;
}

uint64_t shards_connections(const struct redis_store *store)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < store->nshards; i++)
		sum += store->shards[i]->data.connections;
	return sum;
}

uint64_t shard_server(const struct redis_store *store, size_t shard)
{
	return shard < store->nshards ? store->shards[shard]->data.server : 0;
}

static size_t any_shard(const struct redis_store *store)
{
	size_t i = 0;

	while (i + 1 < store->nshards && !redis_up(store->shards[i]->data.link))
		i++;
	return i;
}

struct redis_conn *shard_conn(struct redis_store *store, const struct redis_call *call)
{
	bool cluster = store->shared->target.kind == REDIS_CLUSTER;
	struct str key = cluster ? command_first_key(&call->text) : (struct str){ NULL, 0 };
	size_t shard = key.at ? redis_shard_of(store->shared, key) : any_shard(store);

	if (cluster && shard != REDIS_NO_SHARD && shard >= store->nshards)
		shards_open(store);
	if (shard >= store->nshards)
		return NULL;
	return call->acked ? &store->shards[shard]->acked : &store->shards[shard]->data;
}

static int conn_send(struct redis_conn *conn, struct redis_call *call)
{
	call->routed = true;
	if (conn)
		return redis_send(conn->link, call);
	buf_free(&call->text);
	call->text = (struct buf){ 0 };
	return -ERR_STORE_UNAVAILABLE;
}

int shard_send(struct redis_store *store, struct redis_call *call)
{
	return conn_send(shard_conn(store, call), call);
}

int shard_send_to(struct redis_store *store, size_t shard, struct redis_call *call)
{
	return conn_send(shard < store->nshards ? &store->shards[shard]->data : NULL, call);
}

static bool prefix_decides(const char *prefix)
{
	const char *open = strchr(prefix, '{');

	return open && strchr(open, '}');
}

bool shard_has_keys(const struct redis_store *store, size_t shard)
{
	const char *prefix = store->shared->prefix;

	return store->shared->target.kind != REDIS_CLUSTER || !prefix_decides(prefix) ||
	       redis_shard_of(store->shared, str_of(prefix)) == shard;
}

void command_shard_key(struct buf *to, const struct redis_store *store, const char *name, size_t shard)
{
	const struct redis_map *map = atomic_load(&store->shared->shards.map);
	char tagged[64];

	for (size_t i = 0; map && i < map->count; i++) {
		if (map->parts[i].shard != shard)
			continue;
		snprintf(tagged, sizeof tagged, "%s:{%s}", name, map->parts[i].tag);
		command_key(to, store, tagged);
		return;
	}
	command_key(to, store, name);
}

/* A cluster that has moved the key does not hear it: what is told may always be lost, and is mended by whoever tells. */
void shard_tell(struct redis_store *store, struct buf *text)
{
	struct redis_call call = { .text = *text };
	struct redis_conn *conn = shard_conn(store, &call);

	if (conn)
		redis_tell(conn->link, text);
	else
		buf_free(text);
	*text = (struct buf){ 0 };
}
