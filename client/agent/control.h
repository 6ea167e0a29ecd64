/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usher calls on a node: open and evict a room, list rooms, health. JSON in and out, refusals as problem+json. An asker
 * that leaves changes nothing: what it began goes on, and asking again is safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/httpd.h"

struct rooms;

struct control_conf {
	struct rooms *rooms;
	/* Why no room is opened for that registration (0: not said) of the node; NULL: it is. fresh: it was not here before. */
	const char *(*takes_none)(void *arg, uint64_t registration, bool fresh);
	bool (*registered)(void *arg); /* before a router has answered nobody knows who is allowed: 503 */
	bool (*allowed)(void *arg, const char *call_key); /* may who shows this (NULL: nothing) open, evict and list rooms? */
	bool (*well)(void *arg);           /* the SFU's own check */
	bool (*fenced)(void *arg);         /* the gate lets nobody in at present */
	void *arg;
};
extern const struct httpd_ops control_ops; /* begin, ready, end; the arg is a struct control_conf */
