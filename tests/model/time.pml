/* SPDX-License-Identifier: Apache-2.0 */
/* Time and faults. A tick comes once everybody who is not kept from it has done what each tick asks: so only budgets make late. */

#define BEAT_QUIET(a, to) (BEAT(a, to).at == IDLE || BEAT(a, to).stuck || (BEAT(a, to).at == ANSWERED && agent[a].paused))
#define AGENT_QUIET(a) (BEAT_QUIET(a, 0) && BEAT_QUIET(a, 1) && (agent[a].paused || agent[a].mode == ENDED || \
	(agent[a].mode == BEATS && (agent[a].done || (agent[a].asked & agent[a].list) == agent[a].list)) || \
	(agent[a].mode == REGISTERS && !MAY_REGISTER(a, 0) && !MAY_REGISTER(a, 1))))
#define ROUTER_QUIET(to) (!(router[to].up && router[to].link && !router[to].conn))
#ifdef TWIN
#define ALL_QUIET (AGENT_QUIET(0) && AGENT_QUIET(1) && AGENT_QUIET(2) && ROUTER_QUIET(0) && ROUTER_QUIET(1))
#else
#define ALL_QUIET (AGENT_QUIET(0) && AGENT_QUIET(1) && ROUTER_QUIET(0) && ROUTER_QUIET(1))
#endif
#define LESS(n) n = (n -> n - 1 : 0)

inline tick_agent(a)
{
	flag = ACCEPTS(a);
	LESS(agent[a].left);
	LESS(agent[a].cover);
	LESS(agent[a].sure);
	agent[a].passing = flag && !ACCEPTS(a); /* while it accepts anyway, nothing more is said by this */
	for (j : 0 .. ROUTERS - 1) {
#ifndef FAULT_DEGRADED_FOR_EVER
		LESS(agent[a].degraded[j]);
#endif
		LESS(BEAT(a, j).left)
	}
	j = 0;
	agent[a].asked = 0;
	agent[a].done = 0
}

/* The observer's reading of the store. */
inline tick_router(to)
{
	if
	:: CONNECTED(to) && !router[to].stalled ->
		for (j : 0 .. NODES - 1) {
			router[to].silence[j] = (router[to].changed[j] -> DRIFT : MIN(router[to].silence[j] + 1, SILENT));
			router[to].silence[j] = (PRESENT(j) && !node[j].lost -> router[to].silence[j] : DRIFT);
#ifdef AS_WRITTEN_WHOLE
			router[to].remembers = router[to].remembers | (PRESENT(j) << j);
#endif
			router[to].changed[j] = 0
		}
		j = 0;
		router[to].hold = (mark.whole -> 0 : MIN(router[to].hold + 1, SILENT));
		router[to].peers = router[to].peers | announced
	:: else ->
#ifdef FAULT_SILENCE_OVER_OUTAGE
		router[to].silence[0] = MIN(router[to].silence[0] + 1, SILENT);
		router[to].silence[1] = MIN(router[to].silence[1] + 1, SILENT);
#endif
		watch_anew(to)
	fi;
	router[to].stalled = 0
}

inline tick()
{
	printf("-- a tick; leases: %d %d, silence as router 0 has seen it: %d %d, router 1: %d %d\n", agent[0].left, agent[1].left,
		router[0].silence[0], router[0].silence[1], router[1].silence[0], router[1].silence[1]);
	for (p : 0 .. PROCESSES - 1) {
		tick_agent(p)
	}
	for (r : 0 .. ROUTERS - 1) {
		tick_router(r)
	}
	p = 0;
	r = 0
}

/* -- after the faults ----------------------------------------------------------------------------------------------------------- */
inline mend()
{
	for (p : 0 .. PROCESSES - 1) {
		agent[p].paused = 0;
		agent[p].cut = 0;
#ifdef TWIN
		if
		:: agent[p].mode == ENDED && p == 1 -> restart_agent(p)
		:: else
		fi;
#else
		if
		:: agent[p].mode == ENDED -> restart_agent(p)
		:: else
		fi
#endif
	}
	for (r : 0 .. ROUTERS - 1) {
		router[r].link = 1;
		router[r].deaf = 0;
		if
		:: !router[r].up -> start_router(r)
		:: else
		fi;
		if
		:: !router[r].conn -> connect(r)
		:: else
		fi
	}
	p = 0;
	r = 0
}

