/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs inside somebody else's program. TLS writes with write(2), at the end of a connection, too: a router that has hung up
 * would end that program by SIGPIPE, and how signals are dealt with is its own choice, so the signal is kept out of this thread for
 * the call alone.
 */
#pragma once

struct http;
struct loop;

void turn_quietly(struct loop *); /* one turn */
void http_free_quietly(struct http *); /* NULL is fine */
