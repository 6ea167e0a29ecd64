/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A room's jobs form a queue; the first is at the adapter. Evicting acts in two strokes: at once nobody is admitted and no open
 * of that epoch is taken any more, then the SFU is asked to end the room; until it has, the room is still reported, so that
 * no router believes it gone. Given-up rooms are the exception: they count as evicted, as nobody gets in.
 *
 * The grants of a room are those that its last open brought, one by each key; the first, of the key that signs, is reported. A room
 * that was found has none until a router opens it again.
 *
 * What a poll says is of the past: rooms that changed since it was asked, or are being worked on, are left as they are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/wait.h"
#include "base/wire/grant.h"
#include "client/agent/rooms.h"
#include "client/agent/tombs.h"
#include "client/lib/usher/usher.h"

struct job {
	struct op op; /* who asked; perhaps nobody */
	struct job *next;
	bool evicts;
	struct adapter_open open; /* of an eviction: epoch alone */
	char grants[GRANTS_MAX];
	struct arena arena;
	struct adapter_opened opened, *out;
	struct arena *out_arena;
};
struct room {
	struct room_link link;
	struct room *next, **at;
	struct rooms *rooms;
	uint64_t epoch;        /* held by the SFU; 0: not */
	struct known_grants grants; /* of that epoch */
	uint64_t refused_upto; /* evicted, also if the SFU does not know yet */
	uint64_t participants;
	uint64_t changed, seen; /* rooms->polls */
	struct job *jobs;
	size_t njobs;
	struct wait wait; /* the first job's, at the adapter */
	char name[];
};
struct rooms {
	struct rooms_conf conf;
	struct usher_node *node;
	struct room_map map;
	struct room *all;
	size_t held;
	struct tombs tombs;
	uint64_t polls, participants;
	struct arena foreign_arena;
	struct adapter_rooms foreign;
};

static void run(struct room *);

/* -- the set ---------------------------------------------------------------------------------------------------------------- */
static uint64_t now(const struct rooms *rooms)
{
	return loop_now_ms(rooms->conf.loop);
}

static struct room *find(const struct rooms *rooms, struct str name)
{
	struct room_link *link = room_map_find(&rooms->map, name);

	return link ? container_of(link, struct room, link) : NULL;
}

static struct room *add(struct rooms *rooms, struct str name)
{
	struct room *room = calloc(1, sizeof(*room) + name.len + 1);

	if (!room)
		abort();
	memcpy(room->name, name.at, name.len);
	room->link.name = (struct str){ room->name, name.len };
	room->rooms = rooms;
	room_map_add(&rooms->map, &room->link);
	room->next = rooms->all;
	room->at = &rooms->all;
	if (room->next)
		room->next->at = &room->next;
	rooms->all = room;
	return room;
}

static struct room *find_or_add(struct rooms *rooms, struct str name)
{
	struct room *room = find(rooms, name);

	return room ? room : add(rooms, name);
}

static void remove_room(struct room *room)
{
	room_map_remove(&room->rooms->map, &room->link);
	*room->at = room->next;
	if (room->next)
		room->next->at = room->at;
	free(room);
}

/* -- what routers are told -------------------------------------------------------------------------------------------------- */
static void tell(const struct room *room)
{
	struct usher_node *node = room->rooms->node;

	if (!node || room->epoch <= room->refused_upto)
		return;
	usher_node_room_set(node, room->name, room->epoch, room->participants);
	if (*room->grants.texts[0])
		usher_node_room_grant(node, room->name, room->epoch, room->grants.texts[0]);
}

static void tell_gone(const struct room *room, uint64_t epoch)
{
	if (room->rooms->node)
		usher_node_room_remove(room->rooms->node, room->name, epoch);
}

void rooms_report_to(struct rooms *rooms, struct usher_node *node)
{
	rooms->node = node;
	for (struct room *room = rooms->all; room; room = room->next)
		tell(room);
}

static void end_here(struct rooms *rooms, struct str name, uint64_t epoch, enum room_end how)
{
	if (rooms->conf.ended)
		rooms->conf.ended(rooms->conf.arg, name, epoch, how);
}