inline beat_through(a, to)
{
	if
	:: BEAT(a, to).at == SENT -> renew(to, NAME(a), a * ROUTERS + to)
	:: else
	fi;
	if
	:: BEAT(a, to).at == RENEWED -> judge(to, NAME(a), a * ROUTERS + to)
	:: else
	fi;
	if
	:: MAY_HEAR(a, a * ROUTERS + to) -> hear(a, to, a * ROUTERS + to)
	:: else
	fi
}

inline round_of_agent(a)
{
	for (x : 0 .. 1) {
		for (r : 0 .. ROUTERS - 1) {
			beat_through(a, r);
			if
			:: MAY_REGISTER(a, r) -> register(a, r)
			:: else
			fi;
			if
			:: agent[a].mode == TAKES -> take_registration(a)
			:: else
			fi;
			if
			:: MAY_SEND(a, r) -> send(a, r)
			:: else
			fi;
			beat_through(a, r)
		}
	}
	r = 0;
	x = 0
}

inline round_of_router(to)
{
	for (x : 0 .. NODES - 1) {
		if
		:: MAY_LOSE(to, x) -> store_lose(to, x)
		:: else
		fi
	}
	if
	:: MAY_TELL_WHOLE(to) -> mark.whole = 1; mark.listed = 0
	:: else
	fi;
	for (x : 0 .. 11) {
		if
		:: router[to].at == NOTHING && x < 6 -> read_room(to)
		:: router[to].at == CHOOSES && ELIGIBLE(to, 0) -> choose(to, 0)
		:: router[to].at == CHOOSES && !ELIGIBLE(to, 0) && ELIGIBLE(to, 1) -> choose(to, 1)
		:: router[to].at == CHOOSES && !ELIGIBLE(to, 0) && !ELIGIBLE(to, 1) -> end_request(to)
		:: router[to].at != NOTHING && router[to].at != CHOOSES -> go_on(to)
		:: else
		fi
	}
	x = 0
}

/* Faults are over: everybody in turn does all that it can, tick by tick. The room must become joinable. */
inline recover()
{
	mend();
	joinable = 0;
	round = 0;
	do
	:: round < RECOVER_TICKS && !joinable ->
		for (p : 0 .. PROCESSES - 1) {
			round_of_agent(p)
		}
		round_of_router(0);
		round_of_router(1);
		never_two();
		look_joinable();
		tick();
		round++
	:: else -> break
	od;
	round = 0
}

