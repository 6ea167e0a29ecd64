/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the gate: gate.c (requests and their ends), gate_judge.c (may it pass), gate_carry.c (to the SFU and back). */
#pragma once

#include "base/forward.h"
#include "base/loop.h"
#include "base/tunnel.h"
#include "base/wait.h"
#include "base/wire/direct_ticket.h"
#include "client/agent/gate.h"

#define REASON_MAX 64

struct gate {
	struct gate_conf conf;
	struct tunnels *tunnels;
	struct passage *passages; /* requests under way */
	struct timer farewell;
	uint64_t farewell_until_ms;
	bool closing;
	unsigned farewell_code;
	char farewell_reason[REASON_MAX];
};
struct carried { /* the arg of each tunnel */
	struct gate *gate;
	struct passage *passage; /* until the tunnel has the socket */
	struct dialed *peer;
	uint64_t epoch;
	unsigned doomed; /* its room ended in between: the code to close with */
	char reason[REASON_MAX];
	char id[65]; /* X-Request-Id */
	size_t room_len;
	char room[];
};
struct passage { /* one request, in its exchange's arena */
	struct gate *gate;
	struct exchange *x;
	struct passage *next, **at;
	struct str room, rest, grant;
	struct direct_ticket ticket; /* where direct */
	uint64_t epoch;
	bool websocket, direct, entered, passed;
	struct forward *forward;
	struct dial_answer dial;
	struct wait wait;
	struct carried *rising;
};
struct refusal {
	int err;
	const char *why;    /* X-Usher-Refused: looking again can help. NULL: it cannot */
	const char *detail;
};

/* gate_judge.c */
bool gate_judge(struct passage *, struct refusal *out);
bool gate_still_admits(struct passage *, struct refusal *out); /* asked again when the SFU has answered */
/* What whoever came with a ticket hears, whatever does not fit; false. */
bool gate_refuse_ticket(struct refusal *out);
void gate_refuse(struct passage *, const struct refusal *);

/* gate_carry.c: what comes of it is the passage's answer */
void gate_forward(struct passage *);
void gate_dial(struct passage *);
