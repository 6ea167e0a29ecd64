/* SPDX-License-Identifier: Apache-2.0 */
/* Against a fake Janus that knows rooms, secrets and the admin secret, and answers in Janus 1.1.2's words. */
#include <check.h>
#include <inttypes.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/conf.h"
#include "client/agent/janus_api.h"
#include "tests/unit/client/fake_http.h"

#define ROOMS_MAX 16

/* -- the fake ----------------------------------------------------------------------------------------------------------- */
struct fake_room {
	char room[600], description[64], secret[64]; /* as JSON text, quotes and all */
	int participants;
};
static struct {
	struct fake_http http;
	struct fake_room rooms[ROOMS_MAX];
	size_t count;
	unsigned lists, created, destroyed;
} fake;

static void take(char *out, size_t max, struct str object, const char *name, struct arena *arena)
{
	struct str value = json_member(object, name, arena);

	snprintf(out, max, "%.*s", STR_ARG(value));
}

static struct fake_room *fake_find(const char *room)
{
	for (size_t i = 0; i < fake.count; i++)
		if (!strcmp(fake.rooms[i].room, room))
			return &fake.rooms[i];
	return NULL;
}

static void plugin_error(struct buf *out, int code, const char *words)
{
	buf_printf(out, "{\"videoroom\":\"event\",\"error_code\":%d,\"error\":\"%s\"}", code, words);
}

static void fake_create(const struct fake_room *asked, struct buf *out)
{
	if (fake_find(asked->room)) {
		plugin_error(out, 427, "Room already exists");
		return;
	}
	fake.rooms[fake.count++] = *asked;
	fake.created++;
	buf_printf(out, "{\"videoroom\":\"created\",\"room\":%s,\"permanent\":false}", asked->room);
}

static void fake_destroy(const struct fake_room *asked, struct buf *out)
{
	struct fake_room *held = fake_find(asked->room);

	if (!held) {
		plugin_error(out, 426, "No such room");
	} else if (strcmp(held->secret, asked->secret) != 0) {
		plugin_error(out, 433, "Unauthorized (wrong secret)");
	} else {
		*held = fake.rooms[--fake.count];
		fake.destroyed++;
		buf_printf(out, "{\"videoroom\":\"destroyed\",\"room\":%s,\"permanent\":false}", asked->room);
	}
}

static void fake_list(struct buf *out)
{
	fake.lists++;
	buf_adds(out, "{\"videoroom\":\"success\",\"list\":[");
	for (size_t i = 0; i < fake.count; i++)
		buf_printf(out, "%s{\"room\":%s,\"description\":%s,\"pin_required\":true,\"num_participants\":%d}", i ? "," : "",
		           fake.rooms[i].room, fake.rooms[i].description, fake.rooms[i].participants);
	buf_adds(out, "]}");
}

static void fake_plugin(struct str request, struct arena *arena, struct buf *out)
{
	struct fake_room asked = { 0 };
	char verb[32];

	take(verb, sizeof(verb), request, "request", arena);
	take(asked.room, sizeof(asked.room), request, "room", arena);
	take(asked.description, sizeof(asked.description), request, "description", arena);
	take(asked.secret, sizeof(asked.secret), request, "secret", arena);
	if (!strcmp(verb, "\"create\""))
		fake_create(&asked, out);
	else if (!strcmp(verb, "\"destroy\""))
		fake_destroy(&asked, out);
	else if (!strcmp(verb, "\"list\""))
		fake_list(out);
	else
		buf_adds(out, "{\"videoroom\":\"success\",\"exists\":false}");
}

static void fake_answer(void *arg, const char *request, const char *body, struct buf *out)
{
	struct arena arena = { 0 };
	struct buf text = { 0 };
	struct str asked = str_of(body);

	(void)arg;
	(void)request;
	if (!str_is(json_member(asked, "admin_secret", &arena), "\"s3cret\"")) {
		buf_adds(&text, "{\"janus\":\"error\",\"transaction\":\"usher\",\"error\":{\"code\":403,\"reason\":\"Unauthorized request\"}}");
	} else {
		buf_adds(&text, "{\"janus\":\"success\",\"transaction\":\"usher\",\"response\":");
		fake_plugin(json_member(asked, "request", &arena), &arena, &text);
		buf_adds(&text, "}");
	}
	fake_http_answer(out, "200 OK", text.at);
	buf_free(&text);
	arena_reset(&arena);
}

static void fake_hold(const char *room, const char *description, const char *secret, int participants)
{
	struct fake_room *held = &fake.rooms[fake.count++];

	snprintf(held->room, sizeof(held->room), "\"%s\"", room);
	snprintf(held->description, sizeof(held->description), "\"%s\"", description);
	snprintf(held->secret, sizeof(held->secret), "\"%s\"", secret);
	held->participants = participants;
}

