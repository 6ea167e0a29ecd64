/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reading after the other, each half heartbeat or when somebody asks (asked while one is under way: once more after it), of a
 * large fleet slice by slice. What they say becomes a new view, the old one is retired. Watching is unbroken as long as answers come
 * in time: a failed or late answer or a stalled loop begins all silence anew, as nobody may be called lost for what we did not watch.
 */
#include <stdlib.h>
#include <string.h>

#include "base/egress.h"
#include "base/error.h"
#include "health/fleet_private.h"

#define REST 3 /* times what a slice took */

static uint64_t period_ms(const struct fleet *fleet)
{
	return fleet->conf.heartbeat_ms / 2;
}

/* -- reading the view: any thread ---------------------------------------------------------------------------------------------- */
const struct fleet_view *fleet_view(const struct fleet *fleet)
{
	static const struct fleet_view none = { 0 };
	const struct published *p = atomic_load_explicit(&((struct fleet *)(uintptr_t)fleet)->now, memory_order_acquire);

	return p ? &p->view : &none;
}

static const char *node_id(const void *nodes, size_t at)
{
	return ((const struct node *)nodes)[at].record.id;
}

const struct node *fleet_find(const struct fleet *fleet, const char *id)
{
	const struct fleet_view *view = fleet_view(fleet);
	size_t at;

	return fleet_index_find(view->index, id, node_id, view->nodes, view->count, &at) ? &view->nodes[at] : NULL;
}

bool fleet_owns(const struct fleet *fleet, const char *node, const char *incarnation)
{
	const struct node *found = fleet_find(fleet, node);

	return found && *incarnation && !found->record.lost && !strcmp(found->record.incarnation, incarnation);
}

bool fleet_misses(const struct fleet *fleet, const char *node, const char *incarnation, uint64_t *since)
{
	const struct fleet_view *view = fleet_view(fleet);

	if (fleet_owns(fleet, node, incarnation)) {
		*since = 0;
		return false;
	}
	if (!*since)
		*since = view->version + 1;
	return view->ready && view->version > *since;
}

uint64_t fleet_store_ms(const struct fleet *fleet, uint64_t now_ms)
{
	int64_t ahead = atomic_load_explicit(&((struct fleet *)(uintptr_t)fleet)->store_ahead_ms, memory_order_relaxed);

	return now_ms + (uint64_t)ahead;
}

void fleet_draw_charges(const struct fleet *fleet, const struct node *node, uint64_t now_ms, struct charges_line *out)
{
	const struct node_record *record = &node->record;

	charges_draw(record->charges, record->ncharges, record->seen, record->shown, fleet_store_ms(fleet, now_ms), fleet->conf.ramp_ms, out);
}

double fleet_charges(const struct fleet *fleet, const struct node *node, uint64_t now_ms)
{
	struct charges_line line;

	fleet_draw_charges(fleet, node, now_ms, &line);
	return charges_at(&line, line.from_ms) + meter_extra(node->meter);
}

static uint64_t answered_ms(const struct fleet *fleet)
{
	return atomic_load_explicit(&((struct fleet *)(uintptr_t)fleet)->answered_ms, memory_order_acquire);
}

bool fleet_is_away(const struct fleet *fleet, uint64_t now_ms)
{
	uint64_t late_ms = fleet->conf.timeout_ms > STALL_MS ? fleet->conf.timeout_ms : STALL_MS;

	return !fleet_view(fleet)->ready || now_ms >= answered_ms(fleet) + period_ms(fleet) + late_ms;
}

/* -- telling ----------------------------------------------------------------------------------------------------------------------- */
static const char *seat_id(const void *seats, size_t at)
{
	return ((struct seat *const *)seats)[at]->node;
}

bool fleet_seat_place(const struct fleet *fleet, const char *node, size_t *place)
{
	return fleet_index_find(fleet->index, node, seat_id, fleet->seats, fleet->nseats, place);
}

struct seat *fleet_seat(const struct fleet *fleet, const char *node)
{
	size_t place;

