/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record that our view of the nodes lacks may be as young as the view is old. So what one step finds is held against the view
 * of the next, when it has been read anew, and the store lists it only while the record is still there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/wait.h"
#include "health/fleet.h"
#include "registry/nodes.h"
#include "router/router.h"
#include "router/unlisted.h"

#define STEP_MS 1000 /* with a thousand keys a step: a million rooms in a quarter of an hour */
#define STORE_MS 1000

struct unlisted {
	struct router *router;
	struct timer timer;
	struct wait wait;
	struct arena arena;     /* of the step before, with: */
	struct nodes_page page;
	uint64_t version;       /* of the view when it was read */
};

static void step(struct timer *);

static void rest(struct unlisted *u)
{
	timer_set(u->router->loop, &u->timer, STEP_MS, step);
}

static bool is_in(const struct fleet_view *view, const char *node)
{
	for (size_t i = 0; i < view->count; i++)
		if (!strcmp(view->nodes[i].record.id, node))
			return true;
	for (const char *const *id = view->unread; id && *id; id++)
		if (!strcmp(*id, node))
			return true;
	return false;
}

/* Those that the view lacked then. */
static void keep_missing(struct unlisted *u)
{
	const struct fleet_view *view = fleet_view(u->router->fleet);
	size_t kept = 0;

	for (size_t i = 0; i < u->page.count; i++)
		if (!is_in(view, u->page.ids[i]))
			u->page.ids[kept++] = u->page.ids[i];
	u->page.count = kept;
	u->version = view->version;
}

static void scanned(struct wait *w, int err)
{
	struct unlisted *u = container_of(w, struct unlisted, wait);

	if (err)
		u->page = (struct nodes_page){ 0 }; /* from the start */
	keep_missing(u);
	rest(u);
}

static void list_missing(struct unlisted *u)
{
	const struct fleet_view *view = fleet_view(u->router->fleet);

	for (size_t i = 0; i < u->page.count; i++) {
		if (is_in(view, u->page.ids[i]))
			continue;
		log_warn("node_unlisted", "node", LOG_S(u->page.ids[i]));
		nodes_relist(u->router->store, u->page.ids[i]);
	}
	u->page.count = 0;
}

static void step(struct timer *t)
{
	struct unlisted *u = container_of(t, struct unlisted, timer);
	struct router *router = u->router;
	const struct fleet_view *view = fleet_view(router->fleet);

	if (u->page.count && (!view->ready || view->version < u->version + 2)) {
		rest(u);
		return;
	}
	list_missing(u);
	char cursor[sizeof(u->page.next)];
	memcpy(cursor, u->page.next, sizeof(cursor));
	arena_reset(&u->arena);
	int err = nodes_scan(router->store, cursor, &u->arena, loop_now_ms(router->loop) + STORE_MS, &u->page, &u->wait);
	if (err != WAIT)
		scanned(&u->wait, err);
}

struct unlisted *unlisted_new(struct router *router)
{
	struct unlisted *u = calloc(1, sizeof(*u));

	if (!u)
		abort();
	u->router = router;
	u->wait.wake = scanned;
	return u;
}

void unlisted_start(struct unlisted *u)
{
	rest(u);
}

void unlisted_free(struct unlisted *u)
{
	timer_clear(u->router->loop, &u->timer);
	wait_drop(&u->wait);
	arena_reset(&u->arena);
	free(u);
}
