/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The claim is the only decision; everything before it is advice and everything after it may be repeated by anybody. So each
 * step may end in "look again" (another request placed the room, another router won), and none keeps a lock in the store: a
 * router that dies between two steps leaves an `opening` record that the room's next join completes.
 *
 * An owner is given up only when the record is read anew, the view of the fleet was read twice since it first missed the owner
 * (fleet_misses()), its own record says so too, and the store is seen to be whole after all that (nodes_owner()).
 */
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "registry/nodes.h"
#include "registry/table.h"
#include "router/doubts.h"
#include "router/errands.h"
#include "router/metrics.h"
#include "router/mover.h"
#include "router/rebuild.h"
#include "router/resolve.h"
#include "router/router.h"
#include "router/worker.h"


struct placing {
	bool slot;              /* this process's slot for the room is ours */
	bool reserved;          /* a charge at placed.node that must be given back if it comes to nothing */
	bool claimed;           /* the `opening` record at from_epoch is this request's own */
	uint64_t from_epoch, from_registration; /* the record that a claim starts from; 0: none */
	bool released;          /* of that record */
	struct choice choice;
	struct placed placed;
	struct reserved reservation;
	struct claimed claim;
	struct sfu_answer opening;
	int failed;             /* -ERR_X of the last node that was tried */
	bool refused;           /* … by its own 409, or as our view of it is old */
};

static struct resolve *resolve_of(struct request *rq)
{
	return rq->state;
}

static struct placing *placing_of(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	if (!rs->placing)
		rs->placing = arena_alloc(request_arena(rq), sizeof(*rs->placing));
	return rs->placing;
}

static struct place_wish *wish_of(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	if (!rs->wish) {
		rs->wish = arena_alloc(request_arena(rq), sizeof(*rs->wish));
		rs->wish->region = rq->worker->router->conf.server.region;
	}
	rs->wish->room = rs->name;
	return rs->wish;
}

void resolve_begin(struct request *rq, bool may_place, int (*answer)(struct request *))
{
	struct resolve *rs = resolve_of(rq);

	rs->name = rq->names[NAME_ROOM];
	rs->may_place = may_place;
	rs->answer = answer;
	rq->leave = resolve_leave;
}

static void give_back_slot(struct request *rq)
{
	struct placing *p = resolve_of(rq)->placing;

	if (p && p->slot)
		keeper_done(rq->worker, resolve_of(rq)->name);
	if (p)
		p->slot = false;
}

static void give_back_charge(struct request *rq)
{
	struct placing *p = placing_of(rq);

	if (p->reserved)
		nodes_release(rq->worker->store, p->placed.node, resolve_of(rq)->name, &p->reservation, p->placed.cost);
	p->reserved = false;
}

void resolve_leave(struct request *rq)
{
	give_back_slot(rq);
}

const struct node *resolve_node(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	const struct node *node = fleet_find(rq->worker->router->fleet, rs->room.node);

	return node && !strcmp(node->record.incarnation, rs->room.incarnation) ? node : NULL;
}

bool resolve_may_retry(struct request *rq, const char *what)
{
	bool may = retries_spend(&rq->worker->retries, request_now(rq));

	metric_add(rq->worker->sheet, M_RETRIES, what, may ? "allowed" : "held_back", 1);
	return may;
}

void resolve_first_call(struct request *rq)
{
	if (!rq->calls_node)
		retries_earn(&rq->worker->retries);
	rq->calls_node = true;
}

int resolve_anew(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	rooms_distrust(rq->worker->store, rs->name);
	rs->fresh = true;
	return request_go(rq, find_room);
}

/* -- find-room ---------------------------------------------------------------------------------------------------------- */
int find_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	/* Who asks has no store and little time. */
	if (peer_room_asks(rq) && !rs->fresh && table_find(registry_table(rq->worker->router->registry), rs->name, &rs->room) != TABLE_MISS)
		return NEXT;
	return rooms_find(rq->worker->store, rs->name, rs->fresh, request_store_due(rq), &rs->room, &rq->wait);
}

