/* SPDX-License-Identifier: Apache-2.0 */
/* Limits and checks of names that cross between programs (contract: HTTP). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOM_MAX 256          /* bytes of UTF-8 without control characters */
#define NODE_MAX 64           /* [A-Za-z0-9._-] */
#define INCARNATION_MAX 128   /* [A-Za-z0-9._:-] */
#define URL_MAX_BYTES 1024
#define LABELS_MAX 32         /* labels of one node, conditions of one join */
#define LABEL_MAX 128         /* bytes of a key or a value */
#define ROOMS_PART_MAX 4096   /* rooms in one part of a full list */
#define EPOCH_MAX ((UINT64_C(1) << 53) - 1)
#define LOAD_MAX 1e9

bool room_valid(const char *at, size_t len);
bool node_valid(const char *at, size_t len);
bool incarnation_valid(const char *at, size_t len);
