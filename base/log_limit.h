/* SPDX-License-Identifier: Apache-2.0 */
/*
 * At most so many lines a second of one event: what is logged for each request must not let whoever sends requests fill a disk. The
 * rest is counted, and told in one line a second for each event. Any thread, no lock; 256 events, past which none is limited.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

void log_limit_set(double per_s); /* 0: no limit. Five seconds' worth at once; one at least */
/* The name must be a literal: it is kept. first: of those held back since it was told. */
bool log_limit_takes(const char *event, uint64_t now_ms, bool *first);
bool log_limit_holds(void);       /* something was held back since it was told last */
void log_limit_tell(void (*tell)(const char *event, uint64_t count));
uint64_t log_limit_total(void);
