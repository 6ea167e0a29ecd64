/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where is a room? The routers are asked in turn. One that is not reached, or that cannot tell for reasons of its own, makes
 * way for the next at once; where all would say the same ("no capacity") the wait that they ask for is kept, and full jitter
 * comes on top, so that a thousand refused joiners do not come back together. A join changes nothing when repeated, so it may
 * be asked elsewhere although the first router may have heard it.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/url.h"
#include "base/wire/limits.h"
#include "client/lib/join.h"
#include "client/lib/turn.h"

#define TIMEOUT_MS 10000
#define CONNECT_MS 1000
#define BACKOFF_FIRST_MS 100
#define BACKOFF_CAP_MS 2000
#define ANSWER_MAX (1u << 20)
#define TEXT_MAX_BYTES 65536 /* of any text in an answer */
#define RETRY_MAX_MS 86400000.0

/* -- what answers say ------------------------------------------------------------------------------------------------------ */
struct place {
	const char *id;
};
struct signal {
	const char *mode, *url;
};
struct joined {
	const char *room;
	uint64_t epoch;
	struct place node;
	struct signal signal;
};
struct refusal {
	const char *code;
	uint64_t retry_after_ms;
};
/* clang-format off */
static const struct json_member place_members[] = {
	{ "id", JSON_STRING, offsetof(struct place, id), JSON_NO_HAS, 1, TEXT_MAX_BYTES, .required = true },
};
static const struct json_shape place_shape = { place_members, 1, sizeof(struct place) };
static const struct json_member signal_members[] = {
	{ "mode", JSON_STRING, offsetof(struct signal, mode), JSON_NO_HAS, 0, TEXT_MAX_BYTES },
	{ "url", JSON_STRING, offsetof(struct signal, url), JSON_NO_HAS, 1, TEXT_MAX_BYTES, .required = true },
};
static const struct json_shape signal_shape = { signal_members, 2, sizeof(struct signal) };
static const struct json_member joined_members[] = {
	{ "room", JSON_STRING, offsetof(struct joined, room), JSON_NO_HAS, 1, ROOM_MAX, .required = true },
	{ "epoch", JSON_U64, offsetof(struct joined, epoch), JSON_NO_HAS, 1, (double)EPOCH_MAX, .required = true },
	{ "node", JSON_OBJECT, offsetof(struct joined, node), JSON_NO_HAS, .shape = &place_shape, .required = true },
	{ "signal", JSON_OBJECT, offsetof(struct joined, signal), JSON_NO_HAS, .shape = &signal_shape, .required = true },
};
static const struct json_shape joined_shape = { joined_members, 4, sizeof(struct joined) };
static const struct json_member refusal_members[] = {
	{ "code", JSON_STRING, offsetof(struct refusal, code), JSON_NO_HAS, 0, 64, .nullable = true },
	{ "retry_after_ms", JSON_U64, offsetof(struct refusal, retry_after_ms), JSON_NO_HAS, 0, RETRY_MAX_MS, .nullable = true },
};
static const struct json_shape refusal_shape = { refusal_members, 2, sizeof(struct refusal) };
static const struct json_shape any_shape = { NULL, 0, 0 };
/* clang-format on */

static const char *said(const char *text)
{
	return text ? text : "";
}

/* True: a whole answer, kept. */
static bool keep_joined(struct usher_join *join)
{
	struct joined joined = { 0 };
	struct str body = join->answer.body, hints;
	const char *fault;

	if (json_read(body, &joined_shape, &join->arena, &joined, &fault) < 0)
		return false;
	arena_reset(&join->kept);
	hints = json_member(body, "hints", &join->kept);
	join->last = (struct usher_joined){
		.status = 200,
		.code = "",
		.room = arena_copy(&join->kept, joined.room, strlen(joined.room)),
		.node = arena_copy(&join->kept, joined.node.id, strlen(joined.node.id)),
		.signal_url = arena_copy(&join->kept, joined.signal.url, strlen(joined.signal.url)),
		.signal_mode = arena_copy(&join->kept, said(joined.signal.mode), strlen(said(joined.signal.mode))),
		.epoch = joined.epoch,
		.hints = hints.len && hints.at[0] == '{' ? arena_copy(&join->kept, hints.at, hints.len) : "{}",
		.body = arena_copy(&join->kept, body.at, body.len),
	};
	return true;
}

static struct usher_joined refused_with(int status, const char *code, const char *body)
{
	return (struct usher_joined){ .status = status, .code = code, .room = "", .node = "", .signal_url = "", .signal_mode = "",
		                      .hints = "{}", .body = body };
}

/* *wait_ms: as the router asks, the finer of its two words; 0: it said none. */
static void keep_refusal(struct usher_join *join, uint64_t *wait_ms)
{
	const struct http_answer *answer = &join->answer;
	struct refusal refusal = { 0 };
	const char *fault;

	if (json_read(answer->body, &refusal_shape, &join->arena, &refusal, &fault) < 0)
		refusal = (struct refusal){ 0 };
	arena_reset(&join->kept);
	join->last = refused_with(answer->status, arena_copy(&join->kept, said(refusal.code), strlen(said(refusal.code))),
	                          arena_copy(&join->kept, answer->body.at, answer->body.len));
	*wait_ms = refusal.retry_after_ms ? refusal.retry_after_ms : answer->retry_after_ms;
}

