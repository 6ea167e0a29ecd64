/* SPDX-License-Identifier: Apache-2.0 */
/* What a node sends and what it reads of the answers (docs/reference/http.md). Members that are not known are left out. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/node.h"

#define LIST_MAX 100000
#define PART_BYTES_MAX (640u << 10) /* 4,096 rooms of 70 bytes with grants; the heartbeat around it stays under BEAT_BYTES_MAX */

/* -- out ---------------------------------------------------------------------------------------------------------------------- */
static void text(struct json_out *json, const char *name, const char *value)
{
	if (value && *value)
		json_str(json, name, value);
}

static void positive(struct json_out *json, const char *name, double value)
{
	if (isfinite(value) && value > 0)
		json_real(json, name, value < LOAD_MAX ? value : LOAD_MAX);
}

static void write_labels(const struct node_identity *self, struct json_out *json)
{
	if (!self->nlabels)
		return;
	json_open(json, "labels", '{');
	for (size_t i = 0; i < self->nlabels; i++)
		json_str(json, self->labels[i].key, self->labels[i].value);
	json_close(json, '}');
}

static void write_self(const struct node_identity *self, struct json_out *json)
{
	text(json, "signal_url", self->signal_url);
	text(json, "http_url", self->http_url);
	text(json, "public_signal_url", self->public_signal_url);
	text(json, "control_url", self->control_url);
	text(json, "health_url", self->health_url);
	text(json, "region", self->region);
	text(json, "zone", self->zone);
	text(json, "pool", self->pool);
	write_labels(self, json);
	json_open(json, "capacity", '{');
	positive(json, "bandwidth_mbps", self->capacity_bandwidth_mbps);
	positive(json, "rooms", self->capacity_rooms);
	positive(json, "participants", self->capacity_participants);
	json_close(json, '}');
	text(json, "fences", self->fences);
	text(json, "adapter", self->adapter);
	text(json, "version", self->version);
}

void wire_register(const struct usher_node *node, struct buf *out)
{
	const struct node_identity *self = &node->self;
	struct json_out json = { .to = out };

	json_open(&json, NULL, '{');
	text(&json, "incarnation", self->incarnation);
	text(&json, "replaces", self->replaces);
	write_self(self, &json);
	json_close(&json, '}');
}

/* A router that starts while the store is gone cannot look up who we are. */
static void write_node(const struct usher_node *node, struct json_out *json)
{
	json_open(json, "node", '{');
	write_self(&node->self, json);
	json_close(json, '}');
}

/* A sample of 0/0 or a counter that ran backwards is not known, and must not cost the lease: routers refuse such numbers. */
static void said(struct json_out *json, const char *name, bool has, double value)
{
	if (has && isfinite(value) && value >= 0)
		json_real(json, name, value < LOAD_MAX ? value : LOAD_MAX);
}

static void write_load(const struct usher_node *node, struct json_out *json)
{
	const struct usher_load *load = &node->load;

	json_open(json, "load", '{');
	said(json, "cpu", load->has_cpu, load->cpu);
	said(json, "memory", load->has_memory, load->memory);
	said(json, "stress", load->has_stress, load->stress);
	said(json, "bandwidth_in_mbps", load->has_bandwidth_in, load->bandwidth_in_mbps);
	said(json, "bandwidth_out_mbps", load->has_bandwidth_out, load->bandwidth_out_mbps);
	json_u64(json, "rooms", node->rooms.map.count);
	said(json, "participants", load->has_participants, load->participants);
	json_close(json, '}');
}

static void write_room(struct json_out *json, const struct held_room *room)
{
	json_open(json, NULL, '{');
	json_view(json, "room", room->link.name);
	json_u64(json, "epoch", room->epoch);
	json_u64(json, "participants", room->participants < (uint64_t)LOAD_MAX ? room->participants : (uint64_t)LOAD_MAX);
	text(json, "grant", room->grant);
	json_close(json, '}');
}

