/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An SFU without media, inside the agent: for trying usher out and for tests. It has an HTTP server of its own on a loopback
 * port of the kernel's choice, behind the gate like any other SFU. WebSockets get back what they send; a request is answered
 * with what was seen of it, and under …/_sha256 with the digest of its body, which is streamed and so may be of any size.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/httpd.h"
#include "base/json.h"
#include "base/link.h"
#include "base/listen.h"
#include "base/loop.h"
#include "base/wait.h"
#include "base/wire/limits.h"
#include "base/ws.h"
#include "client/agent/adapter.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/echo_peer.h"
#include "client/lib/room_map.h"

#define BODY_MAX (1u << 20)
#define DEADLINE_MS 30000
#define IDLE_MS 60000

struct echo_room {
	struct room_link link;
	uint64_t epoch, participants;
	char name[];
};
struct adapter_echo {
	struct adapter base;
	struct httpd *httpd;
	struct listen_set *listeners;
	struct echo_peers *peers;
	struct room_map rooms;
	struct echo_visit *visits; /* of open WebSockets */
	double load;
	char signal_url[64], http_url[64];
};
struct echo_visit { /* one WebSocket; its room is NULL when it names none that is held */
	struct adapter_echo *echo;
	struct echo_room *room;
	struct echo_visit *next, **at;
};
struct echo_request {
	struct adapter_echo *echo;
	struct exchange *x;
	struct sink sink;
	EVP_MD_CTX *hash; /* …/_sha256 */
	struct echo_visit *visit; /* until the socket is given */
};

/* -- rooms ------------------------------------------------------------------------------------------------------------------- */
static struct echo_room *find(const struct adapter_echo *echo, struct str name)
{
	struct room_link *link = room_map_find(&echo->rooms, name);

	return link ? container_of(link, struct echo_room, link) : NULL;
}

static struct echo_room *add(struct adapter_echo *echo, struct str name)
{
	struct echo_room *room = calloc(1, sizeof(*room) + name.len + 1);

	if (!room)
		abort();
	memcpy(room->name, name.at, name.len);
	room->link.name = (struct str){ room->name, name.len };
	room_map_add(&echo->rooms, &room->link);
	return room;
}

static bool visits_room(void *ctx, void *arg)
{
	const struct echo_visit *visit = arg;

	return visit->room == ctx;
}

static void empty(struct adapter_echo *echo, struct echo_room *room)
{
	echo_peers_close(echo->peers, visits_room, room);
	for (struct echo_visit *visit = echo->visits; visit; visit = visit->next)
		if (visit->room == room)
			visit->room = NULL;
	room->participants = 0;
}

static void remove_room(struct adapter_echo *echo, struct echo_room *room)
{
	empty(echo, room);
	room_map_remove(&echo->rooms, &room->link);
	free(room);
}

static int open_room(struct adapter *adapter, const struct adapter_open *open, struct arena *arena, struct adapter_opened *out,
                     struct wait *w)
{
	struct adapter_echo *echo = container_of(adapter, struct adapter_echo, base);
	struct echo_room *room = find(echo, open->room);

	(void)w;
	if (room && room->epoch > open->epoch)
		return -ERR_CONFLICT;
	if (!room)
		room = add(echo, open->room);
	else if (room->epoch < open->epoch)
		empty(echo, room);
	room->epoch = open->epoch;
	out->hints = (struct str){ arena_copy(arena, "{\"echo\":{}}", 11), 11 };
	return NEXT;
}

static int evict(struct adapter *adapter, struct str name, uint64_t epoch, struct wait *w)
{
	struct adapter_echo *echo = container_of(adapter, struct adapter_echo, base);
	struct echo_room *room = find(echo, name);

	(void)w;
	if (room && room->epoch <= epoch)
		remove_room(echo, room);
	return NEXT;
}

static int poll_rooms(struct adapter *adapter, struct arena *arena, struct adapter_sample *out, struct wait *w)
{
	const struct adapter_echo *echo = container_of(adapter, struct adapter_echo, base);
	struct adapter_sample sample = { .has_cpu = echo->load >= 0, .cpu = echo->load };

	(void)w;
	sample.rooms.rooms = arena_alloc(arena, (echo->rooms.count + 1) * sizeof(*sample.rooms.rooms));
	for (size_t i = 0; i < echo->rooms.size; i++)
		for (struct room_link *link = echo->rooms.table[i]; link; link = link->next) {
			const struct echo_room *room = container_of(link, struct echo_room, link);
			sample.rooms.rooms[sample.rooms.count++] = (struct adapter_room){
				{ arena_copy(arena, room->name, link->name.len), link->name.len }, room->epoch, room->participants };
		}
	*out = sample;
	return NEXT;
}

