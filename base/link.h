/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor, plain or TLS, behind the same verbs, and the bytes that it did not take yet. Whoever holds a link owns all of it;
 * it moves by copying. Nothing waits; how much may be stuck is the holder's to bound: who reads no further while something is
 * stuck keeps no more than one read.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/str.h"

struct ssl_st;
struct stuck {
	struct buf out;
	size_t at; /* before it all is written */
};
struct link {
	int fd; /* non-blocking; -1: none */
	bool read_needs_write, write_needs_read; /* of TLS: what the last call that said AGAIN waits for */
	struct ssl_st *ssl; /* NULL: plain */
	struct stuck *stuck; /* NULL: nothing; of most links that is so for most of the time */
};
enum { LINK_END = 0, LINK_AGAIN = -1, LINK_BROKEN = -2, LINK_AGAIN_WRITE = -3 };
/* A TLS record is taken whole: with room for less, a rest of it would stay where epoll does not see it. */
#define LINK_READ_MIN 16384

/* TLS: again and again until it is not LINK_AGAIN(_WRITE), with a bounded amount read by each call and by all: there may be more to
 * read at once. 0: done; LINK_BROKEN: *why in words. */
int link_shake(struct link *, const char **why);
ssize_t link_read(struct link *, char *out, size_t max); /* bytes, or LINK_… */
ssize_t link_write(struct link *, const char *bytes, size_t len);
bool link_put(struct link *, const char *bytes, size_t len); /* writes, and keeps what is not taken. False: broken */
bool link_flush(struct link *);                              /* what is stuck. False: broken */
static inline size_t link_stuck(const struct link *l)
{
	return l->stuck ? l->stuck->out.len - l->stuck->at : 0;
}
struct str link_rest(const struct link *); /* what is stuck */
void link_drop(struct link *);   /* what is stuck is not wanted any more */
bool link_finish(struct link *); /* FIN, with TLS its own end first; nothing more is written. False: again once it can be written */
void link_close(struct link *);  /* after reading away what is there: unread bytes would make it a RST */
/* What epoll is to tell of it: events for reading and writing. */
unsigned link_events(const struct link *, bool reads, bool writes);
