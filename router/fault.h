/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fault points: the process ends, as if killed, when a request reaches a step. Only builds with -Dfault_points=true have them;
 * the build chooses fault_on.c or fault_off.c.
 */
#pragma once

#include <stdbool.h>

struct request;
extern const bool faults_built;
void fault_point(const struct request *);
