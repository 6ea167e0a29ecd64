/* SPDX-License-Identifier: Apache-2.0 */
#include "bridge.h"
#include "httpd_play.h"

struct loop *loop;
struct httpd *httpd;
struct peer clients;
struct play_state seen;

/* -- the handler -------------------------------------------------------------------------------------------------------- */
static size_t sink_write(struct sink *sink, const char *bytes, size_t len)
{
	size_t take = len < seen.room ? len : seen.room;

	(void)sink;
	seen.sink_ends += !len;
	buf_add(&seen.taken, len ? bytes : "", take);
	seen.room -= take;
	if (seen.play == PLAY_CUT_SINK)
		exchange_cut(seen.x);
	return take;
}

static long source_read(struct source *source, char *out, size_t max)
{
	size_t n = seen.available < max ? seen.available : max;

	(void)source;
	if (!n)
		return seen.length < 0 || seen.at < (size_t)seen.length ? seen.source_end : SOURCE_END;
	memcpy(out, seen.bytes + seen.at, n);
	seen.at += n;
	seen.available -= n;
	return (long)n;
}

static void given(void *arg, struct link *client, struct str extra)
{
	ck_assert_ptr_eq(arg, &seen);
	seen.client = *client;
	snprintf(seen.extra, sizeof(seen.extra), "%.*s", STR_ARG(extra));
}

static void echo(struct exchange *x)
{
	struct str path = exchange_path(x), query = exchange_query(x), body = exchange_body(x);
	char *text = arena_printf(exchange_arena(x), "%s %.*s [%.*s] %.*s", exchange_method(x), STR_ARG(path),
	                          STR_ARG(query), (int)body.len, body.at ? body.at : "");

	exchange_add(x, "X-Echo", STR("yes"));
	exchange_answer(x, 200, str_of(text));
}

static void begin(void *arg, struct exchange *x)
{
	(void)arg;
	seen.begins++;
	seen.x = x;
	exchange_set(x, &seen);
	if (seen.play == PLAY_BEGIN)
		exchange_answer(x, 403, STR("no"));
	else if (seen.play == PLAY_CUT_BEGIN)
		exchange_cut(x);
	else if (seen.play == PLAY_SINK || seen.play == PLAY_CUT_SINK)
		exchange_stream_body(x, &seen.sink);
}

static void ready(void *arg, struct exchange *x)
{
	(void)arg;
	seen.readies++;
	ck_assert(exchange_body_here(x) && !exchange_answered(x));
	if (seen.play == PLAY_ECHO)
		echo(x);
	else if (seen.play == PLAY_SINK)
		exchange_answer(x, 200, str_of(arena_printf(exchange_arena(x), "%zu taken", seen.taken.len)));
	else if (seen.play == PLAY_SOURCE)
		exchange_answer_stream(x, 200, seen.length, &seen.source);
	else if (seen.play == PLAY_CUT)
		exchange_cut(x);
	else if (seen.play == PLAY_UPGRADE) {
		exchange_add(x, "Upgrade", STR("websocket"));
		exchange_upgrade(x, given, &seen);
	}
}

static void end(void *arg, struct exchange *x, enum exchange_end how)
{
	(void)arg;
	ck_assert_ptr_eq(exchange_get(x), &seen);
	seen.ends++;
	seen.sent += how == EXCHANGE_SENT;
	seen.gone += how == EXCHANGE_GONE;
	seen.given += how == EXCHANGE_GIVEN;
	seen.x = NULL;
}

static void refuse(void *arg, struct exchange *x, int err, const char *detail)
{
	(void)arg;
	seen.refusals++;
	seen.err = err;
	snprintf(seen.detail, sizeof(seen.detail), "%s", detail);
	exchange_answer(x, error_info(err)->status, STR("refused"));
}

static void closed(void *arg, const struct sockaddr_storage *peer, bool given)
{
	(void)arg;
	ck_assert_int_eq(peer->ss_family, AF_INET);
	seen.closed++;
	seen.closed_given += given;
}

static const struct tls *tls(void *arg)
{
	(void)arg;
	return bridge_server();
}

static void shaken(void *arg, const char *outcome)
{
	(void)arg;
	seen.outcome = outcome;
}

/* -- the server ---------------------------------------------------------------------------------------------------------- */
void httpd_start(uint64_t connections)
{
	static const struct httpd_ops ops = { begin, ready, end, refuse, closed, tls, shaken };
	struct httpd_conf conf = { .body_bytes = 65536, .header_bytes = 4096, .headers = 16, .connections = connections,
		                   .header_ms = HEADER_MS, .body_ms = BODY_MS, .idle_ms = IDLE_MS, .write_stall_ms = STALL_MS };

	httpd = httpd_new(loop, &conf, &ops, NULL);
	ck_assert_ptr_nonnull(httpd);
}

void play_setup(void)
{
	memset(&seen, 0, sizeof(seen));
	seen.sink.write = sink_write;
	seen.source.read = source_read;
	seen.room = SIZE_MAX;
	seen.length = -1;
	seen.source_end = SOURCE_END;
	seen.client.fd = -1;
	loop = loop_new();
	loop_fake_clock(loop, 1); /* a slow machine is no slow client */
	clients = (struct peer){ .loop = loop };
	httpd_start(CONNECTIONS_MAX);
}

void play_teardown(void)
{
	if (httpd)
		httpd_free(httpd);
	httpd = NULL;
	ck_assert_uint_eq(seen.begins, seen.ends);
	link_close(&seen.client);
	peer_free(&clients);
	bridge_free();
	buf_free(&seen.taken);
	loop_free(loop);
}

/* -- the clients ---------------------------------------------------------------------------------------------------------- */
struct peer_conn *client_with(const char *first)
{
	uint16_t port;
	int lfd = listen_anywhere(&port), fd = connect_to(port);
	ck_assert_int_eq(send(fd, first, strlen(first), 0), (ssize_t)strlen(first));
	struct accepted accepted = { .fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), .tag = 7 };

	accepted.peer_len = sizeof(accepted.peer);
	getpeername(accepted.fd, (struct sockaddr *)&accepted.peer, &accepted.peer_len);
	if (*first)
		ck_assert_int_eq(poll(&(struct pollfd){ .fd = accepted.fd, .events = POLLIN }, 1, 20000), 1);
	close(lfd);
	fix_sizes(accepted.fd);
	fix_sizes(fd);
	httpd_add(httpd, &accepted);
	return peer_adopt(&clients, bridge_wanted() ? bridge_new(loop, fd) : fd);
}

struct peer_conn *client_new(void)
{
	return client_with("");
}

struct peer_conn *ask_at_once(const char *request)
{
	struct peer_conn *c = client_with(request);

	loop_turn(loop);
	return c;
}

struct peer_conn *ask(const char *request)
{
	struct peer_conn *c = client_new();

	loop_turn(loop);
	peer_says(c, request);
	return c;
}

bool has(const struct peer_conn *c, const char *text)
{
	return c->in.len && memmem(c->in.at, c->in.len, text, strlen(text));
}

size_t count(const struct peer_conn *c, const char *text)
{
	size_t n = 0;

	for (const char *at = c->in.at; at && (at = strstr(at, text)); at++)
		n++;
	return n;
}

const char *body_of(const struct peer_conn *c)
{
	const char *end = c->in.len ? memmem(c->in.at, c->in.len, "\r\n\r\n", 4) : NULL;

	return end ? end + 4 : "";
}

const char *pattern(size_t len)
{
	static char *bytes;
	unsigned seed = 11;

	free(bytes);
	bytes = malloc(len);
	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
	return bytes;
}
