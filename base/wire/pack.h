/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of tickets: numbers in network order, and texts after their length in two bytes. */
#pragma once

#include <stdint.h>

#include "base/str.h"

void pack_number(struct buf *, uint64_t n, unsigned bytes);
void pack_text(struct buf *, struct str);
/* Cut from the beginning of `rest`; one that is too short gives 0 or an empty text, and is used up. */
uint64_t unpack_number(struct str *rest, unsigned bytes);
struct str unpack_text(struct str *rest);
