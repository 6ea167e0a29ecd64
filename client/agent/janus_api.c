/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call at a time per operation: the request is written, posted, and the answer read by shape before the waiter wakes,
 * so that nobody above sees JSON. `ping` would be the obvious health check, but it answers without looking at the secret or
 * the plugin; asking the plugin whether some room exists walks the same way as opening one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http.h"
#include "base/log.h"
#include "base/mac.h"
#include "base/wait.h"
#include "base/wire/limits.h"
#include "client/agent/janus_api.h"

#define PLUGIN "janus.plugin.videoroom"
#define DESCRIPTION "usher epoch="
#define ANSWER_MAX (64u << 20) /* a list has some 500 bytes a room */
#define ROOMS_MAX 100000
#define NAME_BYTES 65536 /* of foreign rooms; ours have at most ROOM_MAX */
#define PUBLISHERS_MAX 1000000 /* the plugin's default is 3; usher's limits are elsewhere */

/* -- rooms of ours ------------------------------------------------------------------------------------------------------ */
static void derive(const struct janus_api *api, const char *what, struct str room, uint64_t epoch, char out[static JANUS_SECRET_MAX])
{
	char hex[MAC_HEX_MAX], digits[24];
	struct buf text = { 0 };
	int n = snprintf(digits, sizeof(digits), "%" PRIu64, epoch);

	buf_add(&text, what, strlen(what) + 1);
	buf_add(&text, room.at, room.len);
	buf_add(&text, "", 1);
	buf_add(&text, digits, (size_t)n);
	mac_sha256_hex(str_of(api->key), (struct str){ text.at, text.len }, hex);
	buf_free(&text);
	memcpy(out, hex, JANUS_SECRET_MAX - 1);
	out[JANUS_SECRET_MAX - 1] = '\0';
}

void janus_derive(const struct janus_api *api, struct str room, uint64_t epoch, struct janus_secrets *out)
{
	derive(api, "secret", room, epoch, out->secret);
	derive(api, "pin", room, epoch, out->pin);
}

void janus_describe(uint64_t epoch, char out[static JANUS_DESCRIPTION_MAX])
{
	snprintf(out, JANUS_DESCRIPTION_MAX, DESCRIPTION "%" PRIu64, epoch);
}

uint64_t janus_described(const char *description)
{
	uint64_t epoch;
	size_t len = strlen(DESCRIPTION);

	if (!description || strncmp(description, DESCRIPTION, len) != 0)
		return 0;
	return parse_u64(str_of(description + len), &epoch) && epoch <= EPOCH_MAX ? epoch : 0;
}

static void write_hints(struct buf *to, struct str room, const char *pin)
{
	struct json_out json = { .to = to };

	json_open(&json, NULL, '{');
	json_open(&json, "janus", '{');
	json_str(&json, "plugin", PLUGIN);
	if (room.len)
		json_view(&json, "room", room);
	json_str(&json, "pin", pin);
	json_close(&json, '}');
	json_close(&json, '}');
}

void janus_hints(const struct janus_api *api, struct str room, uint64_t epoch, char *out, size_t max)
{
	struct janus_secrets secrets;
	struct buf text = { 0 };

	janus_derive(api, room, epoch, &secrets);
	write_hints(&text, room, secrets.pin);
	if (text.len >= max) {
		text.len = 0;
		write_hints(&text, (struct str){ 0 }, secrets.pin);
	}
	snprintf(out, max, "%s", text.at);
	buf_free(&text);
}

/* -- answers ------------------------------------------------------------------------------------------------------------ */
struct refusal { /* of Janus' core */
	uint64_t code;
	const char *reason;
};
struct response { /* of the plugin */
	const char *videoroom, *error;
	uint64_t code;
	struct json_list rooms;
};
struct envelope {
	const char *janus;
	struct refusal refusal;
	struct response response;
	bool responded;
};
#define MEMBER(s, name_, field, type_) .name = name_, .type = type_, .at = offsetof(struct s, field), .has = JSON_NO_HAS
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

static const struct json_member room_members[] = {
	{ MEMBER(janus_room, "room", room, JSON_STRING), .max = NAME_BYTES, .required = true },
	{ MEMBER(janus_room, "description", description, JSON_STRING), .max = NAME_BYTES, .nullable = true },
	{ MEMBER(janus_room, "num_participants", participants, JSON_U64), .max = LOAD_MAX },
};
static const struct json_shape room_shape = { room_members, COUNT(room_members), sizeof(struct janus_room) };
static const struct json_member refusal_members[] = {
	{ MEMBER(refusal, "code", code, JSON_U64), .max = LOAD_MAX },
	{ MEMBER(refusal, "reason", reason, JSON_STRING), .max = NAME_BYTES },
};
static const struct json_shape refusal_shape = { refusal_members, COUNT(refusal_members), sizeof(struct refusal) };
static const struct json_member response_members[] = {
	{ MEMBER(response, "videoroom", videoroom, JSON_STRING), .max = NAME_BYTES },
	{ MEMBER(response, "error_code", code, JSON_U64), .max = LOAD_MAX },
	{ MEMBER(response, "error", error, JSON_STRING), .max = NAME_BYTES },
	{ MEMBER(response, "list", rooms, JSON_LIST), .max = ROOMS_MAX, .shape = &room_shape },
};
static const struct json_shape response_shape = { response_members, COUNT(response_members), sizeof(struct response) };
static const struct json_member envelope_members[] = {
	{ MEMBER(envelope, "janus", janus, JSON_STRING), .max = NAME_BYTES, .required = true },
	{ MEMBER(envelope, "error", refusal, JSON_OBJECT), .shape = &refusal_shape },
	{ .name = "response", .type = JSON_OBJECT, .at = offsetof(struct envelope, response),
	  .has = offsetof(struct envelope, responded), .shape = &response_shape },
};
static const struct json_shape envelope_shape = { envelope_members, COUNT(envelope_members), sizeof(struct envelope) };

