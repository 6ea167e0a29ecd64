/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libusher and the agent's Janus calls against servers that answer as they like: the first byte says who asks (j a joiner, n a
 * node, J Janus' admin API); then the answers, whole and raw, with 0xff between them; the last is said again.
 */
#include <fcntl.h>
#include <poll.h>

#include "base/http.h"
#include "base/log.h"
#include "base/wait.h"
#include "client/agent/janus_api.h"
#include "client/lib/join.h"
#include "client/lib/node.h"
#include "tests/fuzz/far.h"

#define TURNS 10

static struct str answers, last;
static struct loop *loop;
static uint64_t now, boot;
static const char *urls[1];
static unsigned done;
static bool hangs_up; /* libcurl's own deadlines are by a clock that is not ours: a silent server ends when the input does */

static void server_got(struct far_conn *c)
{
	const char *end, *length;

	if (hangs_up)
		far_end(c);
	for (;;) {
		const char *at = c->in.len ? c->in.at + c->taken : "";
		if (c->fd < 0 || c->taken >= c->in.len || !(end = strstr(at, "\r\n\r\n")))
			return;
		length = strcasestr(at, "\r\ncontent-length:");
		size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
		if (c->in.len < (size_t)(end + 4 - c->in.at) + body)
			return;
		c->taken = (size_t)(end + 4 - c->in.at) + body;
		if (answers.len)
			str_cut(&answers, '\xff', &last);
		far_say(c, last.at, last.len);
	}
}

static void pass(uint64_t ms)
{
	now += ms;
	boot += ms;
	for (int i = 0; i < TURNS; i++) {
		loop_fake_clock(loop, ++now);
		loop_turn(loop);
	}
}

static void hang_up(struct far *far)
{
	hangs_up = true;
	for (struct far_conn *c = far->conns; c; c = c->next)
		far_end(c);
}

static uint64_t boot_ms(void)
{
	return boot;
}

/* -- who asks ------------------------------------------------------------------------------------------------------------------- */
static void joined(void *arg, const struct usher_joined *j)
{
	(void)arg;
	done++;
	MUST(j->status >= 0 && j->status < 1000 && j->code && j->room && j->node && j->signal_url && j->hints && j->hints[0] == '{');
	MUST(j->status != 200 || (*j->room && *j->signal_url && j->epoch));
}

static void as_joiner(struct far *far)
{
	struct usher_join_options options = { .size = sizeof(options), .routers = urls, .nrouters = 1, .room = "a/b", .timeout_ms = 2000 };
	struct usher_join *join = join_new_on(loop, &options, joined, NULL);

	MUST(join);
	done = 0;
	for (int i = 0; i < 8; i++)
		pass(300);
	hang_up(far);
	pass(300);
	MUST(done == 1);
	usher_join_free(join);
}

static void evicted(void *arg, const char *room, uint64_t epoch)
{
	struct usher_node **node = arg;

	usher_node_room_remove(*node, room, epoch);
}

static void as_node(struct far *far)
{
	struct usher_node *node = NULL;
	struct usher_node_options options = { .size = sizeof(options), .node = "sfu-1", .incarnation = "i-1", .routers = urls, .nrouters = 1,
		                              .signal_url = "ws://127.0.0.1:1/", .evict = evicted, .arg = &node };

	node = node_new_on(loop, &options, NULL);
	MUST(node);
	node->boot_ms = boot_ms;
	usher_node_room_set(node, "a", 5, 1);
	for (int i = 0; i < 6; i++) {
		pass(400);
		MUST(usher_node_lease_left_ms(node) >= 0 && usher_node_rooms(node) <= 1);
		MUST(usher_node_admits(node) == (usher_node_lease_left_ms(node) > 0) || usher_node_phase(node) != USHER_NODE_ADMITS);
	}
	hang_up(far);
	usher_node_leave(node);
	for (int i = 0; i < 200 && usher_node_phase(node) != USHER_NODE_LEFT; i++) {
		pass(400);
		struct pollfd p = { .fd = loop_backend_fd(loop), .events = POLLIN };
		poll(&p, 1, i < 8 ? 0 : 5); /* libcurl asks for the addresses of names on a thread */
	}
	MUST(usher_node_phase(node) == USHER_NODE_LEFT);
	usher_node_free(node);
}

static void woken(struct wait *w, int err)
{
	(void)w, (void)err;
	done++;
}

static void as_janus(struct far *far)
{
	struct http_conf conf = { .connect_timeout_ms = 500, .connections_per_host = 4, .idle_connections = 4, .idle_ms = 1000 };
	struct janus_api api = { .http = http_new(loop, &conf), .url = urls[0], .secret = "s", .key = "k", .timeout_ms = 500 };
	struct arena arena = { 0 };
	struct janus_reply reply = { 0 };

	for (int i = 0; i < 4; i++) {
		struct wait w = { .wake = woken };
		done = 0;
		int err = i == 0 ? janus_check(&api, &arena, &reply, &w) : i == 1 ? janus_list(&api, &arena, &reply, &w) :
		          i == 2 ? janus_create(&api, STR("r"), 5, &arena, &reply, &w) : janus_destroy(&api, STR("r"), 5, &arena, &reply, &w);
		for (int n = 0; n < 4 && !done; n++)
			pass(200);
		if (err == WAIT && !done) {
			hang_up(far);
			pass(200);
		}
		MUST(done == (err == WAIT));
		const struct janus_room *rooms = reply.rooms.items;
		for (size_t room = 0; room < reply.rooms.count; room++)
			janus_described(rooms[room].description ? rooms[room].description : "");
	}
	http_free(api.http);
	arena_reset(&arena);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	far_listen();
	MUST(log_open(open("/dev/null", O_WRONLY), LOG_INFO, LOG_JSON) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	struct far far;
	char url[64], who = (char)feed_byte(&in);

	answers = in;
	last = STR("");
	hangs_up = false;
	loop = loop_new();
	now = loop_now_ms(loop);
	boot = 1000000;
	loop_fake_clock(loop, now);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", far_port);
	urls[0] = url;
	far_open(&far, loop, server_got, NULL);
	if (who == 'n')
		as_node(&far);
	else if (who == 'J')
		as_janus(&far);
	else
		as_joiner(&far);
	far_close(&far);
	loop_free(loop);
	return 0;
}
