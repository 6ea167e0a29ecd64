/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where requests enter: an exchange becomes a request, or a refusal, by the same checks for every route (Host, scope, method,
 * media type, size, JSON). Also what usher believes of a peer's headers.
 */
#pragma once

#include <stdbool.h>

#include "base/httpd.h"

struct request;
struct router;

extern const struct httpd_ops edge_ops; /* arg: the worker */

bool edge_trusts_peer(const struct request *);    /* server.trusted_proxies */
struct str edge_forwarded_for(struct request *);  /* the peer, after what a trusted one says of who was before it; in the arena */
struct str edge_forwarded_proto(struct request *); /* http or https, as a trusted peer has it; else what we see ourselves */
struct str edge_forwarded_host(struct request *);
/* Who asks: the peer, or, through trusted proxies, the last address in X-Forwarded-For that is not one of theirs. */
void edge_client(struct request *, struct sockaddr_storage *out);
void edge_cors(struct request *);                 /* adds the CORS headers that an answer needs */
/* The names that Host may have, from the configuration; NULL-terminated; the process's. */
const char *const *edge_hosts(const struct router *);
