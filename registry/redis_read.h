/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading what Redis answered. Replies are input: whatever is not there or of another kind reads as absent (empty view,
 * zero, NULL), and the caller decides whether that is an answer. Views live as long as the reply.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct redisReply;
struct room;
struct charge;
struct room_report;

bool reply_failed(const struct redisReply *); /* NULL, or an error */
bool reply_error_is(const struct redisReply *, const char *prefix); /* "NOSCRIPT" */
bool reply_is_replica(const struct redisReply *); /* of ROLE */
/* Of INFO: the value behind "name:", up to the line's end; .at NULL: it is not said. */
struct str reply_info(const struct redisReply *, const char *name);
bool reply_is_list(const struct redisReply *);
bool reply_is_nil(const struct redisReply *);
size_t reply_count(const struct redisReply *); /* items of a list */
const struct redisReply *reply_at(const struct redisReply *, size_t i);
struct str reply_str(const struct redisReply *); /* of a string, a status or an error; .at NULL: none of these */
uint64_t reply_u64(const struct redisReply *);   /* an integer, or a string of digits; else 0 */
double reply_real(const struct redisReply *);
/* Copies at most size - 1 bytes, without a NUL inside; false if it did not fit. */
bool reply_copy(const struct redisReply *, char *to, size_t size);

#define ROOM_FIELDS 9
extern const char *const room_fields[ROOM_FIELDS]; /* in the order of HMGET here and in lua/prelude.lua */
/* False: not a list of these fields. A record without a state, or with one that is not known, is no record. */
bool reply_room(const struct redisReply *, struct room *out);
bool text_charge(struct str, struct charge *out);            /* "number:cost:at_ms" */
/* "epoch participants uses"; below zero is -1; `room` is left alone. */
bool text_entry(struct str, struct room_report *out, uint64_t *uses);
/* "MOVED slot host:port", "ASK …": where to. Without a host it is the one that said so. */
struct redis_endpoint;
bool redis_endpoint_of_error(struct str text, const struct redis_endpoint *from, struct redis_endpoint *out);
/* Of INFO: which server process this is, hashed; 1 where it does not say. */
uint64_t reply_run_id(const struct redisReply *);
uint64_t reply_time_ms(const struct redisReply *);           /* of TIME */