/* The store does not answer, and this router does not know the room: another one may. */
static bool may_ask_routers(struct request *rq, int err)
{
	const struct resolve *rs = resolve_of(rq);

	return err == ERR_STORE_UNAVAILABLE && !rs->asked_peers && !peer_room_asks(rq);
}

/* The store is being rebuilt and does not know the room: a node may hold it, and says so within a few heartbeats. */
int no_room(struct request *rq, int err)
{
	if (may_ask_routers(rq, err))
		return request_go(rq, ask_routers);
	if (err != ERR_STORE_REBUILDING)
		return -err;
	give_back_slot(rq);
	rebuild_look_soon(rq->worker->router);
	return request_park(rq, find_room, ERR_STORE_REBUILDING);
}

static bool lacks_hints(const struct resolve *rs)
{
	return rs->wants_hints && rs->room.state == ROOM_OPEN && !strcmp(rs->room.hints, HINTS_LOST);
}

static int place_from(struct request *rq, uint64_t epoch)
{
	struct resolve *rs = resolve_of(rq);

	if (!rs->may_place)
		return request_fail(rq, ERR_NOT_FOUND, "no node holds this room");
	placing_of(rq)->from_epoch = epoch;
	placing_of(rq)->from_registration = rs->room.registration;
	placing_of(rq)->released = epoch != 0;
	return request_go(rq, choose_node);
}

/* The record names an owner that we do not know alive. One that took it back since we missed it (another registration) is missed
 * anew: what we read of the nodes may be older than that. */
static int doubt_owner(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct router *router = rq->worker->router;

	if (rs->missed_epoch != rs->room.epoch || rs->missed_registration != rs->room.registration)
		rs->missed_since = doubts_since(router->doubts, rs->name, rs->room.epoch, rs->room.registration,
		                                fleet_view(router->fleet)->version);
	rs->missed_epoch = rs->room.epoch;
	rs->missed_registration = rs->room.registration;
	bool missed = fleet_misses(router->fleet, rs->room.node, rs->room.incarnation, &rs->missed_since);
	doubts_keep(router->doubts, rs->name, rs->room.epoch, rs->room.registration, rs->missed_since);
	if (missed && rs->fresh)
		return request_go(rq, confirm_loss);
	rs->fresh = true;
	give_back_slot(rq);
	if (missed)
		return request_go(rq, find_room);
	keeper_refresh(router);
	return request_park(rq, find_room, ERR_OWNER_LOST);
}

int found_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	if (rs->room.state == ROOM_NONE)
		return place_from(rq, 0);
	if (rs->room.state == ROOM_MOVING || rs->room.state == ROOM_CLOSING) {
		if (!fleet_owns(rq->worker->router->fleet, rs->room.node, rs->room.incarnation))
			return doubt_owner(rq); /* nobody is left to let go of it */
		if (rs->room.state == ROOM_MOVING)
			mover_meet(rq->worker->router, rs->name, &rs->room);
		give_back_slot(rq);
		rs->fresh = true;
		return request_park(rq, find_room, ERR_ROOM_MOVING);
	}
	if (!fleet_owns(rq->worker->router->fleet, rs->room.node, rs->room.incarnation))
		return doubt_owner(rq);
	if (rs->room.state == ROOM_OPENING || lacks_hints(rs))
		return request_go(rq, choose_node); /* help: the slot first, so that one request of this process does */
	give_back_slot(rq);
	return request_go(rq, rs->answer);
}

/* -- ask-routers ---------------------------------------------------------------------------------------------------------- */
int ask_routers(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	rs->asked_peers = true;
	return peer_room_ask(rq->worker, rs->name, request_arena(rq), &rs->peer, &rq->wait);
}

/* Of the process and registration that this router knows: one that has started or registered anew since may have forgotten what it
 * evicted. An epoch that is over ends at the gate. */
