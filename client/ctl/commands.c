/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every command: what it calls, and how its answer is shown. Lists follow next_cursor until they end or --limit is
 * reached; with --json each page is printed as it came, one after another.
 */
#include <inttypes.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/shapes.h"
#include "client/ctl/table.h"

#define PAGE_MAX 1000

/* -- paths and queries -------------------------------------------------------------------------------------------------- */
static void add_query(struct buf *target, const char *name, const char *value)
{
	if (!value)
		return;
	buf_adds(target, memchr(target->at, '?', target->len) ? "&" : "?");
	buf_printf(target, "%s=", name);
	percent_encode(target, str_of(value));
}

static void add_number(struct buf *target, const char *name, uint64_t n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, n);
	add_query(target, name, digits);
}

/* GET one thing; *shown when --json has printed it. */
static int get_one(struct ctl *ctl, struct buf target, const struct json_shape *shape, void *out, bool *shown)
{
	struct str answer;
	int code = ctl_call_at(ctl, "GET", &target, STR(""), &answer);

	*shown = ctl->json;
	if (code == CTL_DONE && ctl->json)
		ctl_show_raw(ctl, answer);
	else if (code == CTL_DONE)
		code = ctl_read(ctl, answer, shape, out);
	return code;
}

/* -- lists -------------------------------------------------------------------------------------------------------------- */
struct list {
	const char *path;
	const struct json_shape *page;
	void (*add_row)(struct table *, const void *item);
	size_t item_size;
};

static struct buf list_target(const struct ctl *ctl, const struct list *list, const char *cursor, uint64_t done)
{
	struct buf target = { 0 };
	uint64_t left = ctl->limit ? ctl->limit - done : PAGE_MAX;

	buf_adds(&target, list->path);
	add_query(&target, "node", ctl->node);
	add_query(&target, "prefix", ctl->prefix);
	add_number(&target, "limit", left < PAGE_MAX ? left : PAGE_MAX);
	add_query(&target, "cursor", cursor);
	return target;
}

static void list_rows(const struct list *list, const struct page_view *page, struct table *table)
{
	for (size_t i = 0; i < page->items.count; i++)
		list->add_row(table, (const char *)page->items.items + i * list->item_size);
}

static void warn_partial(struct ctl *ctl, const struct page_view *page)
{
	const char *const *who = page->partial.items;

	for (size_t i = 0; i < page->partial.count; i++) {
		fputs("usherctl: incomplete, no answer from ", ctl->err);
		clean_print(who[i], ctl->err);
		fputc('\n', ctl->err);
	}
}

static int get_page(struct ctl *ctl, const struct list *list, const char *cursor, uint64_t done, struct table *table,
                    struct page_view *page)
{
	struct buf target = list_target(ctl, list, cursor, done);
	struct str answer;
	int code;

	arena_reset(&ctl->arena);
	code = ctl_call_at(ctl, "GET", &target, STR(""), &answer);
	if (code == CTL_DONE)
		code = ctl_read(ctl, answer, list->page, page);
	if (code != CTL_DONE)
		return code;
	if (ctl->json)
		ctl_show_raw(ctl, answer);
	else
		list_rows(list, page, table);
	warn_partial(ctl, page);
	return CTL_DONE;
}

/* The same cursor again would never end. False: no next page. */
static bool next_page(const struct page_view *page, struct buf *cursor, int *code, struct ctl *ctl)
{
	const char *next = page->next_cursor ? page->next_cursor : "";

	if (cursor->len && !strcmp(next, cursor->at)) {
		fprintf(ctl->err, "usherctl: the router repeats its cursor\n");
		*code = CTL_FAILED;
		return false;
	}
	buf_free(cursor);
	*cursor = (struct buf){ 0 };
	buf_adds(cursor, next);
	return cursor->len;
}

static int list_pages(struct ctl *ctl, const struct list *list, struct table *table)
{
	struct buf cursor = { 0 };
	struct page_view page;
	uint64_t done = 0;
	int code;

	do {
		page = (struct page_view){ 0 };
		code = get_page(ctl, list, cursor.len ? cursor.at : NULL, done, table, &page);
		done += page.items.count;
	} while (code == CTL_DONE && next_page(&page, &cursor, &code, ctl) && (!ctl->limit || done < ctl->limit));
	buf_free(&cursor);
	return code;
}

static int show_list(struct ctl *ctl, const struct list *list, const char *const *names)
{
	struct table table = { 0 };
	int code;

	table_head(&table, names);
	code = list_pages(ctl, list, &table);
	if (code == CTL_DONE && !ctl->json)
		table_print(&table, ctl->out);
	table_free(&table);
	return code;
}

