/* SPDX-License-Identifier: Apache-2.0 */
/* The URLs usher hands out and those it calls. All results are in the request's arena. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct request;
struct node;

struct str address_signal(struct request *, struct str room); /* ws(s)://…/v1/rooms/{room}/signal, as participants reach us */
struct str address_room(struct request *, struct str room);   /* the room, percent-encoded */
/* The node's URL for one participant's request: rest and query appended, without `ticket`. NULL: the node has none. */
const char *address_upstream(struct request *, const struct node *, bool websocket);
