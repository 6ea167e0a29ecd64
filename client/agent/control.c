/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies are small, so everything is decided when a request is complete. The body's epoch counts; X-Usher-Epoch, where it is
 * sent, must not contradict it.
 */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/wait.h"
#include "base/wire/grant.h"
#include "base/wire/limits.h"
#include "client/agent/answer.h"
#include "client/agent/control.h"
#include "client/agent/rooms.h"

struct call {
	const struct control_conf *conf;
	struct exchange *x;
	struct wait wait;
	struct str room;
	uint64_t epoch;
	struct adapter_opened opened;
};
struct open_body {
	uint64_t epoch, expected_participants, registration;
	bool fresh;
};

/* clang-format off */
#define AT(m) offsetof(struct open_body, m), JSON_NO_HAS
static const struct json_member open_members[] = {
	{ "epoch", JSON_U64, AT(epoch), 1, (double)EPOCH_MAX, .required = true },
	{ "expected_participants", JSON_U64, AT(expected_participants), 0, 1e9 },
	{ "registration", JSON_U64, AT(registration), 0, (double)EPOCH_MAX },
	{ "fresh", JSON_BOOL, AT(fresh) },
};
static const struct json_shape open_shape = { open_members, 4, sizeof(struct open_body) };
/* clang-format on */

/* -- PUT /rooms/{room} ------------------------------------------------------------------------------------------------------- */
static void answer_opened(struct call *call, int err)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	if (err) {
		answer_problem(call->x, -err, err == -ERR_STALE_EPOCH ? "this epoch or a higher one was evicted, or is held" : NULL);
		return;
	}
	json_open(&json, NULL, '{');
	json_raw(&json, "hints", call->opened.hints.len ? call->opened.hints : STR("{}"));
	json_close(&json, '}');
	answer_json(call->x, 200, &text);
}

static void opened(struct wait *w, int err)
{
	answer_opened(container_of(w, struct call, wait), err);
}

static bool is_json(const struct exchange *x)
{
	struct str type = exchange_header(x, "Content-Type"), base;

	return str_cut(&type, ';', &base) && str_is_nocase(base, "application/json");
}

static bool contradicts(const struct exchange *x, uint64_t epoch)
{
	struct str said = exchange_header(x, "X-Usher-Epoch");
	uint64_t header;

	return said.at && (!parse_u64(said, &header) || header != epoch);
}

/* Longer than routers write it, it is none. */
static struct str grants_of(const struct exchange *x)
{
	struct str grants = exchange_header(x, "X-Usher-Grant");

	return grants.len < GRANTS_MAX ? grants : STR("");
}

static void open_room(struct call *call)
{
	struct arena *arena = exchange_arena(call->x);
	const char *fault = NULL;
	struct open_body body = { 0 };

	if (!is_json(call->x)) {
		answer_problem(call->x, ERR_UNSUPPORTED_MEDIA_TYPE, NULL);
		return;
	}
	if (json_read(exchange_body(call->x), &open_shape, arena, &body, &fault) < 0 || contradicts(call->x, body.epoch)) {
		answer_problem(call->x, ERR_BAD_REQUEST, fault ? fault : "epoch: not that of X-Usher-Epoch");
		return;
	}
	const char *why_not = call->conf->takes_none(call->conf->arg, body.registration, body.fresh);
	if (why_not) {
		answer_problem(call->x, ERR_CONFLICT, why_not);
		return;
	}
	struct adapter_open open = { call->room, body.epoch, body.expected_participants, body.fresh };
	call->wait.wake = opened;
	int err = rooms_open(call->conf->rooms, &open, grants_of(call->x), arena, &call->opened, &call->wait);
	if (err != WAIT)
		answer_opened(call, err);
}

/* -- DELETE /rooms/{room}?epoch=N ---------------------------------------------------------------------------------------------- */
static void answer_evicted(struct call *call, int err)
{
	if (err)
		answer_problem(call->x, -err, "the SFU has not ended the room; nobody is admitted to it any more");
	else
		answer_empty(call->x, 204);
}

static void evicted(struct wait *w, int err)
{
	answer_evicted(container_of(w, struct call, wait), err);
}

static void evict_room(struct call *call)
{
	struct str epoch;

	if (!query_get(exchange_query(call->x), "epoch", &epoch) || !parse_u64(epoch, &call->epoch) || !call->epoch ||
	    call->epoch > EPOCH_MAX || contradicts(call->x, call->epoch)) {
		answer_problem(call->x, ERR_BAD_REQUEST, "epoch: required, from 1 to 2^53 - 1, and that of X-Usher-Epoch");
		return;
	}
	bool moves = str_is(exchange_header(call->x, "X-Usher-Why"), "moved");
	log_info("evict_asked", "room", LOG_B(call->room.at, call->room.len), "epoch", LOG_U(call->epoch));
	call->wait.wake = evicted;
	int err = rooms_evict(call->conf->rooms, call->room, call->epoch, moves ? END_MOVED : END_CLOSED, &call->wait);
	if (err != WAIT)
		answer_evicted(call, err);
}

