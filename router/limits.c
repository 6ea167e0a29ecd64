/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wrong token costs its address a share of few; where that is used up, only tokens that this worker knows are looked at, so that a
 * neighbour behind the same address who is known goes on. Tickets cost nothing: nobody guesses 128 bits, and one that is over is no
 * guess. IPv6 addresses count by their /64: one host has them all.
 */
#include <stdlib.h>

#include "base/arena.h"
#include "base/listen.h"
#include "base/wire/ticket.h"
#include "router/conf.h"
#include "router/edge.h"
#include "router/limits.h"
#include "router/peer_room.h"
#include "router/rate.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/worker.h"

#define BURST_S 2      /* a browser's first seconds at once, as long as it is quiet then */
#define GUESSES_BURST 20

struct limits {
	struct rate *addresses, *credentials, *rooms, *guesses;
};

struct limits *limits_new(const struct router_conf *conf)
{
	struct limits *limits = calloc(1, sizeof(*limits));

	if (!limits)
		abort();
	limits->addresses = rate_new(conf->limits.address_rate, conf->limits.address_rate * BURST_S + 1);
	limits->credentials = rate_new(conf->limits.credential_rate, conf->limits.credential_rate * BURST_S + 1);
	limits->rooms = rate_new(conf->limits.room_rate, conf->limits.room_rate * BURST_S + 1);
	limits->guesses = rate_new((double)conf->auth.wrong_per_minute / 60, GUESSES_BURST);
	return limits;
}

void limits_free(struct limits *limits)
{
	if (!limits)
		return;
	rate_free(limits->addresses);
	rate_free(limits->credentials);
	rate_free(limits->rooms);
	rate_free(limits->guesses);
	free(limits);
}

static const struct limits *limits_of(const struct request *rq)
{
	return rq->worker->router->limits;
}

/* In the request's arena. */
static struct str address_of(struct request *rq)
{
	struct sockaddr_storage client;
	unsigned char *key = arena_alloc(request_arena(rq), LISTEN_ORIGIN_BYTES);

	edge_client(rq, &client);
	listen_origin(&client, key);
	return (struct str){ (const char *)key, LISTEN_ORIGIN_BYTES };
}

static bool counts(const struct route *route)
{
	return (route->scopes & (SCOPE_JOIN | SCOPE_ROUTE)) != 0;
}

static int take(struct request *rq, struct rate *rate, struct str name, const char *what)
{
	if (rate_take(rate, name, request_now(rq), &rq->retry_ms))
		return 0;
	return request_fail(rq, ERR_RATE_LIMITED, "too many requests %s", what);
}

int limits_address(struct request *rq, const struct route *route)
{
	if (!limits_of(rq)->addresses || !counts(route) || ((route->scopes & SCOPE_ROUTE) && peer_room_claims(rq)))
		return 0;
	return take(rq, limits_of(rq)->addresses, address_of(rq), "from this address");
}

int limits_share(struct request *rq, const struct route *route)
{
	int err = 0;

	if (!counts(route) || rq->let_in_by == TICKET_ROUTER)
		return 0;
	if (rq->credential.len)
		err = take(rq, limits_of(rq)->credentials, rq->credential, "with this credential");
	return err ? err : take(rq, limits_of(rq)->rooms, rq->names[NAME_ROOM], "for this room");
}

int limits_guess(struct request *rq)
{
	if (!limits_of(rq)->guesses || rate_allows(limits_of(rq)->guesses, address_of(rq), request_now(rq), &rq->retry_ms))
		return 0;
	return request_fail(rq, ERR_RATE_LIMITED, "too many wrong credentials from this address");
}

void limits_guessed_wrong(struct request *rq)
{
	uint64_t ignored;

	if (limits_of(rq)->guesses)
		rate_take(limits_of(rq)->guesses, address_of(rq), request_now(rq), &ignored);
}
