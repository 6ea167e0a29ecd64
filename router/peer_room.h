/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While the store does not answer, another router may know a room that this one was never asked for. Its word is as good as an
 * entry of our own table then, if it is about the process and registration that we know: a gate refuses an epoch that is over. Nothing
 * is placed by it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "base/wire/limits.h"

struct arena;
struct request;
struct wait;
struct worker;

struct peer_room {
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	uint64_t registration;
	uint64_t epoch; /* 0: nobody knows the room */
};
/* Asks the others at once, at most PEERS_ASKED of them, for at most PEERS_MS; the first who knows it ends this. WAIT; NEXT with
 * epoch 0 where there is nobody to ask, or too much is being asked already. Dropping the wait cancels. */
int peer_room_ask(struct worker *, struct str room, struct arena *, struct peer_room *out, struct wait *);
bool peer_room_ticket(const struct request *, struct str *ticket); /* what shows that a router asks */
bool peer_room_claims(const struct request *);                     /* it says so, which is to be shown yet */
bool peer_room_asks(struct request *); /* this request is such a question: nobody is asked on its behalf */