/* -- the agent's side --------------------------------------------------------------------------------------------------- */
static struct loop *loop;
static struct http *http;
static struct arena arena;
static struct agent_conf settings;
static struct adapter *adapter;
static char admin_url[64];

static struct adapter *adapter_new(void)
{
	const struct adapter_conf conf = { loop, http, &settings };
	const char *why = NULL;
	struct adapter *started = adapter_janus.start(&conf, &why);

	ck_assert_msg(started, "%s", why);
	return started;
}

static void setup(void)
{
	const struct http_conf conf = { .connect_timeout_ms = 2000, .connections_per_host = 4, .idle_connections = 4, .idle_ms = 1000 };

	memset(&fake, 0, sizeof(fake));
	fake_http_start(&fake.http, fake_answer, NULL);
	snprintf(admin_url, sizeof(admin_url), "http://127.0.0.1:%u/admin", fake.http.port);
	settings = (struct agent_conf){ .sfu_url = "ws://127.0.0.1:8188", .sfu_http_url = "", .sfu_admin_url = admin_url,
		                        .admin_secret = "s3cret", .admin_key = "k3y", .call_timeout_ms = 5000 };
	loop = loop_new();
	http = http_new(loop, &conf);
	adapter = adapter_new();
}

static void teardown(void)
{
	adapter_janus.free(adapter);
	http_free(http);
	loop_free(loop);
	arena_reset(&arena);
	fake_http_stop(&fake.http);
}

struct waiter {
	struct wait wait;
	int err;
	bool woken;
};

static void woken(struct wait *w, int err)
{
	struct waiter *waiter = container_of(w, struct waiter, wait);

	waiter->err = err;
	waiter->woken = true;
	loop_stop(loop);
}

static int finish(struct waiter *waiter, int err)
{
	if (err != WAIT)
		return err;
	while (!waiter->woken)
		loop_run(loop);
	return waiter->err;
}

static int open_at(const char *room, uint64_t epoch, struct str *hints)
{
	const struct adapter_open open = { .room = str_of(room), .epoch = epoch };
	struct waiter waiter = { .wait.wake = woken };
	struct adapter_opened opened = { 0 };
	int err = finish(&waiter, adapter_janus.open(adapter, &open, &arena, &opened, &waiter.wait));

	if (!err && hints)
		*hints = opened.hints;
	return err;
}

static int evict_at(struct adapter *by, const char *room, uint64_t epoch)
{
	struct waiter waiter = { .wait.wake = woken };

	return finish(&waiter, adapter_janus.evict(by, str_of(room), epoch, &waiter.wait));
}

static int check_health(void)
{
	struct waiter waiter = { .wait.wake = woken };

	return finish(&waiter, adapter_janus.health(adapter, &waiter.wait));
}

START_TEST(open_makes_the_room_and_hints_its_pin)
{
	struct str hints;

	ck_assert_int_eq(open_at("standup", 17, &hints), 0);
	ck_assert_uint_eq(fake.count, 1);
	ck_assert_str_eq(fake.rooms[0].room, "\"standup\"");
	ck_assert_str_eq(fake.rooms[0].description, "\"usher epoch=17\"");
	struct str janus = json_member(hints, "janus", &arena);
	ck_assert(str_is(json_member(janus, "plugin", &arena), "\"janus.plugin.videoroom\""));
	ck_assert(str_is(json_member(janus, "room", &arena), "\"standup\""));
	ck_assert_uint_eq(json_member(janus, "pin", &arena).len, 34);
	ck_assert_ptr_null(memmem(hints.at, hints.len, fake.rooms[0].secret + 1, 32)); /* the secret stays here */
}
END_TEST

START_TEST(open_again_is_the_same_room)
{
	struct str first, second;

	ck_assert_int_eq(open_at("a", 5, &first), 0);
	ck_assert_int_eq(open_at("a", 5, &second), 0);
	ck_assert(str_eq(first, second));
	ck_assert_uint_eq(fake.created, 1);
	ck_assert_uint_eq(fake.destroyed, 0);
}
END_TEST

START_TEST(open_higher_replaces_lower_is_a_conflict)
{
	struct str first, second;

	ck_assert_int_eq(open_at("a", 5, &first), 0);
	ck_assert_int_eq(open_at("a", 6, &second), 0);
	ck_assert(!str_eq(first, second)); /* who was let into the old room has no pin for the new one */
	ck_assert_uint_eq(fake.count, 1);
	ck_assert_str_eq(fake.rooms[0].description, "\"usher epoch=6\"");
	ck_assert_int_eq(open_at("a", 5, NULL), -ERR_CONFLICT);
	ck_assert_str_eq(fake.rooms[0].description, "\"usher epoch=6\"");
}
END_TEST