int asked_routers(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	const struct node *node = rs->peer.epoch ? fleet_find(rq->worker->router->fleet, rs->peer.node) : NULL;

	if (!node || strcmp(node->record.incarnation, rs->peer.incarnation) != 0 || node->record.registration != rs->peer.registration)
		return -ERR_STORE_UNAVAILABLE;
	rs->room = (struct room){ .state = ROOM_OPEN, .source = FROM_TABLE, .epoch = rs->peer.epoch,
		                  .registration = node->record.registration, .hints = HINTS_LOST };
	memcpy(rs->room.node, node->record.id, sizeof(rs->room.node));
	memcpy(rs->room.incarnation, node->record.incarnation, sizeof(rs->room.incarnation));
	return found_room(rq);
}

/* -- confirm-loss --------------------------------------------------------------------------------------------------------- */
/* What was read from the store may be from before a loss. */
static int await_whole(struct request *rq)
{
	give_back_slot(rq);
	resolve_of(rq)->fresh = true;
	rebuild_look_soon(rq->worker->router);
	return request_park(rq, find_room, ERR_STORE_REBUILDING);
}

/* A store that has lost its last writes names an earlier owner, and one that has lost its list of nodes lacks the present one. */
int confirm_loss(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	if (!rs->may_place)
		return request_fail(rq, ERR_OWNER_LOST, "node %s is lost; a join places the room anew", rs->room.node);
	return nodes_owner(rq->worker->store, rs->room.node, rs->room.incarnation, request_store_due(rq), &rs->owner, &rq->wait);
}

int confirmed_loss(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	if (rs->owner == OWNER_GONE)
		return place_from(rq, rs->room.epoch);
	if (rs->owner == OWNER_UNKNOWN)
		return await_whole(rq);
	give_back_slot(rq); /* it is only missing in what we read of the nodes */
	keeper_refresh(rq->worker->router);
	return request_park(rq, find_room, ERR_OWNER_LOST);
}

/* -- choose-node ---------------------------------------------------------------------------------------------------------- */
static bool helping(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	return (rs->room.state == ROOM_OPENING && placing_of(rq)->from_epoch != rs->room.epoch) || lacks_hints(rs);
}

int choose_node(struct request *rq)
{
	struct placing *p = placing_of(rq);
	enum choose_how how = helping(rq) ? CHOOSE_HELP : p->slot ? CHOOSE_AGAIN : CHOOSE_FIRST;

	if (how == CHOOSE_HELP && p->slot)
		return NEXT; /* we lost the claim while holding the slot: nothing to ask */
	return keeper_choose(rq->worker, wish_of(rq), how, &p->choice, &rq->wait);
}

static int not_chosen(struct request *rq)
{
	struct placing *p = placing_of(rq);
	int err = -p->choice.err;

	rq->retry_ms = p->choice.retry_ms;
	if (p->failed && !p->refused)
		return p->failed; /* nodes there are, but those that could take it have just failed */
	give_back_slot(rq);
	if (p->failed) { /* a node that knows less than we do (its drain was undone, say: its next heartbeat tells it), or more */
		err = -p->failed;
		p->failed = 0;
		wish_of(rq)->ntried = 0;
		return request_park(rq, find_room, err);
	}
	if (p->choice.wait_helps)
		return request_park(rq, find_room, err);
	return -err;
}

static int help_open(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);

	p->placed = (struct placed){ .registration = rs->room.registration };
	memcpy(p->placed.node, rs->room.node, sizeof(p->placed.node));
	memcpy(p->placed.incarnation, rs->room.incarnation, sizeof(p->placed.incarnation));
	p->claim.room = rs->room;
	p->claimed = false;
	return request_go(rq, lacks_hints(rs) ? open_room : confirm_claim);
}

int chosen_node(struct request *rq)
{
	struct placing *p = placing_of(rq);

	if (helping(rq) && p->slot)
		return help_open(rq);
	if (p->choice.look_again) {
		p->choice.look_again = false;
		return request_go(rq, find_room);
	}
	p->slot = p->choice.holds;
	if (helping(rq))
		return help_open(rq);
	if (p->choice.err)
		return not_chosen(rq);
	p->placed = p->choice.placed;
	return NEXT;
}