/* -- one call ----------------------------------------------------------------------------------------------------------- */
struct call {
	struct op op;     /* who asked waits on this */
	struct wait wait; /* and this waits for the HTTP answer */
	struct arena *arena;
	struct http_answer answer;
	struct janus_reply *out;
};

static int unusable(const char *why)
{
	log_warn("janus_unusable", "why", LOG_S(why));
	return -ERR_NODE_UNAVAILABLE;
}

static int read_reply(struct call *call, struct janus_reply *out)
{
	struct envelope envelope = { 0 };
	const char *fault = NULL;

	if (call->answer.outcome == HTTP_TIMEOUT)
		return -ERR_TIMEOUT;
	if (call->answer.outcome != HTTP_ANSWERED)
		return -ERR_NODE_UNAVAILABLE;
	if (call->answer.status != 200)
		return unusable("not HTTP 200: is this the admin address?");
	if (json_read(call->answer.body, &envelope_shape, call->arena, &envelope, &fault) < 0)
		return unusable(fault ? fault : "not JSON"); /* a numeric `room`: string_ids is not set */
	if (!envelope.responded)
		return unusable(envelope.refusal.reason ? envelope.refusal.reason : "an answer without a response");
	*out = (struct janus_reply){ .code = envelope.response.code, .error = envelope.response.error ? envelope.response.error : "",
		                     .rooms = envelope.response.rooms };
	return 0;
}

static void call_answered(struct wait *w, int err)
{
	struct call *call = container_of(w, struct call, wait);
	struct janus_reply reply = { 0 };
	struct wait *waiter;

	if (!err)
		err = read_reply(call, &reply);
	if (!err)
		*call->out = reply;
	waiter = op_detach(&call->op);
	free(call);
	wait_wake(waiter, err);
}

static void call_dropped(struct op *op)
{
	struct call *call = container_of(op, struct call, op);

	wait_drop(&call->wait);
	free(call);
}

static int post(const struct janus_api *api, struct str body, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	struct http_request rq = { .method = "POST", .url = api->url, .nheaders = 1, .body = body, .timeout_ms = api->timeout_ms,
		                   .answer_max = ANSWER_MAX, .headers = { { STR("Content-Type"), STR("application/json") } } };
	struct call *call = calloc(1, sizeof(*call));
	int err;

	if (!call)
		return -ERR_INTERNAL;
	*call = (struct call){ .op.dropped = call_dropped, .wait.wake = call_answered, .arena = arena, .out = out };
	err = http_fetch(api->http, &rq, arena, &call->answer, &call->wait);
	if (err != WAIT) {
		free(call);
		return err < 0 ? err : -ERR_INTERNAL;
	}
	op_attach(&call->op, w);
	return WAIT;
}

/* -- requests ----------------------------------------------------------------------------------------------------------- */
static void request_open(struct json_out *json, const struct janus_api *api, const char *what)
{
	json_open(json, NULL, '{');
	json_str(json, "janus", "message_plugin");
	json_str(json, "transaction", "usher"); /* one exchange carries one answer: nothing to tell apart */
	json_str(json, "admin_secret", api->secret);
	json_str(json, "plugin", PLUGIN);
	json_open(json, "request", '{');
	json_str(json, "request", what);
}

static int request_post(struct json_out *json, const struct janus_api *api, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	int err;

	json_close(json, '}');
	json_close(json, '}');
	err = post(api, (struct str){ json->to->at, json->to->len }, arena, out, w);
	buf_free(json->to);
	return err;
}

int janus_create(const struct janus_api *api, struct str room, uint64_t epoch, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	struct janus_secrets secrets;
	char description[JANUS_DESCRIPTION_MAX];

	janus_derive(api, room, epoch, &secrets);
	janus_describe(epoch, description);
	request_open(&json, api, "create");
	json_str(&json, "admin_key", api->key);
	json_view(&json, "room", room);
	json_str(&json, "description", description);
	json_str(&json, "secret", secrets.secret);
	json_str(&json, "pin", secrets.pin);
	json_bool(&json, "permanent", false);
	json_bool(&json, "is_private", true);
	json_u64(&json, "publishers", PUBLISHERS_MAX);
	return request_post(&json, api, arena, out, w);
}

int janus_destroy(const struct janus_api *api, struct str room, uint64_t epoch, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	struct janus_secrets secrets;

	janus_derive(api, room, epoch, &secrets);
	request_open(&json, api, "destroy");
	json_view(&json, "room", room);
	json_str(&json, "secret", secrets.secret);
	return request_post(&json, api, arena, out, w);
}

int janus_list(const struct janus_api *api, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	request_open(&json, api, "list");
	json_str(&json, "admin_key", api->key); /* private rooms, which ours are, are listed only with it */
	return request_post(&json, api, arena, out, w);
}

int janus_check(const struct janus_api *api, struct arena *arena, struct janus_reply *out, struct wait *w)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	request_open(&json, api, "exists");
	json_str(&json, "room", "usher");
	return request_post(&json, api, arena, out, w);
}
