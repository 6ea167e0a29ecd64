/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One probe a node and class, in order of ids as the view is, each with a timer of its own, so that nodes cost nothing between their
 * turns; all are gone through where a view has another shape. Each starts at a random part of the interval and is spread by a tenth, so
 * that they are not asked all at once.
 *
 * health_url is asked through the guard, like any call: it is what a breaker for `control` learns from while nobody opens
 * rooms, and it takes the trial when its turn has come. While the breaker holds it back, and for `signal` always, the probe goes
 * around it and only reports what it saw. A connection to signal_url is made only while that breaker is not closed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/egress.h"
#include "base/error.h"
#include "base/http.h"
#include "base/loop.h"
#include "base/url.h"
#include "base/wait.h"
#include "health/guard.h"
#include "health/probe.h"

#define FOLLOW_MS 100     /* how often the view is looked at for nodes that have come or gone */
#define HELD_BACK_MS 1000 /* how often a node whose breaker is open is asked, where that is less than the interval */
#define ANSWER_MAX 65536

struct probe {
	struct probes *probes;
	char node[NODE_MAX + 1], incarnation[INCARNATION_MAX + 1];
	enum breaker_class class;
	struct timer turn; /* not set: it is not wanted, or is under way */
	bool under_way;
	/* control */
	struct guard guard;
	struct arena arena;
	struct http_answer answer;
	struct wait wait;
	/* signal */
	struct addresses addresses;
	size_t at;
	int fd;
	struct watch *watch;
	struct timer deadline;
};
struct probes {
	struct loop *loop;
	struct fleet *fleet;
	struct http *http;
	struct probes_conf conf;
	struct egress *egress;
	struct timer follow;
	uint64_t shape; /* of the view that is followed */
	struct probe **all; /* in order of ids, then of classes */
	size_t count;
};

/* -- turns ------------------------------------------------------------------------------------------------------------------- */
static void turn_came(struct timer *);

static bool is_closed(const struct probe *probe, const struct node *node)
{
	uint64_t retry_ms;

	return breaker_state(node->breakers[probe->class], loop_now_ms(probe->probes->loop), &retry_ms) == BREAKER_CLOSED;
}

static uint64_t spread(uint64_t interval_ms)
{
	return interval_ms - interval_ms / 20 + (uint64_t)(random_unit() * (double)interval_ms / 10);
}

static uint64_t held_back_ms(const struct probe *probe)
{
	uint64_t interval_ms = probe->probes->conf.interval_ms;

	return spread(interval_ms < HELD_BACK_MS ? interval_ms : HELD_BACK_MS);
}

static bool is_wanted(const struct probe *probe, const struct node *node)
{
	if (!node || strcmp(node->record.incarnation, probe->incarnation) || node->record.lost)
		return false;
	if (probe->class == CLASS_CONTROL)
		return node->info.health_url && *node->info.health_url;
	return !is_closed(probe, node);
}

static void wait_turn(struct probe *probe, const struct node *node)
{
	struct probes *probes = probe->probes;

	if (is_wanted(probe, node))
		timer_set(probes->loop, &probe->turn, is_closed(probe, node) ? spread(probes->conf.interval_ms) : held_back_ms(probe), turn_came);
}

static void over(struct probe *probe)
{
	probe->under_way = false;
	wait_turn(probe, fleet_find(probe->probes->fleet, probe->node));
}

/* -- control: GET health_url -------------------------------------------------------------------------------------------------- */
static void health_answered(struct wait *w, int err)
{
	struct probe *probe = container_of(w, struct probe, wait);
	const struct http_answer *answer = &probe->answer;
	bool ok = !err && answer->outcome == HTTP_ANSWERED && answer->status < 500;

	if (probe->guard.entered)
		guard_leave(probe->probes->fleet, &probe->guard, err ? HTTP_CANCELLED : answer->outcome, answer->status,
		            answer->retry_after_ms, (struct str){ 0 });
	else
		fleet_probed(probe->probes->fleet, probe->node, probe->incarnation, CLASS_CONTROL, ok);
	arena_reset(&probe->arena);
	over(probe);
}

