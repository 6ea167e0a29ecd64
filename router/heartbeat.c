/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /v1/nodes/{node}/heartbeat: renews the lease in the store (only the store can), hands the load on, and tells the node
 * which of the rooms it reports are not its own any more. A store that does not answer is said as `degraded`: the lease is
 * not renewed then, and the node decides by the rule of its lease.
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "health/charges.h"
#include "health/load.h"
#include "registry/nodes.h"
#include "registry/rooms.h"
#include "registry/table.h"
#include "router/peers.h"
#include "router/place.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

#define DAY_MS UINT64_C(86400000)

struct reported_room {
	const char *room;
	uint64_t epoch, participants;
	bool has_participants;
};
struct heartbeat_body {
	const char *incarnation, *rooms_digest;
	uint64_t registration, seq, seen, max_epoch;
	int state;
	struct load load;
	bool has_rooms, has_changed;
	struct json_list rooms, changed, closed; /* of struct reported_room */
	struct json_list rooms_part;             /* of uint64_t */
};
struct heartbeat {
	struct renewed renewed;
	struct str load;
	bool degraded, unchecked;
	size_t checked, forgotten; /* rooms of the report done with */
	struct room room;
	struct claimed closed;
	size_t nevict;
	struct reported_room *evict;
};

static bool is_room(const char *s, const char **why)
{
	*why = "must be a room name";
	return room_valid(s, strlen(s));
}

static bool is_incarnation(const char *s, const char **why)
{
	*why = "must be letters, digits, '.', '_', ':' or '-'";
	return incarnation_valid(s, strlen(s));
}