	return fleet_seat_place(fleet, node, &place) ? fleet->seats[place] : NULL;
}

void fleet_tell_breakers(struct seat *seat, uint64_t now_ms)
{
	const struct fleet_conf *conf = &seat->fleet->conf;

	for (int class = 0; class < CLASSES; class++) {
		uint64_t retry_ms;
		enum breaker_state was = seat->breaker_told[class], is;
		if (was == BREAKER_CLOSED && !fleet_is_unclosed(seat->fleet))
			continue;
		is = breaker_state(seat->breakers[class], now_ms, &retry_ms);
		seat->breaker_told[class] = is;
		if (was != is && conf->breaker_changed)
			conf->breaker_changed(conf->arg, seat->node, (enum breaker_class)class, was, is);
	}
}

static void tell_states(struct fleet *fleet, const struct fleet_view *view, uint64_t now_ms)
{
	for (size_t i = 0; i < view->count; i++) {
		struct seat *seat = fleet->seats[i];
		enum node_state was = seat->told;
		seat->told = view->nodes[i].state;
		if (was != seat->told && fleet->conf.changed)
			fleet->conf.changed(fleet->conf.arg, seat->node, was, seat->told);
		fleet_tell_breakers(seat, now_ms);
	}
}

/* -- losing ------------------------------------------------------------------------------------------------------------------------- */
static void lost(struct wait *w, int err)
{
	struct seat *seat = container_of(w, struct seat, losing);

	if (!err)
		fleet_refresh(seat->fleet); /* else the next reading finds the node as silent as before */
}

static void lose_silent(struct fleet *fleet, const struct fleet_view *view, uint64_t now_ms)
{
	for (size_t i = 0; i < view->count; i++) {
		const struct node_record *record = &view->nodes[i].record;
		struct seat *seat = fleet->seats[i];
		if (seat->losing.op || !fleet_should_lose(fleet, &view->nodes[i], now_ms))
			continue;
		seat->losing.wake = lost;
		int err = nodes_lose(fleet->store, record->id, record->registration, record->seq, now_ms + fleet->conf.timeout_ms,
		                     &seat->lost, &seat->losing);
		if (err == NEXT)
			fleet->again = true;
	}
}

/* -- reading the store --------------------------------------------------------------------------------------------------------------- */
/* Reading takes store and keeper a while that heartbeats need, too; of a large fleet a good part of a core. So it takes a quarter of the
 * time, evenly, whatever asks for it: nodes that come one after another each do. But all rests of a reading together are no longer than
 * its period. */
static void rest(struct fleet *fleet)
{
	uint64_t now = loop_fresh_ms(fleet->loop), pause = REST * (now - fleet->asked_ms);
	uint64_t most = (period_ms(fleet) + fleet->nslices - 1) / fleet->nslices;

	fleet->rested_ms = now + (pause < most ? pause : most);
}

static uint64_t left_ms(const struct fleet *fleet, uint64_t until_ms)
{
	uint64_t now = loop_now_ms(fleet->loop);

	return until_ms > now ? until_ms - now : 0;
}

static void free_published(struct retired *retired)
{
	struct published *p = container_of(retired, struct published, retired);

	arena_reset(&p->arena);
	free(p);
}

/* A stall begins anywhere between two ticks: so late, it may have been as long. Asked at a reading, too, which may be first. */
static bool has_stalled(const struct fleet *fleet, uint64_t now_ms)
{
	return now_ms > fleet->ticker.due_ms + STALL_MS - TICK_MS;
}

static void tick(struct timer *timer)
{
	struct fleet *fleet = container_of(timer, struct fleet, ticker);

	if (has_stalled(fleet, loop_now_ms(fleet->loop)))
		fleet->watching = false;
	timer_set(fleet->loop, timer, TICK_MS, tick);
}