/* -- asking ------------------------------------------------------------------------------------------------------------------ */
static void ask(struct timer *);
static void answered(struct wait *, int err);

static void end(struct usher_join *join)
{
	void (*done)(void *, const struct usher_joined *) = join->done;

	timer_clear(join->loop, &join->timer);
	join->done = NULL;
	if (done)
		done(join->arg, &join->last);
}

static uint64_t left_ms(const struct usher_join *join)
{
	uint64_t now = loop_now_ms(join->loop);

	return join->due_ms > now ? join->due_ms - now : 0;
}

static void ask_after(struct usher_join *join, uint64_t wait_ms)
{
	if (wait_ms < left_ms(join))
		timer_set(join->loop, &join->timer, wait_ms, ask);
	else
		end(join); /* what is known now is known at the end as well */
}

static uint64_t backoff_ms(struct usher_join *join)
{
	uint64_t top = (uint64_t)BACKOFF_FIRST_MS << (join->rounds < 8 ? join->rounds : 8);

	join->rounds++;
	return 1 + (uint64_t)(random_unit() * (double)(top < BACKOFF_CAP_MS ? top : BACKOFF_CAP_MS));
}

/* The next router at once; once round all of them, a wait. */
static void ask_next(struct usher_join *join)
{
	bool round = ++join->asked % join->ntargets == 0;

	ask_after(join, round ? backoff_ms(join) : 0);
}

/* Another router is asked next time: the wait is about usher as a whole, but this one may be worse off than others. */
static void ask_later(struct usher_join *join, uint64_t wait_ms)
{
	join->asked++;
	ask_after(join, wait_ms + backoff_ms(join));
}

static bool of_this_router(const char *code)
{
	return !strcmp(code, "shutting_down") || !strcmp(code, "store_unavailable");
}

static void take_refusal(struct usher_join *join)
{
	uint64_t wait_ms;

	keep_refusal(join, &wait_ms);
	if (join->last.status < 500 || join->last.status == 501)
		end(join);
	else if (join->last.status != 503 || !wait_ms || (of_this_router(join->last.code) && (join->asked + 1) % join->ntargets))
		ask_next(join);
	else
		ask_later(join, wait_ms);
}

static void answered(struct wait *w, int err)
{
	struct usher_join *join = container_of(w, struct usher_join, wait);

	(void)err;
	if (join->answer.outcome != HTTP_ANSWERED)
		ask_next(join);
	else if (join->answer.status != 200)
		take_refusal(join);
	else if (keep_joined(join))
		end(join);
	else
		ask_next(join); /* something else listens there */
}

/* While there is another router a silent one gets half of what is left. */
static void ask(struct timer *t)
{
	struct usher_join *join = container_of(t, struct usher_join, timer);
	uint64_t left = left_ms(join);
	struct http_request rq = { .method = "POST", .url = join->targets[join->asked % join->ntargets],
		                   .body = { join->body.at, join->body.len }, .answer_max = ANSWER_MAX };

	if (!left) {
		end(join);
		return;
	}
	rq.timeout_ms = join->ntargets > 1 ? left / 2 + 1 : left;
	rq.headers[rq.nheaders++] = (struct header){ STR("Content-Type"), STR("application/json") };
	if (join->bearer)
		rq.headers[rq.nheaders++] = (struct header){ STR("Authorization"), str_of(join->bearer) };
	arena_reset(&join->arena);
	join->answer = (struct http_answer){ 0 };
	join->wait.wake = answered;
	if (http_fetch(join->http, &rq, &join->arena, &join->answer, &join->wait) != WAIT)
		ask_next(join);
}

/* -- construction -------------------------------------------------------------------------------------------------------------- */
static void write_text(struct json_out *json, const char *name, const char *value)
{
	if (value && *value)
		json_str(json, name, value);
}

/* False: what the caller brings as JSON is none. */
static bool write_body(struct usher_join *join, const struct usher_join_options *o)
{
	struct json_out json = { .to = &join->body };
	struct arena arena = { 0 };
	const char *fault;
	char nothing;

	json_open(&json, NULL, '{');
	write_text(&json, "participant", o->participant);
	write_text(&json, "region", o->region);
	write_text(&json, "pool", o->pool);
	if (o->json && *o->json)
		buf_printf(&join->body, "%s%s", json.comma ? "," : "", o->json);
	json_close(&json, '}');
	bool good = json_read((struct str){ join->body.at, join->body.len }, &any_shape, &arena, &nothing, &fault) == 0;
	arena_reset(&arena);
	return good;
}

static char *target_of(const char *router, const char *room)
{
	struct buf target = { 0 };
	size_t len = strlen(router);

	while (len && router[len - 1] == '/')
		len--;
	buf_add(&target, router, len);
	buf_adds(&target, "/v1/rooms/");
	percent_encode(&target, str_of(room));
	buf_adds(&target, "/join");
	return target.at;
}