/* -- reserve-node --------------------------------------------------------------------------------------------------------- */
int reserve_node(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);
	struct reserve want = {
		.room = rs->name,
		.registration = p->placed.registration,
		.cost = p->placed.cost,
		.rooms_max = p->placed.rooms_max,
		.exclusive = wish_of(rq)->exclusive,
	};

	return nodes_reserve(rq->worker->store, p->placed.node, &want, request_store_due(rq), &p->reservation, &rq->wait);
}

/* This node will not do: another one, if any is left. */
static int next_node(struct request *rq, int err)
{
	struct placing *p = placing_of(rq);
	struct place_wish *wish = wish_of(rq);

	p->failed = err;
	if (!resolve_of(rq)->may_place || wish->ntried == TRIED_MAX)
		return err;
	wish->tried[wish->ntried++] = arena_copy(request_arena(rq), p->placed.node, strlen(p->placed.node));
	return request_go(rq, choose_node);
}

int reserved_node(struct request *rq)
{
	struct placing *p = placing_of(rq);

	p->reserved = p->reservation.granted;
	p->refused = false;
	if (p->reserved)
		return NEXT;
	keeper_refresh(rq->worker->router);
	/* Not full: registered again, or lost, since we looked. Where no other node is left, the next look tells which. */
	p->refused = !strcmp(p->reservation.why_not, "registration");
	return next_node(rq, -ERR_NO_CAPACITY);
}

/* -- claim-room ------------------------------------------------------------------------------------------------------------ */
int claim_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);
	struct claim claim = {
		.from_epoch = p->from_epoch,
		.from_registration = p->from_registration,
		.released = p->released,
		.node = p->placed.node,
		.incarnation = p->placed.incarnation,
		.registration = p->placed.registration,
		.exclusive = wish_of(rq)->exclusive,
	};

	return rooms_claim(rq->worker->store, rs->name, &claim, request_store_due(rq), &p->claim, &rq->wait);
}

/* Another router moved the record: what it says now counts. */
static int follow(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	metric_add(rq->worker->sheet, M_EPOCH_CONFLICTS, NULL, NULL, 1);
	rs->room = placing_of(rq)->claim.room;
	placing_of(rq)->from_epoch = 0;
	return found_room(rq);
}

int claimed_room(struct request *rq)
{
	struct placing *p = placing_of(rq);

	if (!p->claim.won) {
		give_back_charge(rq);
		return follow(rq);
	}
	p->claimed = true;
	resolve_of(rq)->room = p->claim.room;
	p->from_epoch = p->claim.room.epoch;
	p->from_registration = p->claim.room.registration;
	p->released = false;
	return request_go(rq, open_room);
}

/* -- confirm-claim, confirm-whole ---------------------------------------------------------------------------------------------- */
/* Whoever helps does not know whether the claim it met was ever confirmed by the replicas: the node would hold a room that a
 * failover forgets. */
int confirm_claim(struct request *rq)
{
	struct placing *p = placing_of(rq);

	return rooms_confirm(rq->worker->store, resolve_of(rq)->name, p->claim.room.epoch, request_store_due(rq), &p->claim, &rq->wait);
}

int confirmed_claim(struct request *rq)
{
	return placing_of(rq)->claim.won ? NEXT : resolve_anew(rq);
}

/* Nor whether the claim is one of before a loss, and the room with another owner since. */
int confirm_whole(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);

	return registry_read_mark(rq->worker->store, rs->name, request_store_due(rq), &rs->mark, &rq->wait);
}

int confirmed_whole(struct request *rq)
{
	return registry_mark_counts(rq->worker->router->registry, &resolve_of(rq)->mark) ? NEXT : await_whole(rq);
}

/* -- open-room ------------------------------------------------------------------------------------------------------------- */
int open_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);
	struct sfu_room room = {
		.node = p->placed.node,
		.incarnation = p->placed.incarnation,
		.room = rs->name,
		.epoch = p->claim.room.epoch,
		.registration = p->claim.room.registration,
		.expected_participants = wish_of(rq)->expected_participants,
		.fresh = !lacks_hints(rs), /* a room that was restored goes on as it is */
		.request_id = rq->id,
	};

	resolve_first_call(rq);
	return sfu_open(rq->worker->sfu, &room, request_arena(rq), &p->opening, &rq->wait);
}

