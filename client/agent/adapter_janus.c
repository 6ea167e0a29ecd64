/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Janus Gateway with its videoroom plugin. A room of usher is a videoroom of that very name (string ids: Janus takes any
 * bytes). Janus itself keeps what the adapter must remember: the epoch stands in the room's description, secret and pin are
 * derived from admin key, room and epoch. So an agent that starts anew finds its rooms, and can still end them.
 *
 * Nothing is looked up beforehand: create and destroy are tried, and only when Janus says "exists" or "wrong secret" the
 * list, which costs 500 bytes a room, is asked for the epoch that is held. Ending a room tells its participants.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/url.h"
#include "base/wait.h"
#include "base/wire/limits.h"
#include "client/agent/adapter.h"
#include "client/agent/conf.h"
#include "client/agent/janus_api.h"

#define HINTS_MAX 512
#define TRIES_MAX 3 /* of creating: somebody else would have to make the room in between */

struct adapter_janus {
	struct adapter base;
	struct janus_api api;
	const char *signal_url;
	char http_url[URL_MAX_BYTES + 1];
};

/* -- life --------------------------------------------------------------------------------------------------------------- */
static bool is_url(const char *text, bool websocket)
{
	struct url url;

	return strlen(text) <= URL_MAX_BYTES && url_parse(text, &url, NULL) && url.websocket == websocket;
}

static const char *settings_fault(const struct agent_conf *conf)
{
	if (!is_url(conf->sfu_url, true))
		return "agent.sfu_url: Janus' WebSocket address, ws://127.0.0.1:8188";
	if (*conf->sfu_http_url && !is_url(conf->sfu_http_url, false))
		return "agent.sfu_http_url: Janus' HTTP address with its path, http://127.0.0.1:8088/janus";
	if (!is_url(conf->sfu_admin_url, false))
		return "agent.sfu_admin_url: Janus' admin address with its path, http://127.0.0.1:7088/admin";
	if (!conf->admin_secret || !*conf->admin_secret)
		return "agent.admin_secret: admin_secret of janus.jcfg";
	if (!conf->admin_key || !*conf->admin_key)
		return "agent.admin_key: admin_key of janus.plugin.videoroom.jcfg";
	return NULL;
}

static struct adapter *start(const struct adapter_conf *conf, const char **why)
{
	const struct agent_conf *settings = conf->settings;
	const char *fault = settings_fault(settings);
	struct adapter_janus *janus = fault ? NULL : calloc(1, sizeof(*janus));

	if (!janus) {
		*why = fault ? fault : "out of memory";
		return NULL;
	}
	janus->base.ops = &adapter_janus;
	janus->api = (struct janus_api){ .http = conf->http, .url = settings->sfu_admin_url, .secret = settings->admin_secret,
		                         .key = settings->admin_key, .timeout_ms = settings->call_timeout_ms };
	janus->signal_url = settings->sfu_url;
	/* ws → http, wss → https: Janus' HTTP is another port, but whoever has it behind one address need not say it twice. */
	if (*settings->sfu_http_url)
		memcpy(janus->http_url, settings->sfu_http_url, strlen(settings->sfu_http_url) + 1);
	else
		snprintf(janus->http_url, sizeof(janus->http_url), "http%.*s", URL_MAX_BYTES - 4, settings->sfu_url + 2);
	return &janus->base;
}

static void stop(struct adapter *adapter)
{
	free(container_of(adapter, struct adapter_janus, base));
}

static const char *signal_url(const struct adapter *adapter)
{
	return container_of(adapter, struct adapter_janus, base)->signal_url;
}

static const char *http_url(const struct adapter *adapter)
{
	return container_of(adapter, struct adapter_janus, base)->http_url;
}

/* -- work: one operation, one or a few calls in a row ------------------------------------------------------------------- */
struct work {
	struct op op;
	struct wait wait;
	const struct janus_api *api;
	int (*next)(struct work *); /* with the reply: WAIT after another call, NEXT when done, or -ERR_X */
	struct janus_reply reply;
	struct arena own;      /* of the present call */
	struct arena *answers; /* the caller's */
	struct adapter_opened *opened;
	struct adapter_sample *sample;
	uint64_t epoch, held; /* held: as Janus' list says */
	unsigned tries;
	size_t len;
	char room[ROOM_MAX];
};

