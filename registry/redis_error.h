/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every error that a Redis (Valkey) of our time can answer, and what is done about it: one table, which is also a page
 * (`usherd --print redis-errors`). What is not in it counts as "ERR": refused, told to the operator.
 */
#pragma once

#include <stddef.h>
#include <stdio.h>

enum redis_cure {
	CURE_TEXT,   /* the same call once more on the same connection, with the script's text */
	CURE_MOVE,   /* the same call at the node that the answer names; the map of slots is read anew */
	CURE_ASK,    /* the same call once at the node that the answer names, after ASKING */
	CURE_WAIT,   /* the same call again on and on, as long as the request's budget lasts */
	CURE_LEAVE,  /* the connection is given up and the primary is looked for anew; the request is refused */
	CURE_LOGIN,  /* the connection is given up; the process tries to log in once a second */
	CURE_REFUSE, /* the request is refused, the log says why; the connection stays */
	CURE_NEVER   /* usher sends nothing that is answered so; treated as CURE_REFUSE */
};

struct redis_error {
	const char *begins; /* how the answer begins */
	enum redis_cure cure;
	const char *means, *act; /* for people */
};
extern const struct redis_error redis_errors[];
extern const size_t redis_errors_count;

/* Of an error's text: the row whose beginning is the longest. Before Redis 7 a script's error has the true one inside. */
const struct redis_error *redis_error_of(const char *text);
void redis_errors_print(FILE *out); /* Markdown */