START_TEST(a_foreign_room_is_never_touched)
{
	fake_hold("demo", "Demo Room", "adminpwd", 3);
	ck_assert_int_eq(open_at("demo", 9, NULL), -ERR_CONFLICT);
	ck_assert_int_eq(evict_at(adapter, "demo", 9), 0);
	ck_assert_uint_eq(fake.count, 1);
}
END_TEST

START_TEST(evict_ends_this_epoch_and_older_ones)
{
	ck_assert_int_eq(open_at("a", 5, NULL), 0);
	ck_assert_int_eq(evict_at(adapter, "a", 4), 0); /* newer than what is evicted: stays */
	ck_assert_uint_eq(fake.count, 1);
	ck_assert_int_eq(evict_at(adapter, "a", 5), 0);
	ck_assert_uint_eq(fake.count, 0);
	ck_assert_int_eq(evict_at(adapter, "a", 5), 0); /* nothing there is fine */
	ck_assert_int_eq(open_at("a", 6, NULL), 0);
	ck_assert_int_eq(evict_at(adapter, "a", 8), 0);
	ck_assert_uint_eq(fake.count, 0);
}
END_TEST

START_TEST(a_restarted_agent_ends_the_old_ones_rooms)
{
	struct adapter *next;

	ck_assert_int_eq(open_at("a", 5, NULL), 0);
	next = adapter_new();
	ck_assert_int_eq(evict_at(next, "a", 5), 0);
	ck_assert_uint_eq(fake.count, 0);
	adapter_janus.free(next);
}
END_TEST

START_TEST(evict_says_so_when_another_key_made_the_room)
{
	fake_hold("a", "usher epoch=5", "another", 0);
	ck_assert_int_eq(evict_at(adapter, "a", 5), -ERR_CONFLICT);
	ck_assert_int_eq(open_at("a", 6, NULL), -ERR_CONFLICT);
}
END_TEST

START_TEST(poll_finds_rooms_with_epochs_and_people)
{
	struct waiter waiter = { .wait.wake = woken };
	struct adapter_sample sample = { 0 };

	ck_assert_int_eq(open_at("caf\xc3\xa9 \"1\"", 1795328740704, NULL), 0);
	fake.rooms[0].participants = 4;
	fake_hold("demo", "usher epoch=x", "-", 1);
	fake_hold("", "usher epoch=3", "-", 1); /* usher has no name for it */
	ck_assert_int_eq(finish(&waiter, adapter_janus.poll(adapter, &arena, &sample, &waiter.wait)), 0);
	ck_assert_uint_eq(sample.rooms.count, 2);
	ck_assert(str_is(sample.rooms.rooms[0].room, "caf\xc3\xa9 \"1\""));
	ck_assert_uint_eq(sample.rooms.rooms[0].epoch, 1795328740704);
	ck_assert_uint_eq(sample.rooms.rooms[0].participants, 4);
	ck_assert_uint_eq(sample.rooms.rooms[1].epoch, 0);
	ck_assert(!sample.has_cpu && !sample.has_stress && !sample.has_in && !sample.has_out);
}
END_TEST

START_TEST(poll_of_an_empty_janus)
{
	struct waiter waiter = { .wait.wake = woken };
	struct adapter_sample sample = { .rooms.count = 7 };

	ck_assert_int_eq(finish(&waiter, adapter_janus.poll(adapter, &arena, &sample, &waiter.wait)), 0);
	ck_assert_uint_eq(sample.rooms.count, 0);
}
END_TEST

START_TEST(health_sees_a_wrong_secret)
{
	ck_assert_int_eq(check_health(), 0);
	settings.admin_secret = "wrong";
	adapter_janus.free(adapter);
	adapter = adapter_new();
	ck_assert_int_eq(check_health(), -ERR_NODE_UNAVAILABLE);
	ck_assert_int_eq(open_at("a", 5, NULL), -ERR_NODE_UNAVAILABLE);
}
END_TEST

START_TEST(health_sees_that_nobody_listens)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0); /* bound, not listening: refuses, and nobody else gets the port */
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	snprintf(admin_url, sizeof(admin_url), "http://127.0.0.1:%u/admin", ntohs(at.sin_port));
	ck_assert_int_eq(check_health(), -ERR_NODE_UNAVAILABLE);
	close(fd);
}
END_TEST

START_TEST(a_waiter_may_leave)
{
	const struct adapter_open open = { .room = STR("a"), .epoch = 5 };
	struct waiter waiter = { .wait.wake = woken };
	struct adapter_opened opened = { 0 };

	ck_assert_int_eq(adapter_janus.open(adapter, &open, &arena, &opened, &waiter.wait), WAIT);
	wait_drop(&waiter.wait);
	ck_assert_int_eq(check_health(), 0); /* turns the loop: nobody is woken, nothing is written */
	ck_assert(!waiter.woken);
	ck_assert_ptr_null(opened.hints.at);
}
END_TEST

