/* SPDX-License-Identifier: Apache-2.0 */
/* The gate between a client and an SFU that are both the test, byte by byte. */
#include "base/error.h"
#include "base/http.h"
#include "base/httpd.h"
#include "base/listen.h"
#include "base/wire/direct_ticket.h"
#include "base/ws.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate.h"
#include "client/agent/rooms.h"
#include "tests/unit/base/peer.h"
#include "tests/unit/client/fake_adapter.h"

#define GRANT "AAECAwQFBgcICQoLDA0ODw"
#define OTHER "AAECAwQFBgcICQoLDA0OEA"
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPTED "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
#define ROOM "X-Usher-Room: a%20room\r\nX-Usher-Epoch: 5\r\n"
#define HANDSHAKE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " KEY "\r\n"

static struct loop *loop;
static struct http *http;
static struct httpd *httpd;
static struct listen_set *listeners;
static struct rooms *rooms;
static struct gate *gate;
static struct agent_conf settings;
static struct peer sfu, clients;
static struct arena arena;
static const char *shut, *sfu_says; /* sfu_says NULL: it is silent */
static const char *grant; /* that rooms are opened with; "": none, and none is demanded */
static char signal_url[64], http_url[64], port[8];

static bool demands(void *arg)
{
	(void)arg;
	return *grant;
}

static const char *is_shut(void *arg)
{
	(void)arg;
	return shut;
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	answer_problem(x, err, detail);
}

static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	(void)arg, (void)given;
	listen_released(listeners, peer);
}

static void deal(void *arg, const struct accepted *accepted)
{
	(void)arg;
	httpd_add(httpd, accepted);
}

static void sfu_got(struct peer_conn *c)
{
	if (c->state || !c->in.len || !strstr(c->in.at, "\r\n\r\n") || !sfu_says)
		return;
	c->state = 1;
	peer_says(c, sfu_says);
}

static void ended(void *arg, struct str room, uint64_t epoch, enum room_end how)
{
	(void)arg, (void)how;
	gate_close_room(gate, room, epoch, 1012, "room_moved;retry=1");
}

static void build_gate(void)
{
	static struct httpd_ops ops;
	struct httpd_conf conf = { .body_bytes = 65536, .header_bytes = 16384, .headers = 64, .connections = 100, .header_ms = 10000,
		                   .body_ms = 10000, .idle_ms = 10000, .write_stall_ms = 10000 };
	struct listen_conf listen = { .connections = 100, .connections_per_address = 100, .deal = deal };
	struct gate_conf gate_conf = { .loop = loop, .http = http, .settings = &settings, .rooms = rooms, .signal_url = signal_url,
		                       .http_url = http_url, .shut = is_shut, .demands_grants = demands };
	const char *why = NULL;

	gate = gate_new(&gate_conf);
	ops = gate_ops;
	ops.refuse = refuse;
	ops.closed = closed;
	httpd = httpd_new(loop, &conf, &ops, gate);
	listeners = listen_set_new(loop, &listen);
	struct listener *listener = listen_open(listeners, "127.0.0.1:0", 0, &why);
	ck_assert_msg(listener, "%s", why);
	snprintf(port, sizeof(port), "%s", strrchr(listen_address(listener), ':') + 1);
}

static void open_room(const char *name, uint64_t epoch)
{
	struct adapter_open open = { .room = str_of(name), .epoch = epoch };
	struct adapter_opened opened;
	struct wait w = { 0 };

	ck_assert_int_eq(rooms_open(rooms, &open, str_of(grant), &arena, &opened, &w), NEXT);
}

