/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sequences against a router in this process: one worker, the store in memory, one node whose SFU answers as the input says,
 * no threads: both loops are turned here, and the clock stands until the input moves it. All the rest is real: sockets,
 * libmicrohttpd, libcurl.
 *
 * The input is a list of pieces with 0xff between them; the first byte of a piece says what it is:
 *   A B C D  what this client sends next (it connects first)
 *   a b c d  the client leaves: f half-closes, else it resets
 *   S        what the SFU answers to a request that is still to come; without one it answers properly
 *   W        what the SFU says on its newest connection, asked or not
 *   X        the SFU closes its connections
 *   t        time passes: 1 to 5, from 50 ms to 20 s
 *   N        auth.mode is none for this input (first piece only); else token
 * In what clients send, @P is the SFU's port, @R the node's registration, @E and @T the latest epoch and ticket of an answer.
 *
 * What must hold: each answer begins with HTTP/1.; the SFU is never sent more requests than there were heads, and whatever came, it
 * gets requests in the strict form, one after another, with headers that may cross and no other; no ticket reaches it; all is given
 * back at the end.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/listen.h"
#include "base/log.h"
#include "base/ws.h"
#include "health/fleet.h"
#include "registry/registry.h"
#include "router/access.h"
#include "router/certificate.h"
#include "router/limits.h"
#include "router/router.h"
#include "router/worker.h"
#include "tests/fuzz/far.h"

#define CLIENTS 4
#define PIECES_MAX 48
#define TURNS 14
#define TOKEN "fuzz-token" /* of participants and operators */
#define NODE_TOKEN "fuzz-node"
#define NODE_TOKEN_SHA256 "4fa8bf980b817e70f58d221ebfe8ee5a72d9ac6757936440c800da22fba5c463"
#define TOKEN_SHA256 "33cc09ba35314d19e32ed9a5a30fca56eebbfab5faec7247fd0403cd26e155b5"

struct client {
	int fd; /* -1: none */
	bool was;
	struct buf out; /* what it got, of all its connections */
};
static struct conf confs[2];
static struct router_conf settings[2];
static struct router *router;
static struct client clients[CLIENTS];
static struct far sfu;
static struct str sfu_answers[PIECES_MAX];
static size_t nanswers, answered, heads_sent, heads_seen;
static uint64_t now_ms;
static char registration[24], epoch[24], ticket[600];

/* -- the SFU ----------------------------------------------------------------------------------------------------------------------- */
enum { READS_HEADS, IS_TUNNEL };

static struct str value_of(struct str head, const char *name)
{
	struct str rest = head, line, key;

	while (str_cut(&rest, '\n', &line))
		if (str_cut(&line, ':', &key) && str_is_nocase(key, name))
			return str_trim((struct str){ line.at, line.len - (line.len && line.at[line.len - 1] == '\r') });
	return (struct str){ NULL, 0 };
}

