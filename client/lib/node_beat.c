/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats. A round asks the router that answered last; on anything but `renewed` it asks all others at the same time, as
 * the lease runs out meanwhile. Each sending has its own seq: a router that hung may still deliver an older one, which then
 * renews nothing. While the store is gone (`degraded`) every round goes to every router.
 */
#include <stdlib.h>
#include <string.h>

#include "client/lib/node.h"

#define CALL_MIN_MS 700       /* a router whose store hangs says `degraded` only after registry.timeout_ms */
#define REFRESH_PARTS 32      /* rooms are told again in so many rounds, changed or not */
#define REFRESH_MAX 1024

static void answered(struct wait *, int err);

static uint64_t call_timeout_ms(const struct usher_node *node)
{
	uint64_t lease = node->lease.granted_ms, quarter = lease / 4;

	return quarter > CALL_MIN_MS ? quarter : CALL_MIN_MS < lease / 2 ? CALL_MIN_MS : lease / 2 + 1;
}

/* -- sending -------------------------------------------------------------------------------------------------------------- */
void link_forget_parts(struct router_link *link)
{
	for (size_t i = 0; i < link->nparts; i++)
		buf_free(&link->parts[i]);
	free(link->parts);
	link->parts = NULL;
	link->nparts = link->part = 0;
	link->wanted = link->unchecked = false;
}

static bool needs_full(const struct usher_node *node, const struct router_link *link)
{
	const struct node_rooms *rooms = &node->rooms;

	/* Unconfirmed: what was taken meanwhile must be named before anybody is let in. */
	return link->full || !node->lease.confirmed || link->acked < rooms->overflow ||
	       node_rooms_changed(rooms, link->acked, ROOMS_PART_MAX + 1) > ROOMS_PART_MAX;
}

static void choose_list(struct usher_node *node, struct router_link *link)
{
	if (link->parts || !needs_full(node, link))
		return;
	link->parts_upto = node->rooms.change;
	link->parts = wire_parts(&node->rooms, &link->nparts);
	link->full = true;
}

/* Long names make long lists: what does not fit into one heartbeat goes as a full list, whose parts are bounded. */
static void write_beat(struct usher_node *node, struct router_link *link, struct buf *out)
{
	choose_list(node, link);
	wire_beat(node, link, out);
	if (link->parts || out->len <= BEAT_BYTES_MAX)
		return;
	buf_free(out);
	*out = (struct buf){ 0 };
	link->full = true;
	choose_list(node, link);
	wire_beat(node, link, out);
}

static void send_beat(struct router_link *link)
{
	struct usher_node *node = link->node;
	struct buf body = { 0 };

	arena_reset(&link->arena);
	link->seq = ++node->seq;
	write_beat(node, link, &body);
	link->wait.wake = answered;
	link->sent_ms = node->boot_ms();
	if (node_call(node, link, "POST", "/heartbeat", (struct str){ body.at, body.len }, call_timeout_ms(node), &link->arena,
	              &link->answer, &link->wait) == WAIT)
		node->pending++;
	buf_free(&body);
}

void node_round_drop(struct usher_node *node)
{
	for (struct router_link *link = node->links; link; link = link->next) {
		wait_drop(&link->wait);
		link_forget_parts(link);
	}
	node->pending = 0;
	node->in_round = false;
}

static void fan_out(struct usher_node *node)
{
	node->fanned_out = true;
	for (struct router_link *link = node->links; link; link = link->next)
		if (link != node->current && !link->wait.op)
			send_beat(link);
}

static void take_sample(struct usher_node *node)
{
	node->load = (struct usher_load){ 0 };
	node->sample_seen = node->charged;
	if (node->ops.sample)
		node->ops.sample(node->ops.arg, &node->load);
}

static void end_round(struct usher_node *);

void node_round(struct usher_node *node)
{
	size_t each = node->rooms.map.count / REFRESH_PARTS + 1;

	take_sample(node);
	if (node->doing != NODE_BEATS)
		return; /* the owner has other plans by now */
	node->in_round = true;
	node->fanned_out = node->renewed = node->hurry = false;
	node->round_ms = loop_now_ms(node->loop);
	node_rooms_refresh(&node->rooms, each < REFRESH_MAX ? each : REFRESH_MAX);
	if (!lease_holds(&node->lease, node->boot_ms()))
		node->lease.confirmed = false;
	for (struct router_link *link = node->links; link; link = link->next)
		link->resent = link->asked_again = false;
	send_beat(node->current);
	if (node->degraded)
		fan_out(node);
	if (!node->pending)
		end_round(node); /* nothing could be started: out of descriptors */
}

/* -- answers -------------------------------------------------------------------------------------------------------------- */
static void end_round(struct usher_node *node)
{
	uint64_t took = loop_now_ms(node->loop) - node->round_ms;
	bool regular = node->renewed || (node->degraded && lease_holds(&node->lease, node->boot_ms()));
	uint64_t next = node->heartbeat_ms > took ? node->heartbeat_ms - took : 0;

	node->in_round = false;
	if (!regular) {
		node->attempts++;
		next = node_backoff_ms(node, node->heartbeat_ms);
	}
	node_next(node, node->hurry ? 0 : next);
	node_judge_phase(node, node->renewed ? "lease renewed" : node->degraded ? "no store" : "no router renewed the lease");
}

/* A list confirms when each of its parts was answered by a renewal, and none is wanted again: else rooms that were taken are
 * still unnamed. */
static void end_list(struct router_link *link)
{
	if (!link->unchecked)
		link->node->lease.confirmed = true;
	link_forget_parts(link);
	link->full = false;
}

