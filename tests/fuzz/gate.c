/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate in this process: what routers and strangers send to it, and what the SFU behind it answers. The input is a list of
 * pieces with 0xff between them; the first byte of a piece says what it is:
 *   A B  what this client sends next (it connects first)      a b  the client leaves: f half-closes, else it resets
 *   S    what the SFU answers to a request to come            W    what the SFU says on its newest connection, asked or not
 *   r    the room ends                                        !    the gate shuts
 *   t    time passes: 1 to 5, from 50 ms to 20 s                 G    grants are demanded (first piece only)
 * The room is "r" at epoch 5; in what clients send, @G is its grant and @T a ticket by it. What must hold: answers begin with HTTP/1.; the SFU is asked only by who named the room at its
 * epoch, never for more requests than the gate has begun, and in the strict form.
 */
#include <fcntl.h>
#include <signal.h>

#include "base/arena.h"
#include "base/http.h"
#include "base/httpd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/wait.h"
#include "base/wire/direct_ticket.h"
#include "client/agent/adapter.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate.h"
#include "client/agent/rooms.h"
#include "tests/fuzz/far.h"
#include "tests/fuzz/far_http.h"

#define CLIENTS 2
#define GRANT "AAECAwQFBgcICQoLDA0ODw"
#define PIECES_MAX 48
#define TURNS 14

static struct loop *loop;
static struct httpd *httpd;
static struct listen_set *listeners;
static struct listener *listener;
static struct rooms *rooms;
static struct gate *gate;
static struct far sfu;
static struct far_client clients[CLIENTS];
static struct far_answers answers;
static size_t begun, heads_seen; /* by the gate; at the SFU: a head within a body is none of the gate's */
static uint64_t now_ms;
static const char *shut;
static bool grants;
static struct buf ticket;

/* -- an SFU that holds whatever it is told to ------------------------------------------------------------------------------------- */
static int opened(struct adapter *a, const struct adapter_open *open, struct arena *arena, struct adapter_opened *out, struct wait *w)
{
	(void)a, (void)open, (void)arena, (void)out, (void)w;
	return NEXT;
}

static int evicted(struct adapter *a, struct str room, uint64_t epoch, struct wait *w)
{
	(void)a, (void)room, (void)epoch, (void)w;
	return NEXT;
}

static const struct adapter_ops ops_of_sfu = { .name = "fuzz", .open = opened, .evict = evicted };
static struct adapter adapter = { .ops = &ops_of_sfu };

static void sfu_head(struct far_conn *c, struct str head)
{
	(void)c;
	MUST(memmem(head.at, head.len, " /sfu", 5) && ++heads_seen <= begun);
	MUST(str_is(far_value(head, "X-Usher-Room"), "r") && str_is(far_value(head, "X-Usher-Epoch"), "5"));
}

static void sfu_got(struct far_conn *c)
{
	far_serve(c, &answers, sfu_head);
}

/* -- the gate --------------------------------------------------------------------------------------------------------------------- */
static const char *is_shut(void *arg)
{
	(void)arg;
	return shut;
}

static bool demands_grants(void *arg)
{
	(void)arg;
	return grants;
}