START_TEST(hints_fit_whatever_the_name)
{
	const struct janus_api api = { .key = "k3y" };
	char name[256], hints[512];

	memset(name, 'x', sizeof(name));
	janus_hints(&api, (struct str){ name, sizeof(name) }, 7, hints, sizeof(hints));
	ck_assert_ptr_nonnull(strstr(hints, "\"room\":\"xxx"));
	memset(name, '"', sizeof(name)); /* each takes two bytes in JSON */
	janus_hints(&api, (struct str){ name, sizeof(name) }, 7, hints, sizeof(hints));
	ck_assert_ptr_null(strstr(hints, "\"room\""));
	ck_assert_ptr_nonnull(strstr(hints, "\"pin\":\""));
	ck_assert_int_eq(hints[strlen(hints) - 1], '}');
}
END_TEST

START_TEST(secrets_depend_on_all_they_should)
{
	const struct janus_api api = { .key = "k3y" }, other = { .key = "k3z" };
	struct janus_secrets a, b;

	janus_derive(&api, STR("a"), 5, &a);
	ck_assert_str_ne(a.secret, a.pin);
	ck_assert_uint_eq(strlen(a.secret), 32);
	/* printf 'pin\0a\0005' | openssl dgst -sha256 -hmac k3y */
	ck_assert_str_eq(a.pin, "9926a8617f479aaab9f7d95171ea9fdc");
	janus_derive(&api, STR("a"), 6, &b);
	ck_assert_str_ne(a.pin, b.pin);
	janus_derive(&api, STR("b"), 5, &b);
	ck_assert_str_ne(a.pin, b.pin);
	janus_derive(&other, STR("a"), 5, &b);
	ck_assert_str_ne(a.pin, b.pin);
}
END_TEST

START_TEST(descriptions_read_back)
{
	char text[JANUS_DESCRIPTION_MAX];

	janus_describe(9007199254740991, text);
	ck_assert_uint_eq(janus_described(text), 9007199254740991);
	ck_assert_uint_eq(janus_described("usher epoch=9007199254740992"), 0);
	ck_assert_uint_eq(janus_described("usher epoch=1 "), 0);
	ck_assert_uint_eq(janus_described("usher epoch="), 0);
	ck_assert_uint_eq(janus_described("Demo Room"), 0);
	ck_assert_uint_eq(janus_described(NULL), 0);
}
END_TEST

START_TEST(start_names_the_key_that_is_missing)
{
	const struct adapter_conf conf = { loop, http, &settings };
	const char *why = NULL;

	settings.admin_key = "";
	ck_assert_ptr_null(adapter_janus.start(&conf, &why));
	ck_assert_ptr_nonnull(strstr(why, "agent.admin_key"));
	settings.sfu_url = "http://127.0.0.1:8188";
	ck_assert_ptr_null(adapter_janus.start(&conf, &why));
	ck_assert_ptr_nonnull(strstr(why, "agent.sfu_url"));
}
END_TEST

START_TEST(http_url_follows_the_signal_url)
{
	ck_assert_str_eq(adapter_janus.signal_url(adapter), "ws://127.0.0.1:8188");
	ck_assert_str_eq(adapter_janus.http_url(adapter), "http://127.0.0.1:8188");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("adapter_janus");
	TCase *all = tcase_create("all");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(all, setup, teardown);
	tcase_add_test(all, open_makes_the_room_and_hints_its_pin);
	tcase_add_test(all, open_again_is_the_same_room);
	tcase_add_test(all, open_higher_replaces_lower_is_a_conflict);
	tcase_add_test(all, a_foreign_room_is_never_touched);
	tcase_add_test(all, evict_ends_this_epoch_and_older_ones);
	tcase_add_test(all, a_restarted_agent_ends_the_old_ones_rooms);
	tcase_add_test(all, evict_says_so_when_another_key_made_the_room);
	tcase_add_test(all, poll_finds_rooms_with_epochs_and_people);
	tcase_add_test(all, poll_of_an_empty_janus);
	tcase_add_test(all, health_sees_a_wrong_secret);
	tcase_add_test(all, health_sees_that_nobody_listens);
	tcase_add_test(all, a_waiter_may_leave);
	tcase_add_test(all, hints_fit_whatever_the_name);
	tcase_add_test(all, secrets_depend_on_all_they_should);
	tcase_add_test(all, descriptions_read_back);
	tcase_add_test(all, start_names_the_key_that_is_missing);
	tcase_add_test(all, http_url_follows_the_signal_url);
	suite_add_tcase(suite, all);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
