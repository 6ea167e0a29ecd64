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
#include "router/grants.h"
#include "router/heartbeat.h"
#include "router/peers.h"
#include "router/place.h"
#include "router/rebuild.h"
#include "router/request.h"
#include "router/router.h"
#include "router/verbs.h"
#include "router/worker.h"

#define DAY_MS UINT64_C(86400000)
#define ROUTERS_MAX 64

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
	{ "grant", JSON_STRING, ROOM_AT(grant), JSON_NO_HAS, 0, 64, .help = "X-Usher-Grant of the room's open, or of a request for it" },
};
static const struct json_shape room_shape = { room_members, 4, sizeof(struct reported_room) };
#define AT(m) offsetof(struct heartbeat_body, m)
static const struct json_member members[] = {
	{ "incarnation", JSON_STRING, AT(incarnation), JSON_NO_HAS, 1, INCARNATION_MAX, .required = true, .check = is_incarnation },
	{ "registration", JSON_U64, AT(registration), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
	{ "seq", JSON_U64, AT(seq), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true, .help = "from 1 for each registration" },
	{ "state", JSON_WORD, AT(state), JSON_NO_HAS, .words = node_report_words },
	{ "load", JSON_OBJECT, AT(load), JSON_NO_HAS, .shape = &load_shape },
	{ "node", JSON_OBJECT, AT(node), AT(has_node), .shape = &node_info_shape, .help = "as registered; while answers are `degraded`" },
	{ "seen", JSON_U64, AT(seen), JSON_NO_HAS, 0, (double)EPOCH_MAX, .help = "`charged` of the last answer before the sample" },
	{ "unbroken", JSON_BOOL, AT(unbroken), AT(has_unbroken), .help = "its lease has held since its rooms were confirmed last; false: while the store is rebuilt, another node may hold them since" },
	{ "routers", JSON_STRINGS, AT(routers), JSON_NO_HAS, 0, ROUTERS_MAX, .help = "URLs of those that the node asks, and for whose `degraded` it goes on past its lease; only these call it lost in time" },
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
static int doubt_store(struct request *), doubted_store(struct request *), undoubted_store(struct request *, int err);
static int answer(struct request *);

static const struct step steps[] = {
	{ "read-report", read_report, NULL, NULL, false },
	{ "renew-lease", renew_lease, renewed_lease, not_renewed, true },
	{ "check-rooms", check_rooms, checked_rooms, unchecked_rooms, true },
	{ "confirm-conflicts", confirm_conflicts, confirmed_conflicts, unchecked_rooms, true },
	{ "restore-rooms", restore_rooms, restored_rooms, unrestored_rooms, true },
	{ "find-ghosts", find_ghosts, found_ghosts, unfound_ghosts, true },
	{ "forget-closed", forget_closed, forgot_closed, unforgotten, true },
	{ "answer", answer, NULL, NULL, false },
	{ "doubt-store", doubt_store, doubted_store, undoubted_store, true },
	STEPS_END
};

/* One text for the node's record, a space between two. False: one is none. */
static bool read_routers(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct json_list *list = &((const struct heartbeat_body *)rq->body)->routers;
	const char *const *urls = list->items;
	struct buf text = { 0 };
	bool good = true;

	for (size_t i = 0; i < list->count && good; i++) {
		good = *urls[i] && strlen(urls[i]) <= URL_MAX_BYTES && !strchr(urls[i], ' ');
		buf_printf(&text, "%s%s", i ? " " : "", urls[i]);
	}
	hb->routers = (struct str){ arena_copy(request_arena(rq), text.at, text.len), text.len };
	buf_free(&text);
	return good;
}

static int read_report(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;
	const uint64_t *part = body->rooms_part.items;
	struct buf load = { 0 };

	if (body->rooms_part.count && (body->rooms_part.count != 2 || !part[0] || part[0] > part[1]))
		return request_fail(rq, ERR_BAD_REQUEST, "rooms_part: must be [i, n] with 1 <= i <= n");
	if (!read_routers(rq))
		return request_fail(rq, ERR_BAD_REQUEST, "routers: must be URLs");
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
	const struct node *node = fleet_find(router->fleet, rq->names[NAME_NODE].at);
	const struct json_list *list = heartbeat_list(body);
	const struct reported_room *rooms = list->items;
	struct shown_room *shown = arena_alloc(request_arena(rq), (list->count + 1) * sizeof(*shown));
	uint64_t ramp_ms = router->conf.placement.ramp_ms, now = wall_ms();
	double each = 0;
	size_t young = 0;

	for (size_t i = 0; i < list->count; i++)
		if (rooms[i].epoch + ramp_ms > now)
			shown[young++] = (struct shown_room){ rooms[i].participants, now > rooms[i].epoch ? now - rooms[i].epoch : 0 };
	if (body->load.has_participants && body->load.participants > 0 && body->load.has_cpu)
		each = body->load.cpu / body->load.participants;
	return charges_shown(place_room_cost(router->place, node ? node->info.pool : "default"), each, shown, young, ramp_ms);
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
		.routers = hb->routers,
		.seen = body->seen,
		.shown = shown_load(rq),
	};

	return nodes_renew(rq->worker->store, rq->names[NAME_NODE].at, &renewal, request_store_due(rq), &hb->renewed, &rq->wait);
}

static void report_participants(struct request *rq)
{
	const struct json_list *list = heartbeat_list(rq->body);
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
		return request_go(rq, doubt_store);
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

/* `degraded` keeps a node serving past its lease, so one slow reply will not do: the store must be known to be away,
 * or the fleet's reader have missed its turn. */
static bool store_is_away(const struct request *rq)
{
	const struct router *router = rq->worker->router;

	return !registry_up(router->registry) || fleet_is_away(router->fleet, request_now(rq));
}

static int not_renewed(struct request *rq, int err)
{
	struct heartbeat *hb = rq->state;

	if (err != ERR_STORE_UNAVAILABLE || !store_is_away(rq))
		return -err;
	hb->degraded = true;
	take_hearsay(rq);
	return request_go(rq, answer);
}

/* -- doubt-store: a node that was registered, and the store does not know it ------------------------------------------------------ */
/* It is told so only after the store is doubted, where that is young: see rebuild.c. */
static int doubt_store(struct request *rq)
{
	struct heartbeat *hb = rq->state;
	const struct router *router = rq->worker->router;

	return registry_doubt(rq->worker->store, registry_generation(router->registry),
	                      router->conf.nodes.lease_ms + router->conf.nodes.grace_ms, request_store_due(rq), &hb->doubted, &rq->wait);
}

static int doubted_store(struct request *rq)
{
	rebuild_look_soon(rq->worker->router);
	return request_fail(rq, ERR_UNKNOWN_NODE, "register again");
}

static int undoubted_store(struct request *rq, int err)
{
	(void)rq;
	return -err;
}

/* -- answer ------------------------------------------------------------------------------------------------------------------------ */
/* A router that has started without the store knows of a node's rooms only what it was told since. */
static bool heard_rooms(const struct request *rq)
{
	const struct fleet *fleet = rq->worker->router->fleet;
	const struct node *node = fleet_find(fleet, rq->names[NAME_NODE].at);

	return fleet_view(fleet)->ready || (node && node->record.listed);
}

/* A node whose list the store's data, as it is now, has not seen must send it. */
static bool wants_rooms(const struct request *rq)
{
	const struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;

	if (hb->degraded)
		return !body->has_rooms && heartbeat_tells_rooms(body) && !heard_rooms(rq);
	if (hb->renewed.verdict != RENEW_DONE)
		return false;
	if (hb->unchecked || hb->waits)
		return true;
	return !body->has_rooms && heartbeat_tells_rooms(body) && hb->renewed.listed != registry_generation(rq->worker->router->registry);
}

/* One that never tells its rooms has told all it ever will. */
static void note_listed(struct request *rq)
{
	const struct heartbeat *hb = rq->state;
	const struct heartbeat_body *body = rq->body;

	if (hb->degraded || hb->unchecked || hb->renewed.verdict != RENEW_DONE || hb->renewed.listed == hb->generation)
		return;
	if (heartbeat_ends_list(body) || !heartbeat_tells_rooms(body))
		nodes_listed(rq->worker->store, rq->names[NAME_NODE].at, body->registration, hb->generation);
}

static int answer(struct request *rq)
{
	static const char *const states[] = { "ready", "cordoned", "draining" };
	struct heartbeat *hb = rq->state;
	const struct router *router = rq->worker->router;
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	note_listed(rq);
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
	json_bool(&json, "want_rooms", wants_rooms(rq));
	json_bool(&json, "degraded", hb->degraded);
	grants_write_call_key(router, rq->names[NAME_NODE].at, ((const struct heartbeat_body *)rq->body)->incarnation, &json);
	peers_write_urls(router->peers, &json);
	json_close(&json, '}');
	return request_json(rq, 200, &text);
}

const struct verb heartbeat_verb = { steps, sizeof(struct heartbeat), &shape };