static int health(struct adapter *adapter, struct wait *w)
{
	(void)adapter, (void)w;
	return NEXT;
}

/* -- WebSockets ---------------------------------------------------------------------------------------------------------------- */
static void visit_end(void *arg)
{
	struct echo_visit *visit = arg;

	if (visit->room && visit->room->participants)
		visit->room->participants--;
	*visit->at = visit->next;
	if (visit->next)
		visit->next->at = visit->at;
	free(visit);
}

static struct echo_visit *visit_begin(struct adapter_echo *echo, struct exchange *x)
{
	struct echo_visit *visit = calloc(1, sizeof(*visit));
	struct str said = exchange_header(x, "X-Usher-Room");
	char *name = arena_alloc(exchange_arena(x), said.len + 1);
	long len = said.len <= 3 * ROOM_MAX ? percent_decode(said, name) : -1;

	if (!visit)
		abort();
	*visit = (struct echo_visit){ .echo = echo, .next = echo->visits, .at = &echo->visits };
	visit->room = len > 0 ? find(echo, (struct str){ name, (size_t)len }) : NULL;
	if (visit->room)
		visit->room->participants++;
	if (visit->next)
		visit->next->at = &visit->next;
	echo->visits = visit;
	return visit;
}

static void given(void *arg, struct link *client, struct str extra)
{
	struct echo_request *rq = arg;
	struct echo_visit *visit = rq->visit;

	rq->visit = NULL;
	echo_peers_add(rq->echo->peers, client->fd, extra, visit);
}

static void upgrade(struct echo_request *rq)
{
	struct str key = exchange_header(rq->x, "Sec-WebSocket-Key"), offered = exchange_header(rq->x, "Sec-WebSocket-Protocol"), first;
	char accept[29];

	if (!key.len || !str_is(exchange_header(rq->x, "Sec-WebSocket-Version"), "13")) {
		answer_problem(rq->x, ERR_BAD_REQUEST, "not a WebSocket handshake");
		return;
	}
	ws_accept_key(key, accept);
	exchange_add(rq->x, "Upgrade", STR("websocket"));
	exchange_add(rq->x, "Sec-WebSocket-Accept", str_of(accept));
	if (str_cut(&offered, ',', &first) && first.len)
		exchange_add(rq->x, "Sec-WebSocket-Protocol", first);
	rq->visit = visit_begin(rq->echo, rq->x);
	exchange_upgrade(rq->x, given, rq);
}

/* -- requests -------------------------------------------------------------------------------------------------------------------- */
static void write_text(struct json_out *json, const char *name, struct str text)
{
	if (utf8_valid(text.at, text.len))
		json_view(json, name, text);
}

static void answer_seen(struct echo_request *rq)
{
	struct exchange *x = rq->x;
	struct str path = exchange_path(x), query = exchange_query(x);
	const char *target = arena_printf(exchange_arena(x), "%.*s%s%.*s", STR_ARG(path), query.at ? "?" : "", (int)query.len,
	                                  query.at ? query.at : "");
	struct buf text = { 0 };
	struct json_out json = { .to = &text };
	size_t n;
	const struct header *headers = exchange_headers(x, &n);

	json_open(&json, NULL, '{');
	json_str(&json, "method", exchange_method(x));
	write_text(&json, "path", str_of(target));
	json_open(&json, "headers", '{');
	for (size_t i = 0; i < n; i++)
		write_text(&json, arena_copy(exchange_arena(x), headers[i].name.at, headers[i].name.len), headers[i].value);
	json_close(&json, '}');
	write_text(&json, "body", exchange_body(x));
	json_close(&json, '}');
	answer_json(x, 200, &text);
}

static void answer_hash(struct echo_request *rq)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	struct buf text = { 0 };

	EVP_DigestFinal_ex(rq->hash, hash, &len);
	buf_adds(&text, "{\"sha256\":\"");
	for (unsigned i = 0; i < len; i++)
		buf_printf(&text, "%02x", hash[i]);
	buf_adds(&text, "\"}");
	answer_json(rq->x, 200, &text);
}

static size_t hash_body(struct sink *sink, const char *bytes, size_t len)
{
	struct echo_request *rq = container_of(sink, struct echo_request, sink);

	EVP_DigestUpdate(rq->hash, bytes, len);
	return len;
}

static bool wants_hash(const struct exchange *x)
{
	struct str path = exchange_path(x);

	return path.len >= 8 && !memcmp(path.at + path.len - 8, "/_sha256", 8);
}