static void work_free(struct work *work)
{
	arena_reset(&work->own);
	free(work);
}

static void work_woken(struct wait *w, int err)
{
	struct work *work = container_of(w, struct work, wait);
	struct wait *waiter;

	if (!err)
		err = work->next(work);
	if (err == WAIT)
		return;
	waiter = op_detach(&work->op);
	work_free(work);
	wait_wake(waiter, err);
}

static void work_dropped(struct op *op)
{
	struct work *work = container_of(op, struct work, op);

	wait_drop(&work->wait);
	work_free(work);
}

static struct work *work_new(struct adapter *adapter, struct str room, uint64_t epoch)
{
	struct work *work = calloc(1, sizeof(*work));

	assert(room.len <= ROOM_MAX);
	if (!work)
		return NULL;
	work->op.dropped = work_dropped;
	work->wait.wake = work_woken;
	work->api = &container_of(adapter, struct adapter_janus, base)->api;
	work->epoch = epoch;
	work->len = room.len;
	if (room.len)
		memcpy(work->room, room.at, room.len);
	return work;
}

/* `first` started the first call. */
static int work_start(struct work *work, int first, struct wait *w)
{
	if (first != WAIT)
		work_free(work);
	else
		op_attach(&work->op, w);
	return first;
}

static struct str room_of(const struct work *work)
{
	return (struct str){ work->room, work->len };
}

static int call_create(struct work *work, int (*next)(struct work *))
{
	arena_reset(&work->own);
	work->next = next;
	return janus_create(work->api, room_of(work), work->epoch, &work->own, &work->reply, &work->wait);
}

static int call_destroy(struct work *work, uint64_t epoch, int (*next)(struct work *))
{
	arena_reset(&work->own);
	work->next = next;
	return janus_destroy(work->api, room_of(work), epoch, &work->own, &work->reply, &work->wait);
}

static int call_list(struct work *work, int (*next)(struct work *))
{
	arena_reset(&work->own);
	work->next = next;
	return janus_list(work->api, &work->own, &work->reply, &work->wait);
}

/* False: not in the list. held 0: there, but not ours. */
static bool find_held(struct work *work)
{
	const struct janus_room *rooms = work->reply.rooms.items;

	for (size_t i = 0; i < work->reply.rooms.count; i++)
		if (str_is(room_of(work), rooms[i].room)) {
			work->held = janus_described(rooms[i].description);
			return true;
		}
	return false;
}

static int unexpected(const struct work *work)
{
	log_warn("janus_refused", "room", LOG_B(work->room, work->len), "epoch", LOG_U(work->epoch), "code", LOG_U(work->reply.code),
	         "why", LOG_S(work->reply.error));
	return -ERR_NODE_UNAVAILABLE;
}

/* -- open: create; if it exists, see at which epoch; an older one goes first -------------------------------------------- */
static int open_created(struct work *), open_listed(struct work *), open_replaced(struct work *);

static int open_create(struct work *work)
{
	return work->tries++ < TRIES_MAX ? call_create(work, open_created) : -ERR_CONFLICT;
}

static int open_done(struct work *work)
{
	char hints[HINTS_MAX];

	janus_hints(work->api, room_of(work), work->epoch, hints, sizeof(hints));
	work->opened->hints = (struct str){ arena_copy(work->answers, hints, strlen(hints)), strlen(hints) };
	return NEXT;
}

static int open_created(struct work *work)
{
	if (!work->reply.code)
		return open_done(work);
	return work->reply.code == JANUS_ROOM_EXISTS ? call_list(work, open_listed) : unexpected(work);
}

static int open_listed(struct work *work)
{
	if (work->reply.code)
		return unexpected(work);
	if (!find_held(work))
		return open_create(work);
	if (work->held == work->epoch) /* also when asked for a fresh one: this is it, asked for twice */
		return open_done(work);
	if (!work->held || work->held > work->epoch)
		return -ERR_CONFLICT;
	return call_destroy(work, work->held, open_replaced);
}

