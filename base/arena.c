/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of blocks, filled from the front. Blocks start at 4 KiB, which holds a usual request whole, and a larger wish gets a
 * block of its own size. Nothing is given back before the reset, so an address stays good as long as its request.
 */
#include <assert.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

#define BLOCK 4096

/* Sanitizers shall see what is freed as free. */
#if defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif
#if SANITIZED
#define SPARES_KEPT 0
#else
#define SPARES_KEPT ARENA_SPARES_MAX
#endif

struct arena_block {
	struct arena_block *next;
	size_t room;
	max_align_t bytes[];
};

#define ROOM (BLOCK - sizeof(struct arena_block))

static struct arena_block *new_block(size_t size, size_t usual)
{
	size_t room = size > usual ? size : usual;
	struct arena_block *block = malloc(sizeof(*block) + room);

	if (!block)
		abort();
	block->room = room;
	return block;
}

static struct arena_block *spare_block(struct arena_spares *spares)
{
	struct arena_block *block = spares ? spares->blocks : NULL;

	if (block) {
		spares->blocks = block->next;
		spares->count--;
	}
	return block;
}

static void end_block(struct arena_spares *spares, struct arena_block *block)
{
	if (!spares || block->room != ROOM || spares->count + 1 > SPARES_KEPT) {
		free(block);
		return;
	}
	block->next = spares->blocks;
	spares->blocks = block;
	spares->count++;
}

static void *grow(struct arena *arena, size_t size)
{
	struct arena_block *block = size <= ROOM ? spare_block(arena->spares) : NULL;

	if (!block)
		block = new_block(size, arena->block ? arena->block : ROOM);
	block->next = arena->blocks;
	arena->blocks = block;
	arena->at = (char *)block->bytes;
	arena->end = arena->at + block->room;
	return arena->at;
}

static char *take(struct arena *arena, size_t size, size_t align)
{
	size_t pad = (align - (uintptr_t)arena->at % align) % align;
	char *at = arena->at;

	if (size > PTRDIFF_MAX - BLOCK)
		abort(); /* and no sum below overflows */
	if (!at || (size_t)(arena->end - at) < pad + size)
		at = grow(arena, size);
	else
		at += pad;
	arena->at = at + size;
	return at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return memset(take(arena, size, alignof(max_align_t)), 0, size);
}

char *arena_copy(struct arena *arena, const void *bytes, size_t len)
{
	char *copy = take(arena, len < SIZE_MAX ? len + 1 : len, 1);

	if (len)
		memcpy(copy, bytes, len);
	copy[len] = '\0';
	return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list ap, again;

	assert(fmt); /* also what keeps gcc from warning about a NULL that UBSan asks it to think of */
	va_start(ap, fmt);
	va_copy(again, ap);
	size_t room = arena->at ? (size_t)(arena->end - arena->at) : 0;
	int len = vsnprintf(arena->at, room, fmt, ap);
	assert(len >= 0);
	va_end(ap);
	char *text = take(arena, (size_t)len + 1, 1);
	if ((size_t)len >= room) /* else it is there already */
		vsnprintf(text, (size_t)len + 1, fmt, again);
	va_end(again);
	return text;
}

void arena_reset(struct arena *arena)
{
	for (struct arena_block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		end_block(arena->spares, block);
	}
	*arena = (struct arena){ .spares = arena->spares, .block = arena->block };
}

void arena_spares_free(struct arena_spares *spares)
{
	for (struct arena_block *block; (block = spare_block(spares));)
		free(block);
}
