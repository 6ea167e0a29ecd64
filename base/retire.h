/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freeing what other threads may still be reading. One writer unlinks an object and retires it; it is freed once every
 * reader loop has finished the turn it was in (a no-op task has run on each). Readers pay nothing: a pointer that was
 * read from a published place stays good until their callback returns, and must not be kept longer.
 */
#pragma once

#include <stddef.h>

struct loop;
struct retire;
struct retired {
	struct retired *next;
	void (*free)(struct retired *);
};

struct retire *retire_new(struct loop *writer, struct loop *const *readers, size_t n);
void retire_later(struct retire *, struct retired *, void (*free_it)(struct retired *)); /* on the writer's loop */
/*
 * Readers are stopped, and the writer's loop turns no more (a round's message may be on its way): frees all that is
 * left.
 */
void retire_free(struct retire *);
