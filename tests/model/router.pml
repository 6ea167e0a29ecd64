/* SPDX-License-Identifier: Apache-2.0 */
/* One router: watches nodes, passes heartbeats on to the store, places rooms. health/fleet*.c, router/heartbeat.c,
 * router/resolve.c, router/close.c. */

#define CONNECTED(to) (router[to].up && router[to].conn)
#define OWNER_GONE(to) (node[router[to].node].inc != router[to].inc || node[router[to].node].lost)

/* -- watching ------------------------------------------------------------------------------------------------------------------ */
/* Silence counts from zero: what nobody watched is not silence. */
inline watch_anew(to)
{
#ifndef FAULT_SILENCE_OVER_OUTAGE
	router[to].silence[0] = DRIFT - 1;
	router[to].silence[1] = DRIFT - 1;
#endif
	router[to].hold = DRIFT - 1
}

/* A node that hears `degraded` goes on: whoever says so must not count the silence that this is. */
inline not_watched(to)
{
#ifndef FAULT_DEGRADED_BUT_WATCHING
	watch_anew(to)
#else
	skip
#endif
}

inline disconnect(to)
{
	router[to].conn = 0;
	watch_anew(to)
}

inline rebuild()
{
	mark.server = server;
	mark.whole = 0;
	mark.listed = 0;
	router[0].hold = DRIFT - 1;
	router[1].hold = DRIFT - 1
}

inline connect(to)
{
	router[to].conn = 1;
	announced = announced | (1 << to);
	watch_anew(to);
	if
#ifdef AS_WRITTEN_MARK
	:: mark.server == 0 || (router[to].ran && router[to].ran != server) -> rebuild()
#else
	:: mark.server != server ->
		rebuild();
#ifdef FAULT_UNMARKED_IS_WHOLE
		mark.whole = (router[to].ran == 0 && room.state == NONE && !PRESENT(0) && !PRESENT(1))
#endif
#endif
	:: else
	fi;
	router[to].ran = server;
	printf("router %d connects to the store: whole %d\n", to, mark.whole)
}

/* A node that has not yet told this router's name to anybody may be covered by the others' `degraded`. */
#ifdef AS_WRITTEN_LOST
#define MAY_LOSE(to, name) (CONNECTED(to) && router[to].silence[name] >= SILENT && PRESENT(name) && !node[name].lost)
#else
#define MAY_LOSE(to, name) (CONNECTED(to) && router[to].silence[name] >= SILENT && PRESENT(name) && !node[name].lost && \
	(!node[name].beaten || HAS(node[name].lists, to)))
#endif

#define WATCHED_ENOUGH(to) (router[to].hold >= SILENT)
#ifdef AS_WRITTEN_WHOLE
#define REMEMBERED ((CONNECTED(0) -> router[0].remembers : 0) | (CONNECTED(1) -> router[1].remembers : 0))
#define MAY_TELL_WHOLE(to) (CONNECTED(to) && !mark.whole && (WATCHED_ENOUGH(to) || (REMEMBERED & mark.listed) == REMEMBERED))
#else
#define MAY_TELL_WHOLE(to) (CONNECTED(to) && !mark.whole && WATCHED_ENOUGH(to))
#endif

/* -- heartbeats ---------------------------------------------------------------------------------------------------------------- */
#define MAY_RENEW(to, b) (beat[b].at == SENT && router[to].up)
#define MAY_JUDGE(to, b) (beat[b].at == RENEWED && router[to].up)

inline say_degraded(b)
{
	beat[b].at = ANSWERED;
	beat[b].answer = DEGRADED
}

inline drop_dead(b)
{
	if
	:: beat[b].dead && beat[b].at == ANSWERED -> clear_beat(b)
	:: else
	fi
}

inline renew(via, name, b)
{
	if
	:: router[via].conn && !router[via].deaf ->
		store_renew(name, b);
		beat[b].at = (beat[b].answer == YES -> RENEWED : ANSWERED);
#ifdef FAULT_UNMARKED_IS_WHOLE
		if
		:: !PRESENT(name) && mark.whole -> rebuild()
		:: else
		fi;
#endif
		printf("router %d renews node %d, registration %d: %d\n", via, name, beat[b].reg, beat[b].answer)
	:: else ->
		say_degraded(b);
#ifdef FAULT_RENEWAL_WITHOUT_STORE
		beat[b].answer = YES;
		beat[b].verdict = UNCHECKED
#endif
		not_watched(via)
	fi;
	drop_dead(b)
}

/* The store did not say in time whether it renewed; `did`: it has. */
inline not_acknowledged(via, name, b, did)
{
	if
	:: did -> store_renew(name, b)
	:: else
	fi;
	say_degraded(b);
	not_watched(via);
	drop_dead(b)
}