static void setup(void)
{
	struct http_conf conf = { .connect_timeout_ms = 1000, .connections_per_host = 10, .idle_connections = 10, .idle_ms = 10000 };

	loop = loop_new();
	fake_sfu_reset();
	fake_sfu.at_once = true;
	peer_open(&sfu, loop, sfu_got);
	clients = (struct peer){ .loop = loop };
	snprintf(signal_url, sizeof(signal_url), "ws://127.0.0.1:%u/ws", sfu.port);
	snprintf(http_url, sizeof(http_url), "http://127.0.0.1:%u/janus", sfu.port);
	settings = (struct agent_conf){ .origins = "", .advertise_url = "",
		                        .connect_timeout_ms = 1000, .call_timeout_ms = 1000, .response_timeout_ms = 20000,
		                        .stream_idle_ms = 20000, .tunnel_idle_ms = 60000, .connections = 10, .tunnel_buffer_bytes = 65536 };
	shut = NULL;
	grant = "";
	sfu_says = "HTTP/1.1 200 OK\r\nContent-Type: text/x\r\nX-Usher-Refused: forged\r\nX-Other: y\r\nContent-Length: 2\r\n\r\nok";
	http = http_new(loop, &conf);
	rooms = rooms_new(&(struct rooms_conf){ loop, &fake_sfu.adapter, ended, NULL });
	build_gate();
	open_room("a room", 5);
}

static void teardown(void)
{
	httpd_free(httpd);
	gate_free(gate);
	rooms_free(rooms);
	http_free(http);
	listen_close(listeners);
	listen_set_free(listeners);
	peer_free(&sfu);
	peer_free(&clients);
	loop_free(loop);
	arena_reset(&arena);
}

static struct peer_conn *asks(const char *method, const char *target, const char *headers, const char *body)
{
	struct peer_conn *client = peer_adopt(&clients, connect_to((uint16_t)atoi(port)));
	struct buf text = { 0 };

	buf_printf(&text, "%s %s HTTP/1.1\r\nHost: gate\r\n%s", method, target, headers);
	if (body)
		buf_printf(&text, "Content-Length: %zu\r\n", strlen(body));
	buf_printf(&text, "\r\n%s", body ? body : "");
	peer_send(client, text.at, text.len);
	buf_free(&text);
	return client;
}

static bool has(const struct peer_conn *c, const char *text)
{
	return c->in.len && memmem(c->in.at, c->in.len, text, strlen(text));
}

/* The head is there, and says this. */
static void answered(struct peer_conn *client, int status, const char *refused)
{
	char line[80];

	UNTIL(loop, has(client, "\r\n\r\n"));
	snprintf(line, sizeof(line), "HTTP/1.1 %d ", status);
	ck_assert_msg(has(client, line), "%s not in: %s", line, client->in.at);
	snprintf(line, sizeof(line), "X-Usher-Refused: %s\r\n", refused ? refused : "");
	ck_assert_msg(has(client, refused ? line : "X-Usher-Refused") == (refused != NULL), "%s: %s", line, client->in.at);
}

static struct peer_conn *tunnel(void)
{
	sfu_says = ACCEPTED;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	answered(client, 101, NULL);
	UNTIL(loop, gate_tunnels(gate));
	client->in.len = 0;
	sfu.conns->in.len = 0;
	return client;
}

/* -- who gets in ---------------------------------------------------------------------------------------------------------- */
static const struct {
	const char *target, *headers;
	int status;
	const char *refused;
} refusals[] = {
	{ GATE_PATH, "X-Usher-Room: a%20room\r\nX-Usher-Epoch: 4\r\n", 409, "stale_epoch" },
	{ GATE_PATH, "X-Usher-Room: a%20room\r\nX-Usher-Epoch: 6\r\n", 409, "stale_epoch" },
	{ GATE_PATH "/x", "X-Usher-Room: b\r\nX-Usher-Epoch: 5\r\n", 404, "unknown_room" },
	{ GATE_PATH, "X-Usher-Epoch: 5\r\n", 400, NULL },
	{ GATE_PATH, "X-Usher-Room: a%20room\r\n", 400, NULL },
	{ GATE_PATH, "X-Usher-Room: a%20room\r\nX-Usher-Epoch: 0\r\n", 400, NULL },
	{ GATE_PATH, "X-Usher-Room: a%2\r\nX-Usher-Epoch: 5\r\n", 400, NULL },
	{ GATE_PATH, "X-Usher-Room: a%00\r\nX-Usher-Epoch: 5\r\n", 400, NULL },
	{ "/", ROOM, 404, NULL },
	{ "/signalling", ROOM, 404, NULL },
};

