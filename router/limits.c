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
#define SITE_TIMES 16 /* what one /64 may: a site has several, and seldom all of them guess */
#define SITE_KEY_BYTES 7 /* of listen_origin(): the family, and 48 bits */

struct limits {
	struct rate *addresses, *credentials, *rooms, *guesses;
	struct rate *site_guesses; /* of an IPv6 /48, or its 65,536 /64 would fill the table of `guesses` for everybody */
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
	limits->site_guesses = rate_new((double)conf->auth.wrong_per_minute / 60 * SITE_TIMES, GUESSES_BURST * SITE_TIMES);
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
	rate_free(limits->site_guesses);
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

/* IPv4: the address itself once more, which allows more than the address does. */
static struct str site_of(struct str address)
{
	return address.at[0] == 6 ? (struct str){ address.at, SITE_KEY_BYTES } : address;
}

int limits_guess(struct request *rq)
{
	const struct limits *limits = limits_of(rq);
	struct str address = address_of(rq);

	if (!rate_allows(limits->guesses, address, request_now(rq), &rq->retry_ms))
		return request_fail(rq, ERR_RATE_LIMITED, "too many wrong credentials from this address");
	if (!rate_allows(limits->site_guesses, site_of(address), request_now(rq), &rq->retry_ms))
		return request_fail(rq, ERR_RATE_LIMITED, "too many wrong credentials from the networks of this address");
	return 0;
}

void limits_guessed_wrong(struct request *rq)
{
	struct str address = address_of(rq);
	uint64_t ignored;

	rate_take(limits_of(rq)->guesses, address, request_now(rq), &ignored);
	rate_take(limits_of(rq)->site_guesses, site_of(address), request_now(rq), &ignored);
}
