/* SPDX-License-Identifier: Apache-2.0 */
/* A node's HTTP side as the test plays it: what it was asked, and the answer, byte by byte. */
#pragma once

#include "tests/unit/base/peer.h"

struct node_play {
	struct peer peer;
	unsigned requests;    /* whole ones */
	char last[4096];      /* the last request, head and body */
	const char *answer;   /* NULL: silence */
	unsigned answers_max; /* from then on silence; 0: no limit */
	bool hang_up;         /* end the connection after each answer */
	unsigned drop;        /* that many requests are answered by closing */
};
extern struct node_play play;

void play_open(struct loop *);
void play_close(void);
/* A connection to this port is neither made nor refused. Gives its port. */
uint16_t black_hole_open(void);
void black_hole_close(void);
