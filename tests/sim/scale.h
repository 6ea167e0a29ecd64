/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the simulation itself is, and what one choice of usher's costs as the fleet grows. Exit codes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

int print_scale(uint64_t seconds, uint64_t usher_seconds);
int print_cost(size_t only); /* 0: all sizes */
