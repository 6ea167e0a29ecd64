/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the adapter of hiredis: redis.c, redis_socket.c. */
#pragma once

#include <stdbool.h>

#include <hiredis/async.h>
#include <hiredis/hiredis.h>

struct loop;

/* Until hiredis frees the context. False: the descriptor cannot be watched. */
bool redis_socket_attach(struct loop *, struct redisAsyncContext *);