static void begin(void *arg, struct exchange *x)
{
	struct echo_request *rq = arena_alloc(exchange_arena(x), sizeof(*rq));

	*rq = (struct echo_request){ .echo = arg, .x = x, .sink = { hash_body } };
	exchange_set(x, rq);
	if (!wants_hash(x))
		return;
	rq->hash = EVP_MD_CTX_new();
	if (!rq->hash || !EVP_DigestInit_ex(rq->hash, EVP_sha256(), NULL))
		abort();
	if (exchange_has_body(x))
		exchange_stream_body(x, &rq->sink);
}

static void ready(void *arg, struct exchange *x)
{
	struct echo_request *rq = exchange_get(x);

	(void)arg;
	if (exchange_answered(x))
		return;
	if (exchange_asks_websocket(x))
		upgrade(rq);
	else if (rq->hash)
		answer_hash(rq);
	else
		answer_seen(rq);
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	struct echo_request *rq = exchange_get(x);

	(void)arg, (void)how;
	if (rq && rq->visit)
		visit_end(rq->visit); /* the client left before it had its 101 */
	if (rq)
		EVP_MD_CTX_free(rq->hash);
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	answer_problem(x, err, detail);
}

static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	struct adapter_echo *echo = arg;

	(void)given;
	listen_released(echo->listeners, peer);
}

static const struct httpd_ops http_ops = { .begin = begin, .ready = ready, .end = end, .refuse = refuse, .closed = closed };

/* -- life -------------------------------------------------------------------------------------------------------------------------- */
static void deal(void *arg, const struct accepted *accepted)
{
	struct adapter_echo *echo = arg;

	httpd_add(echo->httpd, accepted);
}

static void stop(struct adapter *adapter)
{
	struct adapter_echo *echo = container_of(adapter, struct adapter_echo, base);

	listen_close(echo->listeners); /* whoever is queued is accepted, and cut with the others */
	if (echo->httpd)
		httpd_free(echo->httpd);
	echo_peers_free(echo->peers);
	for (size_t i = 0; i < echo->rooms.size; i++)
		while (echo->rooms.table[i]) {
			struct echo_room *room = container_of(echo->rooms.table[i], struct echo_room, link);
			room_map_remove(&echo->rooms, &room->link);
			free(room);
		}
	room_map_free(&echo->rooms);
	listen_set_free(echo->listeners);
	free(echo);
}

static bool serve(struct adapter_echo *echo, const struct adapter_conf *conf, const char **why)
{
	uint64_t most = conf->settings->connections;
	struct listen_conf listen = { .connections = most, .connections_per_address = most, .deal = deal, .arg = echo };
	struct httpd_conf httpd = { .body_bytes = BODY_MAX, .header_bytes = 32768, .headers = 100, .connections = most,
		                    .header_ms = DEADLINE_MS, .body_ms = DEADLINE_MS, .idle_ms = IDLE_MS, .write_stall_ms = DEADLINE_MS };

	echo->httpd = httpd_new(conf->loop, &httpd, &http_ops, echo);
	echo->peers = echo_peers_new(conf->loop, visit_end);
	echo->listeners = listen_set_new(conf->loop, &listen);
	struct listener *listener = listen_open(echo->listeners, "127.0.0.1:0", 0, why);
	if (!echo->httpd || !listener)
		return false;
	snprintf(echo->signal_url, sizeof(echo->signal_url), "ws://%s", listen_address(listener));
	snprintf(echo->http_url, sizeof(echo->http_url), "http://%s", listen_address(listener));
	return true;
}

static struct adapter *start(const struct adapter_conf *conf, const char **why)
{
	struct adapter_echo *echo = calloc(1, sizeof(*echo));

	*why = "out of memory or descriptors";
	if (!echo)
		return NULL;
	echo->base.ops = &adapter_echo;
	echo->load = conf->settings->echo_load;
	if (serve(echo, conf, why))
		return &echo->base;
	stop(&echo->base);
	return NULL;
}

static const char *signal_url(const struct adapter *adapter)
{
	return container_of(adapter, struct adapter_echo, base)->signal_url;
}

static const char *http_url(const struct adapter *adapter)
{
	return container_of(adapter, struct adapter_echo, base)->http_url;
}

const struct adapter_ops adapter_echo = {
	.name = "echo",
	.version = USHER_VERSION,
	.embedded = true,
	.start = start,
	.free = stop,
	.signal_url = signal_url,
	.http_url = http_url,
	.open = open_room,
	.evict = evict,
	.poll = poll_rooms,
	.health = health,
};
