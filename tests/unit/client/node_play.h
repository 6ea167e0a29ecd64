/* SPDX-License-Identifier: Apache-2.0 */
/* A node, three routers and a clock that stands until moved, all on one loop; what the owner was told is kept. */
#pragma once

#include <check.h>

#include "client/lib/node.h"
#include "tests/unit/client/fake_router.h"

#define TOLD_MAX 64
#define LAST(f) fake_router_last(f)->body.at
#define CK_HAS(text, part) ck_assert_msg(strstr(text, part), "%s\nis not in: %.2000s", part, text)
#define CK_HAS_NOT(text, part) ck_assert_msg(!strstr(text, part), "%s\nis in: %.2000s", part, text)

static struct loop *loop;
static struct fake_router routers[3];
static struct usher_node *node;
static struct usher_node_options options;
static const char *urls[3];
static uint64_t now, boot;
static struct {
	enum usher_node_phase phases[TOLD_MAX];
	char details[TOLD_MAX][400];
	size_t nphases;
	char evicted[TOLD_MAX][80];
	size_t nevicted;
} told;

static uint64_t boot_ms(void)
{
	return boot;
}

static void on_changed(void *arg, enum usher_node_phase phase, const char *detail)
{
	(void)arg;
	ck_assert_uint_lt(told.nphases, TOLD_MAX);
	snprintf(told.details[told.nphases], sizeof(told.details[0]), "%s", detail);
	told.phases[told.nphases++] = phase;
}

static void on_evict(void *arg, const char *room, uint64_t epoch)
{
	(void)arg;
	snprintf(told.evicted[told.nevicted++], sizeof(told.evicted[0]), "%s@%" PRIu64, room, epoch);
	usher_node_room_remove(node, room, epoch);
}

static void play_turn(void)
{
	struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };

	loop_fake_clock(loop, now);
	poll(&p, 1, loop_backend_timeout_ms(loop) ? 1 : 0); /* what has come due meanwhile rings only from up there */
	loop_turn(loop);
}

#define PLAY_UNTIL(condition)                                                                                                  \
	do {                                                                                                                   \
		uint64_t begun_ms_ = real_ms();                                                                                \
		while (!(condition)) {                                                                                         \
			ck_assert_msg(real_ms() - begun_ms_ < 20000, "waited in vain for: %s", #condition);                    \
			play_turn();                                                                                           \
		}                                                                                                              \
	} while (0)

/* Whatever is under way on loopback ends; for what must not happen. */
static void play_settle(void)
{
	for (int i = 0; i < 5; i++)
		play_turn();
}

static void pass(uint64_t ms)
{
	now += ms;
	boot += ms;
	play_turn();
}

static void play_start(size_t nrouters)
{
	const char *why = NULL;

	options.routers = urls;
	options.nrouters = nrouters;
	node = node_new_on(loop, &options, &why);
	ck_assert_msg(node, "%s", why);
	node->boot_ms = boot_ms;
}

/* Registered and confirmed at the first router. */
static void play_start_admitted(size_t nrouters)
{
	play_start(nrouters);
	PLAY_UNTIL(usher_node_admits(node) && !node->in_round);
}

/* The next heartbeat is due: one round, whole. */
static void play_round(void)
{
	uint64_t seq = node->seq;

	pass(node->heartbeat_ms);
	PLAY_UNTIL(node->seq > seq && !node->in_round);
}

static void play_setup(void)
{
	memset(&told, 0, sizeof(told));
	now = 1000000;
	boot = 5000000;
	loop = loop_new();
	loop_fake_clock(loop, now);
	for (size_t i = 0; i < 3; i++) {
		fake_router_start(&routers[i], loop);
		urls[i] = routers[i].url;
	}
	options = (struct usher_node_options){ .size = sizeof(options), .node = "sfu-1", .incarnation = "inc-1",
		                               .signal_url = "ws://127.0.0.1:9000", .changed = on_changed, .evict = on_evict };
}

static void play_teardown(void)
{
	usher_node_free(node);
	node = NULL;
	for (size_t i = 0; i < 3; i++)
		fake_router_stop(&routers[i]);
	loop_free(loop);
}
