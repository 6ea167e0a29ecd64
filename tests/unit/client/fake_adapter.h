/* SPDX-License-Identifier: Apache-2.0 */
/* An adapter whose SFU is the test: operations wait until the test ends them, in the order in which they were asked. */
#pragma once

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/wait.h"
#include "client/agent/adapter.h"

#define CALLS_MAX 64

struct fake_call {
	struct op op;
	bool evicts, fresh, dropped, over;
	uint64_t epoch;
	char room[64];
	struct arena *arena;
	struct adapter_opened *out;
};
static struct {
	struct adapter adapter;
	struct fake_call calls[CALLS_MAX];
	size_t ncalls, ended;
	bool at_once;          /* operations end as they are asked, well */
	int health;            /* what the check says; WAIT: nothing yet */
	struct op checking;
	const char *signal_url, *http_url;
	bool embedded;
	struct adapter_sample sample; /* of polls */
	int polled;                   /* what a poll says; WAIT: nothing yet */
	struct op polling;
	struct adapter_sample *poll_out;
	unsigned polls;
} fake_sfu;

static inline void fake_dropped(struct op *op)
{
	container_of(op, struct fake_call, op)->dropped = true;
}

static inline int fake_begin(bool evicts, struct str room, uint64_t epoch, struct arena *arena, struct adapter_opened *out, struct wait *w)
{
	struct fake_call *call = &fake_sfu.calls[fake_sfu.ncalls++];

	ck_assert_uint_le(fake_sfu.ncalls, CALLS_MAX);
	*call = (struct fake_call){ .op.dropped = fake_dropped, .evicts = evicts, .epoch = epoch, .arena = arena, .out = out };
	snprintf(call->room, sizeof(call->room), "%.*s", STR_ARG(room));
	if (fake_sfu.at_once) {
		call->over = true;
		fake_sfu.ended++;
		return NEXT;
	}
	op_attach(&call->op, w);
	return WAIT;
}

static inline int fake_open(struct adapter *adapter, const struct adapter_open *open, struct arena *arena, struct adapter_opened *out, struct wait *w)
{
	(void)adapter;
	int verdict = fake_begin(false, open->room, open->epoch, arena, out, w);
	fake_sfu.calls[fake_sfu.ncalls - 1].fresh = open->fresh;
	return verdict;
}

static inline int fake_evict(struct adapter *adapter, struct str room, uint64_t epoch, struct wait *w)
{
	(void)adapter;
	return fake_begin(true, room, epoch, NULL, NULL, w);
}

/* The oldest operation under way ends so. */
static inline void fake_end(int err)
{
	struct fake_call *call = &fake_sfu.calls[fake_sfu.ended++];

	ck_assert_uint_le(fake_sfu.ended, fake_sfu.ncalls);
	call->over = true;
	if (!err && call->out && call->op.waiter)
		call->out->hints = (struct str){ arena_copy(call->arena, "{\"pin\":1}", 9), 9 };
	wait_wake(op_detach(&call->op), err);
}

static inline struct fake_call *fake_last(void)
{
	return fake_sfu.ncalls ? &fake_sfu.calls[fake_sfu.ncalls - 1] : NULL;
}

static inline int fake_poll(struct adapter *adapter, struct arena *arena, struct adapter_sample *out, struct wait *w)
{
	(void)adapter, (void)arena;
	fake_sfu.polls++;
	if (fake_sfu.polled != WAIT) {
		*out = fake_sfu.sample;
		return fake_sfu.polled;
	}
	fake_sfu.poll_out = out;
	op_attach(&fake_sfu.polling, w);
	return WAIT;
}

static inline void fake_poll_answers(int err)
{
	*fake_sfu.poll_out = fake_sfu.sample;
	wait_wake(op_detach(&fake_sfu.polling), err);
}

static inline int fake_health(struct adapter *adapter, struct wait *w)
{
	(void)adapter;
	if (fake_sfu.health == WAIT)
		op_attach(&fake_sfu.checking, w);
	return fake_sfu.health;
}

static inline const char *fake_signal_url(const struct adapter *adapter)
{
	(void)adapter;
	return fake_sfu.signal_url;
}

static inline const char *fake_http_url(const struct adapter *adapter)
{
	(void)adapter;
	return fake_sfu.http_url;
}

static struct adapter_ops fake_ops = { .name = "fake", .signal_url = fake_signal_url, .http_url = fake_http_url, .open = fake_open,
	                               .evict = fake_evict, .poll = fake_poll, .health = fake_health };

static inline void fake_sfu_reset(void)
{
	memset(&fake_sfu, 0, sizeof(fake_sfu));
	fake_sfu.adapter.ops = &fake_ops;
	fake_sfu.signal_url = "ws://127.0.0.1:1";
	fake_sfu.http_url = "http://127.0.0.1:1";
}
