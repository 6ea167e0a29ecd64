/* SPDX-License-Identifier: Apache-2.0 */
/*
 * usherctl: one process, one command, one or a few calls in a row, each awaited on a loop of its own. A command is a row
 * of the table in commands.c and a function that calls, reads by shape and prints.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/http.h"
#include "base/json.h"
#include "base/trust.h"

enum ctl_exit { /* promised in docs: scripts match on them */
	CTL_DONE = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2,
	CTL_NOT_FOUND = 3,
	CTL_REFUSED = 4,
	CTL_UNREACHABLE = 5
};

enum ctl_option { /* also bits of command.options */
	OPTION_NODE = 1,
	OPTION_PREFIX = 2,
	OPTION_LIMIT = 4,
	OPTION_PARTICIPANT = 8,
	OPTION_REGION = 16,
	OPTION_POOL = 32,
	OPTION_EPOCH = 64,
	OPTION_FORCE = 128,
	OPTION_DRAIN = 256, /* all of the drain's */
	OPTION_TOKEN = 512
};
struct ctl {
	const char *url, *token;
	struct trust trust;
	uint64_t timeout_ms;
	bool json;
	const char *node, *prefix, *participant, *region, *pool;
	const char *policy;
	const char *scope, *room, *as, *alg, *kid, *key, *audience, *issuer; /* of tokens */
	uint64_t limit, epoch, deadline_ms, for_ms; /* 0: not given */
	bool force, wait, own;
	const char *name; /* the command's argument */
	FILE *out, *err;
	struct loop *loop;
	struct http *http;
	struct arena arena;
};
struct command {
	const char *name, *argument; /* argument NULL: takes none */
	unsigned options;            /* of enum ctl_option */
	int (*run)(struct ctl *);    /* an enum ctl_exit */
	const char *help;
};
extern const struct command commands[]; /* ends with name NULL */

/* The whole program but for its streams. `env` looks up the environment. */
int ctl_main(int argc, char **argv, const char *(*env)(const char *), FILE *out, FILE *err);

/* -- calls (call.c) --------------------------------------------------------------------------------------------------- */
/* One request, awaited. CTL_DONE: a 2xx with its body in the arena; else the problem was printed to ctl->err. */
int ctl_call(struct ctl *, const char *method, const char *target, struct str body, struct str *answer);
/* Reads by shape, or prints what is wrong with the answer. */
int ctl_read(struct ctl *, struct str answer, const struct json_shape *, void *out);
void ctl_show_raw(struct ctl *, struct str answer);
/* before + name + after, the name percent-encoded: '/' belongs to it. */
struct buf ctl_path(const char *before, const char *name, const char *after);
int ctl_call_at(struct ctl *, const char *method, struct buf *target, struct str body, struct str *answer); /* frees target */
/* A change whose answer says nothing new: "NAME done" is printed, or the raw answer. Frees target. */
int ctl_change(struct ctl *, const char *method, struct buf target, struct str body, const char *done);
void ctl_pause(struct ctl *, uint64_t ms);

/* -- drain.c ---------------------------------------------------------------------------------------------------------- */
int run_drain(struct ctl *);
int run_undrain(struct ctl *);
int run_move(struct ctl *);

/* -- token.c ---------------------------------------------------------------------------------------------------------- */
int run_token(struct ctl *);
/* A token of ctl->key for this call and no other: `Bearer …` in the arena. NULL: what is wrong was printed. */
const char *token_for_call(struct ctl *, const char *method, const char *target);
