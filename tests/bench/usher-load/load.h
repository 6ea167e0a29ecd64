/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that each ask one thing at a time. Closed loop: each as soon as it has its answer. Open loop: at a fixed rate whatever
 * comes back, the time of each counted from when it was due: what waits for a free connection waits on the clock, so a server that
 * stalls is not spared. What cannot be asked in time is asked late and never left out; what is then still unasked at the end is told.
 */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "../histogram.h"

#define HEAD_MAX 8192
#define SECOND UINT64_C(1000000000)

struct conn {
	int fd;
	void (*ready)(struct conn *);
	uint64_t due;
	uint64_t number; /* of what it asks */
	uint64_t got;    /* bytes of the answer so far; its first ones are in head */
	uint64_t whole;  /* bytes of the answer, once known */
	bool busy, open;
	char head[HEAD_MAX + 1];
};

struct tally {
	uint64_t asked, answered, wrong, unasked, worst_ns, late_ns, times[HISTOGRAM_STEPS];
	double seconds;
};

struct load {
	struct sockaddr_in to;
	const char *host; /* with its port */
	int poller;
	size_t nconns;
	struct conn **conns, **idle;
	size_t nidle;
	void (*ask)(struct load *, struct conn *);
	bool closed;
	uint64_t next; /* number */
	uint64_t most; /* asked in a closed loop; 0: no limit */
	struct tally *tally;
};
extern struct load load;

uint64_t now_ns(void);
struct conn *conn_add(int fd, void (*ready)(struct conn *));
struct conn *conn_connect(void (*ready)(struct conn *));
void conn_send(struct conn *, const void *bytes, size_t len);
void conn_answered(struct conn *, bool right);
void conn_idle(struct conn *);
void load_turn(uint64_t until_ns);
void load_run(struct tally *, double rate, double seconds);
void tally_print(const struct tally *);
_Noreturn void fail(const char *what);
