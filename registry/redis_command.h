/* SPDX-License-Identifier: Apache-2.0 */
/* A Redis command as it goes on the wire (RESP2 array of bulk strings). The number of words is said first. */
#pragma once

#include "base/str.h"
#include "registry/scripts.h"

void command_start(struct buf *, size_t words);
void command_str(struct buf *, struct str word);
void command_z(struct buf *, const char *word);
void command_u64(struct buf *, uint64_t word);
void command_i64(struct buf *, int64_t word);
void command_real(struct buf *, double word); /* enough digits to read the same number back */
/* EVALSHA sha1 nkeys; then `keys` + `args` words follow. */
void command_script(struct buf *, enum script, size_t keys, size_t args);
/* The first key of a command: of a script its first, else the word behind the verb. .at NULL: it has none. */
struct str command_first_key(const struct buf *);
/* The same call of the script with its text instead of the digest, for a store that has forgotten it. */
void command_eval(struct buf *to, const struct buf *evalsha, enum script);