static void add_share(struct table *t, bool has, double share)
{
	if (has)
		table_printf(t, "%.0f%%", share * 100);
	else
		table_text(t, NULL);
}

static void add_count(struct table *t, bool has, uint64_t n)
{
	if (has)
		table_u64(t, n);
	else
		table_text(t, NULL);
}

static void join_words(struct buf *out, const struct json_list *words)
{
	const char *const *word = words->items;

	for (size_t i = 0; i < words->count; i++)
		buf_printf(out, "%s%s", i ? "," : "", word[i]);
}

static void add_placeable(struct table *t, const struct node_view *node)
{
	struct buf why = { 0 };

	join_words(&why, &node->why_not);
	if (node->placeable)
		table_text(t, "yes");
	else
		table_printf(t, "no%s%s", why.len ? ": " : "", why.len ? why.at : "");
	buf_free(&why);
}

static void add_node(struct table *t, const void *item)
{
	const struct node_view *node = item;

	table_text(t, node->id);
	table_text(t, node->state);
	add_share(t, node->has_score, node->score);
	table_u64(t, node->rooms);
	add_count(t, node->has_participants, node->participants);
	add_share(t, node->load.has_cpu, node->load.cpu);
	add_share(t, node->load.has_memory, node->load.memory);
	table_text(t, node->pool);
	table_text(t, node->region);
	add_placeable(t, node);
}

static int run_nodes(struct ctl *ctl)
{
	static const struct list list = { "/v1/nodes", &nodes_page, add_node, sizeof(struct node_view) };
	static const char *const names[] = { "NODE", "STATE", ">SCORE", ">ROOMS", ">PEOPLE", ">CPU", ">MEMORY", "POOL", "REGION",
		                             "NEW ROOMS", NULL };

	return show_list(ctl, &list, names);
}

static void add_room(struct table *t, const void *item)
{
	const struct room_view *room = item;

	table_text(t, room->room);
	table_text(t, room->node);
	table_text(t, room->state);
	table_u64(t, room->epoch);
	add_count(t, room->has_participants, room->participants);
	table_text(t, room->created_at);
}

static int run_rooms(struct ctl *ctl)
{
	static const struct list list = { "/v1/rooms", &rooms_page, add_room, sizeof(struct room_view) };
	static const char *const names[] = { "ROOM", "NODE", "STATE", ">EPOCH", ">PEOPLE", "CREATED", NULL };

	return show_list(ctl, &list, names);
}

static void add_router(struct table *t, const void *item)
{
	const struct router_view *router = item;

	table_text(t, router->id);
	table_text(t, router->url);
	table_text(t, router->version);
	table_u64(t, router->rooms);
	table_u64(t, router->tunnels);
	table_u64(t, router->breakers_not_closed);
	table_u64(t, router->heard_age_ms);
	table_text(t, router->started_at);
}

static int run_routers(struct ctl *ctl)
{
	static const struct list list = { "/v1/routers", &routers_page, add_router, sizeof(struct router_view) };
	static const char *const names[] = { "ROUTER", "URL", "VERSION", ">ROOMS KNOWN", ">TUNNELS", ">BREAKERS OPEN", ">HEARD MS AGO",
		                             "STARTED", NULL };

	return show_list(ctl, &list, names);
}

/* -- one thing ---------------------------------------------------------------------------------------------------------- */
/* "name  value" lines, as a table of two columns without a heading. */
static void fact(struct table *t, const char *name, const char *value)
{
	if (!value || !*value)
		return;
	t->columns = 2;
	if (!t->right.len)
		buf_add(&t->right, "\0\0", 2);
	table_text(t, name);
	table_text(t, value);
}

static void fact_number(struct table *t, const char *name, bool has, uint64_t n)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, n);
	fact(t, name, has ? digits : NULL);
}

static void fact_share(struct table *t, const char *name, bool has, double share)
{
	char percent[32];

	snprintf(percent, sizeof(percent), "%.1f%%", share * 100);
	fact(t, name, has ? percent : NULL);
}

static void fact_real(struct table *t, const char *name, bool has, double value)
{
	char text[40];

	snprintf(text, sizeof(text), "%.1f", value);
	fact(t, name, has ? text : NULL);
}

static void show_facts(struct ctl *ctl, struct table *t)
{
	table_print(t, ctl->out);
	table_free(t);
}

static void show_breakers(struct ctl *ctl, const struct json_list *breakers)
{
	static const char *const names[] = { "BREAKER AT", "CLASS", "STATE", ">FAILURES", ">RETRY IN MS", NULL };
	const struct breaker_view *breaker = breakers->items;
	struct table t = { 0 };

	if (!breakers->count)
		return;
	fputc('\n', ctl->out);
	table_head(&t, names);
	for (size_t i = 0; i < breakers->count; i++) {
		table_text(&t, breaker[i].router);
		table_text(&t, breaker[i].class);
		table_text(&t, breaker[i].state);
		table_u64(&t, breaker[i].failures);
		table_u64(&t, breaker[i].retry_in_ms);
	}
	show_facts(ctl, &t);
}

