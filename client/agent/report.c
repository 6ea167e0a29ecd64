/* SPDX-License-Identifier: Apache-2.0 */
/* The lead must be over an SFU's list of rooms and well under a heartbeat. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/loop.h"
#include "base/wait.h"
#include "client/agent/adapter.h"
#include "client/agent/host.h"
#include "client/agent/report.h"
#include "client/agent/rooms.h"
#include "client/lib/usher/usher.h"

#define LEAD_MS 250

struct report {
	struct report_conf conf;
	struct host host;
	struct timer timer;
	struct wait wait;
	struct arena arena;
	struct adapter_sample asked; /* filled by the poll under way */
	struct adapter_sample last;  /* its rooms are gone by now */
	uint64_t begun;
};

static void polled(struct report *report, int err)
{
	if (!err) {
		rooms_polled(report->conf.rooms, &report->asked.rooms, report->begun);
		report->last = report->asked;
		report->last.rooms = (struct adapter_rooms){ 0 };
	}
	arena_reset(&report->arena);
	report->conf.polled(report->conf.arg, err);
}

static void poll_answered(struct wait *w, int err)
{
	polled(container_of(w, struct report, wait), err);
}

void report_poll(struct report *report)
{
	struct adapter *adapter = report->conf.adapter;

	timer_clear(report->conf.loop, &report->timer);
	if (report->wait.op)
		return;
	report->begun = rooms_poll_begins(report->conf.rooms);
	report->asked = (struct adapter_sample){ 0 };
	report->wait.wake = poll_answered;
	int err = adapter->ops->poll(adapter, &report->arena, &report->asked, &report->wait);
	if (err != WAIT)
		polled(report, err);
}

static void poll_due(struct timer *t)
{
	report_poll(container_of(t, struct report, timer));
}

void report_fill(struct report *report, uint64_t heartbeat_ms, struct usher_load *out)
{
	const struct adapter_sample *own = &report->last;
	uint64_t lead = heartbeat_ms / 2 < LEAD_MS ? heartbeat_ms / 2 : LEAD_MS;

	host_sample(&report->host, loop_now_ms(report->conf.loop), out);
	if (own->has_cpu)
		out->cpu = own->cpu, out->has_cpu = true;
	if (own->has_stress)
		out->stress = own->stress, out->has_stress = true;
	if (own->has_in)
		out->bandwidth_in_mbps = own->bandwidth_in_mbps, out->has_bandwidth_in = true;
	if (own->has_out)
		out->bandwidth_out_mbps = own->bandwidth_out_mbps, out->has_bandwidth_out = true;
	out->participants = (double)rooms_participants(report->conf.rooms);
	out->has_participants = true;
	timer_set(report->conf.loop, &report->timer, heartbeat_ms - lead, poll_due);
}

void report_stop(struct report *report)
{
	timer_clear(report->conf.loop, &report->timer);
	wait_drop(&report->wait);
	arena_reset(&report->arena);
}

struct report *report_new(const struct report_conf *conf)
{
	struct report *report = calloc(1, sizeof(*report));

	if (!report)
		abort();
	report->conf = *conf;
	host_init(&report->host, conf->proc);
	return report;
}

void report_free(struct report *report)
{
	if (!report)
		return;
	report_stop(report);
	free(report);
}
