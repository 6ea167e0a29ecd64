/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of tickets: numbers in network order, and texts after their length in two bytes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

void pack_number(struct buf *, uint64_t n, unsigned bytes);
void pack_text(struct buf *, struct str);
/* Cut from the beginning of `rest`; false: it is too short. */
bool unpack_number(struct str *rest, unsigned bytes, uint64_t *out);
bool unpack_text(struct str *rest, struct str *out);