/* As many rooms as fit; returns the first that does not. */
static const struct held_room *write_rooms(const struct held_room *room, struct buf *out)
{
	struct json_out json = { .to = out };

	json_open(&json, NULL, '[');
	for (size_t k = 0; k < ROOMS_PART_MAX && room && out->len < PART_BYTES_MAX; k++, room = room->newer)
		write_room(&json, room);
	json_close(&json, ']');
	return room;
}

struct buf *wire_parts(const struct node_rooms *rooms, size_t *nparts)
{
	const struct held_room *room = rooms->oldest;
	struct buf *parts = NULL;
	size_t n = 0;

	do {
		parts = realloc(parts, (n + 1) * sizeof(*parts));
		if (!parts)
			abort();
		parts[n] = (struct buf){ 0 };
		room = write_rooms(room, &parts[n++]);
	} while (room);
	*nparts = n;
	return parts;
}

static void write_part(const struct router_link *link, struct json_out *json)
{
	const struct buf *part = &link->parts[link->part];

	json_raw(json, "rooms", (struct str){ part->at, part->len });
	if (link->nparts == 1)
		return;
	json_open(json, "rooms_part", '[');
	json_u64(json, NULL, link->part + 1);
	json_u64(json, NULL, link->nparts);
	json_close(json, ']');
}

/* Held again at the same epoch, as after a repeated open: said as closed, the router would forget a room that is there. */
static bool still_closed(const struct node_rooms *rooms, const struct closed_room *closed)
{
	struct room_link *link = room_map_find(&rooms->map, closed->name);

	return !link || container_of(link, struct held_room, link)->epoch > closed->epoch;
}

static void write_changes(const struct node_rooms *rooms, const struct router_link *link, struct json_out *json)
{
	char digest[DIGEST_TEXT_MAX];

	digest_print(&rooms->digest, digest);
	json_str(json, "rooms_digest", digest);
	json_open(json, "changed", '[');
	for (const struct held_room *room = rooms->newest; room && room->change > link->acked; room = room->older)
		write_room(json, room);
	json_close(json, ']');
	json_open(json, "closed", '[');
	for (const struct closed_room *closed = rooms->closed; closed; closed = closed->next) {
		if (closed->change <= link->acked || !still_closed(rooms, closed))
			continue;
		json_open(json, NULL, '{');
		json_view(json, "room", closed->name);
		json_u64(json, "epoch", closed->epoch);
		json_close(json, '}');
	}
	json_close(json, ']');
}

/* Since an answer confirmed its rooms nobody else can have got them: the lease has held without a gap, or would hold if the store had
 * not forgotten this node. */
static bool is_unbroken(const struct usher_node *node)
{
	return usher_node_admits(node) || node->boot_ms() < node->unbroken_until_ms;
}

/* Of these alone a `degraded` counts, and these alone judge our silence. Where the lease alone counts, anybody may. */
static void write_routers(struct usher_node *node, struct json_out *json)
{
	if (node->ops.fence_on_store_loss)
		return;
	json_open(json, "routers", '[');
	for (struct router_link *link = node->links; link; link = link->next) {
		if (!link->configured && !link->told)
			continue;
		json_str(json, NULL, link->url);
		link->named_seq = node->seq;
	}
	json_close(json, ']');
}

void wire_beat(struct usher_node *node, struct router_link *link, struct buf *out)
{
	static const char *const states[] = { "ready", "draining", "sick" };
	struct json_out json = { .to = out };

	json_open(&json, NULL, '{');
	json_str(&json, "incarnation", node->self.incarnation);
	json_u64(&json, "registration", node->registration);
	json_u64(&json, "seq", node->seq);
	json_str(&json, "state", states[node->report]);
	write_load(node, &json);
	json_u64(&json, "seen", node->sample_seen);
	json_bool(&json, "unbroken", is_unbroken(node));
	write_routers(node, &json);
	json_u64(&json, "max_epoch", node->rooms.max_epoch);
	if (node->degraded)
		write_node(node, &json);
	if (link->parts)
		write_part(link, &json);
	else
		write_changes(&node->rooms, link, &json);
	json_close(&json, '}');
	link->upto = link->parts ? link->parts_upto : node->rooms.change;
}