START_TEST(only_rooms_that_are_held_at_their_epoch)
{
	answered(asks("GET", refusals[_i].target, refusals[_i].headers, NULL), refusals[_i].status, refusals[_i].refused);
	struct buf both = { 0 };
	buf_printf(&both, "%s%s", refusals[_i].headers, HANDSHAKE);
	answered(asks("GET", refusals[_i].target, both.at, NULL), refusals[_i].status, refusals[_i].refused);
	buf_free(&both);
	struct peer_conn *with_body = asks("POST", refusals[_i].target, refusals[_i].headers, "body");
	answered(with_body, refusals[_i].status, refusals[_i].refused);
	UNTIL(loop, with_body->eof);
	ck_assert_uint_eq(sfu.accepted, 0);
}
END_TEST

START_TEST(nobody_while_the_gate_is_shut)
{
	shut = "lease";
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM, NULL);
	answered(client, 503, "lease");
	ck_assert(has(client, "Retry-After: "));
	answered(asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL), 503, "lease");
	ck_assert_uint_eq(sfu.accepted, 0);
	shut = NULL;
	answered(asks("GET", GATE_PATH, ROOM, NULL), 200, NULL);
}
END_TEST

START_TEST(a_request_goes_on_with_what_the_router_said_of_it)
{
	struct peer_conn *client = asks("POST", GATE_PATH "/12%2F/3?b=%20&c", ROOM "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: q1\r\n"
	                                                    "Content-Type: text/y\r\nCookie: c=1\r\nX-Secret: s\r\n", "hello");
	answered(client, 200, NULL);
	UNTIL(loop, has(client, "ok"));
	ck_assert(has(client, "Content-Type: text/x") && !has(client, "X-Other") && !has(client, "forged"));
	struct peer_conn *seen = sfu.conns;
	ck_assert_msg(has(seen, "POST /janus/12%2F/3?b=%20&c HTTP/1.1\r\n"), "%s", seen->in.at);
	ck_assert(has(seen, "X-Usher-Room: a%20room\r\n") && has(seen, "X-Usher-Epoch: 5\r\n") && has(seen, "X-Forwarded-For: 1.2.3.4\r\n"));
	ck_assert(has(seen, "X-Request-Id: q1\r\n") && has(seen, "Content-Type: text/y\r\n") && has(seen, "\r\n\r\nhello"));
	ck_assert(!has(seen, "Cookie") && !has(seen, "X-Secret") && !has(seen, "Host: gate"));
}
END_TEST

/* Else the SFU might act on another room than was judged. */
START_TEST(the_sfu_is_told_the_room_that_was_judged_and_once)
{
	static const char odd[] = "X-Usher-Room: %61%20room\r\nX-Usher-Room: b\r\nX-Usher-Epoch: 05\r\nX-Usher-Epoch: 9\r\n";
	struct buf headers = { 0 };

	buf_printf(&headers, "%s%s", odd, _i ? HANDSHAKE : "");
	sfu_says = _i ? ACCEPTED : sfu_says;
	answered(asks("GET", GATE_PATH, headers.at, NULL), _i ? 101 : 200, NULL);
	const char *room = strstr(sfu.conns->in.at, "X-Usher-Room: a%20room\r\n"), *epoch = strstr(sfu.conns->in.at, "X-Usher-Epoch: 5\r\n");
	ck_assert_msg(room && epoch, "%s", sfu.conns->in.at);
	ck_assert(!strstr(room + 1, "X-Usher-Room") && !strstr(epoch + 1, "X-Usher-Epoch"));
	buf_free(&headers);
}
END_TEST

START_TEST(a_handshake_goes_on_and_bytes_pass)
{
	struct peer_conn *client = tunnel(), *far = sfu.conns;

	peer_send(client, "\x81\x82\0\0\0\0hi", 8);
	UNTIL(loop, has(far, "hi"));
	peer_says(far, "\x81\x02yo");
	UNTIL(loop, has(client, "yo"));
}
END_TEST