static void hold(struct room *room, uint64_t epoch, uint64_t participants)
{
	struct rooms *rooms = room->rooms;
	uint64_t before = room->epoch;

	rooms->held += !before;
	if (before != epoch) {
		room->changed = rooms->polls;
		room->grants = (struct known_grants){ 0 };
	}
	room->epoch = epoch;
	room->participants = participants;
	if (before && before < epoch)
		end_here(rooms, room->link.name, before, END_MOVED);
	tell(room);
}

static void let_go(struct room *room)
{
	room->rooms->held -= room->epoch != 0;
	room->epoch = room->participants = 0;
	room->changed = room->rooms->polls;
}

/* -- jobs --------------------------------------------------------------------------------------------------------------------- */
static bool evicted_before(const struct room *room, uint64_t epoch)
{
	return epoch <= room->refused_upto || epoch <= tombs_get(&room->rooms->tombs, room->link.name, now(room->rooms));
}

static void refuse_upto(struct room *room, uint64_t epoch)
{
	tombs_set(&room->rooms->tombs, room->link.name, epoch, now(room->rooms));
	if (room->refused_upto < epoch)
		room->refused_upto = epoch;
}

static int start(struct room *room, struct job *job)
{
	struct adapter *adapter = room->rooms->conf.adapter;

	if (job->evicts)
		return adapter->ops->evict(adapter, room->link.name, job->open.epoch, &room->wait);
	if (evicted_before(room, job->open.epoch) || room->epoch > job->open.epoch)
		return -ERR_STALE_EPOCH;
	job->open.room = room->link.name;
	return adapter->ops->open(adapter, &job->open, &job->arena, &job->opened, &room->wait);
}

static int opened(struct room *room, const struct job *job, int err)
{
	bool late = !err && evicted_before(room, job->open.epoch); /* an eviction is next in the queue: it ends the room again */

	if (!err)
		hold(room, job->open.epoch, room->epoch == job->open.epoch ? room->participants : 0);
	else if (err != -ERR_STALE_EPOCH && job->open.fresh && room->epoch != job->open.epoch)
		refuse_upto(room, job->open.epoch); /* a new room goes elsewhere: should a hung SFU do it in the end, a poll finds it and ends it */
	return late ? -ERR_STALE_EPOCH : err;
}

static int evicted(struct room *room, const struct job *job, int err)
{
	if (err) {
		log_warn("evict_failed", "room", LOG_S(room->name), "epoch", LOG_U(job->open.epoch), "why", LOG_S(error_info(err)->slug));
		return err;
	}
	if (room->epoch <= job->open.epoch)
		let_go(room);
	tell_gone(room, job->open.epoch);
	return 0;
}

static struct job *pop(struct room *room)
{
	struct job *job = room->jobs;

	room->jobs = job->next;
	room->njobs--;
	return job;
}

/* What the first job came to. Its asker, if there is one, has the answer; the job is still to be freed. */
static int conclude(struct room *room, struct job *job, int err)
{
	err = job->evicts ? evicted(room, job, err) : opened(room, job, err);
	if (!err && !job->evicts && known_grants_replace(&room->grants, str_of(job->grants)))
		tell(room);
	if (!err && job->out && job->opened.hints.len) {
		struct str hints = job->opened.hints;
		job->out->hints = (struct str){ arena_copy(job->out_arena, hints.at, hints.len), hints.len };
	}
	return err;
}

static void free_job(struct job *job)
{
	arena_reset(&job->arena);
	free(job);
}

static void end_job(struct room *room, int err)
{
	struct job *job = pop(room);

	if (!job->op.waiter)
		job->out = NULL;
	err = conclude(room, job, err);
	struct wait *asker = op_detach(&job->op);
	free_job(job);
	run(room); /* may free it */
	wait_wake(asker, err);
}

static void woken(struct wait *w, int err)
{
	end_job(container_of(w, struct room, wait), err);
}