static void probe_health(struct probe *probe, const struct node *node)
{
	struct probes *probes = probe->probes;
	struct http_request request = { .method = "GET", .url = node->info.health_url, .timeout_ms = probes->conf.timeout_ms,
		                        .answer_max = ANSWER_MAX, .idempotent = true };
	uint64_t retry_ms;

	probe->guard.entered = false;
	guard_enter(probes->fleet, probe->node, probe->incarnation, CALL_PROBE, loop_now_ms(probes->loop), &probe->guard, &retry_ms);
	probe->wait.wake = health_answered;
	if (http_fetch(probes->http, &request, &probe->arena, &probe->answer, &probe->wait) != WAIT)
		health_answered(&probe->wait, -ERR_INTERNAL);
}

/* -- signal: a connection to signal_url --------------------------------------------------------------------------------------- */
static void try_address(struct probe *);

static void hang_up(struct probe *probe)
{
	watch_free(probe->watch);
	probe->watch = NULL;
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

static void signal_over(struct probe *probe, bool ok)
{
	timer_clear(probe->probes->loop, &probe->deadline);
	wait_drop(&probe->wait);
	hang_up(probe);
	fleet_probed(probe->probes->fleet, probe->node, probe->incarnation, CLASS_SIGNAL, ok);
	over(probe);
}

static void signal_overdue(struct timer *timer)
{
	signal_over(container_of(timer, struct probe, deadline), false);
}

static void connected(void *arg, int events)
{
	struct probe *probe = arg;
	int err = 0;
	socklen_t len = sizeof(err);

	(void)events;
	if (!getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &err, &len) && !err) {
		signal_over(probe, true);
		return;
	}
	hang_up(probe);
	try_address(probe);
}

static void try_address(struct probe *probe)
{
	while (probe->at < probe->addresses.count) {
		size_t i = probe->at++;
		const struct sockaddr_storage *address = &probe->addresses.at[i];
		if (!egress_allowed(probe->probes->egress, address))
			continue;
		probe->fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (probe->fd < 0)
			continue;
		bool begun = !connect(probe->fd, (const struct sockaddr *)address, probe->addresses.len[i]) || errno == EINPROGRESS;
		probe->watch = begun ? watch_new(probe->probes->loop, probe->fd, LOOP_WRITE, connected, probe) : NULL;
		if (probe->watch)
			return;
		hang_up(probe);
	}
	signal_over(probe, false);
}

static void resolved(struct wait *w, int err)
{
	struct probe *probe = container_of(w, struct probe, wait);

	if (err)
		signal_over(probe, false);
	else
		try_address(probe);
}

static void probe_signal(struct probe *probe, const struct node *node)
{
	struct url url;
	char host[256];

	probe->at = 0;
	probe->wait.wake = resolved;
	timer_set(probe->probes->loop, &probe->deadline, probe->probes->conf.timeout_ms, signal_overdue);
	if (!node->info.signal_url || !url_parse(node->info.signal_url, &url, NULL) || url.host.len >= sizeof(host)) {
		signal_over(probe, false);
		return;
	}
	snprintf(host, sizeof(host), "%.*s", STR_ARG(url.host));
	int err = loop_resolve(probe->probes->loop, host, url.port, &probe->addresses, &probe->wait);
	if (err != WAIT)
		resolved(&probe->wait, err);
}

/* -- who is asked ---------------------------------------------------------------------------------------------------------------- */
static void turn_came(struct timer *turn)
{
	struct probe *probe = container_of(turn, struct probe, turn);
	const struct node *node = fleet_find(probe->probes->fleet, probe->node);

	if (!is_wanted(probe, node))
		return;
	probe->under_way = true;
	if (probe->class == CLASS_CONTROL)
		probe_health(probe, node);
	else
		probe_signal(probe, node);
}

static void probe_free(struct probe *probe)
{
	timer_clear(probe->probes->loop, &probe->turn);
	timer_clear(probe->probes->loop, &probe->deadline);
	wait_drop(&probe->wait);
	if (probe->guard.entered)
		guard_leave(probe->probes->fleet, &probe->guard, HTTP_CANCELLED, 0, 0, (struct str){ 0 });
	hang_up(probe);
	arena_reset(&probe->arena);
	free(probe);
}

