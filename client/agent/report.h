/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a heartbeat says of load: the machine's, the SFU's own where its adapter knows, and the participants of the last poll.
 * Polls run one at a time, a little before each heartbeat: after the answer of the one before, so that a room which that
 * answer counted as charged is in the sample that claims to have seen it.
 */
#pragma once

#include <stdint.h>

struct adapter;
struct loop;
struct report;
struct rooms;
struct usher_load;

struct report_conf {
	struct loop *loop;
	struct adapter *adapter;
	struct rooms *rooms;
	const char *proc;
	void (*polled)(void *arg, int err); /* each time */
	void *arg;
};
struct report *report_new(const struct report_conf *);
void report_free(struct report *);
void report_poll(struct report *); /* now, unless one is under way */
void report_stop(struct report *); /* drops what is under way or due */
/* For a heartbeat that is about to be sent; the next comes in heartbeat_ms. */
void report_fill(struct report *, uint64_t heartbeat_ms, struct usher_load *out);
