/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked for on the command line, and the kinds of load. Each prints "go" when it begins to measure, and one JSON object. */
#pragma once

#include "load.h"

struct options {
	const char *method, *path, *header, *body, *words;
	int status, far_port;
	double rate, seconds, warm_s; /* rate 0: closed loop */
	uint64_t numbers, size, rooms, interval_ns;
};
extern struct options options;

bool http_receive(struct conn *); /* true: the answer is whole */
void http_main(void);
void tunnels_main(void);
void beats_main(void);
