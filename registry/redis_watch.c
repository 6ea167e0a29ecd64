/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESP2 tells nobody that an invalidation link is gone, and a stopped server shows no error. So the link is asked each
 * second whether it lives, by subscribing again: hiredis 0.14 loses the answer to a PING on a subscribed connection. Each
 * answer also proves that every change announced before it has arrived.
 *
 * Commands with an ordinary answer must be answered before the first SUBSCRIBE, or hiredis mixes the answers up: hence
 * the steps INFO, CLIENT ID, a trial of tracking, SUBSCRIBE. Only the answer to the last announces the id.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/wait.h"
#include "base/wire/limits.h"
#include "registry/redis_command.h"
#include "registry/redis_link.h"
#include "registry/redis_read.h"
#include "registry/redis_watch.h"
#include "registry/table.h"

#define BEAT_MS 1000
#define REFUSALS_MAX 2 /* connections in a row that ended at SUBSCRIBE: then do without */
#define START_MS 10000 /* a store that is unfit ends a process that is so young; later it is only not used */

static const char invalidate[] = "__redis__:invalidate";

struct redis_watch {
	struct redis_watch *next;
	struct redis_watches *all;
	struct redis_how how;
	struct redis *link;
	struct redis_call call; /* of the steps before SUBSCRIBE: one at a time */
	struct timer beat;
	struct task forgot;
	uint64_t id_asked, beat_sent_ms;
	unsigned refusals;
	char told[160]; /* why the last attempt failed */
	bool awaiting, subscribing, closed;
	bool up, heard; /* heard: since the table was last told that all is alive */
	_Atomic bool blind, forgot_posted;
	_Atomic uint64_t id, server;
};
struct redis_watches {
	struct loop *loop;
	struct redis_watch_conf conf;
	struct redis_watch *first;
	struct buf rooms, charges; /* the prefix of room keys; the channel of charges */
	uint64_t beat_ms, made_ms;
	bool was_up;
	_Atomic bool up;
};

/* -- all of them ------------------------------------------------------------------------------------------------------------- */

static bool counts(const struct redis_watch *w)
{
	struct redis_endpoint at;
	uint64_t version;

	return redis_place_read(w->how.place, &at, &version);
}

static bool all_up(const struct redis_watches *all)
{
	bool some = false;

	for (const struct redis_watch *w = all->first; w; w = w->next) {
		if (counts(w) && !w->up)
			return false;
		some = some || w->up;
	}
	return some;
}

static void all_changed(struct redis_watches *all)
{
	bool up = all_up(all), blind = false;

	for (const struct redis_watch *w = all->first; w; w = w->next)
		blind = blind || atomic_load(&w->blind);
	if (up)
		table_set_trust(all->conf.table, blind ? TRUST_AGE : TRUST_LINK);
	all->was_up = all->was_up || up;
	if (atomic_exchange(&all->up, up) != up && all->conf.store_changed)
		all->conf.store_changed(all->conf.arg, up);
}

/* One that is silent may miss what others do not hear either: entries are sure only while all are heard. */
static void all_heard(struct redis_watches *all)
{
	for (const struct redis_watch *w = all->first; w; w = w->next)
		if (counts(w) && !(w->up && (w->heard || atomic_load(&w->blind))))
			return;
	for (struct redis_watch *w = all->first; w; w = w->next)
		w->heard = false;
	table_alive(all->conf.table);
}

void redis_watches_unfit(struct redis_watches *all, const char *why)
{
	log_error("store_unfit", "why", LOG_S(why));
	if (!all->was_up && all->conf.unfit && loop_now_ms(all->loop) - all->made_ms < START_MS)
		all->conf.unfit(all->conf.arg, why);
}

/* -- steps after connecting ------------------------------------------------------------------------------------------------ */

static void watch_ask(struct redis_watch *w, const char *const *words, size_t n,
                      void (*done)(struct redis_call *, const struct redisReply *))
{
	command_start(&w->call.text, n);
	for (size_t i = 0; i < n; i++)
		command_z(&w->call.text, words[i]);
	w->call.script = SCRIPT_COUNT;
	w->call.done = done;
	w->call.due_ms = loop_now_ms(w->all->loop) + w->how.target->timeout_ms;
	redis_send(w->link, &w->call); /* refused only while the link goes down, which starts all over */
}

static void watch_ready(struct redis_watch *w)
{
	bool blind = atomic_load(&w->blind);

	table_changed_all(w->all->conf.table);
	if (!blind)
		atomic_store(&w->id, w->id_asked);
	w->told[0] = '\0';
	w->heard = true;
	if (!w->up)
		log_info("store_up", "host", LOG_S(redis_at(w->link)->host), "port", LOG_U(redis_at(w->link)->port), "tracking",
		         LOG_S(blind ? "refused" : "on"));
	w->up = true;
	all_changed(w->all);
	all_heard(w->all);
}

