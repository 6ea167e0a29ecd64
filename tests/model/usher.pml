/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lease and epoch protocol of usher: one room, two node names, two routers, one store, time in ticks.
 *
 * Everybody takes one step at a time; between any two steps anybody else may take any number, and time may pass where the
 * taker may be late. Lateness, loss and restarts come from budgets (see "Budgets"), so that the space of states is finite
 * and is searched to its end. All numbers of time count down, so that no absolute time is kept: a lease that an agent counts
 * "from before the send" rides in the heartbeat as its remaining ticks.
 *
 * Two properties. never_two(): no two processes that would let a participant in. recover(): from every state that the faults
 * can reach, once they end, a fair schedule of RECOVER_TICKS ticks makes the room joinable.
 *
 * FAULT_*: a guard of the protocol is left out; the search must find an error. AS_WRITTEN_*: protocol.md to the letter, where
 * that is not enough; the search finds why (README.md tells each story).
 */

/* -- time, in ticks ----------------------------------------------------------------------------------------------------- */
#define LEASE 3
#ifdef FAULT_NO_MARGIN
#define MARGIN 0
#else
#define MARGIN 1 /* an agent stops so long before its lease ends: it may stand still between its check and the accept */
#endif
#ifdef FAULT_NO_GRACE
#define GRACE 0
#else
#define GRACE 1
#endif
#define SILENT (LEASE + GRACE)
#define DRIFT 2 /* an observer may be early by so much: one tick for a faster clock, one as ticks are coarse */
#define RECOVER_TICKS 14

/* -- budgets: how often each fault may happen in one run -------------------------------------------------------------------- */
#ifndef PAUSES
#define PAUSES 0 /* an agent stands still, for any time */
#endif
#ifndef CUTS
#define CUTS 0 /* no way between an agent and one router, for any time */
#endif
#ifndef STUCK
#define STUCK 0 /* a heartbeat is late by any time, at any place of its way */
#endif
#ifndef UNACKED
#define UNACKED 0 /* the store does not acknowledge a renewal; it may have done it */
#endif
#ifndef UNLINKS
#define UNLINKS 0 /* a router loses the store, for any time */
#endif
#ifndef DEAFS
#define DEAFS 0 /* a router's workers lose the store, for any time; its watching does not */
#endif
#ifndef STALLS
#define STALLS 0 /* a router stands still for a tick, unseen by the store */
#endif
#ifndef OPENS_LOST
#define OPENS_LOST 0 /* an open is not answered: not done, done, or done at any later time */
#endif
#ifndef ROUTER_RESTARTS
#define ROUTER_RESTARTS 0
#endif
#ifndef ROUTER_DEATHS
#define ROUTER_DEATHS 0 /* for any time */
#endif
#ifndef AGENT_RESTARTS
#define AGENT_RESTARTS 0 /* the SFU lives on */
#endif
#ifndef SFU_RESTARTS
#define SFU_RESTARTS 0 /* its agent sees it */
#endif
#ifndef BOTH_RESTART
#define BOTH_RESTART 0 /* SFU and agent at once: nobody knows what is replaced */
#endif
#ifndef LATE_REGISTERS
#define LATE_REGISTERS 0 /* a copy of a registration that runs at any later time */
#endif
#ifndef CLOSES
#define CLOSES 0
#endif
#ifndef MOVES
#define MOVES 0
#endif
#ifndef WIPES
#define WIPES 0 /* the store loses everything */
#endif
#ifndef ROLLBACKS
#define ROLLBACKS 0 /* the store comes back as it was at any earlier time */
#endif
#ifndef PLACERS
#define PLACERS 2 /* routers that place rooms; both pass on heartbeats and watch */
#endif
/* ONE_WAY: agents ask the first router first. COLD: no node is registered yet. TWIN: a third process has the name of the first. LATE_ROUTER: the second router starts late, and no agent was told of it. */

#ifdef TWIN
#define PROCESSES 3
#else
#define PROCESSES 2
#endif
#define NODES 2
#define ROUTERS 2
#define ALL_ROUTERS 3
#define NUMBER_MAX 7

/* -- who knows what --------------------------------------------------------------------------------------------------------- */
/* agent.mode */
#define REGISTERS 0
#define TAKES 1 /* the store has registered it; it does not know yet */
#define BEATS 2
#define ENDED 3 /* told that it is stale */
/* room.state */
#define NONE 0
#define OPENING 1
#define OPEN 2
#define MOVING 3
#define CLOSING 4
/* beat.at */
#define IDLE 0
#define SENT 1
#define RENEWED 2 /* by the store; its rooms are not looked at yet */
#define ANSWERED 3
/* beat.answer */
#define YES 0
#define DEGRADED 1
#define UNKNOWN 2
#define STALE 3
/* beat.verdict on the room it reported */
#define CONFIRMED 0
#define UNCHECKED 1
#define TAKEN 2
#define WAITS 3 /* while the store is being rebuilt */

