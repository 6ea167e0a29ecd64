/* SPDX-License-Identifier: Apache-2.0 */
/* The digest of a set of (room, epoch): XOR of the first 8 bytes of SHA-256(room 0x00 epoch-in-decimal), and a count. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct digest {
	uint64_t count, sum;
};
#define DIGEST_TEXT_MAX 40
uint64_t digest_room(const char *room, size_t len, uint64_t epoch);
void digest_toggle(struct digest *, const char *room, size_t len, uint64_t epoch, bool add);
void digest_print(const struct digest *, char out[static DIGEST_TEXT_MAX]); /* "<count>:<16 hex digits>" */
bool digest_parse(const char *text, struct digest *out);
