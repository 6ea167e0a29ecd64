/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rooms of this SFU as the agent knows them: which are held at which epoch, which have been given up. Opens and evictions
 * go to the adapter from here, one at a time for each room, in the order in which they were asked. The gate asks rooms_admit();
 * routers hear of changes through the usher_node that is set. Foreign rooms (not opened by usher) are listed and never touched.
 *
 * At most JOBS_MAX operations wait for one room. Memory is a struct for each room and TOMBS_MAX evicted epochs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "client/agent/adapter.h"

struct known_grants;
struct usher_node;

#define JOBS_MAX 32

enum room_end {
	END_CLOSED, /* usher ended it */
	END_MOVED,  /* it is another's by now, or a newer room has its name */
	END_LOST    /* the SFU is gone or sick */
};
struct rooms;
struct rooms_conf {
	struct loop *loop;
	struct adapter *adapter;
	/* Whoever is in the room at this epoch or an older one has to go. */
	void (*ended)(void *arg, struct str room, uint64_t up_to_epoch, enum room_end);
	void *arg;
};
struct rooms *rooms_new(const struct rooms_conf *);
void rooms_free(struct rooms *); /* tells nobody */
/* Tells this node the rooms that are held, and each change from now on. NULL: nobody. */
void rooms_report_to(struct rooms *, struct usher_node *);

enum room_verdict { ROOM_HELD, ROOM_UNKNOWN, ROOM_OTHER_EPOCH };
enum room_verdict rooms_admit(const struct rooms *, struct str room, uint64_t epoch);
const struct known_grants *rooms_grants(const struct rooms *, struct str room); /* of a held room; NULL: it is not */

/* grants: X-Usher-Grant, "" for none; of the room once it is open. Hints land in the arena. -ERR_STALE_EPOCH: this or a higher epoch
 * was evicted, or a higher one is held; others are the adapter's, or -ERR_CONTENTION. An asker that leaves changes nothing: the
 * operation goes on. */
int rooms_open(struct rooms *, const struct adapter_open *, struct str grants, struct arena *, struct adapter_opened *out, struct wait *);
/* That epoch and older ones: nobody is admitted from now on; 0 when the SFU has ended it. w NULL: tried again at each poll. */
int rooms_evict(struct rooms *, struct str room, uint64_t epoch, enum room_end, struct wait *w);

/* A poll is compared with what is known: rooms_poll_begins() before it is asked, rooms_polled() with what it said. */
uint64_t rooms_poll_begins(struct rooms *);
void rooms_polled(struct rooms *, const struct adapter_rooms *, uint64_t begun);
void rooms_give_up(struct rooms *);    /* all count as evicted; the SFU does not listen, so it is told at the next poll */
void rooms_forget(struct rooms *);     /* the SFU process has ended, and its rooms with it */
size_t rooms_held(const struct rooms *);
uint64_t rooms_participants(const struct rooms *); /* of the last poll, foreign rooms' too */
/* Held and foreign (epoch 0) rooms. */
void rooms_each(const struct rooms *, void (*fn)(void *ctx, const struct adapter_room *), void *ctx);
