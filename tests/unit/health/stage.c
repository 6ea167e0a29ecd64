/* SPDX-License-Identifier: Apache-2.0 */
/* The played store answers with copies in the asker's arena, as both real ones do. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/error.h"
#include "tests/unit/health/stage.h"

#define STEP_MS 50

struct stage stage;

/* -- the store ------------------------------------------------------------------------------------------------------------- */
static void give_slice(struct nodes_all *out)
{
	size_t size = stage.slice && stage.slice < out->left ? stage.slice : out->left;

	out->count += size;
	out->left -= size;
	stage.readings += !out->left;
}

static void fill(struct arena *arena, struct nodes_all *out)
{
	struct nodes_all all = { .store_ms = stage.now + stage.store_ahead_ms, .partial = stage.nunread > 0, .nunread = stage.nunread };

	all.nodes = arena_alloc(arena, (STAGE_NODES + 1) * sizeof(*all.nodes));
	all.unread = arena_alloc(arena, (STAGE_NODES + 1) * sizeof(*all.unread));
	for (size_t i = 0; i < stage.nunread; i++)
		all.unread[i] = stage.unread[i];
	for (size_t i = 0; i < stage.count; i++) {
		bool readable = true;
		for (size_t j = 0; j < stage.nunread; j++)
			readable = readable && strcmp(stage.unread[j], stage.nodes[i].id);
		if (readable)
			all.nodes[all.left++] = stage.nodes[i];
	}
	*out = all;
	give_slice(out);
}

static void answer(struct arena *arena, struct nodes_all *out)
{
	if (out->left)
		give_slice(out);
	else
		fill(arena, out);
}

static int play_nodes_all(struct store *store, struct arena *arena, uint64_t due_ms, struct nodes_all *out, struct wait *w)
{
	(void)store, (void)due_ms;
	if (stage.holds) {
		stage.arena = arena;
		stage.out = out;
		op_attach(&stage.asked, w);
		return WAIT;
	}
	if (stage.away)
		return -ERR_STORE_UNAVAILABLE;
	answer(arena, out);
	return NEXT;
}

void stage_answer(int err)
{
	struct wait *w = op_detach(&stage.asked);

	ck_assert_ptr_nonnull(w);
	if (!err)
		answer(stage.arena, stage.out);
	wait_wake(w, err);
}

static int play_lose(struct store *store, const char *node, uint64_t registration, uint64_t seq, uint64_t due_ms, bool *lost, struct wait *w)
{
	struct node_record *record = stage_record(node);

	(void)store, (void)due_ms;
	stage.losses++;
	if (stage.holds_losing) {
		op_attach(&stage.losing, w);
		return WAIT;
	}
	*lost = record && record->registration == registration && record->seq == seq;
	if (*lost)
		record->lost = true;
	return NEXT;
}

static uint64_t play_connections(const struct store *store)
{
	(void)store;
	return stage.connections;
}

static const struct store_ops play_ops = { .connections = play_connections, .nodes_all = play_nodes_all, .lose = play_lose };

/* -- records ----------------------------------------------------------------------------------------------------------------- */
struct node_record *stage_record(const char *id)
{
	for (size_t i = 0; i < stage.count; i++)
		if (!strcmp(stage.nodes[i].id, id))
			return &stage.nodes[i];
	return NULL;
}

struct node_record *stage_add(const char *id, const char *incarnation, const char *info)
{
	struct node_record *record = stage_record(id);
	uint64_t registration = 100;

	if (record)
		registration = record->registration + 1;
	else
		record = &stage.nodes[stage.count++];
	ck_assert_uint_le(stage.count, STAGE_NODES);
	*record = (struct node_record){ .registration = registration, .lease_ms = LEASE_MS, .info = str_of(info), .load = STR("{}") };
	snprintf(record->id, sizeof(record->id), "%s", id);
	snprintf(record->incarnation, sizeof(record->incarnation), "%s", incarnation);
	record->since_ms = record->heard_ms = stage.now + stage.store_ahead_ms;
	return record;
}

void stage_remove(const char *id)
{
	struct node_record *record = stage_record(id);

	*record = stage.nodes[--stage.count];
}

void stage_beat(const char *id, const char *load)
{
	struct node_record *record = stage_record(id);

	record->seq++;
	record->load = str_of(load);
	record->heard_ms = stage.now + stage.store_ahead_ms;
}