/* -- in ----------------------------------------------------------------------------------------------------------------------- */
/* clang-format off */
#define ROOM_AT(m) offsetof(struct evicted_room, m)
static const struct json_member evicted_members[] = {
	{ "room", JSON_STRING, ROOM_AT(room), JSON_NO_HAS, 1, ROOM_MAX, .required = true },
	{ "epoch", JSON_U64, ROOM_AT(epoch), JSON_NO_HAS, 0, (double)EPOCH_MAX, .required = true },
};
static const struct json_shape evicted_shape = { evicted_members, 2, sizeof(struct evicted_room) };

#define BEAT_AT(m) offsetof(struct beat_answer, m)
static const struct json_member beat_members[] = {
	{ "renewed", JSON_BOOL, BEAT_AT(renewed), JSON_NO_HAS, .required = true },
	{ "state", JSON_STRING, BEAT_AT(state), JSON_NO_HAS, 0, 64 },
	{ "lease_ms", JSON_U64, BEAT_AT(lease_ms), JSON_NO_HAS, 0, 86400000 },
	{ "heartbeat_ms", JSON_U64, BEAT_AT(heartbeat_ms), JSON_NO_HAS, 0, 86400000 },
	{ "charged", JSON_U64, BEAT_AT(charged), JSON_NO_HAS, 0, (double)EPOCH_MAX },
	{ "evict", JSON_LIST, BEAT_AT(evict), JSON_NO_HAS, 0, LIST_MAX, .shape = &evicted_shape },
	{ "want_rooms", JSON_BOOL, BEAT_AT(want_rooms), JSON_NO_HAS },
	{ "degraded", JSON_BOOL, BEAT_AT(degraded), JSON_NO_HAS },
	{ "call_key", JSON_STRING, BEAT_AT(call_key), JSON_NO_HAS, 0, GRANTS_MAX },
	{ "routers", JSON_STRINGS, BEAT_AT(routers), JSON_NO_HAS, 0, LIST_MAX },
};
static const struct json_shape beat_shape = { beat_members, sizeof(beat_members) / sizeof(*beat_members), sizeof(struct beat_answer) };

#define REGISTER_AT(m) offsetof(struct register_answer, m)
static const struct json_member register_members[] = {
	{ "registration", JSON_U64, REGISTER_AT(registration), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
	{ "lease_ms", JSON_U64, REGISTER_AT(lease_ms), JSON_NO_HAS, 1, 86400000, .required = true },
	{ "heartbeat_ms", JSON_U64, REGISTER_AT(heartbeat_ms), JSON_NO_HAS, 1, 86400000, .required = true },
	{ "call_key", JSON_STRING, REGISTER_AT(call_key), JSON_NO_HAS, 0, GRANTS_MAX },
	{ "routers", JSON_STRINGS, REGISTER_AT(routers), JSON_NO_HAS, 0, LIST_MAX },
};
static const struct json_shape register_shape = { register_members, 5, sizeof(struct register_answer) };

struct problem { const char *code; };
static const struct json_member problem_members[] = {
	{ "code", JSON_STRING, offsetof(struct problem, code), JSON_NO_HAS, 0, 64, .nullable = true },
};
static const struct json_shape problem_shape = { problem_members, 1, sizeof(struct problem) };
/* clang-format on */

bool wire_read_beat(struct str body, struct arena *arena, struct beat_answer *out)
{
	const char *fault;

	*out = (struct beat_answer){ 0 };
	return json_read(body, &beat_shape, arena, out, &fault) == 0;
}

bool wire_read_register(struct str body, struct arena *arena, struct register_answer *out)
{
	const char *fault;

	*out = (struct register_answer){ 0 };
	return json_read(body, &register_shape, arena, out, &fault) == 0;
}

const char *wire_read_code(struct str body, struct arena *arena)
{
	struct problem problem = { 0 };
	const char *fault;

	return json_read(body, &problem_shape, arena, &problem, &fault) == 0 && problem.code ? problem.code : "";
}