static void watch_beat(struct timer *timer)
{
	struct redis_watch *w = container_of(timer, struct redis_watch, beat);

	timer_set(w->all->loop, &w->beat, w->all->beat_ms, watch_beat);
	if (!w->awaiting) {
		w->awaiting = true;
		w->beat_sent_ms = loop_now_ms(w->all->loop);
		redis_subscribe(w->link, invalidate);
	} else if (loop_now_ms(w->all->loop) - w->beat_sent_ms >= w->how.target->timeout_ms) {
		redis_drop(w->link, "no heartbeat");
	}
}

static void watch_subscribe(struct redis_watch *w)
{
	if (w->refusals >= REFUSALS_MAX) { /* no subscriptions here: the link's own ping tells whether the store lives */
		atomic_store(&w->blind, true);
		watch_ready(w);
		return;
	}
	w->subscribing = true;
	w->awaiting = true;
	w->beat_sent_ms = loop_now_ms(w->all->loop);
	redis_subscribe(w->link, w->all->charges.at);
	redis_subscribe(w->link, invalidate);
	timer_set(w->all->loop, &w->beat, w->all->beat_ms, watch_beat);
}

static void off_done(struct redis_call *call, const struct redisReply *reply)
{
	if (reply)
		watch_subscribe(container_of(call, struct redis_watch, call));
}

/* Refused means for good: no such command, or no permission. Data connections need not try, then. */
static void trial_done(struct redis_call *call, const struct redisReply *reply)
{
	static const char *const off[] = { "CLIENT", "TRACKING", "OFF" };
	struct redis_watch *w = container_of(call, struct redis_watch, call);

	if (!reply)
		return;
	atomic_store(&w->blind, reply_failed(reply));
	if (!reply_failed(reply)) {
		watch_ask(w, off, 3, off_done);
		return;
	}
	log_warn("store_tracking_refused", "why", LOG_S(reply_str(reply).at));
	watch_subscribe(w);
}

static void id_done(struct redis_call *call, const struct redisReply *reply)
{
	struct redis_watch *w = container_of(call, struct redis_watch, call);
	char id[24];
	const char *const on[] = { "CLIENT", "TRACKING", "ON", "REDIRECT", id, "OPTIN" };

	if (!reply)
		return;
	w->id_asked = reply_u64(reply);
	snprintf(id, sizeof id, "%" PRIu64, w->id_asked);
	watch_ask(w, on, 6, trial_done);
}

static void watch_up(void *arg)
{
	static const char *const ask_id[] = { "CLIENT", "ID" };
	struct redis_watch *w = arg;

	atomic_store(&w->server, redis_server(w->link));
	watch_ask(w, ask_id, 2, id_done);
}

static void watch_down(void *arg)
{
	struct redis_watch *w = arg;
	const struct redis_endpoint *at = redis_at(w->link);

	if (w->subscribing && ++w->refusals >= REFUSALS_MAX)
		log_warn("store_subscribe_refused", "why", LOG_S(redis_why_down(w->link)));
	w->subscribing = false;
	timer_clear(w->all->loop, &w->beat);
	atomic_store(&w->id, 0);
	table_changed_all(w->all->conf.table);
	if (w->up)
		log_warn("store_down", "host", LOG_S(at->host), "port", LOG_U(at->port), "why", LOG_S(redis_why_down(w->link)));
	w->up = false;
	all_changed(w->all);
}

/* Attempts go on for ever; each reason is told once, until the store has been there. */
static void watch_refused(void *arg)
{
	struct redis_watch *w = arg;
	const char *why = redis_why_down(w->link);
	const struct redis_endpoint *at = redis_at(w->link);

	if (strcmp(w->told, why) == 0)
		return;
	snprintf(w->told, sizeof w->told, "%s", why);
	log_warn("store_unreachable", "host", LOG_S(at->host), "port", LOG_U(at->port), "why", LOG_S(why));
	if (redis_unfit(w->link))
		redis_watches_unfit(w->all, why);
}

/* -- what it says ------------------------------------------------------------------------------------------------------------ */

static void key_changed(struct redis_watch *w, struct str key)
{
	const struct buf *rooms = &w->all->rooms;

	if (key.len <= rooms->len || memcmp(key.at, rooms->at, rooms->len) != 0)
		return;
	table_changed(w->all->conf.table, (struct str){ key.at + rooms->len, key.len - rooms->len });
}

static void keys_changed(struct redis_watch *w, const struct redisReply *keys)
{
	if (reply_str(keys).at)
		key_changed(w, reply_str(keys));
	else if (!reply_is_list(keys)) /* nil: FLUSHALL or FLUSHDB */
		table_changed_all(w->all->conf.table);
	for (size_t i = 0; i < reply_count(keys); i++)
		if (reply_str(reply_at(keys, i)).at)
			key_changed(w, reply_str(reply_at(keys, i)));
}

