/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sequences against a router in this process: one worker, the store in memory, one node whose SFU answers as the input
 * says, no threads: both loops are turned here, and the clock stands until the input moves it. All the rest is real: sockets,
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
 *   T L      as N, and the listener speaks TLS: to clients that do, or (L), from when the node is there, to what they send as it is
 * In what clients send, @P is the SFU's port, @R the node's registration, @E and @T the latest epoch and ticket of an answer.
 *
 * What must hold: each answer begins with HTTP/1.; the SFU is never sent a request that the router does not vouch for, and whatever
 * came, it gets requests in the strict form, one after another, with headers that may cross and no other; no ticket reaches it;
 * all is given back at the end.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/listen.h"
#include "base/log.h"
#include "health/fleet.h"
#include "registry/registry.h"
#include "router/access.h"
#include "router/certificate.h"
#include "router/limits.h"
#include "router/router.h"
#include "router/worker.h"
#include "tests/fuzz/far.h"
#include "tests/fuzz/far_http.h"

#define CLIENTS 4
#define PIECES_MAX 48
#define TURNS 14
#define TOKEN "fuzz-token" /* of participants and operators */
#define NODE_TOKEN "fuzz-node"
#define NODE_TOKEN_SHA256 "4fa8bf980b817e70f58d221ebfe8ee5a72d9ac6757936440c800da22fba5c463"
#define TOKEN_SHA256 "33cc09ba35314d19e32ed9a5a30fca56eebbfab5faec7247fd0403cd26e155b5"

enum { BY_TOKEN, BY_NOBODY, BY_TLS, MODES };
static struct conf confs[MODES];
static struct router_conf settings[MODES];
static struct router *router;
static struct far_client clients[CLIENTS];
static struct far sfu;
static struct far_answers answers;
static struct buf sent; /* all that clients have sent */
static uint64_t now_ms;
static char registration[24], epoch[24], ticket[600];

/* -- the SFU ----------------------------------------------------------------------------------------------------------------------- */
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

/* Byte by byte: where fuzzers watch memmem() they would learn the word, and send it. */
static bool was_sent(struct str word)
{
	for (size_t at = 0; at + word.len <= sent.len; at++) {
		size_t n = 0;
		while (n < word.len && sent.at[at + n] == word.at[n])
			n++;
		if (n == word.len)
			return true;
	}
	return false;
}

/* A grant, which the router makes anew for each request and participants never see: what they smuggle has none, or one of their own. */
static bool is_marked(struct str head)
{
	struct str grant = far_value(head, "X-Usher-Grant");

	return grant.len && !was_sent(grant);
}

static void sfu_head(struct far_conn *c, struct str head)
{
	bool proxied = memmem(head.at, head.len, " /sig", 5), handshake = far_value(head, "Sec-WebSocket-Key").at;
	struct str rest = head, line, name;

	(void)c;
	str_cut(&rest, '\n', &line);
	while (str_cut(&rest, '\n', &line))
		if (line.len > 1)
			MUST(str_cut(&line, ':', &name) && !str_is_nocase(name, "X-Usher-Ticket") && (!proxied || may_cross(name, handshake)));
	MUST(!*ticket || !memmem(head.at, head.len, ticket, strlen(ticket)));
	MUST(!proxied || is_marked(head));
}

static void sfu_got(struct far_conn *c)
{
	far_serve(c, &answers, sfu_head);
}

