/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fleet over a store that the test plays, on a clock that the test moves: what the store says, and when it says nothing,
 * is up to the test.
 */
#pragma once

#include <check.h>

#include "base/loop.h"
#include "base/retire.h"
#include "base/wait.h"
#include "health/fleet.h"
#include "registry/store_private.h"

#define STAGE_NODES 8
#define HEARTBEAT_MS 1000
#define LEASE_MS 4000
#define GRACE_MS 500
#define UNFENCED_MS 15000
#define UNLISTED_MS 60000
#define RAMP_MS 20000
#define GATED "{\"signal_url\":\"ws://127.0.0.1:1/\",\"fences\":\"gate\"}"

struct stage {
	struct loop *loop;
	struct retire *retire;
	struct fleet *fleet;
	struct store store;
	uint64_t now, store_ahead_ms; /* the store's clock is so far ahead of ours */
	uint64_t connections;
	size_t count;
	struct node_record nodes[STAGE_NODES]; /* what the store says */
	const char *unread[STAGE_NODES];       /* ids that it cannot read: left out of what it says */
	size_t nunread;
	size_t slice;        /* it gives so many nodes at a time; 0: all */
	bool away;           /* each question fails at once */
	bool holds;          /* questions are answered by stage_answer() */
	struct op asked, losing; /* by whom */
	struct arena *arena; /* of the question that is held */
	struct nodes_all *out;
	bool holds_losing;
	unsigned readings, losses; /* answered; asked for */
	void (*unclosed)(const char *node, enum breaker_class);
	char told[2048];     /* "node from>to;" and "node class from>to;" */
};
extern struct stage stage;

struct fleet_conf stage_conf(void);
void stage_open(void); /* with stage_conf() */
void stage_open_beside(struct loop *const *readers, size_t n); /* threads that read what the fleet publishes */
void stage_close(void);
void stage_pass(uint64_t ms);  /* time goes by in steps of 50 ms */
void stage_stall(uint64_t ms); /* the loop stands still for so long */
void stage_turn(void);         /* messages arrive; no time passes */
void stage_answer(int err);

struct node_record *stage_add(const char *id, const char *incarnation, const char *info); /* registered, not heard yet */
struct node_record *stage_record(const char *id);
void stage_remove(const char *id);
void stage_beat(const char *id, const char *load); /* the next heartbeat */
struct node_record *stage_ready(const char *id);   /* added with GATED, heard, and seen by the fleet */
void stage_live(uint64_t ms, const char *id);      /* time goes by, and this node is heard each interval */
const struct node *stage_node(const char *id);     /* as the fleet sees it; must be there */
void stage_follow(void); /* time goes by as it really does, at most 10 ms: for what libcurl times */
#define STAGE_UNTIL(condition)                                                                                         \
	do {                                                                                                           \
		uint64_t until_end = stage.now + 10000;                                                                \
		while (!(condition)) {                                                                                 \
			ck_assert_msg(stage.now < until_end, "never: %s", #condition);                                 \
			stage_follow();                                                                                \
		}                                                                                                      \
	} while (0)
