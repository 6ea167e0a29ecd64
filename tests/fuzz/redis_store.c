/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store over a Redis that says what it likes. The first line: which kind of store (1, s, c), G if the greeting, too, is
 * answered by the input, and a letter for each operation that is asked; then the server's answers, one for each command, with
 * 0xff between them. One that is empty, and all that are missing, are what a Redis would say. P before an answer: it is said on
 * the connection that is subscribed.
 *
 * Whatever it says, each operation comes back, once, by its deadline, and nothing is left of it. But it speaks the protocol: one
 * reply for each command, and messages only where they are awaited. hiredis asserts that, and the store is trusted (SECURITY.md).
 */
#include <fcntl.h>
#include <hiredis/hiredis.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/retire.h"
#include "base/wait.h"
#include "registry/nodes.h"
#include "registry/redis_read.h"
#include "registry/registry.h"
#include "registry/rooms.h"
#include "registry/table.h"
#include "tests/fuzz/far.h"

#define OPERATIONS_MAX 16
#define MUTE 1 /* state of a connection */
#define TURNS 8
#define DUE_MS 400
#define STEPS 4

static struct str answers; /* not yet given */
static bool greeted_by_input;
static struct far_conn *subscribed;

/* -- the server ---------------------------------------------------------------------------------------------------------------- */
#define RUN_ID "$60\r\n# Server\r\nrun_id:0123456789abcdef\r\ncluster_state:ok\r\nx:0\r\n\r\n\r\n"

static void say_default(struct far_conn *c, struct str verb, struct str word)
{
	static const char record[] = "*9\r\n$4\r\nopen\r\n$1\r\n7\r\n$1\r\nn\r\n"
				     "$1\r\ni\r\n$1\r\n5\r\n$1\r\n1\r\n$1\r\nr\r\n$0\r\n\r\n$2\r\n{}\r\n";
	char text[256] = "$-1\r\n";

	if (str_is(verb, "PING") || str_is(verb, "SELECT") || str_is(verb, "SCRIPT") || str_is(verb, "ASKING") ||
	    (str_is(verb, "CLIENT") && !str_is(word, "ID")))
		snprintf(text, sizeof(text), "+OK\r\n");
	else if (str_is(verb, "ROLE"))
		snprintf(text, sizeof(text), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
	else if (str_is(verb, "INFO") || (str_is(verb, "CLUSTER") && str_is(word, "INFO")))
		snprintf(text, sizeof(text), "%s", RUN_ID);
	else if (str_is(verb, "CLIENT") || str_is(verb, "HLEN") || str_is(verb, "PUBLISH"))
		snprintf(text, sizeof(text), ":7\r\n");
	else if (str_is(verb, "SUBSCRIBE"))
		snprintf(text, sizeof(text), "*3\r\n$9\r\nsubscribe\r\n$%zu\r\n%.*s\r\n:1\r\n", word.len, STR_ARG(word));
	else if (str_is(verb, "CLUSTER"))
		snprintf(text, sizeof(text), "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$9\r\n127.0.0.1\r\n:%u\r\n", far_port);
	else if (str_is(verb, "SENTINEL") && str_is(word, "master"))
		snprintf(text, sizeof(text), "*2\r\n$12\r\nconfig-epoch\r\n$1\r\n3\r\n");
	else if (str_is(verb, "SENTINEL"))
		snprintf(text, sizeof(text), "*2\r\n$9\r\n127.0.0.1\r\n$5\r\n%05u\r\n", far_port);
	else if (str_is(verb, "SMEMBERS"))
		snprintf(text, sizeof(text), "*2\r\n$1\r\nn\r\n$1\r\nm\r\n");
	else if (str_is(verb, "TIME"))
		snprintf(text, sizeof(text), "*2\r\n$10\r\n1800000000\r\n$1\r\n0\r\n");
	else if (str_is(verb, "SCAN") || str_is(verb, "HSCAN"))
		snprintf(text, sizeof(text), "*2\r\n$1\r\n0\r\n*2\r\n$7\r\nu:r:abc\r\n$3\r\n7 1\r\n");
	else if (str_is(verb, "HMGET"))
		snprintf(text, sizeof(text), "%s", record);
	far_say(c, text, strlen(text));
}

static bool is_greeting(struct str verb)
{
	return str_is(verb, "PING") || str_is(verb, "ROLE") || str_is(verb, "INFO") || str_is(verb, "CLIENT") || str_is(verb, "SUBSCRIBE") ||
	       str_is(verb, "CLUSTER") || str_is(verb, "SENTINEL") || str_is(verb, "SELECT") || str_is(verb, "SCRIPT") || str_is(verb, "ASKING");
}

enum said { SAID_ONE, SAID_PART, SAID_MORE };

enum due { DUE_ANY, DUE_SUBSCRIPTION, DUE_MESSAGE };

/* What hiredis asserts of whoever is subscribed: of a list as an answer to SUBSCRIBE, of anything else that comes. */
static bool is_due(const redisReply *reply, enum due due)
{
	if (due == DUE_ANY || (due == DUE_SUBSCRIPTION && (!reply || reply->type != REDIS_REPLY_ARRAY)))
		return true;
	if (!reply || reply_count(reply) != 3 || !reply_str(reply_at(reply, 1)).at)
		return false;
	if (due == DUE_MESSAGE)
		return str_is(reply_str(reply_at(reply, 0)), "message");
	return str_is(reply_str(reply_at(reply, 0)), "subscribe") && reply_at(reply, 2)->type == REDIS_REPLY_INTEGER;
}

/* Is it one reply? What breaks the protocol is: hiredis then ends the connection. */
static enum said judge(struct str said, enum due due)
{
	redisReader *reader = redisReaderCreate();
	redisReply *reply = NULL;
	enum said how = SAID_ONE;

	redisReaderFeed(reader, said.at, said.len);
	if (redisReaderGetReply(reader, (void **)&reply) == REDIS_OK && !reply)
		how = SAID_PART;
	else if (reply && reader->pos < reader->len)
		how = SAID_MORE;
	if (how == SAID_ONE && !is_due(reply, due))
		how = SAID_MORE;
	if (reply)
		freeReplyObject(reply);
	redisReaderFree(reader);
	return how;
}

static void say(struct far_conn *c, struct str said, enum due due)
{
	enum said how = judge(said, due);

	if (how != SAID_MORE && c->state != MUTE)
		far_say(c, said.at, said.len);
	else if (due != DUE_MESSAGE)
		c->state = MUTE;
	if (how == SAID_PART)
		c->state = MUTE; /* else the rest of it would be taken from the next */
}

static void answer(struct far_conn *c, struct str verb, struct str word)
{
	struct str said = { 0 };

	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "%.*s %.*s\n", STR_ARG(verb), STR_ARG(word));
	while ((greeted_by_input || !is_greeting(verb)) && str_cut(&answers, '\xff', &said) && said.len && said.at[0] == 'P' && subscribed)
		say(subscribed, (struct str){ said.at + 1, said.len - 1 }, DUE_MESSAGE);
	if (said.len && said.at[0] != 'P')
		say(c, said, str_is(verb, "SUBSCRIBE") ? DUE_SUBSCRIPTION : DUE_ANY);
	else if (c->state != MUTE)
		say_default(c, verb, word);
	if (str_is(verb, "SUBSCRIBE"))
		subscribed = c;
}

