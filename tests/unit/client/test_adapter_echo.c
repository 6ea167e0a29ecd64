/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "base/httpd.h"
#include "base/url.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/conf.h"
#include "client/agent/echo_peer.h"
#include "tests/unit/base/peer.h"
#include "base/arena.h"

#define HANDSHAKE "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static struct loop *loop;
static struct adapter *echo;
static struct agent_conf settings;
static struct peer clients;
static struct arena arena;

static void start(void)
{
	struct adapter_conf conf = { .loop = loop, .settings = &settings };
	const char *why = NULL;

	echo = adapter_echo.start(&conf, &why);
	ck_assert_msg(echo, "%s", why);
}

static void setup(void)
{
	loop = loop_new();
	settings = (struct agent_conf){ .connections = 100, .echo_load = -1 };
	clients = (struct peer){ .loop = loop };
	start();
}

static void teardown(void)
{
	adapter_echo.free(echo);
	peer_free(&clients);
	loop_free(loop);
	arena_reset(&arena);
}

static int open_at(const char *room, uint64_t epoch)
{
	struct adapter_open open = { .room = str_of(room), .epoch = epoch };
	struct adapter_opened opened = { 0 };
	int err = adapter_echo.open(echo, &open, &arena, &opened, NULL);

	if (!err)
		ck_assert(opened.hints.len >= 2 && opened.hints.at[0] == '{');
	return err;
}

static struct adapter_sample sample(void)
{
	struct adapter_sample out = { 0 };

	ck_assert_int_eq(adapter_echo.poll(echo, &arena, &out, NULL), 0);
	return out;
}

static uint64_t people(const char *room)
{
	struct adapter_sample now = sample();

	for (size_t i = 0; i < now.rooms.count; i++)
		if (str_is(now.rooms.rooms[i].room, room))
			return now.rooms.rooms[i].participants;
	return UINT64_MAX;
}

static struct peer_conn *asks(const char *request_line, const char *headers, const char *body, size_t len)
{
	struct url url;
	struct buf text = { 0 };

	ck_assert(url_parse(adapter_echo.http_url(echo), &url, NULL));
	struct peer_conn *client = peer_adopt(&clients, connect_to(url.port));
	buf_printf(&text, "%s HTTP/1.1\r\nHost: x\r\n%s", request_line, headers);
	if (body)
		buf_printf(&text, "Content-Length: %zu\r\n", len);
	buf_adds(&text, "\r\n");
	buf_add(&text, body, len);
	peer_send(client, text.at, text.len);
	buf_free(&text);
	return client;
}

static bool has(const struct peer_conn *c, const char *text)
{
	return c->in.len && memmem(c->in.at, c->in.len, text, strlen(text));
}

START_TEST(rooms_keep_to_epochs)
{
	ck_assert_int_eq(open_at("a", 5), 0);
	ck_assert_int_eq(open_at("a", 5), 0);
	ck_assert_int_eq(open_at("a", 4), -ERR_CONFLICT);
	ck_assert_int_eq(open_at("a", 6), 0);
	ck_assert_int_eq(adapter_echo.evict(echo, STR("a"), 5, NULL), 0);
	ck_assert_uint_eq(sample().rooms.count, 1);
	ck_assert_uint_eq(sample().rooms.rooms[0].epoch, 6);
	ck_assert_int_eq(adapter_echo.evict(echo, STR("a"), 7, NULL), 0);
	ck_assert_int_eq(adapter_echo.evict(echo, STR("a"), 7, NULL), 0);
	ck_assert_uint_eq(sample().rooms.count, 0);
	ck_assert_int_eq(adapter_echo.health(echo, NULL), 0);
}
END_TEST

START_TEST(its_load_is_what_it_was_told)
{
	ck_assert(!sample().has_cpu);
	adapter_echo.free(echo);
	settings.echo_load = 0.7;
	start();
	ck_assert(sample().has_cpu && sample().cpu > 0.69 && sample().cpu < 0.71);
}
END_TEST

START_TEST(a_request_is_answered_with_what_was_seen_of_it)
{
	struct peer_conn *client = asks("PATCH /a%2Fb?c=%20", "X-Usher-Room: r\r\n", "b\"dy", 4);

	UNTIL(loop, has(client, "\"body\":\"b\\\"dy\""));
	ck_assert(has(client, "\"method\":\"PATCH\"") && has(client, "\"path\":\"/a%2Fb?c=%20\"") && has(client, "\"X-Usher-Room\":\"r\""));
	client = asks("POST /x", "", "\xff\xfe", 2); /* not text: left out, not broken */
	UNTIL(loop, has(client, "\"path\":\"/x\""));
	ck_assert(!has(client, "\"body\""));
}
END_TEST