static void fact_labels(struct table *t, const struct json_list *labels)
{
	const struct json_pair *pair = labels->items;
	struct buf text = { 0 };

	for (size_t i = 0; i < labels->count; i++)
		buf_printf(&text, "%s%s=%s", i ? " " : "", pair[i].key, pair[i].value);
	fact(t, "labels", text.at);
	buf_free(&text);
}

static void fact_placeable(struct table *t, const struct node_view *node)
{
	struct buf why = { 0 };

	buf_adds(&why, node->placeable ? "yes" : node->why_not.count ? "no: " : "no");
	if (!node->placeable)
		join_words(&why, &node->why_not);
	fact(t, "new rooms", why.at);
	buf_free(&why);
}

static void fact_drain(struct ctl *ctl, struct table *t, const struct drain_view *drain)
{
	if (!drain->policy)
		return;
	fact(t, "drain", arena_printf(&ctl->arena, "%s, by %s since %s", drain->policy, drain->by, drain->since));
	fact_number(t, "deadline ms", drain->deadline_ms, drain->deadline_ms);
	fact(t, "moved", arena_printf(&ctl->arena, "%" PRIu64 " rooms, %" PRIu64 " attempts failed", drain->moved, drain->failed));
}

static void show_node(struct ctl *ctl, const struct node_view *node)
{
	struct table t = { 0 };

	fact(&t, "node", node->id);
	fact(&t, "state", node->state);
	fact(&t, "wish", node->wish);
	fact(&t, "reported", node->reported);
	fact_placeable(&t, node);
	fact_share(&t, "score", node->has_score, node->score);
	fact_share(&t, "charged", true, node->charged);
	fact_share(&t, "cpu", node->load.has_cpu, node->load.cpu);
	fact_share(&t, "memory", node->load.has_memory, node->load.memory);
	fact_share(&t, "stress", node->load.has_stress, node->load.stress);
	fact_real(&t, "mbps in", node->load.has_in, node->load.bandwidth_in_mbps);
	fact_real(&t, "mbps out", node->load.has_out, node->load.bandwidth_out_mbps);
	fact_number(&t, "rooms", true, node->rooms);
	fact_number(&t, "participants", node->has_participants, node->participants);
	fact_drain(ctl, &t, &node->drain);
	fact(&t, "pool", node->pool);
	fact(&t, "region", node->region);
	fact(&t, "zone", node->zone);
	fact_labels(&t, &node->labels);
	fact(&t, "signal url", node->signal_url);
	fact(&t, "fences", node->fences);
	fact(&t, "adapter", node->adapter);
	fact(&t, "version", node->version);
	fact(&t, "incarnation", node->incarnation);
	fact_number(&t, "registration", true, node->registration);
	fact_number(&t, "load age ms", true, node->load_age_ms);
	fact_number(&t, "lease left ms", true, node->lease_remaining_ms);
	show_facts(ctl, &t);
	show_breakers(ctl, &node->breakers);
}

static int run_node(struct ctl *ctl)
{
	struct node_view node = { 0 };
	bool shown;
	int code = get_one(ctl, ctl_path("/v1/nodes/", ctl->name, ""), &node_shape, &node, &shown);

	if (code == CTL_DONE && !shown)
		show_node(ctl, &node);
	return code;
}

static int run_room(struct ctl *ctl)
{
	struct room_view room = { 0 };
	struct table t = { 0 };
	bool shown;
	int code = get_one(ctl, ctl_path("/v1/rooms/", ctl->name, ""), &room_shape, &room, &shown);

	if (code != CTL_DONE || shown)
		return code;
	fact(&t, "room", room.room);
	fact(&t, "node", room.node);
	fact(&t, "epoch", arena_printf(&ctl->arena, "%" PRIu64, room.epoch));
	fact(&t, "state", room.state);
	fact_number(&t, "participants", room.has_participants, room.participants);
	fact(&t, "created", room.created_at);
	fact(&t, "assigned by", room.assigned_by);
	show_facts(ctl, &t);
	return CTL_DONE;
}

/* -- changes ------------------------------------------------------------------------------------------------------------ */
static void write_wish(const struct ctl *ctl, struct buf *body)
{
	struct json_out json = { .to = body };

	json_open(&json, NULL, '{');
	if (ctl->participant)
		json_str(&json, "participant", ctl->participant);
	if (ctl->region)
		json_str(&json, "region", ctl->region);
	if (ctl->pool)
		json_str(&json, "pool", ctl->pool);
	json_close(&json, '}');
}

