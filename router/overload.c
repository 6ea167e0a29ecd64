/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>

#include "router/overload.h"

#define RISE 0.1       /* of a class in an interval, for each time that the target is in the wait: the further over, the faster */
#define RISE_MAX 1.0   /* nothing is known yet of what the last step did */
#define RISE_LAST 0.02 /* once all that participants ask is shed, and all the same what is left waits until it harms nodes */
#define FALL 0.02      /* while work still waits, and about the pressure at which it last was too long: there it settles */
#define FALL_IDLE 0.15 /* while there is time to spare, and far from there */
#define ABOUT 0.3
#define STALE 10       /* targets: a burst that is done within that is served, as it always was */
#define STALE_US 2000000 /* without pressure: longer than who asks would wait */
#define TOLD_BACK 1.5  /* a level is over once the pressure is so far under it: or each swing would be told */

const char *const load_class_words[] = { "rooms", "joins", "signal", "admin", "nodes" };

const char *overload_level_name(int level)
{
	return level > 0 ? load_class_words[level - 1] : "nothing";
}

static bool level_told(struct overload *o)
{
	int level = (int)ceil(o->pressure), before = o->told;

	if (level > o->told || o->pressure <= 0 || o->pressure < o->told - TOLD_BACK)
		o->told = level;
	return o->told != before;
}

static double risen(const struct overload *o, uint64_t waited_us)
{
	double times_over = (double)waited_us / (double)o->target_us;

	if (o->pressure >= LOAD_ADMIN)
		return fmin(o->pressure + RISE_LAST, LOAD_CLASSES);
	return fmin(o->pressure + fmin(RISE * times_over, RISE_MAX), LOAD_ADMIN);
}

/* Nobody but participants is refused for a wait that harms no node. */
static double without_harm(double pressure)
{
	return pressure > LOAD_ADMIN ? fmax(pressure - FALL_IDLE, LOAD_ADMIN) : pressure;
}

bool overload_judge(struct overload *o, uint64_t waited_us)
{
	if (!o->target_us)
		return false;
	/* A queue that gets shorter is being worked off: more would be too much. */
	if (waited_us > o->target_us && o->waited_us <= o->target_us)
		o->edge = o->pressure;
	if (waited_us > o->target_us && waited_us >= o->waited_us)
		o->pressure = risen(o, waited_us);
	else if (waited_us <= o->target_us)
		o->pressure = fmax(o->pressure - (waited_us || fabs(o->pressure - o->edge) < ABOUT ? FALL : FALL_IDLE), 0);
	if (waited_us <= o->harm_us)
		o->pressure = without_harm(o->pressure);
	o->waited_us = waited_us;
	return level_told(o);
}

bool overload_stale(struct overload *o, enum load_class class, uint64_t waited_us)
{
	if (!o->target_us || class >= LOAD_ADMIN || waited_us <= STALE * o->target_us || (o->pressure <= 0 && waited_us <= STALE_US))
		return false;
	o->stale++;
	return true;
}

static double share_of(const struct overload *o, enum load_class class)
{
	double share = o->pressure - (double)class;

	if (class == LOAD_ROOMS)
		share = fmax(share, o->beside);
	return fmin(fmax(share, 0), 1);
}

bool overload_sheds(struct overload *o, enum load_class class)
{
	if (class == LOAD_ALWAYS)
		return false;
	o->owed[class] += share_of(o, class);
	if (o->owed[class] < 1)
		return false;
	o->owed[class] -= 1;
	return true;
}
