/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The SFU process beside the agent: started here (agent.command) or found by the port it listens at, watched for its end, asked
 * each second how it is. One word for the rest of the agent: absent, up, or sick; with each process an incarnation.
 *
 * A started SFU outlives an agent that is killed, and is found by the next one, which does not start another.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct adapter;
struct agent_conf;
struct loop;
struct sfu;

enum sfu_state {
	SFU_ABSENT, /* no process, or it has not answered yet */
	SFU_UP,
	SFU_SICK    /* its check failed for agent.sick_ms */
};
extern const char *const sfu_state_words[];
struct sfu_conf {
	struct loop *loop;
	struct adapter *adapter;
	const struct agent_conf *settings;
	const char *proc; /* "/proc" */
	/* Called at each change, and with SFU_ABSENT, then SFU_UP, when another process has taken the place of one. */
	void (*changed)(void *arg, enum sfu_state);
	void *arg;
};
struct sfu *sfu_new(const struct sfu_conf *); /* begins to look at the next turn */
enum sfu_state sfu_state(const struct sfu *);
const char *sfu_incarnation(const struct sfu *); /* of the process that is up or was last */
bool sfu_well(const struct sfu *);               /* its last check was good, and it is up */
/* Ends an SFU that agent.command started; `done` is called once, perhaps at once. No more changes are told. */
void sfu_stop(struct sfu *, void (*done)(void *arg));
void sfu_free(struct sfu *); /* a started SFU that still lives is left alone */