inline judge(via, name, b)
{
	if
	:: router[via].conn ->
		store_judge(name, b);
		mark.listed = (mark.whole -> 0 : mark.listed | (1 << name))
	:: else -> beat[b].verdict = UNCHECKED
	fi;
	beat[b].at = ANSWERED;
	printf("router %d looks at the room of node %d at %d: %d (0 its, 1 unchecked, 2 taken, 3 waits)\n", via, name, beat[b].list,
		beat[b].verdict);
	drop_dead(b)
}

/* -- a request: a room's join, from its name to an open room ----------------------------------------------------------------------- */
#define MAY_LOOK(to) (to >= ROUTERS - PLACERS && CONNECTED(to) && router[to].at == NOTHING)
/* An open room of an owner that lives and holds it needs nobody. Having read its record before it did is no more than having
 * lost the claim. */
#define OWNER(x) (agent[x].inc == room.inc && agent[x].held == room.epoch)
#ifdef TWIN
#define HELD (OWNER(0) || OWNER(1) || OWNER(2))
#else
#define HELD (OWNER(0) || OWNER(1))
#endif
#define NEEDS_SOMEBODY (!(room.state == OPEN && HELD && node[room.node].inc == room.inc && !node[room.node].lost))

inline end_request(to)
{
	router[to].at = NOTHING;
	router[to].generation = 0;
	router[to].lost = 0;
	router[to].from = 0;
	router[to].from_reg = 0;
	router[to].node = 0;
	router[to].inc = 0;
	router[to].reg = 0;
	router[to].epoch = 0;
	router[to].tried = 0
}

inline read_room(to)
{
	printf("router %d reads the room: state %d, epoch %d, node %d, registration %d\n", to, room.state, room.epoch, room.node, room.reg);
	router[to].generation = mark.server;
	router[to].from = room.epoch;
	router[to].from_reg = room.reg;
	router[to].node = room.node;
	router[to].inc = room.inc;
	router[to].reg = room.reg;
	router[to].epoch = room.epoch;
	router[to].at = (room.state == NONE -> CHOOSES : SEEN)
}

/* What the next step does not need is not kept. */
inline tidy_request(to)
{
	if
	:: router[to].at == CHOOSES || router[to].at == FORGETS ->
		router[to].node = 0;
		router[to].inc = 0;
		router[to].reg = 0;
		router[to].epoch = 0
	:: router[to].at == OPENS ->
		router[to].from = 0;
		router[to].from_reg = 0
	:: else -> router[to].epoch = 0
	fi
}

/* its: the process with this incarnation; PROCESSES: there is none that can be asked. */
inline find_process(to)
{
	its = PROCESSES;
	for (i : 0 .. PROCESSES - 1) {
		its = (agent[i].inc == router[to].inc && !agent[i].paused && agent[i].mode != ENDED && REACHES(i, to) -> i : its)
	}
	i = 0
}

inline follow_owner(to)
{
	find_process(to);
	if
	:: room.state == OPENING ->
#ifdef FAULT_NO_HELP
		end_request(to)
#else
		router[to].at = OPENS
#endif
	:: room.state == MOVING && !room.released -> router[to].at = LETS_GO
	:: room.state == MOVING && room.released -> router[to].lost = 1; router[to].at = CHOOSES
	:: room.state == CLOSING -> router[to].at = ENDS
	:: else -> /* open; one that its node does not hold is a ghost */
		if
		:: its < PROCESSES && agent[its].mode == BEATS && agent[its].confirmed && agent[its].held != room.epoch ->
			router[to].at = (agent[its].refused < room.epoch && agent[its].reg == room.reg && agent[its].held < room.epoch -> OPENS : SHUTS)
		:: else -> end_request(to)
		fi
	fi;
	its = 0
}

inline look_at_owner(to)
{
	if
	:: room.state == NONE || room.epoch != router[to].from -> end_request(to)
	:: else ->
		if
#ifdef FAULT_OLD_VIEW
		:: router[to].lost || OWNER_GONE(to) ->
#else
		:: OWNER_GONE(to) ->
#endif
			router[to].lost = 1;
			router[to].at = (room.state == CLOSING -> FORGETS : CHOOSES)
		:: else -> follow_owner(to)
		fi
	fi;
	tidy_request(to)
}

/* Probes and breakers tell of a node that does not answer: it is not chosen, but may fall silent right after. (Without this,
 * epochs would grow without end while no node answers.) */
#define ANSWERS(to, a, name) (agent[a].inc == node[name].inc && agent[a].reg == node[name].reg && agent[a].mode == BEATS && \
	!agent[a].paused && REACHES(a, to))