static void watch_on(struct fleet *fleet, uint64_t now_ms)
{
	uint64_t connections = store_connections(fleet->store);
	/* A clock that went back is another one's, or one restored; another connection may lead to another server. */
	bool same_store = fleet->answer.store_ms >= fleet->store_ms && connections == fleet->connections;

	if (!fleet->watching || !same_store || has_stalled(fleet, now_ms))
		fleet->watched_since_ms = now_ms;
	fleet->watching = true;
	fleet->store_ms = fleet->answer.store_ms;
	if (!fleet->first_store_ms)
		fleet->first_store_ms = fleet->store_ms;
	fleet->connections = connections;
	atomic_store_explicit(&fleet->store_ahead_ms, (int64_t)(fleet->store_ms - fleet->clock_ms), memory_order_relaxed);
}

void fleet_publish(struct fleet *fleet, struct published *p, uint64_t now_ms)
{
	struct published *old = atomic_exchange_explicit(&fleet->now, p, memory_order_acq_rel);

	if (old)
		retire_later(fleet->retire, &old->retired, free_published);
	fleet_retire_ended(fleet);
	tell_states(fleet, &p->view, now_ms);
}

static void publish(struct fleet *fleet, struct published *p)
{
	uint64_t now = loop_now_ms(fleet->loop);

	watch_on(fleet, now);
	fleet->answer.store_ms += now - fleet->clock_ms; /* what it is by now */
	fleet_build(fleet, p, &fleet->answer, now);
	fleet_publish(fleet, p, now);
	fleet_forget_hearsay(fleet);
	lose_silent(fleet, &p->view, now);
}

/* No answer: the view stays, charges fade on, silence does not count. */
static void not_answered(struct fleet *fleet, struct published *p)
{
	fleet->watching = false;
	for (size_t i = 0; i < fleet->nseats; i++)
		meter_read(fleet->seats[i]->meter, fleet->seats[i]->charged, loop_now_ms(fleet->loop));
	free_published(&p->retired);
}

static void read_store(struct timer *);

static void ended(struct fleet *fleet, int err)
{
	if (err)
		not_answered(fleet, fleet->next);
	else
		publish(fleet, fleet->next);
	fleet->next = NULL; /* only now: what is told above may ask for another reading, which is then noted */
	rest(fleet);
	uint64_t due_ms = fleet->began_ms + period_ms(fleet);
	if (fleet->again || due_ms < fleet->rested_ms)
		due_ms = fleet->rested_ms;
	timer_set(fleet->loop, &fleet->timer, left_ms(fleet, due_ms), read_store);
	fleet->again = false;
}

static void answered(struct fleet *, int err);

static void read_slice(struct fleet *fleet)
{
	fleet->asked_ms = loop_now_ms(fleet->loop);
	int err = nodes_all(fleet->store, &fleet->next->arena, fleet->asked_ms + fleet->conf.timeout_ms, &fleet->answer, &fleet->wait);
	if (err != WAIT)
		answered(fleet, err);
}

static void go_on(struct timer *timer)
{
	read_slice(container_of(timer, struct fleet, timer));
}

/* Whoever was told meanwhile that the store is away counts on it that silence begins anew. */
static void heard_store(struct fleet *fleet)
{
	uint64_t now = loop_fresh_ms(fleet->loop);

	if (now > fleet->asked_ms + STALL_MS || now >= answered_ms(fleet) + period_ms(fleet) + STALL_MS)
		fleet->watching = false;
	atomic_store_explicit(&fleet->answered_ms, now, memory_order_release);
}

static void first_slice(struct fleet *fleet)
{
	fleet->clock_ms = loop_now_ms(fleet->loop);
	fleet->nslices = 1 + (fleet->answer.left + NODES_SLICE - 1) / NODES_SLICE;
}

static void answered(struct fleet *fleet, int err)
{
	if (!err)
		heard_store(fleet);
	if (!fleet->nslices)
		first_slice(fleet);
	if (!err)
		fleet_fill_places(fleet, fleet->next, &fleet->answer);
	if (err || !fleet->answer.left) {
		ended(fleet, err);
		return;
	}
	rest(fleet);
	timer_set(fleet->loop, &fleet->timer, left_ms(fleet, fleet->rested_ms), go_on);
}