/* Takes "*N\r\n$len\r\nword\r\n…", as registry/redis_command.c writes it, and keeps the first two words. False: not whole yet. */
static bool take_command(struct far_conn *c, struct str words[2])
{
	const char *at = c->in.at + c->taken, *end = c->in.at + c->in.len, *line;
	size_t n, len;

	if (at == end || *at != '*' || !(line = memchr(at, '\n', (size_t)(end - at))))
		return false;
	n = strtoul(at + 1, NULL, 10);
	at = line + 1;
	for (size_t i = 0; i < n; i++) {
		if (at >= end || !(line = memchr(at, '\n', (size_t)(end - at))))
			return false;
		len = strtoul(at + 1, NULL, 10);
		if ((size_t)(end - line - 1) < len + 2)
			return false;
		if (i < 2)
			words[i] = (struct str){ line + 1, len };
		at = line + 1 + len + 2;
	}
	c->taken = (size_t)(at - c->in.at);
	return true;
}

static void server_got(struct far_conn *c)
{
	struct str words[2] = { STR(""), STR("") };

	while (c->fd >= 0 && c->in.len && take_command(c, words)) {
		answer(c, words[0], words[1]);
		words[0] = words[1] = STR("");
	}
}

/* -- the store ----------------------------------------------------------------------------------------------------------------- */
union results {
	struct room room;
	struct claimed claimed;
	struct restored restored;
	struct rooms_page page;
	struct nodes_all nodes;
	struct registered registered;
	struct renewed renewed;
	struct reserved reserved;
	struct store_mark mark;
	struct routers_all routers;
	struct nodes_page ids;
	struct room_report entry;
	enum owner_seen owner;
	bool yes;
};
struct asked {
	struct wait w;
	bool waits;
	unsigned woken;
	union results out;
	struct arena arena;
};

static void woken(struct wait *w, int err)
{
	if (getenv("FUZZ_SAY"))
		fprintf(stderr, "woken %d\n", err);
	container_of(w, struct asked, w)->woken++;
}