static int open_replaced(struct work *work)
{
	if (!work->reply.code || work->reply.code == JANUS_NO_SUCH_ROOM)
		return open_create(work);
	return work->reply.code == JANUS_UNAUTHORIZED ? -ERR_CONFLICT : unexpected(work);
}

static int open_room(struct adapter *adapter, const struct adapter_open *open, struct arena *arena, struct adapter_opened *out,
                     struct wait *w)
{
	struct work *work = work_new(adapter, open->room, open->epoch);

	if (!work)
		return -ERR_INTERNAL;
	work->answers = arena;
	work->opened = out;
	return work_start(work, open_create(work), w);
}

/* -- evict: destroy; if the secret does not fit, the room is of another epoch ------------------------------------------- */
static int evict_destroyed(struct work *), evict_listed(struct work *), evict_older(struct work *);

static int evict_destroyed(struct work *work)
{
	if (!work->reply.code || work->reply.code == JANUS_NO_SUCH_ROOM)
		return NEXT;
	return work->reply.code == JANUS_UNAUTHORIZED ? call_list(work, evict_listed) : unexpected(work);
}

static int evict_listed(struct work *work)
{
	if (work->reply.code)
		return unexpected(work);
	if (!find_held(work) || !work->held || work->held > work->epoch)
		return NEXT;
	return call_destroy(work, work->held, evict_older);
}

/* Ours by its description, but not by its secret: made with another admin key. */
static int evict_older(struct work *work)
{
	if (!work->reply.code || work->reply.code == JANUS_NO_SUCH_ROOM)
		return NEXT;
	return work->reply.code == JANUS_UNAUTHORIZED ? -ERR_CONFLICT : unexpected(work);
}

static int evict(struct adapter *adapter, struct str room, uint64_t epoch, struct wait *w)
{
	struct work *work = work_new(adapter, room, epoch);

	return work ? work_start(work, call_destroy(work, epoch, evict_destroyed), w) : -ERR_INTERNAL;
}

/* -- poll and health ---------------------------------------------------------------------------------------------------- */
static bool fill_room(struct adapter_room *out, const struct janus_room *room)
{
	struct str name = str_of(room->room);

	if (!room_valid(name.at, name.len))
		return false; /* a foreign room whose name usher could not say */
	*out = (struct adapter_room){ .room = name, .epoch = janus_described(room->description), .participants = room->participants };
	return true;
}

static int poll_listed(struct work *work)
{
	const struct janus_room *rooms = work->reply.rooms.items;
	struct adapter_sample sample = { 0 };

	if (work->reply.code)
		return unexpected(work);
	if (work->reply.rooms.count)
		sample.rooms.rooms = arena_alloc(work->answers, work->reply.rooms.count * sizeof(*sample.rooms.rooms));
	for (size_t i = 0; i < work->reply.rooms.count; i++)
		sample.rooms.count += fill_room(&sample.rooms.rooms[sample.rooms.count], &rooms[i]);
	*work->sample = sample;
	return NEXT;
}

static int poll_rooms(struct adapter *adapter, struct arena *arena, struct adapter_sample *out, struct wait *w)
{
	struct work *work = work_new(adapter, (struct str){ 0 }, 0);

	if (!work)
		return -ERR_INTERNAL;
	work->answers = arena;
	work->sample = out;
	work->next = poll_listed;
	return work_start(work, janus_list(work->api, arena, &work->reply, &work->wait), w);
}

static int health_checked(struct work *work)
{
	return work->reply.code ? unexpected(work) : NEXT;
}

static int health(struct adapter *adapter, struct wait *w)
{
	struct work *work = work_new(adapter, (struct str){ 0 }, 0);

	if (!work)
		return -ERR_INTERNAL;
	work->next = health_checked;
	return work_start(work, janus_check(work->api, &work->own, &work->reply, &work->wait), w);
}

const struct adapter_ops adapter_janus = {
	.name = "janus",
	.start = start,
	.free = stop,
	.signal_url = signal_url,
	.http_url = http_url,
	.open = open_room,
	.evict = evict,
	.poll = poll_rooms,
	.health = health,
};
