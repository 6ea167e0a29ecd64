/* SPDX-License-Identifier: Apache-2.0 */
/* A room as operators see it, alone and in lists. */
#pragma once

#include "registry/rooms.h"

struct json_out;
struct router;

/* participants < 0: null. A record whose owner we do not know alive is shown as lost. */
void room_write(struct json_out *, const struct router *, struct str name, const struct room *, int64_t participants);