/* What a participant's request may have at the SFU: what docs/internals/http-edge.md lets cross, what usher says itself, framing. */
static bool may_cross(struct str name, bool handshake)
{
	static const char *const names[] = {
		"Accept", "Accept-Encoding", "Accept-Language", "Access-Control-Request-Headers", "Access-Control-Request-Method", "Authorization",
		"Cache-Control", "Content-Encoding", "Content-Language", "Content-Length", "Content-Type", "Host", "Idempotency-Key", "If-Match",
		"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Last-Event-ID", "Link", "Origin", "Pragma", "Prefer",
		"Range", "Referer", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Transfer-Encoding", "User-Agent", "X-Forwarded-For", "X-Forwarded-Host",
		"X-Forwarded-Proto", "X-Request-Id", "X-Requested-With", "X-Usher-Epoch", "X-Usher-Grant", "X-Usher-Room", "traceparent", "tracestate",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (str_is_nocase(name, names[i]))
			return true;
	return handshake && (str_is_nocase(name, "Connection") || str_is_nocase(name, "Upgrade") ||
	                     (name.len > 14 && !strncasecmp(name.at, "Sec-WebSocket-", 14)));
}

static void must_be_strict(struct str head)
{
	bool proxied = memmem(head.at, head.len, " /sig", 5), handshake = value_of(head, "Sec-WebSocket-Key").at;
	struct str rest = head, line, name;
	size_t hosts = 0, lengths = 0, n = 0;

	while (str_cut(&rest, '\n', &line)) {
		MUST(line.len && line.at[line.len - 1] == '\r');
		for (size_t i = 0; i + 1 < line.len; i++)
			MUST((unsigned char)line.at[i] >= ' ' && line.at[i] != 0x7f);
		hosts += line.len > 5 && !strncasecmp(line.at, "Host:", 5);
		lengths += line.len > 15 && !strncasecmp(line.at, "Content-Length:", 15);
		lengths += line.len > 18 && !strncasecmp(line.at, "Transfer-Encoding:", 18);
		MUST(!(line.len > 15 && !strncasecmp(line.at, "X-Usher-Ticket:", 15)));
		if (!n++)
			MUST(memmem(line.at, line.len, " /", 2) && line.len > 10 && !memcmp(line.at + line.len - 10, " HTTP/1.1\r", 10));
		else
			MUST(line.len == 1 || (str_cut(&line, ':', &name) && (!proxied || may_cross(name, handshake))));
	}
	MUST(hosts == 1 && lengths <= 1);
	MUST(!*ticket || !memmem(head.at, head.len, ticket, strlen(ticket)));
}

static void say_switching(struct far_conn *c, struct str key)
{
	char accept[29], text[200];

	ws_accept_key(key, accept);
	snprintf(text, sizeof(text), "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", accept);
	far_say(c, text, strlen(text));
}

static void sfu_answer(struct far_conn *c, struct str head)
{
	static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
	struct str key = value_of(head, "Sec-WebSocket-Key");

	if (key.at)
		c->state = IS_TUNNEL;
	if (answered < nanswers)
		far_say(c, sfu_answers[answered].at, sfu_answers[answered].len), answered++;
	else if (key.at)
		say_switching(c, key);
	else
		far_say(c, fine, sizeof(fine) - 1);
}

/* The body behind a head, by its framing: how many bytes; below zero: not all there yet. */
static long body_size(struct str head, struct str rest)
{
	struct str length = value_of(head, "Content-Length");
	uint64_t n = 0;
	size_t used = 0;

	if (length.at) {
		MUST(parse_u64(length, &n));
		return n <= rest.len ? (long)n : -1;
	}
	if (!value_of(head, "Transfer-Encoding").at)
		return 0;
	for (;;) {
		const char *end = memmem(rest.at + used, rest.len - used, "\r\n", 2);
		char *stop;
		if (!end)
			return -1;
		n = strtoul(rest.at + used, &stop, 16);
		MUST(stop == end && stop > rest.at + used);
		used = (size_t)(end - rest.at) + 2;
		if (rest.len - used < n + 2)
			return -1;
		MUST(!memcmp(rest.at + used + n, "\r\n", 2));
		used += n + 2;
		if (!n)
			return (long)used;
	}
}

static void sfu_got(struct far_conn *c)
{
	while (c->fd >= 0 && c->state != IS_TUNNEL && c->in.len > c->taken) {
		const char *at = c->in.at + c->taken, *end = memmem(at, c->in.len - c->taken, "\r\n\r\n", 4);
		if (!end)
			return;
		struct str head = { at, (size_t)(end - at) + 2 }, rest = { end + 4, c->in.len - (size_t)(end + 4 - c->in.at) };
		long body = body_size(head, rest);
		if (body < 0)
			return; /* answers wait for all of it, so that what follows is known to be a head */
		must_be_strict(head);
		if (memmem(head.at, head.len, " /sig", 5))
			heads_seen++;
		MUST(heads_seen <= heads_sent);
		c->taken += head.len + 2 + (size_t)body;
		sfu_answer(c, (struct str){ head.at, head.len });
	}
}

/* -- time -------------------------------------------------------------------------------------------------------------------------- */
static void read_client(struct client *c)
{
	char bytes[16384];
	ssize_t n;

	while (c->fd >= 0 && (n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		buf_add(&c->out, bytes, (size_t)n);
}

/* A millisecond each: what libcurl sets its timer to for "at once" comes due. */
static void turn(int n)
{
	for (int i = 0; i < n; i++) {
		loop_fake_clock(router->loop, ++now_ms);
		loop_fake_clock(router->worker_loops[0], now_ms);
		loop_turn(router->loop);
		loop_turn(router->worker_loops[0]);
	}
	for (int i = 0; i < CLIENTS; i++)
		read_client(&clients[i]);
}

static void pass(uint64_t ms)
{
	for (uint64_t most = ms / 8 > 500 ? ms / 8 : 500, step; ms;) {
		step = ms < most ? ms : most;
		now_ms += step;
		ms -= step;
		turn(2);
	}
}

/* -- clients ----------------------------------------------------------------------------------------------------------------------- */
static void learn(const char *from, const char *name, char *to, size_t size, const char *letters)
{
	const char *at = from, *last = NULL;

	while ((at = strstr(at, name)))
		last = at += strlen(name);
	if (last && strspn(last, letters) && strspn(last, letters) < size)
		snprintf(to, size, "%.*s", (int)strspn(last, letters), last);
}

static void learn_all(const struct client *c)
{
	if (!c->out.at)
		return;
	learn(c->out.at, "\"registration\":", registration, sizeof(registration), "0123456789");
	learn(c->out.at, "\"epoch\":", epoch, sizeof(epoch), "0123456789");
	learn(c->out.at, "ticket=", ticket, sizeof(ticket), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}

static void substitute(struct str in, struct buf *out)
{
	for (size_t i = 0; i < in.len; i++) {
		char next = in.at[i] == '@' && i + 1 < in.len ? in.at[i + 1] : '\0';
		if (next == 'P')
			buf_printf(out, "%u", far_port), i++;
		else if (next && strchr("RET", next))
			buf_adds(out, next == 'R' ? registration : next == 'E' ? epoch : ticket), i++;
		else
			buf_add(out, in.at + i, 1);
	}
}

static size_t count_heads(struct str text)
{
	size_t n = 0;

	for (const char *at = text.at, *end = text.at + text.len; (at = memmem(at, (size_t)(end - at), "HTTP/1.", 7)); at += 7)
		n++;
	return n;
}

static int connect_client(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	at.sin_port = htons((uint16_t)atoi(strrchr(listen_address(router->listener), ':') + 1));
	MUST(fd >= 0 && syscall(SYS_connect, fd, &at, sizeof(at)) == 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger)); /* no TIME_WAIT */
	return fd;
}

static void client_send(struct client *c, struct str piece)
{
	struct buf text = { 0 };

	learn_all(c);
	substitute(piece, &text);
	if (c->fd < 0)
		c->fd = connect_client();
	heads_sent += count_heads((struct str){ text.at ? text.at : "", text.len });
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "> %.*s\n", (int)text.len, text.at ? text.at : "");
	for (size_t sent = 0; sent < text.len;) {
		ssize_t n = send(c->fd, text.at + sent, text.len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n <= 0)
			break;
		sent += (size_t)n;
	}
	buf_free(&text);
	turn(TURNS);
	learn_all(c);
}

static void client_leave(struct client *c, bool half)
{
	read_client(c);
	if (c->fd >= 0 && half) {
		shutdown(c->fd, SHUT_WR);
	} else if (c->fd >= 0) {
		close(c->fd);
		c->fd = -1;
	}
	turn(TURNS);
}

static void say_unasked(struct str piece)
{
	if (sfu.conns && sfu.conns->fd >= 0)
		far_say(sfu.conns, piece.at, piece.len);
	turn(TURNS);
}

static void close_sfu(void)
{
	for (struct far_conn *c = sfu.conns; c; c = c->next)
		far_end(c);
	turn(TURNS);
}

static void run_piece(struct str piece)
{
	static const uint64_t times[] = { 50, 300, 1000, 5000, 20000 };
	char what = (char)feed_byte(&piece);

	if (what >= 'A' && what <= 'D')
		client_send(&clients[what - 'A'], piece);
	else if (what >= 'a' && what <= 'd')
		client_leave(&clients[what - 'a'], feed_byte(&piece) == 'f');
	else if (what == 'S' && nanswers < PIECES_MAX)
		sfu_answers[nanswers++] = piece;
	else if (what == 'W')
		say_unasked(piece);
	else if (what == 'X')
		close_sfu();
	else if (what == 't')
		pass(times[(feed_byte(&piece) - '1') % 5u]);
}

/* -- the router ---------------------------------------------------------------------------------------------------------------------- */
#define HEAD "Host: 127.0.0.1\r\nAuthorization: Bearer " NODE_TOKEN "\r\nContent-Type: application/json\r\n"

static void register_node(void)
{
	static const char body[] = "{\"incarnation\":\"i-1\",\"signal_url\":\"ws://127.0.0.1:@P/sig\",\"control_url\":\"http://127.0.0.1:@P/ctl\","
				   "\"health_url\":\"http://127.0.0.1:@P/health\",\"fences\":\"gate\",\"capacity\":{\"rooms\":100,\"participants\":1000}}";
	static const char beat[] = "{\"incarnation\":\"i-1\",\"registration\":@R,\"seq\":1,\"load\":{\"cpu\":0.1,\"participants\":0},\"seen\":0,\"rooms\":[]}";
	struct buf text = { 0 };
	struct client *c = &clients[0];

	substitute(str_of(body), &text);
	struct buf put = { 0 };
	buf_printf(&put, "PUT /v1/nodes/sfu-1 HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n%s", text.len, text.at);
	client_send(c, (struct str){ put.at, put.len });
	MUST(c->out.len && strstr(c->out.at, "\"registration\":"));
	text.len = put.len = 0;
	substitute(str_of(beat), &text);
	buf_printf(&put, "POST /v1/nodes/sfu-1/heartbeat HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n%s", text.len, text.at);
	client_send(c, (struct str){ put.at, put.len });
	MUST(strstr(c->out.at, "\"renewed\":true"));
	buf_free(&text);
	buf_free(&put);
	client_leave(c, false);
	buf_free(&c->out);
	pass(1000); /* the fleet is read: the node can be placed on */
}

static void open_all(int mode)
{
	router = calloc(1, sizeof(*router));
	MUST(router);
	router->conf = settings[mode];
	router->access = access_new(&router->conf, stderr);
	router->limits = limits_new(&router->conf);
	router->certificate = certificate_new(&router->conf, stderr);
	MUST(router->access && router->certificate && router_build(router));
	now_ms = loop_now_ms(router->loop) + 1000;
	loop_fake_clock(router->loop, now_ms);
	loop_fake_clock(router->worker_loops[0], now_ms);
	far_open(&sfu, router->worker_loops[0], sfu_got, NULL);
	router_begin(router);
	turn(4);
	register_node();
}

static void close_all(void)
{
	for (int i = 0; i < CLIENTS; i++) {
		read_client(&clients[i]);
		if (clients[i].fd >= 0)
			close(clients[i].fd);
		MUST(!clients[i].out.len || !memcmp(clients[i].out.at, "HTTP/1.", clients[i].out.len < 7 ? clients[i].out.len : 7));
		buf_free(&clients[i].out);
		clients[i] = (struct client){ .fd = -1 };
	}
	turn(4);
	far_close(&sfu);
	turn(2);
	router_take_apart(router);
	access_free(router->access);
	certificate_free(router->certificate);
	limits_free(router->limits);
	free(router);
}

/* -- once ------------------------------------------------------------------------------------------------------------------------------- */
static char *secret_file(const char *text)
{
	static char paths[4][64];
	static int used;
	int fd = memfd_create("secret", 0);

	MUST(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && fchmod(fd, 0600) == 0);
	snprintf(paths[used], sizeof(paths[used]), "/proc/self/fd/%d", fd);
	return paths[used++];
}

static void load_settings(int mode, const char *keys)
{
	char keys_set[96];
	char *sets[] = { "server.listen=127.0.0.1:0", "server.workers=1", "rooms.table_max=1000", "placement.explained=100", "limits.connections=100",
		         "limits.body_bytes=4096", "limits.heartbeat_bytes=16384", "limits.header_bytes=4096", "limits.tunnel_buffer_bytes=4096",
		         "server.trusted_proxies=127.0.0.0/8", "server.origins=https://app.example", "nodes.allow_cidr=127.0.0.1/32",
		         keys_set, mode ? "auth.mode=token" : "auth.mode=none" };

	snprintf(keys_set, sizeof(keys_set), "auth.keys=%s", mode ? keys : "");
	confs[mode] = (struct conf){ .keys = router_conf_keys, .count = router_conf_count, .values = &settings[mode], .env_prefix = "FUZZ_NONE_" };
	MUST(conf_load(&confs[mode], NULL, sets, sizeof(sets) / sizeof(*sets), stderr) == 0 && router_conf_check(&settings[mode], stderr) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	far_listen();
	const char *keys = secret_file("{\"tokens\":[{\"name\":\"f\",\"scope\":\"join route admin metrics\",\"sha256\":\"" TOKEN_SHA256 "\"},"
	                               "{\"name\":\"n\",\"scope\":\"node\",\"node\":\"sfu-1\",\"sha256\":\"" NODE_TOKEN_SHA256 "\"}]}");
	load_settings(0, NULL);
	load_settings(1, keys);
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	MUST(log_open(getenv("FUZZ_SAY") ? 2 : open("/dev/null", O_WRONLY), LOG_INFO, LOG_JSON) == 0);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len }, piece;

	nanswers = answered = heads_sent = heads_seen = 0;
	registration[0] = epoch[0] = ticket[0] = '\0';
	open_all(len && bytes[0] == 'N' ? 0 : 1);
	for (int n = 0; n < PIECES_MAX && str_cut(&in, '\xff', &piece); n++)
		run_piece(piece);
	pass(500);
	if (getenv("FUZZ_SAY"))
		for (int i = 0; i < CLIENTS; i++)
			fprintf(stderr, "client %d: %.*s\n", i, (int)clients[i].out.len, clients[i].out.at ? clients[i].out.at : "");
	close_all();
	return 0;
}
