/* SPDX-License-Identifier: Apache-2.0 */
/* What usher remembers of an open tunnel: enough to close it by room, node or epoch. There may be many: no byte more than that. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "base/str.h"

struct worker;
struct carried { /* the arg of each struct tunnel of a worker */
	struct worker *worker;
	uint64_t epoch;
	struct sockaddr_in6 from; /* the participant's side, for the limits of connections; or another kind that is no longer */
	uint16_t id_at, room_at, room_len;
	char text[]; /* the node and the request's id, each with a NUL, and the room */
};
static inline const char *carried_node(const struct carried *carried)
{
	return carried->text;
}
static inline struct str carried_room(const struct carried *carried)
{
	return (struct str){ carried->text + carried->room_at, carried->room_len };
}