#ifdef TWIN
#define SOMEBODY_ANSWERS(to, name) (ANSWERS(to, 0, name) || ANSWERS(to, 1, name) || ANSWERS(to, 2, name))
#else
#define SOMEBODY_ANSWERS(to, name) ANSWERS(to, name, name)
#endif
#define ELIGIBLE(to, name) (PRESENT(name) && !node[name].lost && node[name].beaten && !HAS(router[to].tried, name) && \
	SOMEBODY_ANSWERS(to, name))
inline choose(to, name)
{
	printf("router %d chooses node %d\n", to, name);
	router[to].node = name;
	router[to].inc = node[name].inc;
	router[to].reg = node[name].reg;
	router[to].at = CLAIMS
}

inline claim(to)
{
	store_claim(to);
	printf("router %d claims the room from epoch %d: %d, epoch %d\n", to, router[to].from, flag, room.epoch);
	if
	:: flag -> router[to].at = OPENS; router[to].from = 0; router[to].from_reg = 0; router[to].lost = 0
	:: else -> end_request(to)
	fi
}

/* Whether the node holds the room is unknown: it goes elsewhere only by a claim from this very epoch. */
inline rescue(to)
{
	router[to].tried = router[to].tried | (1 << router[to].node);
	router[to].from = router[to].epoch;
	router[to].from_reg = router[to].reg;
	router[to].lost = 0;
	router[to].at = CHOOSES;
	tidy_request(to)
}

inline open_room(to)
{
	find_process(to);
	flag = 0;
	if
	:: its < PROCESSES -> agent_open(its, router[to].epoch, router[to].reg)
	:: else
	fi;
	if
	:: flag -> router[to].at = PUBLISHES; printf("router %d: node %d has opened %d\n", to, router[to].node, router[to].epoch)
	:: else -> printf("router %d: node %d has not opened %d\n", to, router[to].node, router[to].epoch); rescue(to)
	fi;
	its = 0
}

#if OPENS_LOST
inline open_later(to)
{
	late_open = router[to].epoch;
	late_inc = router[to].inc;
	late_reg = router[to].reg;
	rescue(to)
}

inline open_late()
{
	for (i : 0 .. PROCESSES - 1) {
		if
		:: late_open && agent[i].inc == late_inc && !agent[i].paused -> agent_open(i, late_open, late_reg)
		:: else
		fi
	}
	i = 0;
	late_open = 0;
	late_inc = 0;
	late_reg = 0
}
#endif

inline publish(to)
{
	store_publish(to);
	printf("router %d publishes epoch %d: %d\n", to, router[to].epoch, flag);
	if
	:: flag || !mark.whole -> end_request(to)
	:: else -> router[to].at = EVICTS
	fi
}

inline evict(to)
{
	find_process(to);
	if
	:: its < PROCESSES -> agent_evict(its, router[to].epoch)
	:: else
	fi;
	its = 0;
	end_request(to)
}

/* -- moving and closing ---------------------------------------------------------------------------------------------------------------- */
inline move(to)
{
	read_room(to);
	room.state = MOVING;
	printf("router %d begins to move the room\n", to);
	router[to].at = LETS_GO;
	router[to].epoch = 0
}

inline let_go(to)
{
	find_process(to);
	if
	:: its < PROCESSES ->
		agent_evict(its, router[to].from);
		router[to].lost = 1;
		router[to].at = CHOOSES
#ifdef FAULT_MOVE_WITHOUT_ACK
	:: its == PROCESSES ->
		router[to].lost = 1;
		router[to].at = CHOOSES
#endif
	:: else -> end_request(to)
	fi;
	its = 0
}

inline shut(to)
{
	if
	:: room.state != NONE && room.epoch == router[to].from && room.reg == router[to].from_reg ->
		room.state = CLOSING;
		printf("router %d closes the room\n", to);
		router[to].at = ENDS
	:: else -> end_request(to)
	fi
}

inline end_room(to)
{
	find_process(to);
	if
	:: its < PROCESSES ->
		agent_evict(its, router[to].from);
		router[to].at = FORGETS
	:: else -> end_request(to)
	fi;
	its = 0
}

inline forget(to)
{
	store_forget(to);
	printf("router %d deletes the room: %d\n", to, flag);
	end_request(to)
}

/* The next step of a request that cannot go in more than one way; choosing is elsewhere. */
inline go_on(to)
{
	if
	:: router[to].at == SEEN -> look_at_owner(to)
	:: router[to].at == CLAIMS -> claim(to)
	:: router[to].at == OPENS -> open_room(to)
	:: router[to].at == PUBLISHES -> publish(to)
	:: router[to].at == EVICTS -> evict(to)
	:: router[to].at == LETS_GO -> let_go(to)
	:: router[to].at == SHUTS -> shut(to)
	:: router[to].at == ENDS -> end_room(to)
	:: router[to].at == FORGETS -> forget(to)
	fi
}