/* clang-format off */
#define ROOM_AT(m) offsetof(struct reported_room, m)
static const struct json_member room_members[] = {
	{ "room", JSON_STRING, ROOM_AT(room), JSON_NO_HAS, 1, ROOM_MAX, .required = true, .check = is_room },
	{ "epoch", JSON_U64, ROOM_AT(epoch), JSON_NO_HAS, 0, (double)EPOCH_MAX },
	{ "participants", JSON_U64, ROOM_AT(participants), ROOM_AT(has_participants), 0, LOAD_MAX },
};
static const struct json_shape room_shape = { room_members, 3, sizeof(struct reported_room) };
#define AT(m) offsetof(struct heartbeat_body, m)
static const struct json_member members[] = {
	{ "incarnation", JSON_STRING, AT(incarnation), JSON_NO_HAS, 1, INCARNATION_MAX, .required = true, .check = is_incarnation },
	{ "registration", JSON_U64, AT(registration), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
	{ "seq", JSON_U64, AT(seq), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true, .help = "from 1 for each registration" },
	{ "state", JSON_WORD, AT(state), JSON_NO_HAS, .words = node_report_words },
	{ "load", JSON_OBJECT, AT(load), JSON_NO_HAS, .shape = &load_shape },
	{ "seen", JSON_U64, AT(seen), JSON_NO_HAS, 0, (double)EPOCH_MAX, .help = "`charged` of the last answer before the sample" },
	{ "max_epoch", JSON_U64, AT(max_epoch), JSON_NO_HAS, 0, (double)EPOCH_MAX },
	{ "rooms", JSON_LIST, AT(rooms), AT(has_rooms), 0, ROOMS_PART_MAX, .shape = &room_shape, .help = "the full list" },
	{ "rooms_part", JSON_NUMBERS, AT(rooms_part), JSON_NO_HAS, 0, 2, .help = "[i, n]: part i of n of the full list" },
	{ "rooms_digest", JSON_STRING, AT(rooms_digest), JSON_NO_HAS, 0, 64 },
	{ "changed", JSON_LIST, AT(changed), AT(has_changed), 0, ROOMS_PART_MAX, .shape = &room_shape },
	{ "closed", JSON_LIST, AT(closed), JSON_NO_HAS, 0, ROOMS_PART_MAX, .shape = &room_shape },
};
/* clang-format on */
static const struct json_shape shape = { members, sizeof(members) / sizeof(*members), sizeof(struct heartbeat_body) };

static int read_report(struct request *);
static int renew_lease(struct request *), renewed_lease(struct request *), not_renewed(struct request *, int err);
static int check_rooms(struct request *), checked_room(struct request *), unchecked_rooms(struct request *, int err);
static int forget_closed(struct request *), forgot_closed(struct request *), unforgotten(struct request *, int err);
static int answer(struct request *);

static const struct step steps[] = {
	{ "read-report", read_report, NULL, NULL, false },
	{ "renew-lease", renew_lease, renewed_lease, not_renewed, true },
	{ "check-rooms", check_rooms, checked_room, unchecked_rooms, true },
	{ "forget-closed", forget_closed, forgot_closed, unforgotten, true },
	{ "answer", answer, NULL, NULL, false },
	STEPS_END
};

/* The list that this heartbeat brings: the full one or what has changed. */
static const struct json_list *report_of(const struct heartbeat_body *body)
{
	return body->has_rooms ? &body->rooms : &body->changed;
}

static int read_report(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	const uint64_t *part = body->rooms_part.items;
	struct buf load = { 0 };

	if (body->rooms_part.count && (body->rooms_part.count != 2 || !part[0] || part[0] > part[1]))
		return request_fail(rq, ERR_BAD_REQUEST, "rooms_part: must be [i, n] with 1 <= i <= n");
	if (body->max_epoch && body->max_epoch < wall_ms() + DAY_MS)
		registry_met_epoch(rq->worker->router->registry, body->max_epoch);
	load_write(&body->load, &load);
	hb->load = (struct str){ arena_copy(request_arena(rq), load.at, load.len), load.len };
	buf_free(&load);
	return NEXT;
}

/* -- renew-lease -------------------------------------------------------------------------------------------------------------- */
/* What the report shows of rooms so young that their charge still counts. A room's epoch dates it, near enough. */
static double shown_load(struct request *rq)
{
	const struct heartbeat_body *body = rq->body;
	const struct router *router = rq->worker->router;
	const struct json_list *list = report_of(body);
	const struct reported_room *rooms = list->items;
	uint64_t *participants = arena_alloc(request_arena(rq), (list->count + 1) * sizeof(*participants));
	double each = 0;
	size_t young = 0;

	for (size_t i = 0; i < list->count; i++)
		if (rooms[i].epoch + router->conf.placement.ramp_ms > wall_ms())
			participants[young++] = rooms[i].participants;
	if (body->load.has_participants && body->load.participants > 0 && body->load.has_cpu)
		each = body->load.cpu / body->load.participants;
	return charges_shown(place_room_cost(router->place), each, participants, young);
}

static int renew_lease(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	struct renewal renewal = {
		.incarnation = body->incarnation,
		.registration = body->registration,
		.seq = body->seq,
		.lease_ms = rq->worker->router->conf.nodes.lease_ms,
		.reported = (enum node_report)body->state,
		.load = hb->load,
		.seen = body->seen,
		.shown = shown_load(rq),
	};

	return nodes_renew(rq->worker->store, rq->names[NAME_NODE].at, &renewal, request_store_due(rq), &hb->renewed, &rq->wait);
}

static void report_participants(struct request *rq)
{
	const struct json_list *list = report_of(rq->body);
	const struct reported_room *rooms = list->items;
	struct room_report *reports = arena_alloc(request_arena(rq), (list->count + 1) * sizeof(*reports));

	for (size_t i = 0; i < list->count; i++)
		reports[i] = (struct room_report){ str_of(rooms[i].room), rooms[i].epoch,
			                           rooms[i].has_participants ? (int64_t)rooms[i].participants : -1 };
	if (list->count)
		nodes_report_rooms(rq->worker->store, rq->names[NAME_NODE].at, reports, list->count);
}

static int renewed_lease(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	switch (hb->renewed.verdict) {
	case RENEW_UNKNOWN:
		return request_fail(rq, ERR_UNKNOWN_NODE, "register again");
	case RENEW_STALE:
		return request_fail(rq, ERR_STALE_INCARNATION, "a newer registration of %s exists", rq->names[NAME_NODE].at);
	case RENEW_REPEATED:
		return request_go(rq, answer);
	case RENEW_DONE:
		break;
	}
	report_participants(rq);
	return NEXT;
}

static int not_renewed(struct request *rq, int err)
{
	struct heartbeat *hb = rq->state;

	if (err != ERR_STORE_UNAVAILABLE)
		return -err;
	hb->degraded = true;
	return request_go(rq, answer);
}

/* -- check-rooms: is each reported room still this node's, at this epoch? ------------------------------------------------------ */
static void note_eviction(struct request *rq, const struct reported_room *reported)
{
	struct heartbeat *hb = rq->state;

	if (!hb->evict)
		hb->evict = arena_alloc(request_arena(rq), report_of(rq->body)->count * sizeof(*hb->evict));
	hb->evict[hb->nevict++] = *reported;
	log_info("room_taken", "node", LOG_S(rq->names[NAME_NODE].at), "room", LOG_S(reported->room), "epoch", LOG_U(reported->epoch),
	         "owner", LOG_S(hb->room.node));
}

static void judge_reported(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct reported_room *reported = (const struct reported_room *)report_of(rq->body)->items + hb->checked++;

	if (reported->epoch && hb->room.state != ROOM_NONE && hb->room.epoch > reported->epoch)
		note_eviction(rq, reported);
}

static int check_rooms(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct json_list *list = report_of(rq->body);
	const struct reported_room *rooms = list->items;

	while (hb->checked < list->count) {
		int verdict = rooms_find(rq->worker->store, str_of(rooms[hb->checked].room), false, request_store_due(rq), &hb->room,
		                         &rq->wait);
		if (verdict != NEXT)
			return verdict;
		judge_reported(rq);
	}
	hb->room.state = ROOM_NONE;
	return NEXT;
}

/* Also runs once after the loop has ended: then nothing is left to judge. */
static int checked_room(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	if (hb->checked >= report_of(rq->body)->count)
		return NEXT;
	judge_reported(rq);
	return check_rooms(rq);
}

/* The store's budget is used up, or the store has gone. A node takes the answer to its full list as "all else is yours", so it
 * must send that list again; changes are checked when they come again, or with the next full list. */
static int unchecked_rooms(struct request *rq, int err)
{
	struct heartbeat *hb = rq->state;

	(void)err;
	hb->unchecked = true;
	return NEXT;
}

/* -- forget-closed: rooms that ended on the node --------------------------------------------------------------------------------- */
static int forget_closed(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	const struct reported_room *rooms = body->closed.items;

	while (hb->forgotten < body->closed.count) {
		const struct reported_room *room = &rooms[hb->forgotten++];
		nodes_unindex(rq->worker->store, rq->names[NAME_NODE].at, str_of(room->room), room->epoch);
		int verdict = rooms_forget(rq->worker->store, str_of(room->room), room->epoch, request_store_due(rq), &hb->closed, &rq->wait);
		if (verdict != NEXT)
			return verdict;
	}
	return NEXT;
}

static int forgot_closed(struct request *rq)
{
	struct heartbeat *hb = rq->state;

	return hb->forgotten < ((const struct heartbeat_body *)rq->body)->closed.count ? forget_closed(rq) : NEXT;
}

static int unforgotten(struct request *rq, int err)
{
	(void)rq, (void)err; /* the idle sweep closes them */
	return NEXT;
}

/* -- answer ------------------------------------------------------------------------------------------------------------------------ */
static int answer(struct request *rq)
{
	static const char *const states[] = { "ready", "cordoned", "draining" };
	struct heartbeat *hb = rq->state;
	const struct router *router = rq->worker->router;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	json_open(&json, NULL, '{');
	json_bool(&json, "renewed", !hb->degraded && hb->renewed.verdict == RENEW_DONE);
	json_u64(&json, "lease_ms", router->conf.nodes.lease_ms);
	json_u64(&json, "heartbeat_ms", router->conf.nodes.heartbeat_ms);
	json_str(&json, "state", states[hb->renewed.wish]);
	json_u64(&json, "charged", hb->renewed.charged);
	json_open(&json, "evict", '[');
	for (size_t i = 0; i < hb->nevict; i++) {
		json_open(&json, NULL, '{');
		json_str(&json, "room", hb->evict[i].room);
		json_u64(&json, "epoch", hb->evict[i].epoch);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_bool(&json, "want_rooms", hb->unchecked && ((const struct heartbeat_body *)rq->body)->has_rooms);
	json_bool(&json, "degraded", hb->degraded);
	peers_write_urls(router->peers, &json);
	json_close(&json, '}');
	return request_json(rq, 200, &text);
}

const struct verb heartbeat_verb = { steps, sizeof(struct heartbeat), &shape };
