/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What usher calls on a node: open and evict a room, list rooms, health. JSON in and out, refusals as problem+json. An asker
 * that leaves changes nothing: what it began goes on, and asking again is safe.
 */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

struct rooms;

struct control_conf {
	struct rooms *rooms;
	const char *(*leaving)(void *arg); /* why no new room is taken; NULL: they are */
	bool (*well)(void *arg);           /* the SFU's own check */
	bool (*fenced)(void *arg);         /* the gate lets nobody in at present */
	void *arg;
};
extern const struct httpd_ops control_ops; /* begin, ready, end; the arg is a struct control_conf */
