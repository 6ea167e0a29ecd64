/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of what is asked a thread can still take on, judged by how long work that is ready waits for its turn (as CoDel does,
 * RFC 8289, and DAGOR at WeChat: not by processor, memory, or the number of requests, which say little of how late answers are).
 *
 * One number, the pressure, says what is shed: 0 nothing, 1 all of the first class, 2.3 all of the first two and 30 % of the third.
 * It rises while even the least wait of an interval is over the target, by more the further over, and falls slowly otherwise. A part
 * of a class is shed evenly, so that the load settles where it can be borne instead of swinging between all and nothing.
 *
 * Pure: no clock, no thread. Whoever owns it calls overload_judge() once in an interval.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum load_class { LOAD_ROOMS, LOAD_JOINS, LOAD_SIGNAL, LOAD_ADMIN, LOAD_NODES, LOAD_CLASSES, LOAD_ALWAYS = LOAD_CLASSES };
extern const char *const load_class_words[]; /* what is shed at that level: "rooms", …; by class */

struct overload {
	uint64_t target_us; /* 0: nothing is ever shed */
	uint64_t harm_us;   /* a wait that would be felt by nodes: shorter ones shed participants alone */
	uint64_t waited_us; /* in the interval before */
	double pressure;    /* 0 to LOAD_CLASSES */
	double edge;        /* what it was when waits last became too long */
	double beside;      /* 0 to 1: of the thread that places new rooms; sheds those alone */
	double owed[LOAD_CLASSES];
	uint64_t stale;     /* refused as stale, until its owner takes the number */
	int told;           /* the level that was told last */
};
/* The least wait of the interval that is over. True: the level is another, from `told` before the call. */
bool overload_judge(struct overload *, uint64_t waited_us);
bool overload_sheds(struct overload *, enum load_class); /* this one? */
/* It has waited so long already that whoever asked may have given up: what participants ask is refused, so that no turn gets longer
 * than that, however steeply the load rises within one interval. Without any pressure only after seconds: a machine that stood still
 * for a moment is no overload. Counts what it says yes to. */
bool overload_stale(struct overload *, enum load_class, uint64_t waited_us);
const char *overload_level_name(int level);              /* the last class that is shed, in part at least; "nothing" */