static struct probe *probe_new(struct probes *probes, const struct node *node, enum breaker_class class)
{
	struct probe *probe = calloc(1, sizeof(*probe));

	if (!probe)
		abort();
	probe->probes = probes;
	memcpy(probe->node, node->record.id, sizeof(probe->node));
	memcpy(probe->incarnation, node->record.incarnation, sizeof(probe->incarnation));
	probe->class = class;
	probe->fd = -1;
	return probe;
}

static int order(const struct probe *probe, const char *node, enum breaker_class class)
{
	int by_id = strcmp(probe->node, node);

	return by_id ? by_id : (int)probe->class - (int)class;
}

/* Who is new, or has had no turn as there was nothing to ask: a node that was lost is back, or says a health_url now. */
static void give_turn(struct probe *probe, const struct node *node)
{
	uint64_t interval_ms = probe->probes->conf.interval_ms;

	if (!probe->under_way && !probe->turn.slot && is_wanted(probe, node))
		timer_set(probe->probes->loop, &probe->turn,
		          is_closed(probe, node) ? (uint64_t)(random_unit() * (double)interval_ms) : held_back_ms(probe), turn_came);
}

/* Probes and the view are both in order of ids: one pass pairs them. Another incarnation is another node. */
static void follow_view(struct probes *probes, const struct fleet_view *view)
{
	size_t count = CLASSES * view->count, at = 0;
	struct probe **all = malloc((count + 1) * sizeof(struct probe *)), **old = probes->all;

	if (!all)
		abort();
	for (size_t i = 0; i < count; i++) {
		const struct node *node = &view->nodes[i / CLASSES];
		enum breaker_class class = (enum breaker_class)(i % CLASSES);
		while (at < probes->count && order(old[at], node->record.id, class) < 0)
			probe_free(old[at++]);
		bool same = at < probes->count && !order(old[at], node->record.id, class);
		if (same && strcmp(old[at]->incarnation, node->record.incarnation)) {
			probe_free(old[at++]);
			same = false;
		}
		all[i] = same ? old[at++] : probe_new(probes, node, class);
		give_turn(all[i], node);
	}
	while (at < probes->count)
		probe_free(old[at++]);
	free(probes->all);
	probes->all = all;
	probes->count = count;
}

static void follow(struct timer *timer)
{
	struct probes *probes = container_of(timer, struct probes, follow);
	const struct fleet_view *view = fleet_view(probes->fleet);

	if (view->shape != probes->shape) /* else nobody needs a turn who had none: of a breaker that opens probes_hurry() tells */
		follow_view(probes, view);
	probes->shape = view->shape;
	timer_set(probes->loop, &probes->follow, FOLLOW_MS, follow);
}

void probes_hurry(struct probes *probes, const char *node, enum breaker_class class)
{
	size_t low = 0, high = probes->count;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (order(probes->all[middle], node, class) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == probes->count || order(probes->all[low], node, class) || probes->all[low]->under_way)
		return;
	struct probe *probe = probes->all[low];
	uint64_t after_ms = held_back_ms(probe);
	if (!probe->turn.slot || probe->turn.due_ms > loop_now_ms(probes->loop) + after_ms)
		timer_set(probes->loop, &probe->turn, after_ms, turn_came);
}

struct probes *probes_new(struct loop *loop, struct fleet *fleet, struct http *http, const struct probes_conf *conf)
{
	struct probes *probes = calloc(1, sizeof(*probes));

	if (!probes)
		abort();
	*probes = (struct probes){ .loop = loop, .fleet = fleet, .http = http, .conf = *conf, .egress = egress_new(conf->allow_cidr) };
	timer_set(loop, &probes->follow, FOLLOW_MS, follow);
	return probes;
}

void probes_free(struct probes *probes)
{
	timer_clear(probes->loop, &probes->follow);
	for (size_t i = 0; i < probes->count; i++)
		probe_free(probes->all[i]);
	free(probes->all);
	egress_free(probes->egress);
	free(probes);
}
