/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that lives as long as one request: many small allocations, one release. Not for sharing between threads.
 * Allocation never fails softly for the small things a request needs: out of memory ends the process (log + abort),
 * as the limits of the configuration bound what a request may ask for.
 */
#pragma once

#include <stddef.h>

struct arena {
	struct arena_block *blocks;
	char *at, *end;
	struct arena_spares *spares; /* NULL: blocks come from malloc and go back there */
	size_t block;                /* what a block holds, of an arena that lives long and is small; 0: as much as a request needs */
};
/* Blocks between two requests of one thread, ARENA_SPARES_MAX at most (4 KiB each): malloc does not keep any of that size at hand. */
struct arena_spares {
	struct arena_block *blocks;
	size_t count;
};
#define ARENA_SPARES_MAX 64
void arena_spares_free(struct arena_spares *);
void *arena_alloc(struct arena *, size_t size); /* zeroed, aligned for any type */
char *arena_copy(struct arena *, const void *bytes, size_t len); /* adds a NUL */
char *arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *); /* frees all; the arena can be used again */
