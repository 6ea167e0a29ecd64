/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open and evict are idempotent by room and epoch, so the one resend on a connection that the node had just closed is allowed.
 * Only a 2xx is an acknowledgment; any other answer but a plain refusal leaves the outcome unknown. An asker who leaves cancels
 * the call, which then says nothing about the node.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/metric.h"
#include "base/wait.h"
#include "health/sfu.h"

#define ANSWER_MAX 65536

static const char *const verdict_words[] = { "done", "refused", "full", "failed", "held_back" };

struct sfu {
	struct loop *loop;
	struct fleet *fleet;
	struct http *http;
	struct sfu_conf conf;
};
struct call {
	struct op op;
	struct wait wait;
	struct sfu *sfu;
	struct guard guard;
	struct http_answer answer;
	struct sfu_answer *out;
};

struct sfu *sfu_new(struct loop *loop, struct fleet *fleet, struct http *http, const struct sfu_conf *conf)
{
	struct sfu *sfu = calloc(1, sizeof(*sfu));

	if (!sfu)
		abort();
	*sfu = (struct sfu){ loop, fleet, http, *conf };
	return sfu;
}

void sfu_free(struct sfu *sfu)
{
	free(sfu);
}

static void count(const struct sfu *sfu, enum call_kind kind, enum sfu_verdict verdict)
{
	if (sfu->conf.sheet)
		metric_add(sfu->conf.sheet, sfu->conf.metric_calls, call_kind_words[kind], verdict_words[verdict], 1);
}

static enum sfu_verdict verdict_of(const struct http_answer *answer)
{
	if (answer->outcome != HTTP_ANSWERED)
		return SFU_FAILED;
	if (answer->status >= 200 && answer->status < 300)
		return SFU_DONE;
	if (answer->status == 409)
		return SFU_REFUSED;
	if (answer->status == 429 || (answer->status == 503 && answer->retry_after_ms))
		return SFU_FULL;
	return SFU_FAILED;
}

static void answered(struct wait *w, int err)
{
	struct call *call = container_of(w, struct call, wait);
	const struct http_answer *answer = &call->answer;
	struct wait *asker = op_detach(&call->op);
	enum sfu_verdict verdict = err ? SFU_FAILED : verdict_of(answer);

	guard_leave(call->sfu->fleet, &call->guard, err ? HTTP_CANCELLED : answer->outcome, answer->status, answer->retry_after_ms,
	            (struct str){ 0 });
	count(call->sfu, call->guard.kind, verdict);
	*call->out = (struct sfu_answer){ .verdict = verdict, .status = answer->status, .retry_ms = answer->retry_after_ms };
	if (verdict == SFU_DONE)
		call->out->body = answer->body;
	free(call);
	wait_wake(asker, 0);
}

static void dropped(struct op *op)
{
	struct call *call = container_of(op, struct call, op);

	wait_drop(&call->wait);
	guard_leave(call->sfu->fleet, &call->guard, HTTP_CANCELLED, 0, 0, (struct str){ 0 });
	free(call);
}

/* -- the request ---------------------------------------------------------------------------------------------------------- */
static void write_url(const struct node *node, enum call_kind kind, const struct sfu_room *room, struct buf *url)
{
	size_t len = strlen(node->info.control_url);

	while (len && node->info.control_url[len - 1] == '/')
		len--;
	buf_add(url, node->info.control_url, len);
	buf_adds(url, "/rooms/");
	percent_encode(url, room->room);
	if (kind == CALL_EVICT)
		buf_printf(url, "?epoch=%llu", (unsigned long long)room->epoch);
}

/* The registration tells an agent that registered again since: this open is of a time before, and the room another node's. */
static void write_body(const struct node *node, const struct sfu_room *room, struct buf *body)
{
	struct json_out json = { .to = body };

	json_open(&json, NULL, '{');
	json_u64(&json, "epoch", room->epoch);
	if (room->expected_participants)
		json_u64(&json, "expected_participants", room->expected_participants);
	json_u64(&json, "registration", room->registration ? room->registration : node->record.registration);
	json_bool(&json, "fresh", room->fresh);
	json_close(&json, '}');
}

