/* SPDX-License-Identifier: Apache-2.0 */
/* --print config|metrics|errors|routes|redis-errors: the tables as Markdown; docs/reference/ is made from them. */
#pragma once

#include <stdio.h>

int print_reference(const char *what, FILE *out); /* the exit code */