static void begin(void *arg, struct exchange *x)
{
	begun++;
	gate_ops.begin(arg, x);
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

static void ended(void *arg, struct str room, uint64_t epoch, enum room_end how)
{
	(void)arg, (void)how;
	gate_close_room(gate, room, epoch, 1012, "room_moved;retry=1");
}

static void turn(int n)
{
	for (int i = 0; i < n; i++) {
		loop_fake_clock(loop, ++now_ms);
		loop_turn(loop);
	}
	for (int i = 0; i < CLIENTS; i++)
		far_client_read(&clients[i]);
}

static void pass(uint64_t ms)
{
	for (uint64_t most = ms / 8 > 500 ? ms / 8 : 500, step; ms; ms -= step) {
		step = ms < most ? ms : most;
		now_ms += step;
		turn(2);
	}
}

static void client_sends(struct far_client *c, struct str piece)
{
	struct buf text = { 0 };

	for (size_t i = 0; i < piece.len; i++) {
		char next = piece.at[i] == '@' && i + 1 < piece.len ? piece.at[i + 1] : '\0';
		if (next == 'G' || next == 'T')
			buf_adds(&text, next == 'G' ? GRANT : ticket.at), i++;
		else
			buf_add(&text, piece.at + i, 1);
	}
	struct str all = { text.at ? text.at : "", text.len };
	far_client_send(c, listen_address(listener), all);
	buf_free(&text);
}

static void run_piece(struct str piece)
{
	static const uint64_t times[] = { 50, 300, 1000, 5000, 20000 };
	char what = (char)feed_byte(&piece);

	if (what == 'A' || what == 'B') {
		client_sends(&clients[what - 'A'], piece);
	} else if (what == 'a' || what == 'b') {
		far_client_leave(&clients[what - 'a'], feed_byte(&piece) == 'f');
	} else if (what == 'S') {
		far_answers_add(&answers, piece);
	} else if (what == 'W' && sfu.conns && sfu.conns->fd >= 0) {
		far_say(sfu.conns, piece.at, piece.len);
	} else if (what == 'r') {
		rooms_evict(rooms, STR("r"), 5, END_MOVED, NULL);
	} else if (what == '!') {
		shut = "lease";
	} else if (what == 't') {
		pass(times[(feed_byte(&piece) - '1') % 5u]);
	}
	turn(TURNS);
}

static void run(struct str in)
{
	struct adapter_open open = { .room = STR("r"), .epoch = 5 };
	struct adapter_opened out;
	struct arena arena = { 0 };
	struct wait w = { 0 };
	struct str piece;

	MUST(rooms_open(rooms, &open, grants ? STR(GRANT) : STR(""), &arena, &out, &w) == NEXT);
	for (int n = 0; n < PIECES_MAX && str_cut(&in, '\xff', &piece); n++)
		run_piece(piece);
	pass(500);
	for (int i = 0; i < CLIENTS; i++)
		far_client_end(&clients[i]);
	turn(4);
	far_close(&sfu);
	turn(2);
	arena_reset(&arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	far_listen();
	for (int i = 0; i < CLIENTS; i++)
		clients[i].fd = -1;
	direct_ticket_write(&(struct direct_ticket){ UINT64_C(4000000000000), 5, STR("r"), STR("ann"), { 0 }, { 0 } }, STR(GRANT), &ticket);
	MUST(log_open(getenv("FUZZ_SAY") ? 2 : open("/dev/null", O_WRONLY), LOG_INFO, LOG_JSON) == 0);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct http_conf http_conf = { .connect_timeout_ms = 1000, .connections_per_host = 10, .idle_connections = 10, .idle_ms = 10000 };
	struct httpd_conf conf = { .body_bytes = 4096, .header_bytes = 4096, .headers = 64, .connections = 100, .header_ms = 10000, .body_ms = 10000,
		                   .idle_ms = 10000, .write_stall_ms = 10000 };
	struct listen_conf listen = { .connections = 100, .connections_per_address = 100, .deal = deal };
	struct agent_conf settings = { .advertise_url = "", .origins = "https://app.example", .frame_bytes = 1024, .message_bytes = 2048, .connect_timeout_ms = 1000, .call_timeout_ms = 1000, .response_timeout_ms = 20000, .stream_idle_ms = 20000,
		                       .tunnel_idle_ms = 60000, .connections = 10, .tunnel_buffer_bytes = 4096 };
	struct httpd_ops ops = gate_ops;
	char signal_url[64], http_url[64];
	const char *why = NULL;

	loop = loop_new();
	loop_fake_clock(loop, now_ms = loop_now_ms(loop));
	answers = (struct far_answers){ 0 };
	begun = heads_seen = 0;
	shut = NULL;
	grants = len && bytes[0] == 'G';
	snprintf(signal_url, sizeof(signal_url), "ws://127.0.0.1:%u/sfu", far_port);
	snprintf(http_url, sizeof(http_url), "http://127.0.0.1:%u/sfu", far_port);
	far_open(&sfu, loop, sfu_got, NULL);
	struct http *http = http_new(loop, &http_conf);
	rooms = rooms_new(&(struct rooms_conf){ loop, &adapter, ended, NULL });
	gate = gate_new(&(struct gate_conf){ .loop = loop, .http = http, .settings = &settings, .rooms = rooms, .signal_url = signal_url,
	                                     .http_url = http_url, .shut = is_shut, .demands_grants = demands_grants });
	ops.begin = begin;
	ops.refuse = refuse;
	ops.closed = closed;
	httpd = httpd_new(loop, &conf, &ops, gate);
	listeners = listen_set_new(loop, &listen);
	MUST((listener = listen_open(listeners, "127.0.0.1:0", 0, &why)));
	run((struct str){ (const char *)bytes, len });
	httpd_free(httpd);
	gate_free(gate);
	rooms_free(rooms);
	http_free(http);
	listen_close(listeners);
	listen_set_free(listeners);
	loop_free(loop);
	return 0;
}
