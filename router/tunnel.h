/* SPDX-License-Identifier: Apache-2.0 */
/* What usher remembers of an open tunnel: enough to close it by room, node or epoch. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/wire/limits.h"

struct dialed;
struct worker;
struct carried { /* the arg of each struct tunnel of a worker */
	struct worker *worker;
	struct dialed *peer; /* until the tunnel has it */
	uint64_t epoch;
	char node[NODE_MAX + 1];
	char id[65]; /* of the request */
	size_t room_len;
	char room[];
};
