/* SPDX-License-Identifier: Apache-2.0 */
/* What the store does in one step: the scripts of registry/lua. */

/* Every observer sees that (registration, seq) of this name is another than before. */
inline tell_observers(name)
{
	router[0].changed[name] = 1;
	router[1].changed[name] = 1;
}

/* Numbers must not grow past what is kept of them. PRUNE, for faults that make them grow without end: the run stops there. */
inline grow(number)
{
#ifdef PRUNE
	over = over || number == NUMBER_MAX;
#else
	assert(number < NUMBER_MAX);
#endif
	number = (number < NUMBER_MAX -> number + 1 : number)
}

/* register.lua. flag: registered. A registration that was not used yet is given again. */
inline store_register(name, its_inc, replaced)
{
	flag = 1;
#ifndef FAULT_REPLACES_UNCHECKED
	if
	:: PRESENT(name) && node[name].inc != its_inc && !node[name].lost && node[name].inc != replaced -> flag = 0
	:: else
	fi;
#endif
	if
	:: flag ->
		if
		:: node[name].inc == its_inc && !node[name].lost && !node[name].beaten
		:: else ->
			grow(stamp_reg);
			node[name].reg = stamp_reg
		fi;
		node[name].inc = its_inc;
		node[name].lost = 0;
		node[name].beaten = 0;
		node[name].lists = 0;
		tell_observers(name)
	:: else
	fi
}

/* renew.lua. seq is not kept: each heartbeat that is executed is a change, also one that a later one has overtaken. */
inline store_renew(name, b)
{
	if
	:: node[name].inc == 0 -> beat[b].answer = UNKNOWN
	:: node[name].inc != 0 && beat[b].reg < node[name].reg -> beat[b].answer = STALE
	:: node[name].inc != 0 && beat[b].reg >= node[name].reg && node[name].inc != beat[b].inc -> beat[b].answer = UNKNOWN
#ifndef FAULT_RESUME_UNREGISTERED
#ifdef AS_WRITTEN_HIGHER
	:: node[name].inc == beat[b].inc && beat[b].reg == node[name].reg && node[name].lost -> beat[b].answer = UNKNOWN
#else
	:: node[name].inc == beat[b].inc && beat[b].reg >= node[name].reg && node[name].lost -> beat[b].answer = UNKNOWN
#endif
#endif
	:: else ->
		beat[b].answer = YES;
		node[name].reg = beat[b].reg;
		node[name].lost = 0;
		node[name].beaten = 1;
		node[name].lists = beat[b].lists;
		tell_observers(name)
	fi
}

/* What the room's record says of a reported room, and takes it back for a new registration: that, too, is a compare-and-set, so
 * that a claim by somebody who saw the node lost before does not win after it. */
inline store_judge(name, b)
{
	if
	:: beat[b].list == 0 ->
		beat[b].verdict = CONFIRMED;
#ifdef AS_WRITTEN_RELEASE_BY_REPORT
		if
		:: room.state == MOVING && room.node == name && room.inc == beat[b].inc -> room.released = 1
		:: else
		fi
#endif
	:: beat[b].list != 0 && room.state == NONE ->
		if
#ifndef FAULT_NO_TOMBSTONE
		:: beat[b].list <= room.tomb -> beat[b].verdict = TAKEN
#endif
		:: else -> store_restore(name, b)
		fi
	:: beat[b].list != 0 && room.state != NONE && room.epoch == beat[b].list && room.inc == beat[b].inc ->
#ifdef FAULT_TAKE_BACK_LATE
		room.reg = beat[b].reg;
#else
		room.reg = MAX(room.reg, beat[b].reg); /* a late heartbeat of an older registration takes nothing back */
#endif
		if
#ifndef AS_WRITTEN_CONFIRM
		:: room.state == OPENING && !beat[b].sure -> beat[b].verdict = (mark.whole -> UNCHECKED : WAITS) /* it may yet be rescued */
#endif
		:: else ->
			room.state = (room.state == OPENING && beat[b].sure -> OPEN : room.state);
			confirm(b)
		fi
	:: else ->
		if
		:: !mark.whole && beat[b].list > room.epoch -> store_restore(name, b)
		:: else -> beat[b].verdict = TAKEN
		fi
	fi
}

/* Restoring is not assigning: node, incarnation and epoch stay. A room that was closed must not come back. */
inline store_restore(name, b)
{
	assert(lost_data || beat[b].list > room.tomb);
	room.state = OPEN;
	room.epoch = beat[b].list;
	room.node = name;
	room.inc = beat[b].inc;
	room.reg = beat[b].reg;
	room.released = 0;
	opened = opened | (1 << room.epoch);
	confirm(b)
}

/* While the store is being rebuilt, its record may be an old one, and a report may be that of a node that lost the room: only
 * a node that has let people in without a gap since before the loss has the room for certain. The others wait. */
inline confirm(b)
{
	beat[b].open = (room.state == OPEN);
	beat[b].verdict = CONFIRMED;
#ifndef AS_WRITTEN_RESTORE
	if
	:: !mark.whole && !beat[b].sure -> beat[b].verdict = WAITS
	:: else
	fi
#endif
}

/* What a request has read before a loss of data counts for nothing after it. */
#ifdef AS_WRITTEN_GENERATION
#define SAME_DATA(r) true
#else
#define SAME_DATA(r) (router[r].generation == mark.server)
#endif