START_TEST(a_body_of_any_size_is_hashed)
{
	size_t len = 5u << 20;
	char *body = calloc(1, len);

	struct peer_conn *client = asks("PUT /room/_sha256", "", body, len);
	/* head -c 5242880 /dev/zero | sha256sum */
	UNTIL(loop, has(client, "c036cbb7553a909f8b8877d4461924307f27ecb66cff928eeeafd569c3887e29"));
	client = asks("GET /_sha256", "", NULL, 0);
	UNTIL(loop, has(client, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
	free(body);
}
END_TEST

START_TEST(a_body_over_the_limit_is_refused)
{
	struct peer_conn *client = asks("PUT /x", "Content-Length: 2000000\r\n", NULL, 0);

	UNTIL(loop, has(client, "HTTP/1.1 413 "));
}
END_TEST

static struct peer_conn *visits(const char *headers)
{
	struct buf all = { 0 };

	buf_printf(&all, "%s%s", headers, HANDSHAKE);
	struct peer_conn *client = asks("GET /", all.at, NULL, 0);
	buf_free(&all);
	UNTIL(loop, has(client, "\r\n\r\n"));
	ck_assert_msg(has(client, "HTTP/1.1 101 ") && has(client, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "%s", client->in.at);
	return client;
}

START_TEST(a_websocket_gets_back_what_it_sends)
{
	struct peer_conn *client = visits("Sec-WebSocket-Protocol: janus-protocol, other\r\n");

	ck_assert(has(client, "Sec-WebSocket-Protocol: janus-protocol\r\n"));
	client->in.len = 0;
	peer_send(client, "\x81\x82\0\0\0\0hi\x88\x82\0\0\0\0\x10\xe1", 16);
	UNTIL(loop, client->eof);
	ck_assert_uint_eq(client->in.len, 8);
	ck_assert_mem_eq(client->in.at, "\x81\x02hi\x88\x02\x10\xe1", 8);
}
END_TEST

START_TEST(what_is_no_handshake_is_refused)
{
	struct peer_conn *client = asks("GET /", "Upgrade: websocket\r\nConnection: Upgrade\r\n", NULL, 0);

	UNTIL(loop, has(client, "HTTP/1.1 400 "));
}
END_TEST

START_TEST(people_are_counted_by_room)
{
	ck_assert_int_eq(open_at("a b", 5), 0);
	struct peer_conn *one = visits("X-Usher-Room: a%20b\r\n"), *two = visits("X-Usher-Room: a%20b\r\n");
	visits("X-Usher-Room: elsewhere\r\n");
	UNTIL(loop, people("a b") == 2);
	peer_close(one);
	UNTIL(loop, people("a b") == 1);
	two->in.len = 0;
	ck_assert_int_eq(adapter_echo.evict(echo, STR("a b"), 5, NULL), 0);
	UNTIL(loop, two->eof);
	ck_assert(has(two, "room_closed"));
	ck_assert_int_eq(open_at("a b", 6), 0);
	ck_assert_uint_eq(people("a b"), 0);
}
END_TEST

/* Its reader sleeps: the echo takes no more than the kernel's buffers and one block of its own. */
START_TEST(a_slow_reader_stops_the_echo)
{
	struct peer_conn *client = visits("");
	static char frame[14 + 65536] = "\x82\xff\0\0\0\0\0\1\0\0\0\0\0\0";
	size_t frames = 0, quiet = 0, before = 0;

	client->in.len = 0;
	client->paused = true;
	for (peer_wait(client); quiet < 20; quiet = client->sent == before ? quiet + 1 : 0) {
		before = client->sent;
		if (client->sent == client->out.len) {
			before = client->sent = client->out.len = 0;
			peer_send(client, frame, sizeof(frame));
			frames++;
		}
		turns(loop, 3);
		ck_assert_uint_lt(frames, 10000);
	}
	client->paused = false;
	peer_wait(client);
	UNTIL(loop, client->in.len == frames * (sizeof(frame) - 4)); /* and nothing is lost: the mask alone does not come back */
}
END_TEST

START_TEST(who_is_queued_when_it_stops_is_cut)
{
	struct url url;

	ck_assert(url_parse(adapter_echo.http_url(echo), &url, NULL));
	struct peer_conn *client = peer_adopt(&clients, connect_to(url.port));
	adapter_echo.free(echo);
	UNTIL(loop, client->eof);
	start();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("adapter_echo");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_set_timeout(all, 60);
	tcase_add_test(all, rooms_keep_to_epochs);
	tcase_add_test(all, its_load_is_what_it_was_told);
	tcase_add_test(all, a_request_is_answered_with_what_was_seen_of_it);
	tcase_add_test(all, a_body_of_any_size_is_hashed);
	tcase_add_test(all, a_body_over_the_limit_is_refused);
	tcase_add_test(all, a_websocket_gets_back_what_it_sends);
	tcase_add_test(all, what_is_no_handshake_is_refused);
	tcase_add_test(all, people_are_counted_by_room);
	tcase_add_test(all, a_slow_reader_stops_the_echo);
	tcase_add_test(all, who_is_queued_when_it_stops_is_cut);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
