/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes as they tell of themselves, for a process that has started while the store is away: it knows no record, and yet what a
 * live node holds must be reachable. What was heard makes views until the store answers for the first time, and is forgotten
 * then. Such a view is not `ready`: nothing is placed by it.
 */
#include <stdlib.h>
#include <string.h>

#include "health/fleet_private.h"

#define HEARD_MAX 10000

struct heard {
	struct task task;
	struct fleet *fleet;
	struct heard *next;
	struct node_record record; /* info, load: */
	struct buf info;
};

static void heard_free(struct heard *heard)
{
	buf_free(&heard->info);
	free(heard);
}

void fleet_forget_hearsay(struct fleet *fleet)
{
	while (fleet->heard) {
		struct heard *heard = fleet->heard;
		fleet->heard = heard->next;
		heard_free(heard);
	}
	fleet->nheard = 0;
}

static struct heard **heard_place(struct fleet *fleet, const char *node)
{
	struct heard **at = &fleet->heard;

	while (*at && strcmp((*at)->record.id, node))
		at = &(*at)->next;
	return at;
}

/* Of two processes under one name the later registration is believed. */
static bool keep(struct fleet *fleet, struct heard *heard)
{
	struct heard **at = heard_place(fleet, heard->record.id), *old = *at;

	if (old && old->record.registration > heard->record.registration)
		return false;
	if (!old && fleet->nheard >= HEARD_MAX)
		return false;
	if (old && old->record.registration == heard->record.registration)
		heard->record.listed |= old->record.listed;
	heard->next = old ? old->next : NULL;
	*at = heard;
	if (old)
		heard_free(old);
	else
		fleet->nheard++;
	return true;
}

static void publish_heard(struct fleet *fleet)
{
	struct published *p = calloc(1, sizeof(*p));
	uint64_t now = loop_now_ms(fleet->loop);
	struct nodes_all all = { .store_ms = wall_ms() };

	if (!p)
		abort();
	all.nodes = arena_alloc(&p->arena, (fleet->nheard + 1) * sizeof(*all.nodes));
	for (const struct heard *heard = fleet->heard; heard; heard = heard->next) {
		struct node_record *record = &all.nodes[all.count++];
		*record = heard->record;
		record->info = (struct str){ arena_copy(&p->arena, heard->info.at, heard->info.len), heard->info.len };
		record->load = STR("{}");
		record->drain = record->routers = STR("");
		record->heard_ms = record->since_ms = all.store_ms;
	}
	fleet_build(fleet, p, &all, now);
	p->view.ready = false;
	fleet_publish(fleet, p, now);
}

static void take(struct task *task)
{
	struct heard *heard = container_of(task, struct heard, task);
	struct fleet *fleet = heard->fleet;

	if (fleet_view(fleet)->ready || !keep(fleet, heard))
		heard_free(heard);
	else
		publish_heard(fleet);
}

void fleet_hear(struct fleet *fleet, const struct node_record *record, const struct node_info *info)
{
	struct heard *heard = calloc(1, sizeof(*heard));

	if (!heard)
		abort();
	heard->fleet = fleet;
	heard->record = *record;
	node_info_write(info, &heard->info);
	loop_post(fleet->loop, &heard->task, take);
}