typedef Agent { /* one SFU process and its agent */
	unsigned mode : 2;
	bit paused;
	bit passing;           /* a participant is between the agent's check and its accept */
	unsigned inc : 3;      /* incarnation: which SFU process; 0 none */
	unsigned replaces : 3;
	unsigned reg : 3;
	unsigned left : 2;     /* of the lease */
	unsigned cover : 2;    /* of the exception for a lost store */
	unsigned sure : 2;     /* a lease that ended by a loss of data still shows for so long that nobody else has its room */
	bit confirmed;
	bit known;             /* an answer said that the room is open at the epoch held */
	unsigned held : 3;     /* the room's epoch in the SFU; 0: not held */
	unsigned refused : 3;  /* the highest epoch evicted */
	unsigned list : 2;     /* routers it knows */
	unsigned asked : 2;    /* in this tick */
	bit done;              /* renewed in this tick */
	unsigned cut : 2;      /* routers it cannot reach */
	byte degraded[ROUTERS] /* how long that router's last word, `degraded`, still counts */
};
typedef Beat { /* one heartbeat from one agent by way of one router */
	unsigned at : 2;
	bit stuck, dead;       /* late; nobody waits for it */
	unsigned inc : 3;
	unsigned reg : 3;
	unsigned left : 2;     /* of the lease it asks for, counted from before it was sent */
	unsigned list : 3;     /* the epoch at which it reports the room */
	bit sure;              /* … and has held it without a gap */
	unsigned lists : 2;    /* routers its sender knows */
	unsigned answer : 2;
	unsigned verdict : 2;
	bit open
};
typedef Node { /* the store's record of a name */
	unsigned inc : 3;      /* 0: none */
	unsigned reg : 3;
	bit lost, beaten;
	unsigned lists : 2
};
typedef Room {
	unsigned state : 3;
	unsigned epoch : 3;
	unsigned node : 1;
	unsigned inc : 3;
	unsigned reg : 3;
	unsigned tomb : 3;     /* the epoch at which it ended last */
	bit released           /* moving: its node has let go of it */
};
typedef Mark { /* the store's mark: which run of the server it was whole in, and whether it is */
	unsigned server : 2;
	bit whole;
	unsigned listed : 2    /* nodes that have sent their list since */
};
/* request.at */
#define NOTHING 0
#define SEEN 1      /* read the room's record */
#define CHOOSES 2
#define CLAIMS 3
#define OPENS 4
#define PUBLISHES 5
#define EVICTS 6    /* lost the race: what it opened in vain */
#define LETS_GO 7   /* of a move: asks the node to */
#define SHUTS 8
#define ENDS 9      /* of a close: asks the node to */
#define FORGETS 10
typedef Router {
	bit up, link, conn;    /* the store can be reached; is connected */
	bit stalled, deaf;
	bit fresh;             /* started after the last loss of data */
	unsigned ran : 2;      /* the run of the server it was last connected to; 0: a new process */
	unsigned hold : 3;     /* how long it has watched the store being rebuilt */
	unsigned remembers : 2;
	unsigned peers : 2;    /* routers it knows */
	byte silence[NODES];
	byte changed[NODES];   /* since it last read */
	/* its request */
	unsigned at : 4;
	unsigned generation : 2; /* of the data that it has read */
	bit lost;              /* the record's owner is out of it */
	unsigned from : 3;     /* the record that it starts from: epoch … */
	unsigned from_reg : 3; /* … and registration */
	unsigned node : 1;
	unsigned inc : 3;
	unsigned reg : 3;
	unsigned epoch : 3;
	unsigned tried : 2
};

Agent agent[PROCESSES];
Beat beat[PROCESSES * ROUTERS];
Router router[ROUTERS];
Node node[NODES];
Room room;
Mark mark;
unsigned server : 2;      /* which run of the store's server this is */
unsigned stamp : 3;       /* epochs come from it … */
unsigned stamp_reg : 3;   /* … and registrations from this: the store's clock, which no loss sets back */
unsigned announced : 2;   /* routers, in the store */
byte opened;              /* ghost: a bit for each epoch that was ever open: participants may come with it */
bit lost_data;            /* ghost */
bit over;                 /* faults have ended, and recover() has run */

