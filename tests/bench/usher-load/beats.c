/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that heartbeat, each over a connection of its own and evenly spread over the interval. They come within -W seconds: each
 * registers, tells its rooms in full (which the store then gives it) and from then on a digest of them. A beat that is due while the
 * one before has no answer waits, as an agent's does, and its time counts from when it was due.
 *
 * Before "go" it says how many beat (a minute after the last came they may not be all). Then it measures for -s seconds, says what came, and
 * beats on until standard input ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../../base/wire/digest.h"
#include "modes.h"

#define EPOCH 1
#define ROOM_TEXT 17 /* "room-" and eleven digits: 16 bytes, the same that "room-0{}" makes in a path */

struct node {
	struct conn *conn;
	uint64_t registration, seq, waits; /* for when a beat is due that has not been sent; 0: none */
	enum { AWAY, REGISTERS, REGISTERED, LISTS, BEATS } state;
	char digest[DIGEST_TEXT_MAX];
};
static struct node *nodes;
static size_t beating;
static struct tally *tally;
static uint64_t relisted; /* beats that were answered with the wish for the full list */

static void room_name(size_t node, uint64_t room, char out[static ROOM_TEXT])
{
	snprintf(out, ROOM_TEXT, "room-%011llu", (unsigned long long)(node * options.rooms + room));
}

static void node_send(struct node *node, const char *method, const char *what, const char *body, uint64_t due)
{
	static char text[262144];
	size_t index = (size_t)(node - nodes);
	int n = snprintf(text, sizeof(text), "%s /v1/nodes/node-%05zu%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
	                 "Content-Length: %zu\r\n\r\n%s", method, index, what, load.host, strlen(body), body);

	node->conn->due = due;
	node->conn->got = node->conn->whole = 0;
	node->conn->busy = true;
	conn_send(node->conn, text, (size_t)n);
}

static void node_register(struct node *node)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"incarnation\":\"i%zu\",\"signal_url\":\"ws://127.0.0.1:19999/\",\"fences\":\"gate\"}",
	         (size_t)(node - nodes));
	node->state = REGISTERS;
	node_send(node, "PUT", "", body, now_ns());
}

static void node_beat(struct node *node, const char *rooms, uint64_t due)
{
	static char body[262144];

	snprintf(body, sizeof(body), "{\"incarnation\":\"i%zu\",\"registration\":%llu,\"seq\":%llu,\"state\":\"ready\",\"load\":{\"cpu\":0.1},"
	         "\"rooms_digest\":\"%s\"%s}", (size_t)(node - nodes), (unsigned long long)node->registration, (unsigned long long)++node->seq,
	         node->digest, rooms);
	node_send(node, "POST", "/heartbeat", body, due);
}

static void node_list(struct node *node)
{
	static char text[200000];
	struct digest digest = { 0 };
	char name[ROOM_TEXT];
	int n = snprintf(text, sizeof(text), ",\"rooms\":[");

	for (uint64_t room = 0; room < options.rooms; room++) {
		room_name((size_t)(node - nodes), room, name);
		digest_toggle(&digest, name, strlen(name), EPOCH, true);
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s{\"room\":\"%s\",\"epoch\":%d,\"participants\":3}",
		              room ? "," : "", name, EPOCH);
	}
	snprintf(text + n, sizeof(text) - (size_t)n, "]");
	digest_print(&digest, node->digest);
	node->state = LISTS;
	node_beat(node, text, now_ns());
}

static void beat_answered(struct node *node, bool right)
{
	uint64_t took = now_ns() - node->conn->due;

	tally->answered++;
	tally->wrong += !right;
	tally->times[histogram_step(took)]++;
	if (took > tally->worst_ns)
		tally->worst_ns = took;
}

static void tell(const struct node *node, const char *head)
{
	static unsigned told;

	if (told++ < 5)
		fprintf(stderr, "usher-load: node-%05zu was refused: %.600s\n", (size_t)(node - nodes), head);
}

