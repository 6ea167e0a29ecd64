/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The echo SFU's WebSockets: what one sends comes back. One block at a time: what the peer does not take is kept (at most
 * PEER_BLOCK and a few bytes), and it is not read meanwhile. Owned by their set; each tells when it has ended.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define PEER_BLOCK 65536

struct echo_peers;
struct echo_peer;
struct loop;

struct echo_peers *echo_peers_new(struct loop *, void (*ended)(void *arg));
void echo_peers_free(struct echo_peers *); /* cuts what is left; `ended` comes for each */
/* Takes the descriptor, upgraded already; `extra` came with the request. `arg` is handed to `ended` and to the visitor. */
void echo_peers_add(struct echo_peers *, int fd, struct str extra, void *arg);
/* Closes those whom fn picks: a Close 1000 where a frame boundary allows, then FIN. */
void echo_peers_close(struct echo_peers *, bool (*fn)(void *ctx, void *arg), void *ctx);