/* -- grants --------------------------------------------------------------------------------------------------------------- */
START_TEST(with_a_grant_of_the_room_where_those_are_demanded)
{
	grant = GRANT;
	sfu_says = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
	answered(asks("GET", GATE_PATH, ROOM "X-Usher-Grant: " GRANT "\r\n", NULL), 403, "stale_grant"); /* opened without one: found again, say */
	open_room("a room", 5);
	answered(asks("GET", GATE_PATH, ROOM "X-Usher-Grant: " GRANT "\r\n", NULL), 200, NULL);
	answered(asks("GET", GATE_PATH, ROOM "X-Usher-Grant: " OTHER "," GRANT "\r\n", NULL), 200, NULL);
	answered(asks("GET", GATE_PATH, ROOM, NULL), 403, "stale_grant");
	answered(asks("GET", GATE_PATH, ROOM HANDSHAKE "X-Usher-Grant: " OTHER "\r\n", NULL), 403, "stale_grant");
	grant = OTHER;
	open_room("a room", 5);
	answered(asks("GET", GATE_PATH, ROOM "X-Usher-Grant: " GRANT "\r\n", NULL), 403, "stale_grant"); /* the last open did not bring it */
	answered(asks("GET", GATE_PATH, ROOM "X-Usher-Grant: " OTHER "\r\n", NULL), 200, NULL);
	ck_assert(!has(sfu.conns, "Grant"));
	open_room("a room", 6);
	answered(asks("GET", GATE_PATH, "X-Usher-Room: a%20room\r\nX-Usher-Epoch: 6\r\nX-Usher-Grant: " GRANT "\r\n", NULL), 403, "stale_grant");
}
END_TEST

static const char *ticket_target(const char *key, uint64_t ends_ms)
{
	struct direct_ticket ticket = { ends_ms, 5, STR("a room"), STR("ann"), { 0 }, { 0 } };
	struct buf text = { 0 };

	direct_ticket_write(&ticket, str_of(key), &text);
	const char *target = arena_printf(&arena, GATE_PATH "/x?a=1&ticket=%s&%%74icket=y&b", text.at);
	buf_free(&text);
	return target;
}

START_TEST(a_ticket_by_the_grant_opens_a_websocket)
{
	grant = GRANT;
	open_room("a room", 5);
	settings.origins = "https://app.example.com";
	sfu_says = ACCEPTED;
	const char *target = ticket_target(GRANT, wall_ms() + 1000);
	struct peer_conn *client = asks("GET", target, HANDSHAKE "X-Usher-Room: forged\r\nX-Usher-Epoch: 9\r\nX-Usher-Grant: " GRANT "\r\n"
	                                "X-Forwarded-For: 1.2.3.4\r\nX-Request-Id: forged\r\nAuthorization: Bearer x\r\nReferer: /?ticket=x\r\n"
	                                "Origin: https://app.example.com\r\nSec-WebSocket-Protocol: usher.ticket.x\r\n", NULL);
	answered(client, 101, NULL);
	ck_assert(has(client, "Sec-WebSocket-Protocol: usher.ticket.x\r\n"));
	struct peer_conn *seen = sfu.conns;
	ck_assert_msg(has(seen, "GET /ws/x?a=1&b HTTP/1.1\r\n"), "%s", seen->in.at);
	ck_assert(has(seen, "X-Usher-Room: a%20room\r\n") && has(seen, "X-Usher-Epoch: 5\r\n") && has(seen, "Origin: https://app"));
	ck_assert(!has(seen, "forged") && !has(seen, "1.2.3.4") && !has(seen, "Bearer") && !has(seen, "icket") && !has(seen, GRANT));
	gate_close_room(gate, STR("a room"), 5, 1012, "room_moved");
	UNTIL(loop, has(client, "room_moved"));
}
END_TEST

START_TEST(a_room_that_leaves_while_a_ticket_is_at_the_sfu_is_the_one_answer)
{
	grant = GRANT;
	open_room("a room", 5);
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", ticket_target(GRANT, wall_ms() + 1000), HANDSHAKE, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	answered(client, 401, NULL);
}
END_TEST

