/* SPDX-License-Identifier: Apache-2.0 */
/* A process with a keeper and one worker, turned by the test's own thread. */
#pragma once

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/retire.h"
#include "base/wait.h"
#include "registry/nodes.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "registry/table.h"

struct turning {
	struct loop *loops[2]; /* keeper, worker */
	struct retire *retire;
	struct registry *registry;
	struct store *stores[2]; /* of the same */
	struct arena arena;
	unsigned charges;
	uint64_t charged_number;
	double charged_cost;
	char charged_node[NODE_MAX + 1];
};
extern struct turning t;
extern unsigned turning_primaries; /* of the store: each loop is connected to all of them; 1 */

void turning_open(const char *url);
void turning_close(void);
void turning_trust(void); /* the store's data as it is now, as whole */
void turn(void);

struct awaited {
	struct wait w;
	bool woken;
	int err;
};
void awaited_wake(struct wait *, int err);
int awaited_settle(struct awaited *, int err);

#define LIMIT_MS 10000
#define UNTIL(condition)                                                                                               \
	do {                                                                                                           \
		uint64_t until_end = loop_fresh_ms(t.loops[0]) + LIMIT_MS;                                             \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(loop_fresh_ms(t.loops[0]) < until_end, "never: %s", #condition);                 \
			turn();                                                                                        \
		}                                                                                                      \
	} while (0)
/* The result of a call that may wait; `w` is its waiter. */
#define CALL(call)                                                                                                     \
	({                                                                                                             \
		struct awaited call_a = { .w.wake = awaited_wake };                                                    \
		struct wait *w = &call_a.w;                                                                            \
		awaited_settle(&call_a, call);                                                                         \
	})
#define OK(call) ck_assert_int_eq(CALL(call), 0)
#define DUE (loop_fresh_ms(t.loops[0]) + 5000)
