/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a joiner, for join.c and the tests, which run it on a loop of their own that outlives it. */
#pragma once

#include "base/arena.h"
#include "base/http.h"
#include "base/loop.h"
#include "base/trust.h"
#include "base/wait.h"
#include "client/lib/usher/usher.h"

struct usher_join {
	struct loop *loop;
	bool owns_loop, turning;
	struct http *http;
	char **targets; /* URL of the join at each router */
	size_t ntargets, asked; /* asked: since the start */
	char *bearer;
	char *tls_ca, *tls_cert, *tls_key;
	struct trust trust; /* views of these */
	struct buf body;
	uint64_t due_ms;
	unsigned rounds; /* refused waits, or times round all routers without an answer */

	struct timer timer;
	struct wait wait;
	struct arena arena; /* of the call under way */
	struct http_answer answer;

	struct arena kept; /* the last answer that came */
	struct usher_joined last;
	void (*done)(void *arg, const struct usher_joined *); /* NULL: was called */
	void *arg;
};
struct usher_join *join_new_on(struct loop *, const struct usher_join_options *, void (*done)(void *arg, const struct usher_joined *),
                               const char **why);
