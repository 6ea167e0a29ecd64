/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same bytes to the HTTP server twice: there when it looks at their connection, where a whole handshake is read by usher, and
 * after that, where libmicrohttpd reads all. Nobody must be able to tell: what the handler sees, what the client is told (but
 * for the date), and what is left for a tunnel are the same. The first byte is what the handler does: u upgrades, b answers at
 * the beginning, w some turns later, c cuts; any other answers.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/httpd.h"
#include "base/link.h"
#include "base/listen.h"
#include "base/loop.h"
#include "tests/fuzz/fuzz.h"

#define TURNS 12
#define LIMITS { .body_bytes = 4096, .header_bytes = 4096, .headers = 24, .connections = 4, .header_ms = 1000, .body_ms = 1000, .idle_ms = 1000, .write_stall_ms = 1000 }

static struct loop *loop;
static struct httpd *httpd;
static struct run {
	struct buf said, seen, left; /* to the client; by the handler; for the tunnel */
	struct exchange *waits;
	struct link given;
	int begun, ended, closed;
	char does;
} *run;

/* -- the handler ---------------------------------------------------------------------------------------------------------- */
static void see(struct exchange *x)
{
	size_t n;
	const struct header *all = exchange_headers(x, &n);
	struct str path = exchange_path(x), query = exchange_query(x);

	buf_printf(&run->seen, "%s %.*s ? %.*s %d %d %lld\n", exchange_method(x), STR_ARG(path), STR_ARG(query), exchange_http10(x),
	           exchange_asks_websocket(x), (long long)exchange_body_length(x));
	for (size_t i = 0; i < n; i++) {
		buf_add(&run->seen, all[i].name.at, all[i].name.len);
		buf_adds(&run->seen, "=");
		buf_add(&run->seen, all[i].value.at, all[i].value.len);
		buf_adds(&run->seen, "\n");
		MUST(!all[i].name.at[all[i].name.len]);
	}
}

static void on_begin(void *arg, struct exchange *x)
{
	(void)arg;
	run->begun++;
	see(x);
	if (run->does == 'b')
		exchange_answer(x, 403, STR("no"));
}

static void given(void *arg, struct link *client, struct str extra)
{
	(void)arg;
	run->given = *client;
	buf_add(&run->left, extra.at, extra.len);
}

static void on_ready(void *arg, struct exchange *x)
{
	struct str body = exchange_body(x);

	(void)arg;
	buf_add(&run->seen, body.at, body.len);
	if (run->does == 'u' && exchange_asks_websocket(x)) {
		exchange_add(x, "Upgrade", STR("websocket"));
		exchange_upgrade(x, given, NULL);
	} else if (run->does == 'c') {
		exchange_cut(x);
	} else if (run->does == 'w') {
		run->waits = x;
	} else {
		exchange_answer(x, 200, STR("yes"));
	}
}

static void on_end(void *arg, struct exchange *x, enum exchange_end end)
{
	(void)arg;
	run->ended++;
	run->waits = run->waits == x ? NULL : run->waits;
	buf_printf(&run->seen, "end %d\n", end);
}

static void on_refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	buf_printf(&run->seen, "refused %d: %s\n", err, detail);
	exchange_answer(x, error_info(err)->status, str_of(detail));
}

static void on_closed(void *arg, const struct sockaddr_storage *peer, bool was_given)
{
	(void)arg, (void)peer;
	run->closed++;
	MUST(was_given == (run->given.fd >= 0));
}

/* -- a run ------------------------------------------------------------------------------------------------------------------ */
static void collect(int fd)
{
	char bytes[4096];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		buf_add(&run->said, bytes, (size_t)n);
}

static void go_on(int fd)
{
	for (int i = 0; i < TURNS; i++) {
		loop_turn(loop);
		if (run->waits && i == 2)
			exchange_answer(run->waits, 503, STR("later"));
		collect(fd);
	}
}

static void play(struct run *into, char does, struct str bytes, bool at_once)
{
	struct accepted accepted = { .peer.ss_family = AF_INET, .peer_len = sizeof(struct sockaddr_in) };
	char rest[4096];
	int pair[2];
	ssize_t n;

	run = into;
	*run = (struct run){ .given.fd = -1, .does = does };
	MUST(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	accepted.fd = pair[0];
	if (at_once)
		MUST(send(pair[1], bytes.at, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len);
	httpd_add(httpd, &accepted);
	loop_turn(loop);
	if (!at_once)
		MUST(send(pair[1], bytes.at, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len);
	go_on(pair[1]);
	while (run->given.fd >= 0 && (n = recv(run->given.fd, rest, sizeof(rest), MSG_DONTWAIT)) > 0)
		buf_add(&run->left, rest, (size_t)n);
	close(pair[1]);
	for (int i = 0; i < TURNS; i++)
		loop_turn(loop);
	MUST(run->closed == 1 && run->begun == run->ended);
	link_close(&run->given);
}

static void without_dates(struct buf *said)
{
	char *at = said->at, *line;

	while (at && (line = strstr(at, "\r\nDate: ")))
		memset(line + 8, ' ', 29), at = line + 8;
}

static void must_be_same(struct buf *a, struct buf *b)
{
	MUST(a->len == b->len && (!a->len || !memcmp(a->at, b->at, a->len)));
	buf_free(a);
	buf_free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static const struct httpd_conf conf = LIMITS;
	static const struct httpd_ops ops = { on_begin, on_ready, on_end, on_refuse, on_closed, NULL, NULL };
	struct str in = { (const char *)bytes, len > 8192 ? 8192 : len };
	char does = (char)feed_byte(&in);
	struct run early, late;

	loop = loop_new();
	loop_fake_clock(loop, 1);
	httpd = httpd_new(loop, &conf, &ops, NULL);
	MUST(httpd);
	play(&late, does, in, false);
	play(&early, does, in, true);
	without_dates(&late.said);
	without_dates(&early.said);
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "-- late\n%s\n%s\n-- early\n%s\n%s\n", late.said.at, late.seen.at, early.said.at, early.seen.at);
	must_be_same(&early.seen, &late.seen);
	must_be_same(&early.said, &late.said);
	must_be_same(&early.left, &late.left);
	httpd_free(httpd);
	loop_free(loop);
	return 0;
}
