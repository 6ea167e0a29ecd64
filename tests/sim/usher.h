/* SPDX-License-Identifier: Apache-2.0 */
/* Beside the policies of usher.c: what one choice costs in a fleet of so many nodes, with eight buckets of charges on each; printed. */
#pragma once

#include <stddef.h>

void usher_cost(size_t nodes);