START_TEST(no_other_ticket_opens_anything)
{
	grant = GRANT;
	open_room("a room", 5);
	const char *good = ticket_target(GRANT, wall_ms() + 1000);
	answered(asks("GET", ticket_target(OTHER, wall_ms() + 1000), ROOM HANDSHAKE "X-Usher-Grant: " GRANT "\r\n", NULL), 401, NULL);
	answered(asks("GET", ticket_target(GRANT, wall_ms() - 1), HANDSHAKE, NULL), 401, NULL);
	answered(asks("GET", good, "", NULL), 400, NULL);
	answered(asks("GET", good, HANDSHAKE "Sec-WebSocket-Version: 13\r\n", NULL), 400, NULL);
	answered(asks("GET", good, HANDSHAKE "Origin: https://evil.example\r\n", NULL), 403, NULL);
	answered(asks("GET", arena_printf(&arena, GATE_PATH "/%%2e%%2e%s", good + strlen(GATE_PATH)), HANDSHAKE, NULL), 400, NULL);
	shut = "lease";
	answered(asks("GET", good, HANDSHAKE, NULL), 503, "lease");
	shut = NULL;
	gate_close_room(gate, STR("a room"), 5, 1012, "room_moved");
	ck_assert_int_eq(rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL), 0);
	answered(asks("GET", good, HANDSHAKE, NULL), 401, NULL);
	ck_assert_uint_eq(sfu.accepted, 0);
	grant = "";
	answered(asks("GET", good, ROOM, NULL), 404, "unknown_room"); /* where none are demanded it is the SFU's own */
}
END_TEST

START_TEST(an_sfu_that_is_not_there_is_502)
{
	peer_free(&sfu);
	answered(asks("GET", GATE_PATH, ROOM, NULL), 502, NULL);
	answered(asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL), 502, NULL);
}
END_TEST

START_TEST(an_sfu_that_refuses_a_handshake_says_so_itself)
{
	sfu_says = "HTTP/1.1 403 No\r\nContent-Type: text/z\r\nX-Usher-Refused: forged\r\nContent-Length: 6\r\n\r\nno way";
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	answered(client, 403, NULL);
	UNTIL(loop, has(client, "no way"));
	ck_assert(has(client, "Content-Type: text/z"));
}
END_TEST

START_TEST(tunnels_are_bounded)
{
	gate_free(gate);
	httpd_free(httpd);
	listen_set_free(listeners);
	settings.connections = 1;
	build_gate();
	tunnel();
	answered(asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL), 503, NULL);
}
END_TEST

/* -- what changes meanwhile --------------------------------------------------------------------------------------------------- */
START_TEST(a_lease_that_ends_during_the_handshake_lets_nobody_in)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	shut = "lease";
	peer_says(sfu.conns, ACCEPTED);
	answered(client, 503, "lease");
	UNTIL(loop, sfu.conns->eof);
	ck_assert_uint_eq(gate_tunnels(gate), 0);
}
END_TEST

START_TEST(a_room_that_ends_during_the_handshake_too)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	answered(client, 409, "stale_epoch");
	UNTIL(loop, sfu.conns->eof);
}
END_TEST

START_TEST(a_room_that_ends_has_no_long_poll_left)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH "/1?maxev=1", ROOM, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	gate_close_room(gate, STR("a room"), 4, 1012, "room_moved"); /* an older one of that name */
	gate_close_room(gate, STR("another"), 9, 1012, "room_moved");
	turns(loop, 5);
	ck_assert(!client->in.len && !sfu.conns->eof);
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	answered(client, 409, "stale_epoch");
	UNTIL(loop, sfu.conns->eof);
}
END_TEST

START_TEST(a_stream_of_a_room_that_ends_is_cut)
{
	sfu_says = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM, NULL);
	UNTIL(loop, has(client, "half"));
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	UNTIL(loop, client->eof);
	UNTIL(loop, sfu.conns->eof);
	ck_assert(!has(client, "409"));
}
END_TEST

START_TEST(an_upload_to_a_room_that_ends_is_refused)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("POST", GATE_PATH, ROOM "Transfer-Encoding: chunked\r\n", NULL);
	peer_says(client, "4\r\nbody\r\n");
	UNTIL(loop, sfu.conns && has(sfu.conns, "body"));
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	UNTIL(loop, sfu.conns->eof);
	peer_says(client, "0\r\n\r\n");
	answered(client, 409, "stale_epoch");
}
END_TEST