/* -- GET /rooms, GET /health ------------------------------------------------------------------------------------------------------ */
static void write_room(void *ctx, const struct adapter_room *room)
{
	struct json_out *json = ctx;

	json_open(json, NULL, '{');
	json_view(json, "room", room->room);
	if (room->epoch) /* a foreign room has none */
		json_u64(json, "epoch", room->epoch);
	json_u64(json, "participants", room->participants);
	json_close(json, '}');
}

static void list_rooms(struct call *call)
{
	struct buf text = { 0 };
	struct json_out json = { .to = &text };

	json_open(&json, NULL, '{');
	json_open(&json, "rooms", '[');
	rooms_each(call->conf->rooms, write_room, &json);
	json_close(&json, ']');
	json_bool(&json, "fenced", call->conf->fenced(call->conf->arg));
	json_close(&json, '}');
	answer_json(call->x, 200, &text);
}

static void tell_health(struct call *call)
{
	struct buf text = { 0 };

	if (!call->conf->well(call->conf->arg)) {
		answer_problem(call->x, ERR_NODE_UNAVAILABLE, "the SFU does not pass its check");
		return;
	}
	buf_adds(&text, "{\"sfu\":\"ok\"}");
	answer_json(call->x, 200, &text);
}

/* -- which --------------------------------------------------------------------------------------------------------------------------- */
static void serve(struct call *call, const char *method, void (*run)(struct call *), const char *allow)
{
	if (!strcmp(exchange_method(call->x), method)) {
		run(call);
		return;
	}
	exchange_add(call->x, "Allow", str_of(allow));
	answer_problem(call->x, ERR_METHOD_NOT_ALLOWED, NULL);
}

static bool read_room(struct call *call, struct str raw)
{
	char *name = arena_alloc(exchange_arena(call->x), raw.len + 1);
	long len = percent_decode(raw, name);

	call->room = (struct str){ name, len > 0 ? (size_t)len : 0 };
	return len > 0 && room_valid(name, (size_t)len);
}

static void serve_room(struct call *call, struct str raw)
{
	if (memchr(raw.at, '/', raw.len))
		answer_problem(call->x, ERR_NOT_FOUND, "no such path");
	else if (!read_room(call, raw))
		answer_problem(call->x, ERR_INVALID_ROOM, NULL);
	else if (!strcmp(exchange_method(call->x), "DELETE"))
		evict_room(call);
	else
		serve(call, "PUT", open_room, "PUT, DELETE");
}

static void begin(void *arg, struct exchange *x)
{
	struct call *call = arena_alloc(exchange_arena(x), sizeof(*call));

	call->conf = arg;
	call->x = x;
	exchange_set(x, call);
}

static bool allowed(const struct call *call)
{
	struct str key = exchange_header(call->x, "X-Usher-Call-Key");

	return call->conf->allowed(call->conf->arg, key.at ? arena_printf(exchange_arena(call->x), "%.*s", STR_ARG(key)) : NULL);
}

static bool is_of_rooms(struct str path)
{
	return path.len >= 6 && !memcmp(path.at, "/rooms", 6);
}

static void ready(void *arg, struct exchange *x)
{
	struct call *call = exchange_get(x);
	struct str path = exchange_path(x);

	(void)arg;
	if (is_of_rooms(path) && !call->conf->registered(call->conf->arg))
		answer_problem(x, ERR_OWNER_LOST, "this node is not registered yet");
	else if (is_of_rooms(path) && !allowed(call))
		answer_problem(x, ERR_FORBIDDEN, "X-Usher-Call-Key: not that of this node's routers");
	else if (path.len > 7 && !memcmp(path.at, "/rooms/", 7))
		serve_room(call, (struct str){ path.at + 7, path.len - 7 });
	else if (str_is(path, "/rooms"))
		serve(call, "GET", list_rooms, "GET");
	else if (str_is(path, "/health"))
		serve(call, "GET", tell_health, "GET");
	else
		answer_problem(x, ERR_NOT_FOUND, "no such path");
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	struct call *call = exchange_get(x);

	(void)arg, (void)how;
	if (call)
		wait_drop(&call->wait);
}

const struct httpd_ops control_ops = { .begin = begin, .ready = ready, .end = end };
