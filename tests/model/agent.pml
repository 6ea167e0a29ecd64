/* SPDX-License-Identifier: Apache-2.0 */
/* One SFU process and its agent: registers, beats, lets in, opens and evicts. client/lib/node*.c, client/agent/. */

#define LEASE_OVER(a) (MAX(agent[a].left, agent[a].cover) <= MARGIN)
#define WAITED(b) (beat[b].at != IDLE && !beat[b].stuck && !beat[b].dead)
/* One router after the other, until one renews. */
#define MAY_SEND(a, to) (agent[a].mode == BEATS && !agent[a].paused && !agent[a].done && HAS(agent[a].list, to) && \
	!HAS(agent[a].asked, to) && !WAITED((a) * ROUTERS) && !WAITED((a) * ROUTERS + 1) && IN_TURN(a, to))
#ifdef ONE_WAY
#define IN_TURN(a, to) ((to) == 0 || HAS(agent[a].asked, 0))
#else
#define IN_TURN(a, to) true
#endif
#define MAY_REGISTER(a, by) (agent[a].mode == REGISTERS && !agent[a].paused && !HAS(agent[a].asked, by) && REACHES(a, by) && router[by].conn)
#define MAY_HEAR(a, b) (beat[b].at == ANSWERED && !beat[b].dead && !agent[a].paused)

inline clear_beat(b)
{
	beat[b].at = IDLE;
	beat[b].stuck = 0;
	beat[b].dead = 0;
	beat[b].inc = 0;
	beat[b].reg = 0;
	beat[b].left = 0;
	beat[b].list = 0;
	beat[b].sure = 0;
	beat[b].lists = 0;
	beat[b].answer = 0;
	beat[b].verdict = 0;
	beat[b].open = 0
}

/* Nobody waits for these any more; what is on its way may still arrive. */
inline give_up_beats(a)
{
	for (j : 0 .. ROUTERS - 1) {
		if
		:: BEAT(a, j).at == ANSWERED -> clear_beat(a * ROUTERS + j)
		:: BEAT(a, j).at != ANSWERED && BEAT(a, j).at != IDLE -> BEAT(a, j).dead = 1
		:: else
		fi
	}
	j = 0
}

inline not_covered(a)
{
	agent[a].cover = 0;
	for (j : 0 .. ROUTERS - 1) {
		agent[a].degraded[j] = 0
	}
	j = 0
}

inline drop_room(a)
{
	agent[a].held = 0;
	agent[a].known = 0;
	agent[a].sure = 0
}

inline agent_evict(a, at_epoch)
{
	printf("agent %d evicts the room up to %d\n", a, at_epoch);
	agent[a].passing = 0;
	agent[a].refused = MAX(agent[a].refused, at_epoch);
	if
	:: agent[a].held && agent[a].held <= at_epoch -> drop_room(a)
	:: else
	fi
}

/* PUT /rooms: idempotent by epoch. flag: done. An agent that started anew has forgotten what it evicted: so it takes only opens
 * for its own registration. */
inline agent_open(a, at_epoch, for_reg)
{
	flag = agent[a].mode != ENDED && at_epoch >= agent[a].held;
#ifdef FAULT_NODE_FORGETS_EVICTIONS
	agent[a].refused = (flag -> 0 : agent[a].refused);
#else
	flag = flag && at_epoch > agent[a].refused;
#endif
#ifndef AS_WRITTEN_OPEN
	flag = flag && (agent[a].mode == BEATS || agent[a].mode == TAKES) && agent[a].reg == for_reg;
#endif
	if
	:: flag ->
		agent[a].passing = 0;
		if
		:: agent[a].held != at_epoch ->
			printf("agent %d opens the room at %d\n", a, at_epoch);
			drop_room(a);
			agent[a].held = at_epoch
		:: else
		fi
	:: else
	fi
}

/* -- registering ------------------------------------------------------------------------------------------------------------ */
inline end_lease(a)
{
	agent[a].passing = 0;
	agent[a].left = 0;
	agent[a].confirmed = 0;
	agent[a].asked = 0;
	agent[a].done = 0;
	not_covered(a);
	give_up_beats(a)
}

inline register(a, by)
{
	agent[a].asked = agent[a].asked | (1 << by);
	store_register(NAME(a), agent[a].inc, agent[a].replaces);
	printf("agent %d registers by router %d: %d\n", a, by, flag);
	if
	:: flag ->
		agent[a].mode = TAKES;
		agent[a].reg = node[NAME(a)].reg
	:: else -> agent[a].asked = ALL_ROUTERS
	fi
}

inline take_registration(a)
{
	printf("agent %d hears that it is registered: %d\n", a, agent[a].reg);
	agent[a].mode = BEATS;
	agent[a].replaces = 0;
	agent[a].asked = 0;
	agent[a].done = 0;
#ifdef FAULT_ADMIT_BEFORE_CONFIRM
	agent[a].left = LEASE;
	agent[a].confirmed = 1;
#endif
}

/* Its old lease goes on to show for a while that nobody else can have the room. */
inline register_again(a)
{
	agent[a].sure = (ADMITS(a) && HOLDS(a) && agent[a].known -> MAX(agent[a].left, agent[a].cover) : 0);
	end_lease(a);
	agent[a].reg = 0;
	agent[a].mode = REGISTERS
}