/* The next job; a room that nothing holds and nobody works on is no more. */
static void run(struct room *room)
{
	room->wait.wake = woken;
	if (!room->jobs) {
		if (!room->epoch)
			remove_room(room);
		return;
	}
	int err = start(room, room->jobs);
	if (err != WAIT)
		end_job(room, err);
}

static struct job *append_job(struct room *room)
{
	struct job **end = &room->jobs, *job = calloc(1, sizeof(*job));

	if (!job)
		abort();
	while (*end)
		end = &(*end)->next;
	*end = job;
	room->njobs++;
	return job;
}

/* The answer now, if the adapter has it now and nothing is before it; else WAIT. */
static int begin(struct room *room, struct job *job, struct wait *w)
{
	room->wait.wake = woken;
	int err = room->jobs == job ? start(room, job) : WAIT;
	if (err == WAIT) {
		if (w)
			op_attach(&job->op, w);
		return w ? WAIT : NEXT;
	}
	pop(room);
	err = conclude(room, job, err);
	free_job(job);
	run(room);
	return err;
}

int rooms_open(struct rooms *rooms, const struct adapter_open *open, struct str grants, struct arena *arena, struct adapter_opened *out,
               struct wait *w)
{
	struct room *room = find_or_add(rooms, open->room);

	if (room->njobs >= JOBS_MAX)
		return -ERR_CONTENTION;
	struct job *job = append_job(room);
	job->open = *open;
	snprintf(job->grants, sizeof(job->grants), "%.*s", STR_ARG(grants));
	job->out = out;
	job->out_arena = arena;
	return begin(room, job, w);
}

static bool eviction_queued(const struct room *room, uint64_t epoch)
{
	for (const struct job *job = room->jobs; job; job = job->next)
		if (job->evicts && job->open.epoch >= epoch)
			return true;
	return false;
}

static int queue_eviction(struct room *room, uint64_t epoch, struct wait *w)
{
	if (!w && eviction_queued(room, epoch))
		return NEXT;
	if (room->njobs >= JOBS_MAX)
		return -ERR_CONTENTION;
	struct job *job = append_job(room);
	job->evicts = true;
	job->open.epoch = epoch;
	return begin(room, job, w);
}

int rooms_evict(struct rooms *rooms, struct str name, uint64_t epoch, enum room_end how, struct wait *w)
{
	struct room *room = find_or_add(rooms, name);

	refuse_upto(room, epoch);
	end_here(rooms, name, epoch, how);
	return queue_eviction(room, epoch, w);
}

/* -- the poll ------------------------------------------------------------------------------------------------------------------ */
uint64_t rooms_poll_begins(struct rooms *rooms)
{
	return ++rooms->polls;
}

static void keep_foreign(struct rooms *rooms, const struct adapter_rooms *list)
{
	struct adapter_room *out;

	arena_reset(&rooms->foreign_arena);
	rooms->foreign = (struct adapter_rooms){ .rooms = arena_alloc(&rooms->foreign_arena, (list->count + 1) * sizeof(*out)) };
	rooms->participants = 0;
	for (size_t i = 0; i < list->count; i++) {
		rooms->participants += list->rooms[i].participants;
		if (list->rooms[i].epoch)
			continue;
		out = &rooms->foreign.rooms[rooms->foreign.count++];
		*out = list->rooms[i];
		out->room.at = arena_copy(&rooms->foreign_arena, out->room.at, out->room.len);
	}
}

static void found(struct rooms *rooms, const struct adapter_room *listed, uint64_t begun)
{
	struct room *room = find(rooms, listed->room);
	bool known = room && room->epoch;

	room = room ? room : add(rooms, listed->room);
	room->seen = begun;
	if (room->jobs || (known && room->changed >= begun))
		return;
	if (evicted_before(room, listed->epoch)) {
		rooms->held += !room->epoch;
		room->epoch = listed->epoch;
		refuse_upto(room, listed->epoch);
		queue_eviction(room, listed->epoch, NULL);
		return;
	}
	if (!known)
		log_info("room_found", "room", LOG_S(room->name), "epoch", LOG_U(listed->epoch));
	hold(room, listed->epoch, listed->participants);
}