/* -- time -------------------------------------------------------------------------------------------------------------------------- */
/* A millisecond each: what libcurl sets its timer to for "at once" comes due. */
static void turn(int n)
{
	for (int i = 0; i < n; i++) {
		loop_fake_clock(router->loop, ++now_ms);
		loop_fake_clock(router->worker_loops[0], now_ms);
		loop_turn(router->loop);
		loop_turn(router->worker_loops[0]);
		for (int c = 0; c < CLIENTS; c++)
			far_client_read(&clients[c]);
	}
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

static void learn_all(const struct far_client *c)
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

static void client_send(struct far_client *c, struct str piece)
{
	struct buf text = { 0 };

	learn_all(c);
	substitute(piece, &text);
	struct str all = { text.at ? text.at : "", text.len };
	buf_add(&sent, all.at, all.len);
	far_client_send(c, listen_address(router->listener), all);
	buf_free(&text);
	turn(TURNS);
	learn_all(c);
}

static void client_leave(struct far_client *c, bool half)
{
	far_client_leave(c, half);
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
	else if (what == 'S')
		far_answers_add(&answers, piece);
	else if (what == 'W')
		say_unasked(piece);
	else if (what == 'X')
		close_sfu();
	else if (what == 't')
		pass(times[(feed_byte(&piece) - '1') % 5u]);
}

/* -- the router ---------------------------------------------------------------------------------------------------------------------- */
#define HEAD "Host: 127.0.0.1\r\nAuthorization: Bearer " NODE_TOKEN "\r\nContent-Type: application/json\r\n"

/* On a busy machine the kernel hands on a little later what was sent. */
static void await_answer(const struct far_client *c, const char *part)
{
	for (int i = 0; i < 2000 && !(c->out.len && strstr(c->out.at, part)); i++) {
		struct pollfd loops[] = { { .fd = loop_backend_fd(router->loop), .events = POLLIN },
			                  { .fd = loop_backend_fd(router->worker_loops[0]), .events = POLLIN } };
		poll(loops, 2, 1);
		turn(1);
	}
	MUST(c->out.len && strstr(c->out.at, part));
}

static void register_node(void)
{
	static const char body[] = "{\"incarnation\":\"i-1\",\"signal_url\":\"ws://127.0.0.1:@P/sig\",\"control_url\":\"http://127.0.0.1:@P/ctl\","
				   "\"health_url\":\"http://127.0.0.1:@P/health\",\"fences\":\"gate\",\"capacity\":{\"rooms\":100,\"participants\":1000}}";
	static const char beat[] = "{\"incarnation\":\"i-1\",\"registration\":@R,\"seq\":1,\"load\":{\"cpu\":0.1,\"participants\":0},\"seen\":0,\"rooms\":[]}";
	struct buf text = { 0 };
	struct far_client *c = &clients[0];

	substitute(str_of(body), &text);
	struct buf put = { 0 };
	buf_printf(&put, "PUT /v1/nodes/sfu-1 HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n%s", text.len, text.at);
	client_send(c, (struct str){ put.at, put.len });
	await_answer(c, "\"registration\":");
	learn_all(c);
	text.len = put.len = 0;
	substitute(str_of(beat), &text);
	buf_printf(&put, "POST /v1/nodes/sfu-1/heartbeat HTTP/1.1\r\n" HEAD "Content-Length: %zu\r\n\r\n%s", text.len, text.at);
	client_send(c, (struct str){ put.at, put.len });
	await_answer(c, "\"renewed\":true");
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
	for (int i = 0; i < CLIENTS; i++)
		far_client_end(&clients[i]);
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

static void load_settings(int mode, const char *keys, const char *grant_keys, const char *tls_key, const char *tls_cert)
{
	char more[4][96];
	char *sets[] = { "server.listen=127.0.0.1:0", "server.workers=1", "rooms.table_max=1000", "placement.explained=100", "limits.connections=100",
		         "limits.body_bytes=4096", "limits.heartbeat_bytes=16384", "limits.header_bytes=4096", "limits.tunnel_buffer_bytes=4096",
		         "server.trusted_proxies=127.0.0.0/8", "server.origins=https://app.example", "nodes.allow_cidr=127.0.0.1/32",
		         mode == BY_TOKEN ? "auth.mode=token" : "auth.mode=none", "auth.demand_grants=false", more[0], more[1], more[2], more[3] };

	snprintf(more[0], sizeof(more[0]), "auth.keys=%s", mode == BY_TOKEN ? keys : "");
	snprintf(more[1], sizeof(more[1]), "tls.key=%s", mode == BY_TLS ? tls_key : "");
	snprintf(more[2], sizeof(more[2]), "tls.cert=%s", mode == BY_TLS ? tls_cert : "");
	snprintf(more[3], sizeof(more[3]), "auth.grant_keys=%s", grant_keys);
	confs[mode] = (struct conf){ .keys = router_conf_keys, .count = router_conf_count, .values = &settings[mode], .env_prefix = "FUZZ_NONE_" };
	MUST(conf_load(&confs[mode], NULL, sets, sizeof(sets) / sizeof(*sets), stderr) == 0 && router_conf_check(&settings[mode], stderr) == 0);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct buf key = { 0 }, cert = { 0 };

	(void)argc, (void)argv;
	far_listen();
	const char *keys = secret_file("{\"tokens\":[{\"name\":\"f\",\"scope\":\"join route admin metrics\",\"sha256\":\"" TOKEN_SHA256 "\"},"
	                               "{\"name\":\"n\",\"scope\":\"node\",\"node\":\"sfu-1\",\"sha256\":\"" NODE_TOKEN_SHA256 "\"}]}");
	const char *grant_keys = secret_file("NqQ1x9vLwTg0c2Jm7ZkHd4uYb8sRfPa3eXo5iUyWn6E\n");
	far_tls_make(&key, &cert);
	const char *key_file = secret_file(key.at), *cert_file = secret_file(cert.at);
	for (int mode = 0; mode < MODES; mode++)
		load_settings(mode, keys, grant_keys, key_file, cert_file);
	buf_free(&key);
	buf_free(&cert);
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	MUST(log_open(getenv("FUZZ_SAY") ? 2 : open("/dev/null", O_WRONLY), LOG_INFO, LOG_JSON) == 0);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void speak_tls(bool yes)
{
	for (int i = 0; i < CLIENTS; i++)
		clients[i].wants_tls = yes;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len }, piece;

	answers = (struct far_answers){ 0 };
	buf_free(&sent);
	registration[0] = epoch[0] = ticket[0] = '\0';
	char how = len ? (char)bytes[0] : '\0';
	speak_tls(how == 'T' || how == 'L');
	open_all(how == 'N' ? BY_NOBODY : clients[0].wants_tls ? BY_TLS : BY_TOKEN);
	for (int i = 0; i < CLIENTS && how == 'L'; i++)
		clients[i] = (struct far_client){ .fd = -1, .not_http = true };
	for (int n = 0; n < PIECES_MAX && str_cut(&in, '\xff', &piece); n++)
		run_piece(piece);
	pass(500);
	close_all();
	return 0;
}
