/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which process the SFU is. Its incarnation is made from boot id, pid and start time, which nothing that restarts the agent
 * changes; so an agent that starts anew finds it again and keeps its rooms. Reads /proc, never waits.
 *
 * An SFU that the agent did not start is found by the socket that listens at its port. Where that socket's owner cannot be
 * read (another user's process, another pid namespace), the socket itself stands for the process: it ends with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/wire/limits.h"

struct process {
	int pid;          /* 0: not known, see inode */
	uint64_t started; /* clock ticks after boot */
	uint64_t inode;   /* of the listening socket; 0: known by its pid alone */
	uint16_t port;
};
bool process_of_pid(const char *proc, int pid, struct process *out);
bool process_of_port(const char *proc, uint16_t port, struct process *out); /* false: nobody listens there */
bool process_lives(const char *proc, const struct process *);
void incarnation_of(const char *proc, const struct process *, char out[static INCARNATION_MAX + 1]);
