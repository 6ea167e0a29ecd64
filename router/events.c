/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event's id is "<process>-<number>": a client that comes back with the id of another process (a restarted router, or
 * another one behind the same balancer) cannot be told what it missed, and gets all that is kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/wait.h"
#include "router/events.h"
#include "router/metrics.h"
#include "router/router.h"
#include "router/worker.h"

const char *const event_words[] = {
#define X(id, name) name,
	EVENT_TABLE(X)
#undef X
	NULL
};

struct kept {
	uint64_t number;
	struct buf text; /* as it goes out */
};
struct events {
	struct router *router;
	char process[17];
	uint64_t last;
	struct kept ring[EVENTS_KEPT];
	int *followers; /* of each worker */
};

/* -- emitting ------------------------------------------------------------------------------------------------------------- */
struct emitted { /* on its way to the keeper */
	struct task task;
	struct router *router;
	enum event_type type;
	struct buf data;
};
struct passed { /* on its way to a worker */
	struct task task;
	struct worker *worker;
	size_t len;
	char text[];
};

static void hand_over(struct task *task)
{
	struct passed *passed = container_of(task, struct passed, task);

	event_streams_take(passed->worker, (struct str){ passed->text, passed->len });
	free(passed);
}

static void pass_to(struct worker *worker, const struct buf *text)
{
	struct passed *passed = malloc(sizeof(*passed) + text->len);

	if (!passed)
		abort();
	passed->worker = worker;
	passed->len = text->len;
	memcpy(passed->text, text->at, text->len);
	loop_post(worker->loop, &passed->task, hand_over);
}

static void keep(struct task *task)
{
	struct emitted *emitted = container_of(task, struct emitted, task);
	struct events *events = emitted->router->events;
	struct kept *kept = &events->ring[++events->last % EVENTS_KEPT];

	buf_free(&kept->text);
	*kept = (struct kept){ .number = events->last };
	buf_printf(&kept->text, "id: %s-%llu\nevent: %s\ndata: %.*s\n\n", events->process, (unsigned long long)kept->number,
	           event_words[emitted->type], (int)emitted->data.len, emitted->data.at);
	for (size_t i = 0; i < events->router->nworkers; i++)
		if (events->followers[i])
			pass_to(events->router->workers[i], &kept->text);
	metric_add(events->router->sheet, M_EVENTS, event_words[emitted->type], NULL, 1);
	buf_free(&emitted->data);
	free(emitted);
}

static void write_data(const struct router *router, const struct event *event, struct buf *out)
{
	struct json_out json = { .to = out };
	char at[25];

	time_rfc3339(wall_ms(), at);
	json_open(&json, NULL, '{');
	json_str(&json, "type", event_words[event->type]);
	json_str(&json, "at", at);
	json_str(&json, "router", router->id);
	if (event->node)
		json_str(&json, "node", event->node);
	if (event->room.len)
		json_view(&json, "room", event->room);
	if (event->epoch)
		json_u64(&json, "epoch", event->epoch);
	if (event->detail)
		json_str(&json, "detail", event->detail);
	json_close(&json, '}');
}

void events_emit(struct router *router, const struct event *event)
{
	struct emitted *emitted = calloc(1, sizeof(*emitted));

	if (!emitted)
		abort();
	log_change(event_words[event->type], "node", LOG_S(event->node), "room", LOG_B(event->room.at, event->room.len), "epoch",
	         LOG_U(event->epoch), "detail", LOG_S(event->detail));
	emitted->router = router;
	emitted->type = event->type;
	write_data(router, event, &emitted->data);
	loop_post(router->loop, &emitted->task, keep);
}

/* -- following ------------------------------------------------------------------------------------------------------------ */
static uint64_t number_of(const struct events *events, struct str id)
{
	size_t len = strlen(events->process);
	uint64_t number;

	if (id.len < len + 2 || memcmp(id.at, events->process, len) || id.at[len] != '-' ||
	    !parse_u64((struct str){ id.at + len + 1, id.len - len - 1 }, &number))
		return 0;
	return number;
}

void events_since(struct events *events, struct str last_id, struct buf *out)
{
	uint64_t after = number_of(events, last_id), oldest = events->last > EVENTS_KEPT ? events->last - EVENTS_KEPT : 0;

	for (uint64_t n = (after > oldest ? after : oldest) + 1; n <= events->last; n++) {
		const struct kept *kept = &events->ring[n % EVENTS_KEPT];
		buf_add(out, kept->text.at, kept->text.len);
	}
}

void events_follow(struct events *events, unsigned worker, int by)
{
	events->followers[worker] += by;
}

/* -- life ----------------------------------------------------------------------------------------------------------------- */
struct events *events_new(struct router *router)
{
	struct events *events = calloc(1, sizeof(*events));

	if (!events || !(events->followers = calloc(router->nworkers, sizeof(*events->followers))))
		abort();
	events->router = router;
	snprintf(events->process, sizeof(events->process), "%016llx", (unsigned long long)random_u64());
	return events;
}

void events_free(struct events *events)
{
	for (size_t i = 0; i < EVENTS_KEPT; i++)
		buf_free(&events->ring[i].text);
	free(events->followers);
	free(events);
}