/* The lists that this answer acknowledges. True: the next part, or a list asked for, goes out to the same router now. */
static bool take_ack(struct router_link *link, const struct beat_answer *answer)
{
	bool wanted = link->wanted || answer->want_rooms;

	link->wanted = wanted;
	link->unchecked = link->unchecked || wanted || !answer->renewed;
	if (link->parts && ++link->part < link->nparts)
		return true;
	link->acked = link->upto;
	if (link->parts)
		end_list(link);
	link->wanted = link->unchecked = false;
	if (wanted && !link->asked_again) {
		link->asked_again = link->full = true;
		return true;
	}
	return false;
}

static void heard_by_all(struct usher_node *node, const struct router_link *by)
{
	for (struct router_link *link = node->links; link; link = link->next) {
		link->full = false;
		if (link->acked < by->acked)
			link->acked = by->acked;
	}
	node_rooms_heard(&node->rooms, by->acked);
}

static void stop_others(struct router_link *keep)
{
	struct usher_node *node = keep->node;

	for (struct router_link *link = node->links; link; link = link->next) {
		if (link == keep || !link->wait.op)
			continue;
		wait_drop(&link->wait);
		link_forget_parts(link);
		node->pending--;
	}
}

static void renewed(struct router_link *link, const struct beat_answer *answer)
{
	struct usher_node *node = link->node;
	const struct evicted_room *evict = answer->evict.items;

	lease_renew(&node->lease, link->sent_ms, answer->lease_ms ? answer->lease_ms : node->lease.granted_ms);
	node->heartbeat_ms = answer->heartbeat_ms ? answer->heartbeat_ms : node->heartbeat_ms;
	node->charged = answer->charged;
	node_take_call_key(node, answer->call_key);
	node->drains = answer->state && !strcmp(answer->state, "draining");
	node->current = link;
	node->renewed_seq = link->seq;
	node->attempts = 0;
	if (node->degraded && !link->parts)
		link->wanted = true; /* what was answered without the store is not in it */
	node->degraded = false;
	node->renewed = true;
	stop_others(link);
	for (struct router_link *l = node->links; l; l = l->next)
		l->degraded_sent_ms = 0;
	for (size_t i = 0; i < answer->evict.count && node->ops.evict; i++)
		node->ops.evict(node->ops.arg, evict[i].room, evict[i].epoch);
	if (node->doing != NODE_BEATS)
		return; /* the owner has other plans by now */
	bool more = take_ack(link, answer);
	if (!more)
		heard_by_all(node, link);
	node_take_routers(node, &answer->routers, false);
	if (more)
		send_beat(link);
}

/* fence_on_store_loss: the lease alone counts. A router that was told but is not asked could place rooms. */
static void cover_lease(struct usher_node *node)
{
	if (!node->ops.fence_on_store_loss && !node->unasked)
		lease_degraded(&node->lease, node->boot_ms(), node->links);
	else
		node->lease.covered_ms = 0;
}

static void degraded(struct router_link *link, const struct beat_answer *answer)
{
	struct usher_node *node = link->node;
	bool first = !link->degraded_sent_ms;

	node->degraded = true;
	node_take_call_key(node, answer->call_key);
	link->degraded_sent_ms = link->sent_ms;
	link->full = link->full || (first && !link->parts); /* without the store each router needs all rooms from us */
	bool more = take_ack(link, answer) || (first && link->full);
	node_take_routers(node, &answer->routers, true);
	cover_lease(node);
	if (more)
		send_beat(link);
}

/* Its last `degraded`, if that was its last word, counts for as long as before: whoever says so begins to count our silence after
 * it. So a router that starts anew within a lease shuts no gate. */
static void silent(struct router_link *link)
{
	link_forget_parts(link);
	link->full = true; /* should it have started anew, it knows no room of ours */
}

/* True: it ended this registration, and with it the round. */
static bool refused(struct router_link *link)
{
	struct usher_node *node = link->node;
	const struct http_answer *answer = &link->answer;

	if (answer->outcome != HTTP_ANSWERED || (answer->status != 404 && answer->status != 409))
		return false;
	const char *code = wire_read_code(answer->body, &link->arena);
	if (!strcmp(code, "unknown_node")) {
		node->unbroken_until_ms = node->boot_ms() + (uint64_t)usher_node_lease_left_ms(node);
		node_register_again(node, "the router does not know this registration");
	} else if (!strcmp(code, "stale_incarnation")) {
		node_end_stale(node, "a newer registration of this node exists");
	} else {
		return false;
	}
	return true;
}

static void took_answer(struct router_link *link)
{
	struct usher_node *node = link->node;
	const struct http_answer *http = &link->answer;
	struct beat_answer answer;

	node->renewed = false; /* a later part that is not heard: the others are asked as well */
	if (http->outcome == HTTP_ANSWERED && http->status == 200 && wire_read_beat(http->body, &link->arena, &answer)) {
		if (answer.renewed)
			renewed(link, &answer);
		else if (answer.degraded)
			degraded(link, &answer);
		else
			silent(link);
	} else if (http->outcome == HTTP_RESET && !link->resent) {
		link->resent = true; /* a kept connection that had just been closed */
		send_beat(link);
	} else {
		silent(link);
	}
}

static void answered(struct wait *w, int err)
{
	struct router_link *link = container_of(w, struct router_link, wait);
	struct usher_node *node = link->node;

	(void)err;
	node->pending--;
	if (refused(link))
		return;
	took_answer(link);
	if (node->doing != NODE_BEATS || !node->in_round)
		return;
	if (!node->renewed && !node->fanned_out && !link->wait.op)
		fan_out(node);
	if (!node->pending)
		end_round(node);
}