/* -- beating ------------------------------------------------------------------------------------------------------------------ */
inline send(a, to)
{
	agent[a].passing = 0;
	agent[a].asked = agent[a].asked | (1 << to);
	agent[a].confirmed = agent[a].confirmed && !LEASE_OVER(a);
	printf("agent %d sends a heartbeat to router %d: registration %d, room at %d\n", a, to, agent[a].reg, agent[a].held);
	if
	:: REACHES(a, to) && BEAT(a, to).at == IDLE ->
		BEAT(a, to).at = SENT;
		BEAT(a, to).inc = agent[a].inc;
		BEAT(a, to).reg = agent[a].reg;
		BEAT(a, to).left = LEASE;
		BEAT(a, to).list = (HOLDS(a) -> agent[a].held : 0);
		BEAT(a, to).sure = HOLDS(a) && ((ADMITS(a) && agent[a].known) || agent[a].sure);
		BEAT(a, to).lists = agent[a].list
	:: else
	fi
}

/* An answer confirms what its heartbeat had listed; a room that was opened since waits for the next one, unless the lease has
 * held all the while. */
inline take_confirmation(whom, b)
{
#ifdef FAULT_CONFIRM_UNLISTED
	agent[whom].confirmed = 1
#else
	agent[whom].confirmed = agent[whom].confirmed || agent[whom].held == 0 || agent[whom].held == beat[b].list
#endif
}

inline hear_renewed(whom, by, b)
{
#ifdef FAULT_LEASE_FROM_RECEIPT
	agent[whom].left = LEASE;
#else
	agent[whom].left = beat[b].left;
#endif
	not_covered(whom);
	agent[whom].done = 1;
	if
	:: beat[b].verdict == TAKEN -> agent_evict(whom, beat[b].list); take_confirmation(whom, b)
	:: beat[b].verdict == WAITS -> agent[whom].confirmed = 0
	:: beat[b].verdict == CONFIRMED ->
		take_confirmation(whom, b);
		agent[whom].known = (agent[whom].held && agent[whom].held == beat[b].list -> beat[b].open : agent[whom].known)
	:: else /* unchecked: neither */
	fi;
	clear_beat(b);
	give_up_beats(whom)
}

/* Without the store: the lease goes on while every router it knows has said so within the last lease; one that is silent after that
 * counts for the rest of it, as it counts our silence from then on at the earliest. */
inline hear_degraded(whom, by, b)
{
	agent[whom].degraded[by] = beat[b].left;
	clear_beat(b);
	x = LEASE;
	for (j : 0 .. ROUTERS - 1) {
		x = (HAS(agent[whom].list, j) -> MIN(x, agent[whom].degraded[j]) : x)
	}
	agent[whom].cover = (LEASE_OVER(whom) -> 0 : x);
	j = 0;
	x = 0
}

inline hear(whom, by, b)
{
	agent[whom].passing = 0;
	printf("agent %d hears of router %d: answer %d (0 renewed, 1 degraded, 2 unknown, 3 stale), room %d (0 its, 1 unchecked, 2 taken, 3 waits)\n", whom, by,
		beat[b].answer, beat[b].verdict);
	agent[whom].list = agent[whom].list | (router[by].up -> router[by].peers : 0);
	if
	:: beat[b].answer == YES -> hear_renewed(whom, by, b)
	:: beat[b].answer == DEGRADED -> hear_degraded(whom, by, b)
	:: beat[b].answer == UNKNOWN -> register_again(whom)
	:: beat[b].answer == STALE ->
		end_lease(whom);
		drop_room(whom);
		agent[whom].mode = ENDED
	fi
}

/* -- restarts ------------------------------------------------------------------------------------------------------------------ */
/* The SFU lives on; what the agent remembered is gone. It asks the SFU for its rooms before it registers. */
inline restart_agent(a)
{
	printf("agent %d restarts\n", a);
	end_lease(a);
	agent[a].mode = REGISTERS;
	agent[a].reg = 0;
	agent[a].replaces = 0;
	agent[a].refused = 0;
	agent[a].known = 0;
	agent[a].sure = 0
}

inline restart_sfu(a)
{
	printf("the SFU of agent %d restarts\n", a);
	end_lease(a);
	drop_room(a);
	grow(incs);
	agent[a].replaces = (agent[a].mode == BEATS || agent[a].mode == TAKES -> agent[a].inc : agent[a].replaces);
	agent[a].inc = incs;
	agent[a].reg = 0;
	agent[a].mode = REGISTERS
}

proctype AgentOf(byte a) provided (!over)
{
end:	do
	:: d_step { MAY_REGISTER(a, 0) -> register(a, 0) }
	:: d_step { MAY_REGISTER(a, 1) -> register(a, 1) }
	:: d_step { agent[a].mode == TAKES && !agent[a].paused -> take_registration(a) }
	:: d_step { MAY_SEND(a, 0) -> send(a, 0) }
	:: d_step { MAY_SEND(a, 1) -> send(a, 1) }
	:: d_step { MAY_HEAR(a, a * ROUTERS) -> hear(a, 0, a * ROUTERS); never_two() }
	:: d_step { MAY_HEAR(a, a * ROUTERS + 1) -> hear(a, 1, a * ROUTERS + 1); never_two() }
	:: d_step { agent[a].paused -> agent[a].paused = 0; printf("agent %d runs again\n", a) }
	od
}
