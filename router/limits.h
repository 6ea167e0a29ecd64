/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much one participant, back end or room may ask of this process, and how often an address may show a wrong credential.
 * Nodes, operators and metrics are not counted: what keeps the fleet alive goes on when participants overdo it.
 */
#pragma once

#include <stdbool.h>

struct limits;
struct request;
struct route;
struct router_conf;

struct limits *limits_new(const struct router_conf *);
void limits_free(struct limits *);
/* Each 0, or -ERR_RATE_LIMITED with detail and rq->retry_ms. */
int limits_address(struct request *, const struct route *); /* before anything is read of the request */
int limits_share(struct request *, const struct route *);   /* once it is known who asks: the credential, and the room */
int limits_guess(struct request *);                         /* before a token is checked that nobody knows */
void limits_guessed_wrong(struct request *);                /* a token; tickets are not guessed */
