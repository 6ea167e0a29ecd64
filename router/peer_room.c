/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question is the load balancers' own: GET /v1/rooms/{room}/route, marked so that it is not passed on, that it is answered from
 * what is known at once, and that the answer says which process the room was placed on. A router that hangs
 * costs PEERS_MS and no more; one that still has the store answers from there.
 */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/http.h"
#include "base/json.h"
#include "base/wait.h"
#include "router/access.h"
#include "router/peer_room.h"
#include "router/peers.h"
#include "router/request.h"
#include "router/router.h"
#include "router/worker.h"

#define PEERS_ASKED 8
#define PEERS_MS 80      /* after registry.timeout_ms: together within 100 ms more than that */
#define QUESTIONS_MAX 64 /* of one worker, under way */
#define ANSWER_MAX 8192  /* bytes: names and a URL */
#define MARK "X-Usher-Asked-By"
#define TICKET "X-Usher-Ticket"

struct question {
	struct op op;
	struct worker *worker;
	struct arena *arena;
	struct peer_room *out;
	size_t under_way;
	struct asked {
		struct wait wait;
		struct question *question;
		struct http_answer answer;
	} asked[PEERS_ASKED];
};

struct said {
	const char *node, *incarnation;
	uint64_t registration, epoch;
};
static const struct json_member said_members[] = {
	{ "node", JSON_STRING, offsetof(struct said, node), JSON_NO_HAS, 1, NODE_MAX, .required = true },
	{ "incarnation", JSON_STRING, offsetof(struct said, incarnation), JSON_NO_HAS, 1, INCARNATION_MAX, .required = true },
	{ "registration", JSON_U64, offsetof(struct said, registration), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
	{ "epoch", JSON_U64, offsetof(struct said, epoch), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
};
static const struct json_shape said_shape = { said_members, 4, sizeof(struct said) };

static void question_free(struct question *q)
{
	for (size_t i = 0; i < PEERS_ASKED; i++)
		wait_drop(&q->asked[i].wait);
	q->worker->questions--;
	free(q);
}

static void dropped(struct op *op)
{
	question_free(container_of(op, struct question, op));
}

static bool knows(struct question *q, const struct http_answer *answer)
{
	struct said said;
	const char *fault;

	if (answer->outcome != HTTP_ANSWERED || answer->status != 200 || json_read(answer->body, &said_shape, q->arena, &said, &fault) < 0)
		return false;
	memcpy(q->out->node, said.node, strlen(said.node) + 1);
	memcpy(q->out->incarnation, said.incarnation, strlen(said.incarnation) + 1);
	q->out->registration = said.registration;
	q->out->epoch = said.epoch;
	return true;
}

static void answered(struct wait *w, int err)
{
	struct asked *asked = container_of(w, struct asked, wait);
	struct question *q = asked->question;

	q->under_way--;
	if ((err || !knows(q, &asked->answer)) && q->under_way)
		return;
	struct wait *asker = op_detach(&q->op);
	question_free(q);
	wait_wake(asker, 0);
}

static void ask(struct question *q, const struct peer *peer, struct str room)
{
	struct asked *asked = &q->asked[q->under_way];
	struct buf url = { 0 }, ticket = { 0 };
	struct http_request request = { .method = "GET", .timeout_ms = PEERS_MS, .answer_max = ANSWER_MAX, .idempotent = true };

	buf_printf(&url, "%s/v1/rooms/", peer->url);
	percent_encode(&url, room);
	buf_adds(&url, "/route");
	request.url = url.at;
	request.headers[request.nheaders++] = (struct header){ STR(MARK), str_of(q->worker->router->id) };
	access_router_ticket(q->worker->router, room, &ticket);
	if (ticket.len)
		request.headers[request.nheaders++] = (struct header){ STR(TICKET), { ticket.at, ticket.len } };
	asked->question = q;
	asked->wait.wake = answered;
	if (http_fetch(q->worker->peers_http, &request, q->arena, &asked->answer, &asked->wait) == WAIT)
		q->under_way++;
	buf_free(&ticket);
	buf_free(&url);
}

int peer_room_ask(struct worker *worker, struct str room, struct arena *arena, struct peer_room *out, struct wait *w)
{
	const struct peers_view *view = peers_view(worker->router->peers);
	struct question *q;

	*out = (struct peer_room){ 0 };
	if (worker->questions >= QUESTIONS_MAX)
		return NEXT;
	q = calloc(1, sizeof(*q));
	if (!q)
		abort();
	*q = (struct question){ .op.dropped = dropped, .worker = worker, .arena = arena, .out = out };
	worker->questions++;
	size_t first = (size_t)(random_unit() * (double)view->count); /* of many, not always the same ones */
	for (size_t i = 0; i < view->count && q->under_way < PEERS_ASKED; i++) {
		const struct peer *peer = &view->peers[(first + i) % view->count];
		if (peer->url && strcmp(peer->id, worker->router->id) != 0)
			ask(q, peer, room);
	}
	if (!q->under_way) {
		question_free(q);
		return NEXT;
	}
	op_attach(&q->op, w);
	return WAIT;
}

bool peer_room_asks(struct request *rq)
{
	return exchange_header(rq->x, MARK).at && (rq->let_in_by == TICKET_ROUTER || rq->worker->router->conf.auth.mode == AUTH_NONE);
}

bool peer_room_ticket(const struct request *rq, struct str *ticket)
{
	*ticket = exchange_header(rq->x, TICKET);
	return ticket->at && exchange_header(rq->x, MARK).at && !exchange_header(rq->x, "Authorization").at;
}

bool peer_room_claims(const struct request *rq)
{
	struct str ticket;

	return rq->worker->router->conf.auth.mode == AUTH_NONE ? exchange_header(rq->x, MARK).at != NULL : peer_room_ticket(rq, &ticket);
}