struct node_record *stage_ready(const char *id)
{
	struct node_record *record = stage_add(id, "i1", GATED);

	stage_beat(id, "{\"cpu\":0.1}");
	fleet_refresh(stage.fleet);
	stage_pass(STEP_MS);
	return record;
}

const struct node *stage_node(const char *id)
{
	const struct node *node = fleet_find(stage.fleet, id);

	ck_assert_msg(node != NULL, "%s is not in the view", id);
	return node;
}

/* -- time ---------------------------------------------------------------------------------------------------------------------- */
void stage_turn(void)
{
	for (int i = 0; i < 4; i++)
		loop_turn(stage.loop);
}

void stage_stall(uint64_t ms)
{
	stage.now += ms;
	loop_fake_clock(stage.loop, stage.now);
	stage_turn();
}

void stage_pass(uint64_t ms)
{
	for (uint64_t passed = 0; passed < ms; passed += STEP_MS)
		stage_stall(STEP_MS);
}

static uint64_t real_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void stage_follow(void)
{
	struct pollfd fd = { .fd = loop_backend_fd(stage.loop), .events = POLLIN };
	uint64_t began = real_ms();

	poll(&fd, 1, 10);
	stage_stall(real_ms() - began + 1); /* so that it ends, also where nothing takes any time */
}

void stage_live(uint64_t ms, const char *id)
{
	for (uint64_t passed = 0; passed < ms; passed += HEARTBEAT_MS) {
		stage_beat(id, "{\"cpu\":0.1}");
		stage_pass(HEARTBEAT_MS);
	}
}

/* -- life ---------------------------------------------------------------------------------------------------------------------- */
static void tell(const char *text)
{
	ck_assert_uint_lt(strlen(stage.told) + strlen(text), sizeof(stage.told));
	strcat(stage.told, text);
}

static void changed(void *arg, const char *node, enum node_state from, enum node_state to)
{
	char text[160];

	(void)arg;
	snprintf(text, sizeof(text), "%s %s>%s;", node, node_state_words[from], node_state_words[to]);
	tell(text);
}

static void breaker_changed(void *arg, const char *node, enum breaker_class class, enum breaker_state from, enum breaker_state to)
{
	char text[160];

	(void)arg;
	if (to != BREAKER_CLOSED && stage.unclosed)
		stage.unclosed(node, class);
	snprintf(text, sizeof(text), "%s %s %s>%s;", node, breaker_class_words[class], breaker_state_words[from], breaker_state_words[to]);
	tell(text);
}

struct fleet_conf stage_conf(void)
{
	return (struct fleet_conf){ .heartbeat_ms = HEARTBEAT_MS, .lease_ms = LEASE_MS, .grace_ms = GRACE_MS, .unfenced_ms = UNFENCED_MS,
		                    .unasked_ms = UNLISTED_MS, .timeout_ms = 500, .ramp_ms = RAMP_MS, .max_load = 0.9, .max_ejected = 0.5,
		                    .breaker = { .failures = 2, .window_ms = 10000, .min_calls = 20, .open_ms = 1000, .max_open_ms = 8000,
		                                 .failure_rate = 0.5, .backoff = 2 },
		                    .allow_cidr = "127.0.0.0/8", .router = "rt", .url = "http://rt:1/",
		                    .changed = changed, .breaker_changed = breaker_changed };
}

void stage_open_beside(struct loop *const *readers, size_t n)
{
	struct fleet_conf conf = stage_conf();

	stage = (struct stage){ .loop = loop_new(), .now = 1000000, .store_ahead_ms = UINT64_C(1700000000000) };
	loop_fake_clock(stage.loop, stage.now);
	stage.retire = n ? retire_new(stage.loop, readers, n) : retire_new(stage.loop, &stage.loop, 1);
	stage.store = (struct store){ .loop = stage.loop, .ops = &play_ops };
	stage.fleet = fleet_new(stage.loop, &stage.store, stage.retire, &conf);
	fleet_start(stage.fleet);
	stage_pass(STEP_MS);
}

void stage_open(void)
{
	stage_open_beside(NULL, 0);
}

void stage_close(void)
{
	if (stage.fleet)
		fleet_free(stage.fleet);
	stage_turn();
	retire_free(stage.retire);
	loop_free(stage.loop);
}
