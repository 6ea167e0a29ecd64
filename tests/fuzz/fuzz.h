/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the targets share. Each target is one file with LLVMFuzzerTestOneInput(), which gets one input and must come back with
 * all memory given back; what must hold is said with MUST(), which stays in all builds.
 *
 * Inputs are read as text where they can be, so that those in corpus/ can be read and written by people: pieces are cut at a
 * byte that the format does not use, choices are made by one character.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define MUST(condition) \
	((condition) ? (void)0 : (fprintf(stderr, "%s:%d: must hold: %s\n", __FILE__, __LINE__, #condition), abort()))

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The next byte; 0 when there is none. */
static inline uint8_t feed_byte(struct str *in)
{
	uint8_t c = in->len ? (uint8_t)in->at[0] : 0;

	if (in->len) {
		in->at++;
		in->len--;
	}
	return c;
}

/* hiredis makes room for as many items as a list says to have, and the store is one of ours: such lists are no finding. */
static inline bool says_a_long_list(struct str in)
{
	size_t digits = 0;

	for (size_t i = 0; i < in.len; i++) {
		digits = in.at[i] == '*' ? 1 : digits && in.at[i] >= '0' && in.at[i] <= '9' ? digits + 1 : 0;
		if (digits > 6)
			return true;
	}
	return false;
}

/* A copy of its own, so that a sanitizer sees the first byte read beyond it; with a NUL only if `ended`. */
static inline char *copy_of(struct str s, bool ended)
{
	char *copy = calloc(1, s.len + ended + !s.len);

	if (!copy)
		abort();
	if (s.len)
		memcpy(copy, s.at, s.len);
	if (ended)
		copy[s.len] = '\0';
	return copy;
}