static int start(struct store *s, char letter, uint64_t due, struct asked *a)
{
	static const struct claim claim = { .node = "n", .incarnation = "i", .registration = 5 };
	static const struct restoring restoring = { .name = { "abc", 3 }, .epoch = 7, .registration = 5, .node = "n", .incarnation = "i" };
	static const struct registration_request registration = { .incarnation = "i", .info = { "{}", 2 }, .lease_ms = 4000 };
	static const struct renewal renewal = { .incarnation = "i", .registration = 5, .seq = 2, .lease_ms = 4000 };
	static const struct reserve reserve = { .room = { "abc", 3 }, .registration = 5, .cost = 0.01 };
	const struct str room = STR("abc");
	struct rooms_query query = { .limit = 10, .node = letter == 'n' ? "n" : NULL };

	switch (letter) {
	case 'f': return rooms_find(s, room, true, due, &a->out.room, &a->w);
	case 'c': return rooms_claim(s, room, &claim, due, &a->out.claimed, &a->w);
	case 'v': return rooms_confirm(s, room, 7, due, &a->out.claimed, &a->w);
	case 'p': return rooms_publish(s, room, 7, STR("{}"), due, &a->out.claimed, &a->w);
	case 'm': return rooms_move(s, room, 7, due, &a->out.claimed, &a->w);
	case 'r': return rooms_restore(s, &restoring, 1, due, &a->out.restored, &a->w);
	case 'h': return rooms_shut(s, room, 7, due, &a->out.claimed, &a->w);
	case 'g': return rooms_forget(s, room, 7, due, &a->out.claimed, &a->w);
	case 'l':
	case 'n': return rooms_list(s, &query, &a->arena, due, &a->out.page, &a->w);
	case 'a': return nodes_all(s, &a->arena, due, &a->out.nodes, &a->w);
	case 'R': return nodes_register(s, "n", &registration, due, &a->out.registered, &a->w);
	case 'b': return nodes_renew(s, "n", &renewal, due, &a->out.renewed, &a->w);
	case 'L': return nodes_leave(s, "n", "i", due, &a->out.yes, &a->w);
	case 'o': return nodes_owner(s, "n", "i", due, &a->out.owner, &a->w);
	case 'w': return nodes_set_wish(s, "n", WISH_CORDONED, STR(""), due, &a->w);
	case 'e': return nodes_reserve(s, "n", &reserve, due, &a->out.reserved, &a->w);
	case 'k': return registry_look_at_mark(s, false, due, &a->out.mark, &a->w);
	case 'K': return registry_read_marks(s, due, &a->out.mark, &a->w);
	case 'u': return routers_all(s, &a->arena, due, &a->out.routers, &a->w);
	case 'S': return nodes_scan(s, "", &a->arena, due, &a->out.ids, &a->w);
	case 'i': return nodes_room(s, "n", room, due, &a->out.entry, &a->w);
	default: return NEXT;
	}
}

static void charged(void *arg, const char *node, uint64_t number, double cost)
{
	(void)arg, (void)number;
	MUST(strlen(node) <= NODE_MAX && cost >= 0 && cost <= LOAD_MAX);
}

static void turn_on(struct loop *loop, uint64_t *now, uint64_t ms)
{
	loop_fake_clock(loop, *now += ms);
	for (int i = 0; i < TURNS; i++)
		loop_turn(loop);
}

static void run(struct loop *loop, struct store *store, char kind, struct str letters)
{
	uint64_t now = 1000000;
	struct asked asked[OPERATIONS_MAX] = { 0 };
	size_t n = 0;

	for (int step = 0; step < (kind == '1' ? 4 : 10); step++)
		turn_on(loop, &now, 60); /* connects, greets, subscribes, finds the primaries */
	for (; n < letters.len && n < OPERATIONS_MAX; n++) {
		asked[n].w.wake = woken;
		asked[n].waits = start(store, letters.at[n], now + DUE_MS, &asked[n]) == WAIT;
		turn_on(loop, &now, 1);
	}
	for (int step = 0; step < STEPS; step++)
		turn_on(loop, &now, 150);
	for (size_t i = 0; i < n; i++) {
		MUST(asked[i].woken == asked[i].waits);
		arena_reset(&asked[i].arena);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	far_listen();
	MUST(log_open(getenv("FUZZ_SAY") ? 2 : open("/dev/null", O_WRONLY), LOG_DEBUG, LOG_JSON) == 0);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len }, first = { 0 };
	struct registry_conf conf = { .prefix = "u:", .router = "rt", .timeout_ms = 300, .table_max = 1000, .trust_ms = 1000, .charged = charged };
	struct loop *loop = loop_new(), *loops[] = { loop };
	const char *why = NULL;
	struct far far;
	char url[96];

	if (says_a_long_list(in)) {
		loop_free(loop);
		return 0;
	}
	loop_fake_clock(loop, 1000000);
	str_cut(&in, '\n', &first);
	char kind = (char)feed_byte(&first);
	snprintf(url, sizeof(url), "redis%s://127.0.0.1:%u%s", kind == 's' ? "+sentinel" : kind == 'c' ? "+cluster" : "", far_port,
	         kind == 's' ? "/m" : kind == 'c' ? "" : "/1");
	greeted_by_input = memchr(first.at ? first.at : "", 'G', first.len);
	subscribed = NULL;
	answers = in;
	conf.url = url;
	far_open(&far, loop, server_got, NULL);
	struct retire *retire = retire_new(loop, loops, 1);
	struct registry *registry = registry_new(loop, retire, &conf, &why);
	MUST(registry);
	struct store *store = store_new(registry, loop);
	run(loop, store, kind, first);
	far_close(&far); /* first, so that no port is kept */
	store_free(store);
	for (int i = 0; i < TURNS; i++)
		loop_turn(loop);
	retire_free(retire);
	registry_free(registry);
	loop_turn(loop);
	loop_free(loop);
	return 0;
}
