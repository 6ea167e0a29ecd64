/* SPDX-License-Identifier: Apache-2.0 */
/* What usher remembers of an open tunnel: enough to close it by room, node or epoch. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/wire/limits.h"

struct dialed;
struct worker;
struct carried { /* the arg of each struct tunnel of a worker */
	struct worker *worker;
	struct carried **promised; /* until the socket is given: where the request keeps it, and frees it if the client leaves first */
	struct dialed *peer;       /* until then, too */
	struct sockaddr_storage from; /* the participant's side, for the limits of connections */
	uint64_t epoch;
	char node[NODE_MAX + 1];
	char id[65]; /* of the request */
	size_t room_len;
	char room[];
};
