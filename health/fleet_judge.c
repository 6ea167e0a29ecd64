/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Results of calls, brought to the keeper from wherever they were made, in the order in which they were posted. What one
 * room's participants see fail may be that room's own fault: it counts once another room was hit too, or where the node has
 * no other room. That a node has but one is believed only of a hit older than a heartbeat, as the view is as old as that.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"

#define FULL_MS_MAX 300000

struct report {
	struct task task;
	struct fleet *fleet;
	struct call_result result;
};

static struct hit *hit_of(struct seat *seat, uint64_t room_hash, uint64_t now_ms, uint64_t window_ms)
{
	struct hit *hit = &seat->hits[0];

	for (size_t i = 0; i < HITS; i++) {
		if (seat->hits[i].room_hash == room_hash && now_ms <= seat->hits[i].last_ms + window_ms)
			return &seat->hits[i];
		if (seat->hits[i].last_ms < hit->last_ms)
			hit = &seat->hits[i];
	}
	*hit = (struct hit){ .room_hash = room_hash, .first_ms = now_ms };
	return hit;
}

static bool counts(struct seat *seat, uint64_t room_hash, uint64_t now_ms)
{
	const struct fleet_conf *conf = &seat->fleet->conf;
	const struct node *node = fleet_find(seat->fleet, seat->node);
	struct hit *own = hit_of(seat, room_hash, now_ms, conf->breaker.window_ms);

	own->last_ms = now_ms;
	for (size_t i = 0; i < HITS; i++)
		if (&seat->hits[i] != own && seat->hits[i].room_hash && now_ms <= seat->hits[i].last_ms + conf->breaker.window_ms)
			return true;
	return node && node->record.rooms <= 1 && now_ms >= own->first_ms + conf->heartbeat_ms;
}

static struct seat *seat_of(const struct fleet *fleet, const char *node, const char *incarnation)
{
	struct seat *seat = fleet_seat(fleet, node);

	return seat && !strcmp(seat->incarnation, incarnation) ? seat : NULL;
}

static void judge(struct fleet *fleet, const struct call_result *call)
{
	struct seat *seat = seat_of(fleet, call->node, call->incarnation);
	uint64_t now = loop_now_ms(fleet->loop);
	enum breaker_result result = call->result;

	if (!seat)
		return;
	if (result == RESULT_FAILURE && call->room_hash && !counts(seat, call->room_hash, now))
		result = RESULT_NOTHING;
	if (call->full_ms) {
		seat->full_until_ms = now + (call->full_ms < FULL_MS_MAX ? call->full_ms : FULL_MS_MAX);
		fleet_refresh(fleet); /* for the view to show it */
	}
	if (breaker_judge(seat->breakers[call->class], &call->admission, result, now)) {
		fleet_tell_breakers(seat, now);
		fleet_refresh(fleet);
	}
}

static void report_here(struct task *task)
{
	struct report *report = container_of(task, struct report, task);

	if (!report->fleet->closed)
		judge(report->fleet, &report->result);
	fleet_unref(report->fleet);
	free(report);
}

void fleet_report(struct fleet *fleet, const struct call_result *result)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		abort();
	report->fleet = fleet;
	report->result = *result;
	atomic_fetch_add(&fleet->refs, 1);
	/* Each request has one, and it changes nothing by itself: it has to be there before a failure that comes after it. */
	if (result->result == RESULT_OK && !result->admission.trial)
		loop_post_soon(fleet->loop, &report->task, report_here);
	else
		loop_post(fleet->loop, &report->task, report_here);
}

void fleet_probed(struct fleet *fleet, const char *node, const char *incarnation, enum breaker_class class, bool ok)
{
	struct seat *seat = seat_of(fleet, node, incarnation);
	uint64_t now = loop_now_ms(fleet->loop);

	if (!seat || !breaker_probed(seat->breakers[class], ok, now))
		return;
	fleet_tell_breakers(seat, now);
	fleet_refresh(fleet);
}

void seat_forgive(struct seat *seat, uint64_t now_ms)
{
	for (int class = 0; class < CLASSES; class++)
		breaker_reset(seat->breakers[class], now_ms);
	for (size_t i = 0; i < HITS; i++)
		seat->hits[i] = (struct hit){ 0 };
}