static bool write_targets(struct usher_join *join, const struct usher_join_options *o)
{
	struct url url;

	join->targets = calloc(o->nrouters + 1, sizeof(*join->targets));
	for (size_t i = 0; join->targets && i < o->nrouters; i++) {
		if (!url_parse(o->routers[i], &url, NULL) || url.websocket || url.query.len)
			return false;
		join->targets[join->ntargets++] = target_of(o->routers[i], o->room);
	}
	return join->ntargets;
}

/* NULL: all is there. */
static const char *set_trust(struct usher_join *join, const struct usher_join_options *o)
{
	const char *why = NULL;

	if (!trust_ca_valid(o->tls_ca ? o->tls_ca : "", &why) || !trust_pair_valid(o->tls_cert, o->tls_key, &why))
		return why;
	join->tls_ca = str_copy(o->tls_ca);
	join->tls_cert = str_copy(o->tls_cert);
	join->tls_key = str_copy(o->tls_key);
	join->trust = (struct trust){ .ca = join->tls_ca, .cert = join->tls_cert, .key = join->tls_key };
	return NULL;
}

static const char *make(struct usher_join *join, const struct usher_join_options *o)
{
	if (!o->size)
		return "size: must be sizeof(struct usher_join_options), of this version or an older one";
	if (!o->room || !room_valid(o->room, strlen(o->room)))
		return "room: must be 1 to 256 bytes of UTF-8 without control characters";
	if (o->token && strpbrk(o->token, "\r\n"))
		return "token: must not have line ends";
	if (!write_targets(join, o))
		return "routers: must be http or https URLs, at least one";
	if (!write_body(join, o))
		return "json: must be the inside of a JSON object";
	if (o->token && *o->token) {
		struct buf bearer = { 0 };
		buf_printf(&bearer, "Bearer %s", o->token);
		join->bearer = bearer.at;
	}
	return set_trust(join, o);
}

/* What an older version has not is zero; of a newer one nothing is read. */
static struct usher_join_options options_read(const struct usher_join_options *given)
{
	struct usher_join_options out = { 0 };

	if (given->size >= offsetof(struct usher_join_options, tls_ca) && given->size <= sizeof(out))
		memcpy(&out, given, given->size);
	return out;
}

struct usher_join *join_new_on(struct loop *loop, const struct usher_join_options *given,
                               void (*done)(void *arg, const struct usher_joined *), const char **why)
{
	struct http_conf http = { .connect_timeout_ms = CONNECT_MS, .connections_per_host = 1, .idle_connections = 1, .idle_ms = 60000, .quiet = true };
	struct usher_join *join = calloc(1, sizeof(*join));
	struct usher_join_options options = options_read(given);
	const char *fault = "out of memory or descriptors";

	if (join) {
		join->loop = loop;
		join->done = done;
		join->last = refused_with(0, "", "");
		fault = make(join, &options);
	}
	if (join && !fault) {
		join->arg = options.arg;
		join->due_ms = loop_now_ms(loop) + (options.timeout_ms ? options.timeout_ms : TIMEOUT_MS);
		http.trust = &join->trust;
		join->http = http_new(loop, &http);
		fault = join->http ? NULL : "out of memory or descriptors";
	}
	if (fault) {
		usher_join_free(join);
		if (why)
			*why = fault;
		return NULL;
	}
	timer_set(loop, &join->timer, 0, ask);
	return join;
}

struct usher_join *usher_join(const struct usher_join_options *options, void (*done)(void *arg, const struct usher_joined *),
                              const char **why)
{
	struct loop *loop = loop_new();
	struct usher_join *join = loop ? join_new_on(loop, options, done, why) : NULL;

	if (join)
		join->owns_loop = true;
	else if (loop)
		loop_free(loop);
	else if (why)
		*why = "out of memory or descriptors";
	return join;
}

int usher_join_fd(struct usher_join *join)
{
	return loop_backend_fd(join->loop);
}

int usher_join_timeout_ms(struct usher_join *join)
{
	return loop_backend_timeout_ms(join->loop);
}

/* From within `done`: nothing, the turn under way goes on. */
void usher_join_turn(struct usher_join *join)
{
	if (join->turning)
		return;
	join->turning = true;
	turn_quietly(join->loop);
	join->turning = false;
}

void usher_join_free(struct usher_join *join)
{
	if (!join)
		return;
	wait_drop(&join->wait);
	timer_clear(join->loop, &join->timer);
	http_free_quietly(join->http);
	for (size_t i = 0; i < join->ntargets; i++)
		free(join->targets[i]);
	free(join->targets);
	free(join->bearer);
	free(join->tls_ca);
	free(join->tls_cert);
	free(join->tls_key);
	buf_free(&join->body);
	arena_reset(&join->arena);
	arena_reset(&join->kept);
	if (join->owns_loop)
		loop_free(join->loop);
	free(join);
}
