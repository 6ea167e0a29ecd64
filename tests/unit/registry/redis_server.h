/* SPDX-License-Identifier: Apache-2.0 */
/* A private Redis for tests, on a port that is kept for it, and a second client beside the one under test. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct redis_server {
	int pid;
	uint16_t port;
	int client; /* plain blocking connection; -1: none */
};
uint16_t redis_server_free_port(void); /* stays this process's until it ends */
/* extra: further words of the command line, NULL-terminated; may be NULL. Gives up the test where there is no redis-server. */
void redis_server_start(struct redis_server *, const char *const *extra);
void redis_server_restart(struct redis_server *); /* killed, and started on the same port, empty */
void redis_server_stop(struct redis_server *);
void redis_server_signal(struct redis_server *, int signum);
/* An inline command by the second client; gives the first line of the reply, or the bulk string's content. */
const char *redis_server_ask(struct redis_server *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