static void add_header(struct http_request *request, const char *name, const char *value)
{
	request->headers[request->nheaders++] = (struct header){ str_of(name), str_of(value) };
}

static void add_proof(struct http_request *request, enum call_kind kind, const struct sfu_proof *proof)
{
	if (kind == CALL_OPEN && *proof->grants)
		add_header(request, "X-Usher-Grant", proof->grants);
	if (*proof->call_key)
		add_header(request, "X-Usher-Call-Key", proof->call_key);
}

static int send_call(struct call *call, const struct node *node, enum call_kind kind, const struct sfu_room *room, struct arena *arena)
{
	struct buf url = { 0 }, body = { 0 };
	char epoch[24];
	struct sfu_proof proof = { .grants = "" };
	struct http_request request = { .method = kind == CALL_EVICT ? "DELETE" : "PUT", .timeout_ms = call->sfu->conf.call_timeout_ms,
		                        .answer_max = ANSWER_MAX, .idempotent = true };

	write_url(node, kind, room, &url);
	snprintf(epoch, sizeof(epoch), "%llu", (unsigned long long)room->epoch);
	add_header(&request, "X-Usher-Epoch", epoch);
	if (room->moves)
		add_header(&request, "X-Usher-Why", "moved");
	if (room->request_id && *room->request_id)
		add_header(&request, "X-Request-Id", room->request_id);
	if (call->sfu->conf.prove)
		call->sfu->conf.prove(call->sfu->conf.arg, room, &proof);
	add_proof(&request, kind, &proof);
	if (kind == CALL_OPEN) {
		write_body(node, room, &body);
		add_header(&request, "Content-Type", "application/json");
		request.body = (struct str){ body.at, body.len };
	}
	request.url = url.at;
	int err = http_fetch(call->sfu->http, &request, arena, &call->answer, &call->wait);
	buf_free(&url);
	buf_free(&body);
	return err;
}

/* Ended without a call. */
static int end(const struct sfu *sfu, enum call_kind kind, enum sfu_verdict verdict, uint64_t retry_ms, struct sfu_answer *out)
{
	count(sfu, kind, verdict);
	*out = (struct sfu_answer){ .verdict = verdict, .retry_ms = retry_ms };
	return NEXT;
}

static int call_node(struct sfu *sfu, enum call_kind kind, const struct sfu_room *room, struct arena *arena, struct sfu_answer *out,
                     struct wait *w)
{
	const struct node *node = fleet_find(sfu->fleet, room->node);
	struct guard guard;
	uint64_t retry_ms = 0;

	if (!node || strcmp(node->record.incarnation, room->incarnation))
		return end(sfu, kind, SFU_FAILED, 0, out);
	if (!node->info.control_url || !*node->info.control_url)
		return end(sfu, kind, SFU_DONE, 0, out);
	if (guard_enter(sfu->fleet, room->node, room->incarnation, kind, loop_now_ms(sfu->loop), &guard, &retry_ms))
		return end(sfu, kind, SFU_HELD_BACK, retry_ms, out);
	struct call *call = calloc(1, sizeof(*call));
	if (!call)
		abort();
	*call = (struct call){ .op = { .dropped = dropped }, .wait = { .wake = answered }, .sfu = sfu, .guard = guard, .out = out };
	if (send_call(call, node, kind, room, arena) != WAIT) {
		guard_leave(sfu->fleet, &call->guard, HTTP_CANCELLED, 0, 0, (struct str){ 0 });
		free(call);
		return end(sfu, kind, SFU_FAILED, 0, out);
	}
	op_attach(&call->op, w);
	return WAIT;
}

int sfu_open(struct sfu *sfu, const struct sfu_room *room, struct arena *arena, struct sfu_answer *out, struct wait *w)
{
	return call_node(sfu, CALL_OPEN, room, arena, out, w);
}

int sfu_evict(struct sfu *sfu, const struct sfu_room *room, struct arena *arena, struct sfu_answer *out, struct wait *w)
{
	return call_node(sfu, CALL_EVICT, room, arena, out, w);
}