/* What is refused is asked for again when the node's next turn comes. */
static void node_answered(struct node *node)
{
	const char *head = node->conn->head, *registration = strstr(head, "\"registration\":");
	bool renewed = strstr(head, "\"renewed\":true") && strstr(head, "\"evict\":[]"), lists = strstr(head, "\"want_rooms\":true") != NULL;

	node->conn->busy = false;
	if (node->state == REGISTERS) {
		node->state = registration ? REGISTERED : AWAY;
		if (registration) {
			node->registration = strtoull(registration + 15, NULL, 10);
			node_list(node);
		}
		return;
	}
	if (!renewed)
		tell(node, head);
	if (node->state == BEATS) {
		relisted += renewed && lists;
		beat_answered(node, renewed);
	} else if (renewed && !lists) {
		beating++;
	}
	if (lists || (!renewed && node->state == LISTS)) {
		beating -= node->state == BEATS;
		node->state = REGISTERED;
		node->waits = 0;
		return;
	}
	node->state = BEATS;
	if (node->waits)
		node_beat(node, "", node->waits);
	node->waits = 0;
}

static void node_ready(struct conn *c)
{
	if (http_receive(c))
		node_answered(&nodes[c->number]);
}

static void node_due(size_t index, uint64_t due)
{
	struct node *node = &nodes[index];

	if (node->state == AWAY) {
		node->conn = node->conn ? node->conn : conn_connect(node_ready);
		node->conn->number = index;
		node_register(node);
	} else if (node->state == REGISTERED) {
		node_list(node);
	} else if (node->state == BEATS) {
		tally->asked++;
		if (!node->conn->busy)
			node_beat(node, "", due);
		else if (!node->waits)
			node->waits = due;
	}
}

/* Slot k is that of node k mod N, in round k / N. In which round a node comes is mixed, so that those of one do not beat together. */
static bool is_here(uint64_t slot)
{
	uint64_t rounds = (uint64_t)(options.warm_s * 1e9) / options.interval_ns + 1, index = slot % load.nconns;

	return slot / load.nconns >= (index * 7919) % rounds;
}

static uint64_t begin_ns, slot;

static void beat_until(uint64_t end)
{
	for (uint64_t due; now_ns() < end;) {
		uint64_t now = now_ns();
		while ((due = begin_ns + (uint64_t)((double)slot * (double)options.interval_ns / (double)load.nconns)) <= now) {
			if (now - due > tally->late_ns)
				tally->late_ns = now - due;
			if (is_here(slot))
				node_due(slot % load.nconns, due);
			slot++;
		}
		load_turn(due < end ? due : end);
	}
}

/* A beat that is under way when it ends is counted only once it is late: the one that came over from before was counted, too. */
static uint64_t overdue(uint64_t now)
{
	uint64_t count = 0;

	for (size_t i = 0; i < load.nconns; i++)
		count += nodes[i].conn && nodes[i].conn->busy && nodes[i].conn->due + options.interval_ns < now;
	return count;
}

static void end_beats(struct conn *c)
{
	(void)c;
	exit(0);
}

void beats_main(void)
{
	static struct tally coming, t, rest;
	uint64_t late;

	if (!options.rooms || options.rooms > 3000)
		fail("-R: from 1 to 3000 rooms a node");
	nodes = calloc(load.nconns, sizeof(*nodes));
	tally = &coming;
	begin_ns = now_ns();
	late = begin_ns + (uint64_t)(options.warm_s * 1e9) + 2 * options.interval_ns + 60 * SECOND;
	while (beating < load.nconns && now_ns() < late)
		beat_until(now_ns() + SECOND / 10);
	printf("%zu beat\ngo\n", beating);
	fflush(stdout);
	tally = &t;
	relisted = 0;
	if (options.seconds > 0)
		beat_until(now_ns() + (uint64_t)(options.seconds * 1e9));
	t.asked = t.answered + overdue(now_ns());
	t.seconds = options.seconds;
	printf("%llu wished for the full list\n", (unsigned long long)relisted);
	tally_print(&t);
	tally = &rest;
	conn_add(STDIN_FILENO, end_beats);
	for (;;)
		beat_until(now_ns() + SECOND);
}