/* -- restarts ------------------------------------------------------------------------------------------------------------------------ */
/* Who waited for an answer from it hears that the connection is gone. */
inline stop_router(to)
{
	printf("router %d stops\n", to);
	end_request(to);
	router[to].up = 0;
	disconnect(to);
	router[to].ran = 0;
	router[to].remembers = 0;
	router[to].silence[0] = DRIFT - 1;
	router[to].silence[1] = DRIFT - 1;
	for (i : 0 .. PROCESSES - 1) {
		if
		:: BEAT(i, to).at != IDLE ->
			clear_beat(i * ROUTERS + to)
		:: else
		fi
	}
	i = 0
}

inline start_router(to)
{
	printf("router %d starts\n", to);
	router[to].up = 1;
	router[to].fresh = 1;
	router[to].peers = router[to].peers | (1 << to)
}

proctype RouterOf(byte to) provided (!over)
{
end:	do
	:: d_step { router[to].up && router[to].link && !router[to].conn -> connect(to) }
	:: d_step { !router[to].up -> start_router(to) }
	:: d_step { MAY_RENEW(to, to) -> renew(to, 0, to) }
	:: d_step { MAY_RENEW(to, 2 + to) -> renew(to, 1, 2 + to) }
	:: d_step { MAY_JUDGE(to, to) -> judge(to, 0, to) }
	:: d_step { MAY_JUDGE(to, 2 + to) -> judge(to, 1, 2 + to) }
#ifdef TWIN
	:: d_step { MAY_RENEW(to, 4 + to) -> renew(to, 0, 4 + to) }
	:: d_step { MAY_JUDGE(to, 4 + to) -> judge(to, 0, 4 + to) }
#endif
#if UNACKED
	:: d_step { unacked && CONNECTED(to) && MAY_RENEW(to, to) -> unacked--; not_acknowledged(to, 0, to, 1) }
	:: d_step { unacked && CONNECTED(to) && MAY_RENEW(to, to) -> unacked--; not_acknowledged(to, 0, to, 0) }
	:: d_step { unacked && CONNECTED(to) && MAY_RENEW(to, 2 + to) -> unacked--; not_acknowledged(to, 1, 2 + to, 1) }
	:: d_step { unacked && CONNECTED(to) && MAY_RENEW(to, 2 + to) -> unacked--; not_acknowledged(to, 1, 2 + to, 0) }
#endif
#ifdef FAULT_CONFIRM_FROM_TABLE
	:: d_step { MAY_JUDGE(to, to) && was.epoch && was.epoch == beat[to].list && was.inc == beat[to].inc ->
		beat[to].at = ANSWERED; beat[to].verdict = CONFIRMED; drop_dead(to) }
	:: d_step { MAY_JUDGE(to, 2 + to) && was.epoch && was.epoch == beat[2 + to].list && was.inc == beat[2 + to].inc ->
		beat[2 + to].at = ANSWERED; beat[2 + to].verdict = CONFIRMED; drop_dead(2 + to) }
#endif
	:: d_step { MAY_LOSE(to, 0) -> store_lose(to, 0) }
	:: d_step { MAY_LOSE(to, 1) -> store_lose(to, 1) }
	:: d_step { MAY_TELL_WHOLE(to) -> printf("router %d: the store is whole\n", to); mark.whole = 1; mark.listed = 0 }
	:: d_step { MAY_LOOK(to) && NEEDS_SOMEBODY -> read_room(to) }
	:: d_step { CONNECTED(to) && router[to].at == CHOOSES && ELIGIBLE(to, 0) -> choose(to, 0) }
	:: d_step { CONNECTED(to) && router[to].at == CHOOSES && ELIGIBLE(to, 1) -> choose(to, 1) }
	:: d_step { router[to].at == CHOOSES && !ELIGIBLE(to, 0) && !ELIGIBLE(to, 1) -> end_request(to) }
	:: d_step { CONNECTED(to) && router[to].at != NOTHING && router[to].at != CHOOSES -> go_on(to); never_two() }
	:: d_step { !router[to].conn && router[to].at != NOTHING -> end_request(to) }
#if OPENS_LOST
	:: d_step { opens_lost && router[to].at == OPENS && !late_open -> opens_lost--; printf("router %d: the open is on its way, nobody waits\n", to); open_later(to) }
#endif
#ifdef FAULT_OLD_VIEW
	:: d_step { MAY_LOOK(to) && !router[to].lost && room.state == OPEN && node[room.node].lost -> router[to].lost = 1 }
	:: d_step { MAY_LOOK(to) && router[to].lost && room.state == OPEN -> read_room(to) }
#endif
#if MOVES
	:: d_step { moves && MAY_LOOK(to) && room.state == OPEN -> moves--; move(to) }
#endif
#if CLOSES
	:: d_step { closes && MAY_LOOK(to) && room.state == OPEN -> closes--; read_room(to); router[to].at = SHUTS }
#endif
	od
}