#if ROLLBACKS
Node old_node[NODES];
Room old_room;
Mark old_mark;
bit saved;
#endif
#if OPENS_LOST
byte late_open, late_inc, late_reg; /* an open under way that nobody waits for */
#endif
#if LATE_REGISTERS
byte late_register, late_replaces; /* the incarnation; 0: none */
#endif
#ifdef FAULT_CONFIRM_FROM_TABLE
Room was; /* the record before its last claim: what a table that was not told of it still says */
#endif
/* What is left of the budgets. */
#if PAUSES
unsigned pauses : 2 = PAUSES;
#endif
#if CUTS
unsigned cuts : 2 = CUTS;
#endif
#if STUCK
unsigned sticks : 2 = STUCK;
#endif
#if UNACKED
unsigned unacked : 2 = UNACKED;
#endif
#if UNLINKS
unsigned unlinks : 2 = UNLINKS;
#endif
#if DEAFS
unsigned deafs : 2 = DEAFS;
#endif
#if STALLS
unsigned stalls : 2 = STALLS;
#endif
#if OPENS_LOST
unsigned opens_lost : 2 = OPENS_LOST;
#endif
#if ROUTER_RESTARTS
unsigned router_restarts : 2 = ROUTER_RESTARTS;
#endif
#if ROUTER_DEATHS
unsigned router_deaths : 2 = ROUTER_DEATHS;
#endif
#if AGENT_RESTARTS
unsigned agent_restarts : 2 = AGENT_RESTARTS;
#endif
#if SFU_RESTARTS
unsigned sfu_restarts : 2 = SFU_RESTARTS;
#endif
#if BOTH_RESTART
unsigned both_restart : 2 = BOTH_RESTART;
#endif
#if LATE_REGISTERS
unsigned late_registers : 2 = LATE_REGISTERS;
#endif
#if CLOSES
unsigned closes : 2 = CLOSES;
#endif
#if MOVES
unsigned moves : 2 = MOVES;
#endif
#if WIPES
unsigned wipes : 2 = WIPES;
#endif
#if ROLLBACKS
unsigned rollbacks : 2 = ROLLBACKS;
#endif
unsigned incs : 3 = PROCESSES;

#ifdef SHORTEST /* a search by breadth keeps all variables */
#define SCRATCH byte
#else
#define SCRATCH hidden byte
#endif
SCRATCH i, j, its, p, r, x, round, flag, joinable; /* within a step */

#define NAME(p) ((p) % NODES)
#define BEAT(p, r) beat[(p) * ROUTERS + (r)]
#define HAS(mask, x) (((mask) >> (x)) & 1)
#define MIN(a, b) ((a) < (b) -> (a) : (b))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define PRESENT(x) (node[x].inc != 0)

#define ADMITS(p) (agent[p].mode == BEATS && agent[p].confirmed && MAX(agent[p].left, agent[p].cover) > MARGIN)
#define HOLDS(p) (agent[p].held > agent[p].refused)
#define ACCEPTS(p) (ADMITS(p) && HOLDS(p) && HAS(opened, agent[p].held))
#define REACHES(p, r) (router[r].up && !HAS(agent[p].cut, r))

/* A participant comes through a router whose table may be as old as you like: with any epoch that ever was open. */
inline never_two()
{
	assert((ACCEPTS(0) || agent[0].passing) + (ACCEPTS(1) || agent[1].passing) <= 1);
#ifdef TWIN
	assert((ACCEPTS(0) || agent[0].passing) + (ACCEPTS(2) || agent[2].passing) <= 1);
	assert((ACCEPTS(1) || agent[1].passing) + (ACCEPTS(2) || agent[2].passing) <= 1);
#endif
}

/* A process of the room's owner lets in who comes by the record. */
inline look_joinable()
{
	joinable = 0;
	for (i : 0 .. PROCESSES - 1) {
		joinable = joinable || (room.state == OPEN && room.inc == agent[i].inc && agent[i].held == room.epoch && ACCEPTS(i) && !agent[i].paused);
	}
	i = 0;
}

#include "store.pml"
#include "agent.pml"
#include "router.pml"
#include "time.pml"

inline start_all()
{
	for (i : 0 .. PROCESSES - 1) {
		agent[i].inc = i + 1;
		agent[i].list = ALL_ROUTERS;
#ifdef LATE_ROUTER
		agent[i].list = 1;
#endif
	}
	for (i : 0 .. ROUTERS - 1) {
		router[i].up = 1;
		router[i].link = 1;
		router[i].conn = 1;
		router[i].ran = 1;
		router[i].peers = ALL_ROUTERS;
	}
	server = 1;
	mark.server = 1;
	mark.whole = 1;
	announced = ALL_ROUTERS;
#ifdef LATE_ROUTER
	router[1].up = 0;
	router[1].conn = 0;
	router[1].ran = 0;
	router[0].peers = 1;
	announced = 1;
#endif
#ifndef COLD
	for (i : 0 .. 1) {
		agent[i].mode = BEATS;
		agent[i].reg = i + 1;
		agent[i].left = LEASE - 1;
		agent[i].confirmed = 1;
		node[i].inc = i + 1;
		node[i].reg = i + 1;
		node[i].beaten = 1;
		node[i].lists = agent[i].list;
	}
	for (i : 0 .. 1) {
		router[0].silence[i] = DRIFT;
		router[1].silence[i] = DRIFT;
	}
	stamp_reg = 2;
#endif
	i = 0
}

init {
	d_step { start_all() }
	atomic {
		run AgentOf(0);
		run AgentOf(1);
#ifdef TWIN
		run AgentOf(2);
#endif
		run RouterOf(0);
		run RouterOf(1);
		run Time()
	}
}
