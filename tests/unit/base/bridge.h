/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS for clients that speak plain bytes: what they say, and how they end (FIN, reset), comes out as TLS and back. With
 * USHER_TEST_TLS in the environment all tests of the HTTP server ask through it, so that all of its rules hold with TLS, too.
 */
#pragma once

#include <stdbool.h>

struct loop;
struct tls;

bool bridge_wanted(void);
const struct tls *bridge_server(void); /* what the server shakes hands with */
/* Takes a connected socket, shakes hands on it, and returns the plain side, a TCP socket, too. */
int bridge_new(struct loop *, int server_fd);
void bridge_free(void); /* all of them, and the server's files */
