/* SPDX-License-Identifier: Apache-2.0 */
/* Core dumps have all that a process knows in them: passwords, keys, what participants say. */
#pragma once

/* From now on no core is dumped, whatever the limits are, and no process of the same user reads this one's memory. */
void dump_forbid(void);