static int open_error(enum sfu_verdict verdict)
{
	return verdict == SFU_HELD_BACK ? -ERR_BREAKER_OPEN : verdict == SFU_FAILED ? -ERR_NODE_UNAVAILABLE : -ERR_NO_CAPACITY;
}

/* The node did not confirm. Whether it holds the room is unknown, so the room goes elsewhere only by a claim from this very
 * epoch. It is not asked to let go: that call would most likely fail as well, and one fault would count twice; the answer to
 * its next report tells it. */
static int open_failed(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);

	log_warn("open_failed", "request", LOG_S(rq->id), "room", LOG_B(rs->name.at, rs->name.len), "node", LOG_S(p->placed.node),
	         "epoch", LOG_U(p->claim.room.epoch), "status", LOG_U((uint64_t)p->opening.status));
	rq->retry_ms = p->opening.retry_ms;
	p->refused = p->opening.verdict == SFU_REFUSED;
	if (lacks_hints(rs)) { /* it is open all the same */
		rs->wants_hints = false;
		give_back_slot(rq);
		return request_go(rq, rs->answer);
	}
	give_back_charge(rq);
	p->from_epoch = p->claim.room.epoch;
	p->from_registration = p->claim.room.registration;
	p->released = false;
	rs->room = p->claim.room;
	if (p->opening.verdict != SFU_HELD_BACK && !resolve_may_retry(rq, "open"))
		return open_error(p->opening.verdict); /* as if no node were left; the next join of the room goes on from the record */
	return next_node(rq, open_error(p->opening.verdict));
}

int opened_room(struct request *rq)
{
	return placing_of(rq)->opening.verdict == SFU_DONE ? NEXT : open_failed(rq);
}

/* -- publish-room ---------------------------------------------------------------------------------------------------------- */
/* The member `hints` of the node's answer, as it stands there; it is for the participants, not for us. */
static struct str hints_of(struct request *rq)
{
	struct str hints = json_member(placing_of(rq)->opening.body, "hints", request_arena(rq));

	if (hints.len > HINTS_MAX) {
		log_warn("hints_too_long", "request", LOG_S(rq->id), "bytes", LOG_U(hints.len));
		hints.len = 0;
	}
	return hints;
}

int publish_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);

	return rooms_publish(rq->worker->store, rs->name, p->claim.room.epoch, hints_of(rq), request_store_due(rq), &p->claim,
	                     &rq->wait);
}

int published_room(struct request *rq)
{
	struct resolve *rs = resolve_of(rq);
	struct placing *p = placing_of(rq);

	if (!p->claim.won) {
		if (p->claim.room.epoch != rs->room.epoch || strcmp(p->claim.room.node, p->placed.node))
			evict_room(rq->worker, p->placed.node, p->placed.incarnation, rs->name, rs->room.epoch);
		give_back_charge(rq);
		return follow(rq);
	}
	nodes_index(rq->worker->store, p->placed.node, rs->name, p->claim.room.epoch);
	rs->room = p->claim.room;
	rs->created = p->claimed;
	if (rs->created)
		log_change("room_placed", "request", LOG_S(rq->id), "room", LOG_B(rs->name.at, rs->name.len), "node",
		         LOG_S(rs->room.node), "epoch", LOG_U(rs->room.epoch));
	give_back_slot(rq);
	return request_go(rq, rs->answer);
}

/* Only the hints were missing: the room is open all the same. */
int unpublished_room(struct request *rq, int err)
{
	struct resolve *rs = resolve_of(rq);

	if (!lacks_hints(rs))
		return -err;
	struct str hints = hints_of(rq);
	memcpy(rs->room.hints, hints.len ? hints.at : "", hints.len);
	rs->room.hints[hints.len] = '\0';
	rs->wants_hints = false;
	give_back_slot(rq);
	return request_go(rq, rs->answer);
}