static void node_charged(const struct redis_watch_conf *conf, struct str text) /* "node number cost" */
{
	char node[NODE_MAX + 1];
	struct str name, number_text;
	uint64_t number;
	double cost;

	if (!str_cut(&text, ' ', &name) || !str_cut(&text, ' ', &number_text) || !parse_u64(number_text, &number) ||
	    !node_valid(name.at, name.len) || text.len == 0)
		return;
	memcpy(node, name.at, name.len);
	node[name.len] = '\0';
	cost = strtod(text.at, NULL); /* hiredis ends strings with a NUL */
	if (cost >= 0 && cost <= LOAD_MAX && conf->charged)
		conf->charged(conf->arg, node, number, cost);
}

/* A cluster tells every node what is published at one. */
static bool hears_charges(const struct redis_watch *w)
{
	const struct redis_watch *first = w->all->first;

	while (first != w && !first->up)
		first = first->next;
	return first == w;
}

/* Unless we were held up, a beat that was not answered in time would have ended the link before this. */
static bool is_stale(const struct redis_watch *w)
{
	return loop_now_ms(w->all->loop) - w->beat_sent_ms >= w->how.target->timeout_ms + w->all->beat_ms;
}

static void watch_message(void *arg, const struct redisReply *reply)
{
	struct redis_watch *w = arg;
	struct str kind = reply_str(reply_at(reply, 0)), channel = reply_str(reply_at(reply, 1));
	bool ours = str_is(channel, invalidate);

	if (str_is(kind, "message") && ours) {
		keys_changed(w, reply_at(reply, 2));
	} else if (str_is(kind, "message")) {
		if (hears_charges(w))
			node_charged(&w->all->conf, reply_str(reply_at(reply, 2)));
	} else if (str_is(kind, "subscribe") && ours && is_stale(w)) {
		redis_drop(w->link, "no heartbeat"); /* that it lived then does not say that it lives */
	} else if (str_is(kind, "subscribe") && ours) {
		w->awaiting = false;
		w->refusals = 0;
		w->heard = true;
		if (w->subscribing)
			watch_ready(w);
		else
			all_heard(w->all);
		w->subscribing = false;
	}
}

/* -- life -------------------------------------------------------------------------------------------------------------------- */

static const struct redis_events watch_events = {
	.up = watch_up, .down = watch_down, .refused = watch_refused, .message = watch_message
};

struct redis_watches *redis_watches_new(struct loop *keeper, const struct redis_watch_conf *conf)
{
	struct redis_watches *all = calloc(1, sizeof *all);

	if (!all)
		abort();
	all->loop = keeper;
	all->conf = *conf;
	all->made_ms = loop_now_ms(keeper);
	all->beat_ms = conf->trust_ms / 2 < BEAT_MS ? conf->trust_ms / 2 + 1 : BEAT_MS;
	buf_printf(&all->rooms, "%sr:", conf->prefix);
	buf_printf(&all->charges, "%scharges", conf->prefix);
	table_set_trust(conf->table, TRUST_LINK);
	return all;
}

struct redis_watch *redis_watch_new(struct redis_watches *all, const struct redis_how *how)
{
	struct redis_watch *w = calloc(1, sizeof *w), **at = &all->first;

	if (!w)
		abort();
	w->all = all;
	w->how = *how;
	while (*at)
		at = &(*at)->next;
	*at = w;
	w->link = redis_new(all->loop, how, &watch_events, w);
	return w;
}

void redis_watch_moved(struct redis_watch *w)
{
	redis_drop(w->link, "the primary is elsewhere now");
	all_changed(w->all); /* it may count no more */
}

/* A message that is under way frees its watch itself. */
static void watch_end(struct redis_watch *w)
{
	timer_clear(w->all->loop, &w->beat);
	redis_cancel(&w->call);
	redis_free(w->link);
	w->closed = true;
	if (!atomic_load(&w->forgot_posted))
		free(w);
}

void redis_watches_free(struct redis_watches *all)
{
	for (struct redis_watch *w = all->first, *next; w; w = next) {
		next = w->next;
		watch_end(w);
	}
	buf_free(&all->rooms);
	buf_free(&all->charges);
	free(all);
}

bool redis_watches_up(const struct redis_watches *all)
{
	return atomic_load(&all->up);
}

uint64_t redis_watch_id(const struct redis_watch *w)
{
	return atomic_load(&w->id);
}

uint64_t redis_watch_server(const struct redis_watch *w)
{
	return atomic_load(&w->server);
}

bool redis_watch_blind(const struct redis_watch *w)
{
	return atomic_load(&w->blind);
}

static void forgot_arrived(struct task *task)
{
	struct redis_watch *w = container_of(task, struct redis_watch, forgot);

	if (w->closed) {
		free(w);
		return;
	}
	atomic_store(&w->forgot_posted, false); /* before the deed: who forgets from now on posts again */
	table_changed_all(w->all->conf.table);
}

void redis_watch_forgot(struct redis_watch *w)
{
	struct loop *keeper = w->all->loop; /* once posted, it may end before this goes on */

	if (!atomic_exchange(&w->forgot_posted, true))
		loop_post(keeper, &w->forgot, forgot_arrived);
	loop_ring(keeper); /* until then all trust what may be old, whoever posted it */
}
