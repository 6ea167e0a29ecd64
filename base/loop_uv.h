/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the adapter of libuv: loop.c, loop_names.c, loop_child.c. */
#pragma once

#include <stdatomic.h>
#include <uv.h>

#include "base/loop.h"

#define UNRUNG_MAX 16

/* The time is repeated here: with ten thousand timers, looking into each one that is compared is a fetch from memory. */
struct due {
	uint64_t ms;
	struct timer *timer;
};
struct loop {
	uv_loop_t uv;
	uv_timer_t alarm;       /* for the earliest of our timers */
	bool rung;              /* timers are due in this turn: those that were at rung_ms */
	uint64_t rung_ms;
	uv_poll_t bell;         /* messages have come, on bell_fd */
	int bell_fd;
	uv_prepare_t before_sleep;
	uv_check_t after_sleep;
	uv_idle_t awake;        /* active while something runs later, or timers ring in this turn: the loop must not sleep on it */
	struct due *heap;       /* heap[0] is the earliest */
	size_t ntimers, heap_size;
	struct later *later, **last_later;
	uint64_t turn;
	_Atomic(struct task *) posted; /* newest first */
	struct loop *unrung[UNRUNG_MAX]; /* got messages from this turn; their bells ring when it ends */
	size_t nunrung;
	struct loop *soon_to; /* got messages from this loop that may wait; its bell rings with `soon` at the latest. NULL: none */
	struct timer soon;
	bool fake;
	uint64_t fake_ms;
	uint64_t woke_ns, stalled_ns;
	uint64_t slept_from_ns, busy_ns; /* busy: the last whole turn */
	long sleeps;                     /* of its thread, up to the last one */
	uint64_t waited_ns, least_ns;    /* this turn's work, before it; and the least since it was asked, UINT64_MAX: none */
	struct loop_signal *signals;
};
void loop_close_handle(uv_handle_t *); /* frees its `data` once libuv lets go of it */
void loop_free_signals(struct loop *);
void loop_free_children(struct loop *);