#ifdef FAULT_FRESH_ROUTER_NO_HOLD
#define TAKEN_AS_WHOLE(r) (mark.whole || router[r].fresh)
#elif defined(FAULT_CLAIM_WITHOUT_MARK)
#define TAKEN_AS_WHOLE(r) true
#else
#define TAKEN_AS_WHOLE(r) mark.whole
#endif

/* claim.lua: compare-and-set on epoch and registration. flag: won. The mark is read in the same step. */
inline store_claim(r)
{
	flag = (router[r].from == 0 -> room.state == NONE : room.state != NONE && room.epoch == router[r].from);
#ifndef FAULT_CLAIM_EPOCH_ONLY
	flag = flag && (router[r].from == 0 || room.reg == router[r].from_reg);
#endif
#if !defined(FAULT_CLAIM_FROM_OPEN) && !defined(FAULT_RESCUE_WITHOUT_OPENING)
	flag = flag && (router[r].from == 0 || room.state == OPENING || router[r].lost);
#endif
	flag = flag && TAKEN_AS_WHOLE(r);
	flag = flag && SAME_DATA(r);
	if
	:: flag ->
#ifdef FAULT_CONFIRM_FROM_TABLE
		was.state = room.state;
		was.epoch = room.epoch;
		was.inc = room.inc;
#endif
		grow(stamp);
		room.state = OPENING;
		room.epoch = stamp;
		room.node = router[r].node;
		room.inc = router[r].inc;
		room.reg = router[r].reg;
		room.released = 0;
#ifdef FAULT_RESCUE_WITHOUT_OPENING
		room.state = OPEN;
		opened = opened | (1 << room.epoch);
#endif
		router[r].epoch = room.epoch
	:: else
	fi
}

/* publish.lua */
inline store_publish(r)
{
	flag = (room.state == OPENING || room.state == OPEN) && room.epoch == router[r].epoch;
#ifndef AS_WRITTEN_HELP
	flag = flag && TAKEN_AS_WHOLE(r); /* else the record may be one that was rescued since */
#endif
	if
	:: flag ->
		room.state = OPEN;
		opened = opened | (1 << room.epoch)
	:: else
	fi
}

/* forget.lua; a tombstone is left. On epoch and registration: a node that took the room back meanwhile has to let go of it. */
inline store_forget(r)
{
	flag = room.state != NONE && room.epoch == router[r].from;
#ifndef FAULT_CLAIM_EPOCH_ONLY
	flag = flag && room.reg == router[r].from_reg;
#endif
	flag = flag && SAME_DATA(r);
	if
	:: flag ->
		room.state = NONE;
		room.tomb = room.epoch;
		room.epoch = 0;
		room.node = 0;
		room.inc = 0;
		room.reg = 0;
		room.released = 0
	:: else
	fi
}

/* lose.lua: only if (registration, seq) is still what this observer read last. */
inline store_lose(by, name)
{
	if
#ifndef FAULT_LOST_WITHOUT_CAS
	:: router[by].changed[name]
#endif
	:: else -> node[name].lost = 1; printf("router %d writes: node %d is lost\n", by, name)
	fi
}

/* -- loss of data --------------------------------------------------------------------------------------------------------- */
inline restart_server()
{
	assert(server < 3);
	server++;
	printf("the store has lost data\n");
	lost_data = 1;
	for (i : 0 .. ROUTERS - 1) {
		router[i].conn = 0;
		router[i].fresh = 0;
	}
	i = 0
}

inline store_wipe()
{
	for (i : 0 .. NODES - 1) {
		node[i].inc = 0;
		node[i].reg = 0;
		node[i].lost = 0;
		node[i].beaten = 0;
		node[i].lists = 0;
	}
	room.state = NONE;
	room.epoch = 0;
	room.node = 0;
	room.inc = 0;
	room.reg = 0;
	room.tomb = 0;
	room.released = 0;
	mark.server = 0;
	mark.whole = 0;
	mark.listed = 0;
	restart_server()
}

#if ROLLBACKS
#define COPY_NODE(to, of) to.inc = of.inc; to.reg = of.reg; to.lost = of.lost; to.beaten = of.beaten; to.lists = of.lists
#define COPY_ROOM(to, of) to.state = of.state; to.epoch = of.epoch; to.node = of.node; to.inc = of.inc; to.reg = of.reg; \
	to.tomb = of.tomb; to.released = of.released
#define COPY_MARK(to, of) to.server = of.server; to.whole = of.whole; to.listed = of.listed
inline store_save()
{
	COPY_NODE(old_node[0], node[0]);
	COPY_NODE(old_node[1], node[1]);
	COPY_ROOM(old_room, room);
	COPY_MARK(old_mark, mark);
	saved = 1
}

inline forget_copy()
{
	saved = 0;
	old_node[0].inc = 0; old_node[0].reg = 0; old_node[0].lost = 0; old_node[0].beaten = 0; old_node[0].lists = 0;
	old_node[1].inc = 0; old_node[1].reg = 0; old_node[1].lost = 0; old_node[1].beaten = 0; old_node[1].lists = 0;
	old_room.state = 0; old_room.epoch = 0; old_room.node = 0; old_room.inc = 0; old_room.reg = 0; old_room.tomb = 0; old_room.released = 0;
	old_mark.server = 0; old_mark.whole = 0; old_mark.listed = 0
}

inline store_rollback()
{
	COPY_NODE(node[0], old_node[0]);
	COPY_NODE(node[1], old_node[1]);
	COPY_ROOM(room, old_room);
	COPY_MARK(mark, old_mark);
	forget_copy();
	restart_server()
}
#endif
