/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may do what: the credential of a request against the scopes of its route, and the room or node that the credential is bound
 * to. The rules (tokens, keys) come from files and are read anew by SIGHUP; workers read the published ones without a lock, and
 * each remembers lately verified tokens, so that a signature is checked once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/str.h"
#include "base/wire/ticket.h"

struct access;
struct access_memory;
struct buf;
struct request;
struct route;
struct router;
struct router_conf;

/* Reads the files that conf names. NULL: faults were written to `err`. With auth.mode none there are no rules. */
struct access *access_new(const struct router_conf *, FILE *err);
void access_free(struct access *);
/* The same files again, on the keeper; a fault leaves the old rules in force. Returns the number of faults. */
int access_reload(struct router *, FILE *err);

struct access_memory *access_memory_new(void); /* one for each worker */
void access_memory_free(struct access_memory *);

/* 0, or -ERR_UNAUTHORIZED, -ERR_FORBIDDEN with detail. Sets rq->may, rq->who and rq->let_in_by. */
int access_admit(struct request *, const struct route *);
bool access_covers(const struct request *, struct str room); /* may the credential know of this room? */
bool access_is_admin(const struct request *); /* or nobody is asked who they are */
/* A ticket of ours for this room and holder, in the arena; empty with auth.mode none. */
struct str access_ticket(struct request *, enum ticket_kind, struct str room, struct str holder, uint64_t valid_ms);
const struct secret_keys *access_grant_keys(const struct router *); /* NULL: none are set. Good for this callback */
void access_router_ticket(const struct router *, struct str room, struct buf *out); /* for a question to another router */
