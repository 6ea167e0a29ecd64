/* SPDX-License-Identifier: Apache-2.0 */
/* How fast the simulation itself is, and what one choice of usher's costs as the fleet grows. Exit codes. */
#pragma once

#include <stdint.h>

int print_scale(uint64_t seconds);
int print_cost(void);
