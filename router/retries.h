/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a worker may ask SFUs again what has just failed: a tenth of what it asks anew, and a few a second, so that a fleet that
 * fails is not asked twice as much for that (as Finagle's and Envoy's retry budgets). What counts is a request's second call: another
 * node after an open that failed, and the same node after its gate refused the epoch. Not what must happen for one room to keep one
 * owner (evictions, helping an `opening`, ghosts): each is asked once, and again only when a node's report says that it is needed.
 *
 * Pure, and of one thread. Over any T seconds with N first calls at most RETRIES_SAVED + N / 10 + T * RETRIES_FLOOR retries.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RETRIES_SHARE 0.1
#define RETRIES_FLOOR 10  /* a second: with few requests a share is nothing */
#define RETRIES_SAVED 100 /* what quiet times leave for bad ones */

struct retries {
	double left;
	uint64_t at_ms; /* 0: not used yet */
};
void retries_earn(struct retries *);                  /* a first call */
bool retries_spend(struct retries *, uint64_t now_ms); /* may it be asked again? */