static void show_joined(struct ctl *ctl, const struct joined_view *joined, struct str hints)
{
	struct table t = { 0 };

	fact(&t, "room", joined->room);
	fact(&t, "node", joined->node.id);
	fact(&t, "region", joined->node.region);
	fact_number(&t, "epoch", true, joined->epoch);
	fact(&t, "placed", joined->created ? "now" : "before");
	fact(&t, "source", joined->source);
	fact(&t, "signal", joined->signal.url);
	if (hints.len > 2)
		fact(&t, "hints", arena_copy(&ctl->arena, hints.at, hints.len));
	show_facts(ctl, &t);
}

static int run_join(struct ctl *ctl)
{
	struct buf target = ctl_path("/v1/rooms/", ctl->name, "/join"), body = { 0 };
	struct joined_view joined = { 0 };
	struct str answer;
	int code;

	write_wish(ctl, &body);
	code = ctl_call_at(ctl, "POST", &target, (struct str){ body.at, body.len }, &answer);
	buf_free(&body);
	if (code != CTL_DONE)
		return code;
	if (ctl->json) {
		ctl_show_raw(ctl, answer);
		return code;
	}
	code = ctl_read(ctl, answer, &joined_shape, &joined);
	if (code == CTL_DONE)
		show_joined(ctl, &joined, json_member(answer, "hints", &ctl->arena));
	return code;
}

static int run_cordon(struct ctl *ctl)
{
	return ctl_change(ctl, "PUT", ctl_path("/v1/nodes/", ctl->name, "/cordon"), STR(""), "is cordoned: no new rooms");
}

static int run_uncordon(struct ctl *ctl)
{
	return ctl_change(ctl, "DELETE", ctl_path("/v1/nodes/", ctl->name, "/cordon"), STR(""), "takes new rooms again");
}

static int run_remove(struct ctl *ctl)
{
	struct buf target = ctl_path("/v1/nodes/", ctl->name, "");

	if (!ctl->force) {
		buf_free(&target);
		fprintf(ctl->err, "usherctl: remove needs --force: its rooms are placed anew at once, so be sure that the machine is off\n");
		return CTL_USAGE;
	}
	add_query(&target, "force", "true");
	return ctl_change(ctl, "DELETE", target, STR(""), "is removed: its rooms are placed anew");
}

static int run_close(struct ctl *ctl)
{
	struct buf target = ctl_path("/v1/rooms/", ctl->name, "");

	if (!ctl->epoch == !ctl->force) {
		buf_free(&target);
		fprintf(ctl->err, "usherctl: close needs --epoch N (as `usherctl room` shows it) or --force, not both\n");
		return CTL_USAGE;
	}
	if (ctl->force)
		add_query(&target, "force", "true");
	else
		add_number(&target, "epoch", ctl->epoch);
	return ctl_change(ctl, "DELETE", target, STR(""), "is closed");
}

const struct command commands[] = {
	{ "nodes", NULL, OPTION_LIMIT, run_nodes, "all SFU nodes: state, load, and whether they take new rooms" },
	{ "node", "NODE", 0, run_node, "one node with its breakers" },
	{ "rooms", NULL, OPTION_NODE | OPTION_PREFIX | OPTION_LIMIT, run_rooms, "all rooms, or those of a node or with a prefix" },
	{ "room", "ROOM", 0, run_room, "where a room is, its epoch and state" },
	{ "join", "ROOM", OPTION_PARTICIPANT | OPTION_REGION | OPTION_POOL, run_join, "join as a client would; places a new room" },
	{ "cordon", "NODE", 0, run_cordon, "no new rooms for this node; its rooms stay" },
	{ "uncordon", "NODE", 0, run_uncordon, "new rooms again" },
	{ "drain", "NODE", OPTION_DRAIN, run_drain, "no new rooms; those it has are waited for, or moved" },
	{ "undrain", "NODE", 0, run_undrain, "undo a drain: rooms that have not moved stay" },
	{ "remove", "NODE", OPTION_FORCE, run_remove, "give a node up whose machine is off: its rooms are placed anew at once" },
	{ "move", "ROOM", OPTION_NODE | OPTION_EPOCH, run_move, "move a room to another node; its participants connect anew" },
	{ "close", "ROOM", OPTION_EPOCH | OPTION_FORCE, run_close, "end a room: participants are cut, the name is free again" },
	{ "token", "KIND", OPTION_TOKEN | OPTION_NODE, run_token, "make a credential: static, jwt, key (for jwt) or secret (for tickets)" },
	{ "routers", NULL, 0, run_routers, "all routers of this store" },
	{ NULL, NULL, 0, NULL, NULL },
};