static void vanished(struct room *room)
{
	struct rooms *rooms = room->rooms;

	log_info("room_vanished", "room", LOG_S(room->name), "epoch", LOG_U(room->epoch));
	end_here(rooms, room->link.name, room->epoch, END_CLOSED);
	tell_gone(room, room->epoch);
	let_go(room);
	remove_room(room);
}

void rooms_polled(struct rooms *rooms, const struct adapter_rooms *list, uint64_t begun)
{
	keep_foreign(rooms, list);
	for (size_t i = 0; i < list->count; i++)
		if (list->rooms[i].epoch)
			found(rooms, &list->rooms[i], begun);
	for (struct room *room = rooms->all, *next; room; room = next) {
		next = room->next;
		if (room->seen != begun && room->changed < begun && !room->jobs && room->epoch)
			vanished(room);
	}
}

/* -- all at once ----------------------------------------------------------------------------------------------------------------- */
void rooms_give_up(struct rooms *rooms)
{
	for (struct room *room = rooms->all; room; room = room->next) {
		if (!room->epoch)
			continue;
		refuse_upto(room, room->epoch);
		end_here(rooms, room->link.name, room->epoch, END_LOST);
		tell_gone(room, room->epoch);
	}
}

static void drop_jobs(struct room *room, struct job **dropped)
{
	struct job **end = dropped;

	wait_drop(&room->wait);
	while (*end)
		end = &(*end)->next;
	*end = room->jobs;
	room->jobs = NULL;
	room->njobs = 0;
}

void rooms_forget(struct rooms *rooms)
{
	struct job *dropped = NULL;

	while (rooms->all) {
		struct room *room = rooms->all;
		drop_jobs(room, &dropped);
		if (room->epoch) {
			end_here(rooms, room->link.name, room->epoch, END_LOST);
			tell_gone(room, room->epoch);
			let_go(room);
		}
		remove_room(room);
	}
	rooms->participants = 0;
	rooms->foreign.count = 0;
	while (dropped) {
		struct job *job = dropped;
		dropped = job->next;
		struct wait *asker = op_detach(&job->op);
		free_job(job);
		wait_wake(asker, -ERR_NODE_UNAVAILABLE);
	}
}

/* -- asked ------------------------------------------------------------------------------------------------------------------------ */
enum room_verdict rooms_admit(const struct rooms *rooms, struct str name, uint64_t epoch)
{
	const struct room *room = find(rooms, name);

	if (!room || !room->epoch)
		return ROOM_UNKNOWN;
	return room->epoch == epoch && epoch > room->refused_upto ? ROOM_HELD : ROOM_OTHER_EPOCH;
}

const struct known_grants *rooms_grants(const struct rooms *rooms, struct str name)
{
	const struct room *room = find(rooms, name);

	return room && room->epoch ? &room->grants : NULL;
}

size_t rooms_held(const struct rooms *rooms)
{
	return rooms->held;
}

uint64_t rooms_participants(const struct rooms *rooms)
{
	return rooms->participants;
}

void rooms_each(const struct rooms *rooms, void (*fn)(void *ctx, const struct adapter_room *), void *ctx)
{
	for (const struct room *room = rooms->all; room; room = room->next) {
		struct adapter_room out = { .room = room->link.name, .epoch = room->epoch, .participants = room->participants };
		if (room->epoch > room->refused_upto)
			fn(ctx, &out);
	}
	for (size_t i = 0; i < rooms->foreign.count; i++)
		fn(ctx, &rooms->foreign.rooms[i]);
}

struct rooms *rooms_new(const struct rooms_conf *conf)
{
	struct rooms *rooms = calloc(1, sizeof(*rooms));

	if (!rooms)
		abort();
	rooms->conf = *conf;
	return rooms;
}

void rooms_free(struct rooms *rooms)
{
	if (!rooms)
		return;
	rooms->node = NULL;
	rooms->conf.ended = NULL; /* who would have been told may be gone */
	rooms_forget(rooms);
	tombs_free(&rooms->tombs);
	room_map_free(&rooms->map);
	arena_reset(&rooms->foreign_arena);
	free(rooms);
}