static bool closed_with(const struct peer_conn *c, unsigned code, const char *reason)
{
	const unsigned char bytes[2] = { (unsigned char)(code >> 8), (unsigned char)code };

	return c->in.len > 4 && c->in.at[0] == (char)0x88 && !memcmp(c->in.at + 2, bytes, 2) && has(c, reason);
}

START_TEST(tunnels_of_a_room_that_ends_get_a_close)
{
	struct peer_conn *client = tunnel();

	open_room("other", 7);
	gate_close_room(gate, STR("other"), 7, 1000, "room_closed");
	turns(loop, 5);
	ck_assert_uint_eq(client->in.len, 0);
	rooms_evict(rooms, STR("a room"), 5, END_MOVED, NULL);
	UNTIL(loop, closed_with(client, 1012, "room_moved;retry=1"));
	UNTIL(loop, sfu.conns->in.len && sfu.conns->in.at[0] == (char)0x88); /* the SFU, too */
}
END_TEST

START_TEST(leaving_closes_tunnels_and_lets_nobody_in)
{
	struct peer_conn *client = tunnel();

	gate_close_slowly(gate, 1012, "node_lost", 50);
	UNTIL(loop, closed_with(client, 1012, "node_lost;retry="));
	answered(asks("GET", GATE_PATH, ROOM, NULL), 503, "leaving");
}
END_TEST

START_TEST(a_client_that_leaves_during_the_handshake_leaves_nothing)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	peer_close(client);
	UNTIL(loop, sfu.conns->eof);
	ck_assert_uint_eq(gate_tunnels(gate), 0);
}
END_TEST

START_TEST(a_client_that_leaves_just_as_the_sfu_agrees_leaves_nothing)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM HANDSHAKE, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	peer_says(sfu.conns, ACCEPTED); /* both are there when the loop turns */
	peer_reset(client);
	UNTIL(loop, sfu.conns->eof);
	ck_assert_uint_eq(gate_tunnels(gate), 0);
}
END_TEST

START_TEST(a_client_that_leaves_a_long_poll_ends_it)
{
	sfu_says = NULL;
	struct peer_conn *client = asks("GET", GATE_PATH, ROOM, NULL);
	UNTIL(loop, sfu.conns && has(sfu.conns, "\r\n\r\n"));
	peer_close(client);
	UNTIL(loop, sfu.conns->eof);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gate");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_loop_test(all, only_rooms_that_are_held_at_their_epoch, 0, (int)(sizeof(refusals) / sizeof(*refusals)));
	tcase_add_test(all, nobody_while_the_gate_is_shut);
	tcase_add_test(all, a_request_goes_on_with_what_the_router_said_of_it);
	tcase_add_loop_test(all, the_sfu_is_told_the_room_that_was_judged_and_once, 0, 2);
	tcase_add_test(all, a_handshake_goes_on_and_bytes_pass);
	tcase_add_test(all, with_a_grant_of_the_room_where_those_are_demanded);
	tcase_add_test(all, a_ticket_by_the_grant_opens_a_websocket);
	tcase_add_test(all, a_room_that_leaves_while_a_ticket_is_at_the_sfu_is_the_one_answer);
	tcase_add_test(all, no_other_ticket_opens_anything);
	tcase_add_test(all, an_sfu_that_is_not_there_is_502);
	tcase_add_test(all, an_sfu_that_refuses_a_handshake_says_so_itself);
	tcase_add_test(all, tunnels_are_bounded);
	tcase_add_test(all, a_lease_that_ends_during_the_handshake_lets_nobody_in);
	tcase_add_test(all, a_room_that_ends_during_the_handshake_too);
	tcase_add_test(all, a_room_that_ends_has_no_long_poll_left);
	tcase_add_test(all, a_stream_of_a_room_that_ends_is_cut);
	tcase_add_test(all, an_upload_to_a_room_that_ends_is_refused);
	tcase_add_test(all, tunnels_of_a_room_that_ends_get_a_close);
	tcase_add_test(all, leaving_closes_tunnels_and_lets_nobody_in);
	tcase_add_test(all, a_client_that_leaves_during_the_handshake_leaves_nothing);
	tcase_add_test(all, a_client_that_leaves_just_as_the_sfu_agrees_leaves_nothing);
	tcase_add_test(all, a_client_that_leaves_a_long_poll_ends_it);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
