/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator should have thought of before others reach this router; printed by usherd --check. */
#pragma once

#include <stdio.h>

struct router_conf;

void checklist_print(const struct router_conf *, FILE *out);