static void woken(struct wait *w, int err)
{
	answered(container_of(w, struct fleet, wait), err);
}

static void read_store(struct timer *timer)
{
	struct fleet *fleet = container_of(timer, struct fleet, timer);

	fleet->next = calloc(1, sizeof(*fleet->next));
	if (!fleet->next)
		abort();
	if (fleet->nslices > 1) /* the last one: this one may, too */
		fleet_make_places(fleet, fleet->next);
	fleet->answer = (struct nodes_all){ 0 };
	fleet->nslices = 0;
	fleet->began_ms = loop_now_ms(fleet->loop);
	read_slice(fleet);
}

void fleet_refresh(struct fleet *fleet)
{
	if (fleet->next)
		fleet->again = true;
	else
		timer_set(fleet->loop, &fleet->timer, left_ms(fleet, fleet->rested_ms), read_store);
}

/* -- keeper ---------------------------------------------------------------------------------------------------------------------------- */
void fleet_charged(struct fleet *fleet, const char *node, uint64_t number, double cost)
{
	struct seat *seat = fleet_seat(fleet, node);
	uint64_t now = loop_now_ms(fleet->loop);

	if (seat && !meter_charged(seat->meter, number, cost, now))
		fleet->others_ms = now;
}

uint64_t fleet_others_ms(const struct fleet *fleet)
{
	return fleet->others_ms;
}

void fleet_breakers(const struct fleet *fleet, void (*each)(void *arg, const struct breaker_line *), void *arg)
{
	uint64_t now = loop_now_ms(fleet->loop);

	if (!fleet_is_unclosed(fleet))
		return;
	for (size_t i = 0; i < fleet->nseats; i++) {
		const struct seat *seat = fleet->seats[i];
		for (int class = 0; class < CLASSES; class++) {
			struct breaker_line line = { .node = seat->node, .class = (enum breaker_class)class };
			line.state = breaker_state(seat->breakers[class], now, &line.retry_ms);
			line.failures = breaker_failures(seat->breakers[class]);
			if (line.state != BREAKER_CLOSED)
				each(arg, &line);
		}
	}
}

struct fleet *fleet_new(struct loop *keeper, struct store *store, struct retire *retire, const struct fleet_conf *conf)
{
	struct fleet *fleet = calloc(1, sizeof(*fleet));

	if (!fleet)
		abort();
	fleet->loop = keeper;
	fleet->store = store;
	fleet->retire = retire;
	fleet->conf = *conf;
	fleet->egress = egress_new(conf->allow_cidr);
	fleet->conf.breaker.unclosed = &fleet->unclosed;
	fleet->wait.wake = woken;
	atomic_init(&fleet->refs, 1);
	return fleet;
}

void fleet_start(struct fleet *fleet)
{
	timer_set(fleet->loop, &fleet->ticker, TICK_MS, tick);
	fleet_refresh(fleet);
}

/* What was reported may still be on its way when the fleet ends: calls are cancelled last of all. */
void fleet_unref(struct fleet *fleet)
{
	if (atomic_fetch_sub(&fleet->refs, 1) == 1)
		free(fleet);
}

void fleet_free(struct fleet *fleet)
{
	struct published *p = atomic_load(&fleet->now);

	timer_clear(fleet->loop, &fleet->timer);
	timer_clear(fleet->loop, &fleet->ticker);
	wait_drop(&fleet->wait);
	if (fleet->next)
		free_published(&fleet->next->retired);
	for (size_t i = 0; i < fleet->nseats; i++) {
		wait_drop(&fleet->seats[i]->losing);
		seat_free(fleet->seats[i]);
	}
	for (struct retired *ended; (ended = fleet->ended);) { /* of a reading that did not come to its end */
		fleet->ended = ended->next;
		ended->free(ended);
	}
	free(fleet->seats);
	free(fleet->index);
	free(fleet->order);
	egress_free(fleet->egress);
	fleet_forget_hearsay(fleet);
	if (p)
		free_published(&p->retired);
	fleet->closed = true;
	fleet_unref(fleet);
}