proctype Time() provided (!over)
{

end:	do
	:: d_step { ALL_QUIET -> tick(); never_two() }
#ifndef NO_RECOVERY
	:: d_step { !over -> recover(); assert(joinable || over); over = 1 }
#endif
#if PAUSES
	:: d_step { pauses && !agent[0].paused -> pauses--; printf("agent 0 stands still\n"); agent[0].paused = 1 }
	:: d_step { pauses && pauses < PAUSES && !agent[1].paused -> pauses--; printf("agent 1 stands still\n"); agent[1].paused = 1 }
#ifdef TWIN
	:: d_step { pauses && !agent[2].paused -> pauses--; printf("agent 2 stands still\n"); agent[2].paused = 1 }
#endif
#endif
#if CUTS
	:: d_step { cuts && !HAS(agent[0].cut, 0) -> cuts--; printf("agent 0 cannot reach router 0\n"); agent[0].cut = agent[0].cut | 1 }
	:: d_step { cuts && (PLACERS == 1 || cuts < CUTS) && !HAS(agent[0].cut, 1) -> cuts--; printf("agent 0 cannot reach router 1\n"); agent[0].cut = agent[0].cut | 2 }
	:: d_step { cuts && cuts < CUTS && !HAS(agent[1].cut, 0) -> cuts--; printf("agent 1 cannot reach router 0\n"); agent[1].cut = agent[1].cut | 1 }
	:: d_step { cuts && cuts < CUTS && !HAS(agent[1].cut, 1) -> cuts--; printf("agent 1 cannot reach router 1\n"); agent[1].cut = agent[1].cut | 2 }
	:: d_step { agent[0].cut -> agent[0].cut = 0 }
	:: d_step { agent[1].cut -> agent[1].cut = 0 }
#endif
#if STUCK
	:: d_step { sticks && beat[0].at != IDLE && !beat[0].stuck -> sticks--; printf("beat 0 is late\n"); beat[0].stuck = 1 }
	:: d_step { sticks && beat[1].at != IDLE && !beat[1].stuck -> sticks--; printf("beat 1 is late\n"); beat[1].stuck = 1 }
	:: d_step { sticks && beat[2].at != IDLE && !beat[2].stuck -> sticks--; printf("beat 2 is late\n"); beat[2].stuck = 1 }
	:: d_step { sticks && beat[3].at != IDLE && !beat[3].stuck -> sticks--; printf("beat 3 is late\n"); beat[3].stuck = 1 }
#endif
#if UNLINKS
	:: d_step { unlinks && router[0].link -> unlinks--; printf("router 0 loses the store\n"); router[0].link = 0; disconnect(0) }
	:: d_step { unlinks && router[1].link -> unlinks--; printf("router 1 loses the store\n"); router[1].link = 0; disconnect(1) }
	:: d_step { !router[0].link -> router[0].link = 1 }
	:: d_step { !router[1].link -> router[1].link = 1 }
#endif
#if DEAFS
	:: d_step { deafs && router[0].conn && !router[0].deaf -> deafs--; router[0].deaf = 1 }
	:: d_step { deafs && router[1].conn && !router[1].deaf -> deafs--; router[1].deaf = 1 }
	:: d_step { router[0].deaf -> router[0].deaf = 0 }
	:: d_step { router[1].deaf -> router[1].deaf = 0 }
#endif
#if STALLS
	:: d_step { stalls && router[0].conn && !router[0].stalled -> stalls--; router[0].stalled = 1 }
	:: d_step { stalls && router[1].conn && !router[1].stalled -> stalls--; router[1].stalled = 1 }
#endif
#if ROUTER_RESTARTS
	:: d_step { router_restarts && router[0].up -> router_restarts--; stop_router(0); start_router(0) }
	:: d_step { router_restarts && router[1].up -> router_restarts--; stop_router(1); start_router(1) }
#endif
#if ROUTER_DEATHS
	:: d_step { router_deaths && router[0].up -> router_deaths--; stop_router(0) }
	:: d_step { router_deaths && router[1].up -> router_deaths--; stop_router(1) }
#endif
#if AGENT_RESTARTS
	:: d_step { agent_restarts && !agent[0].paused -> agent_restarts--; restart_agent(0) }
	:: d_step { agent_restarts && !agent[1].paused -> agent_restarts--; restart_agent(1) }
#endif
#if SFU_RESTARTS
	:: d_step { sfu_restarts && !agent[0].paused -> sfu_restarts--; restart_sfu(0) }
	:: d_step { sfu_restarts && !agent[1].paused -> sfu_restarts--; restart_sfu(1) }
#endif
#if BOTH_RESTART
	:: d_step { both_restart && !agent[0].paused -> both_restart--; restart_sfu(0); restart_agent(0) }
	:: d_step { both_restart && !agent[1].paused -> both_restart--; restart_sfu(1); restart_agent(1) }
#endif
#if LATE_REGISTERS
	:: d_step { late_registers && agent[0].mode == REGISTERS && !late_register -> late_registers--; late_register = agent[0].inc;
		late_replaces = agent[0].replaces }
	:: d_step { late_register && (CONNECTED(0) || CONNECTED(1)) -> store_register(0, late_register, late_replaces); late_register = 0;
		late_replaces = 0 }
#endif
#if OPENS_LOST
	:: d_step { late_open -> open_late(); never_two() }
	:: d_step { late_open -> late_open = 0; late_inc = 0; late_reg = 0 }
#endif
#if WIPES
	:: d_step { wipes -> wipes--; store_wipe() }
#endif
#if ROLLBACKS
	:: d_step { rollbacks && !saved -> store_save() }
	:: d_step { rollbacks && saved -> rollbacks--; store_rollback() }
#endif
	od
}
