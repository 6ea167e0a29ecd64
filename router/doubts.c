/* SPDX-License-Identifier: Apache-2.0 */
/* One word a slot, so that no lock is needed: the upper half tells the room and its epoch, the lower half the reading. */
#include <stdatomic.h>
#include <stdlib.h>

#include "registry/hash.h"
#include "router/doubts.h"

#define SLOTS 4096
#define READINGS_MAX 12 /* about six heartbeats: what a client that was refused comes back within */

struct doubts {
	struct hash_key key;
	_Atomic uint64_t slots[SLOTS];
};

static uint64_t mark_of(const struct doubts *doubts, struct str room, uint64_t epoch, uint64_t registration)
{
	return hash_name(doubts->key, room) ^ epoch * UINT64_C(0x9e3779b97f4a7c15) ^ registration * UINT64_C(0xff51afd7ed558ccd);
}

uint64_t doubts_since(const struct doubts *doubts, struct str room, uint64_t epoch, uint64_t registration, uint64_t version)
{
	uint64_t mark = mark_of(doubts, room, epoch, registration);
	uint64_t slot = atomic_load((_Atomic uint64_t *)(uintptr_t)&doubts->slots[mark % SLOTS]);
	uint64_t since = slot & UINT32_MAX;

	return slot >> 32 == mark >> 32 && since + READINGS_MAX > version ? since : 0;
}

void doubts_keep(struct doubts *doubts, struct str room, uint64_t epoch, uint64_t registration, uint64_t since)
{
	uint64_t mark = mark_of(doubts, room, epoch, registration);

	atomic_store(&doubts->slots[mark % SLOTS], since && since <= UINT32_MAX ? (mark & ~(uint64_t)UINT32_MAX) | since : 0);
}

struct doubts *doubts_new(void)
{
	struct doubts *doubts = calloc(1, sizeof(*doubts));

	if (!doubts)
		abort();
	doubts->key = hash_key_new();
	return doubts;
}

void doubts_free(struct doubts *doubts)
{
	free(doubts);
}
