/* SPDX-License-Identifier: Apache-2.0 */
/* SipHash-1-3 of a name, with a key of the table's own: participants choose room names, and must not choose collisions. */
#pragma once

#include <stdint.h>

#include "base/str.h"

struct hash_key {
	uint64_t k[2];
};
struct hash_key hash_key_new(void);
uint64_t hash_name(struct hash_key, struct str);
