/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading all nodes, for the view that each process keeps; routers, read and written. The ids and the time first, then three reads
 * a node, those of a slice of the list all sent at once. A record that cannot be read leaves a gap and `partial`, not a failure: one
 * damaged key must not blind the router to every other node.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "registry/redis_command.h"
#include "registry/redis_op.h"
#include "registry/redis_read.h"
#include "registry/redis_store.h"

#define SILENT_MS 10000 /* routers not heard for so long are forgotten */

enum { F_INCARNATION, F_REGISTRATION, F_SEQ, F_LEASE, F_WISH, F_REPORTED, F_LOST, F_INFO, F_LOAD, F_SINCE, F_HEARD, F_CHARGED,
	F_SEEN, F_SHOWN, F_RESETS, F_EXCLUSIVE, F_LISTED, F_DRAIN, F_WISHED, F_ROUTERS, NODE_FIELDS };
static const char *const node_fields[NODE_FIELDS] = { "incarnation", "registration", "seq", "lease_ms", "wish", "reported",
	"lost", "info", "load", "since", "heard", "charged", "seen", "shown", "resets", "exclusive", "listed", "drain", "wished",
	"routers" };

enum node_part { PART_RECORD, PART_CHARGES, PART_ROOMS, NODE_PARTS };
struct part_fetch {
	struct redis_call call;
	struct fleet_op *op;
	struct node_record *record;
};
struct fleet_op {
	struct op op;
	struct redis_store *store;
	struct arena *arena; /* the waiter's: only while it waits */
	struct nodes_all *nodes, found_nodes;
	struct routers_all *routers, found_routers;
	uint64_t due_ms, store_ms;
	size_t shard; /* of the key that is read first */
	struct buf fields; /* names of a record's fields, with which each node's command ends */
	struct redis_call time, ids;
	struct part_fetch *fetches;
	size_t nfetches, waiting;
};

static void fleet_op_free(struct fleet_op *op)
{
	redis_cancel(&op->time);
	redis_cancel(&op->ids);
	for (size_t i = 0; i < op->nfetches; i++)
		redis_cancel(&op->fetches[i].call);
	free(op->fetches);
	buf_free(&op->fields);
	free(op);
}

static void fleet_dropped(struct op *op)
{
	fleet_op_free(container_of(op, struct fleet_op, op));
}

static void fleet_finish(struct fleet_op *op, int err)
{
	struct wait *w = op_detach(&op->op);

	if (!err && !op->store_ms)
		err = -ERR_STORE_UNAVAILABLE; /* the key was sent on to another server than the one that was asked for the time */
	op->found_nodes.store_ms = op->found_routers.store_ms = op->store_ms;
	if (!err && op->nodes)
		*op->nodes = op->found_nodes;
	if (!err && op->routers)
		*op->routers = op->found_routers;
	fleet_op_free(op);
	wait_wake(w, err);
}

/* -- a node's parts ---------------------------------------------------------------------------------------------------------- */

static int word_of(const char *const *words, struct str word)
{
	for (int i = 0; words[i]; i++)
		if (str_is(word, words[i]))
			return i;
	return 0;
}

static struct str keep(struct arena *arena, const struct redisReply *r, const char *otherwise)
{
	struct str text = reply_str(r);

	if (!text.at)
		return str_of(otherwise);
	return (struct str){ arena_copy(arena, text.at, text.len), text.len };
}

/* False: not readable. A record without any field has been deleted: its id becomes "". */
static bool record_read(struct fleet_op *op, struct node_record *n, const struct redisReply *r)
{
	bool some = false;

	if (reply_count(r) != NODE_FIELDS ||
	    !reply_copy(reply_at(r, F_INCARNATION), n->incarnation, sizeof n->incarnation))
		return false;
	for (size_t i = 0; i < NODE_FIELDS; i++)
		some = some || !reply_is_nil(reply_at(r, i));
	if (!some) {
		redis_nodes_relist(op->store, n->id); /* or rather no more: an entering crossed a leaving */
		n->id[0] = '\0';
	}
	n->registration = reply_u64(reply_at(r, F_REGISTRATION));
	n->seq = reply_u64(reply_at(r, F_SEQ));
	n->lease_ms = reply_u64(reply_at(r, F_LEASE));
	n->wish = (enum node_wish)word_of(node_wish_words, reply_str(reply_at(r, F_WISH)));
	n->reported = (enum node_report)word_of(node_report_words, reply_str(reply_at(r, F_REPORTED)));
	n->lost = str_is(reply_str(reply_at(r, F_LOST)), "1");
	n->info = keep(op->arena, reply_at(r, F_INFO), "{}");
	n->load = keep(op->arena, reply_at(r, F_LOAD), "{}");
	n->since_ms = reply_u64(reply_at(r, F_SINCE));
	n->heard_ms = reply_u64(reply_at(r, F_HEARD));
	n->charged = reply_u64(reply_at(r, F_CHARGED));
	n->seen = reply_u64(reply_at(r, F_SEEN));
	n->shown = reply_real(reply_at(r, F_SHOWN));
	n->resets = reply_u64(reply_at(r, F_RESETS));
	n->listed = reply_u64(reply_at(r, F_LISTED));
	n->drain = keep(op->arena, reply_at(r, F_DRAIN), "");
	n->routers = keep(op->arena, reply_at(r, F_ROUTERS), "");
	n->wished_ms = reply_u64(reply_at(r, F_WISHED));
	n->exclusive = reply_str(reply_at(r, F_EXCLUSIVE)).len > 0;
	return true;
}

static bool charges_read(struct fleet_op *op, struct node_record *n, const struct redisReply *r)
{
	size_t count = reply_count(r);

	if (!reply_is_list(r))
		return false;
	n->charges = arena_alloc(op->arena, (count ? count : 1) * sizeof *n->charges);
	for (size_t i = 0; i < count; i++)
		if (text_charge(reply_str(reply_at(r, i)), &n->charges[n->ncharges]))
			n->ncharges++;
	return true;
}

static bool part_read(struct part_fetch *fetch, const struct redisReply *reply)
{
	struct fleet_op *op = fetch->op;

	if (reply_failed(reply))
		return false;
	switch ((enum node_part)((size_t)(fetch - op->fetches) % NODE_PARTS)) {
	case PART_RECORD:
		return record_read(op, fetch->record, reply);
	case PART_CHARGES:
		return charges_read(op, fetch->record, reply);
	default:
		fetch->record->rooms = reply_u64(reply);
		return true;
	}
}

static size_t slice_size(const struct fleet_op *op)
{
	return op->found_nodes.left < NODES_SLICE ? op->found_nodes.left : NODES_SLICE;
}

static struct node_record *slice_nodes(const struct fleet_op *op)
{
	return op->found_nodes.nodes + op->found_nodes.length - op->found_nodes.left;
}

/* What was read moves up behind the slices before. */
static void slice_settle(struct fleet_op *op)
{
	struct nodes_all *all = &op->found_nodes;
	struct node_record *nodes = slice_nodes(op);
	size_t size = slice_size(op);

	for (size_t i = 0; i < size; i++)
		if (nodes[i].id[0])
			all->nodes[all->count++] = nodes[i];
	all->left -= size;
}

static void record_unread(struct fleet_op *op, struct node_record *record)
{
	struct nodes_all *all = &op->found_nodes;

	if (!record->id[0]) /* said already, or deleted */
		return;
	all->partial = true;
	all->unread[all->nunread++] = arena_copy(op->arena, record->id, strlen(record->id));
	record->id[0] = '\0';
}

/* One shard may be away, and with it the nodes that lie there; the others are read. */
static bool in_cluster(const struct fleet_op *op)
{
	return op->store->shared->target.kind == REDIS_CLUSTER;
}

static void part_answered(struct redis_call *call, const struct redisReply *reply)
{
	struct part_fetch *fetch = container_of(call, struct part_fetch, call);
	struct fleet_op *op = fetch->op;

	if (!reply && !in_cluster(op)) {
		fleet_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	if (!part_read(fetch, reply))
		record_unread(op, fetch->record);
	if (--op->waiting)
		return;
	slice_settle(op);
	fleet_finish(op, 0);
}

static int part_send(struct fleet_op *op, struct part_fetch *fetch, struct node_record *record, enum node_part part)
{
	static const char *const verbs[] = { "HMGET", "LRANGE", "HLEN" };
	static const enum node_key keys[] = { KEY_NODE, KEY_CHARGES, KEY_NODE_ROOMS };
	static const size_t words[] = { 2 + NODE_FIELDS, 4, 2 };
	struct buf *text = &fetch->call.text;

	fetch->op = op;
	fetch->record = record;
	fetch->call.script = SCRIPT_COUNT;
	fetch->call.due_ms = op->due_ms;
	fetch->call.done = part_answered;
	command_start(text, words[part]);
	command_z(text, verbs[part]);
	command_node(text, op->store, record->id, keys[part]);
	if (part == PART_RECORD)
		buf_add(text, op->fields.at, op->fields.len);
	if (part == PART_CHARGES) {
		command_z(text, "0");
		command_z(text, "-1");
	}
	return shard_send(op->store, &fetch->call);
}

/* WAIT for the next slice's answers; NEXT: there is nothing to wait for. */
static int slice_ask(struct fleet_op *op)
{
	struct node_record *nodes = slice_nodes(op);

	op->nfetches = op->waiting = slice_size(op) * NODE_PARTS;
	op->fetches = calloc(op->nfetches + 1, sizeof *op->fetches);
	if (!op->fetches)
		abort();
	for (size_t i = 0; i < NODE_FIELDS; i++)
		command_z(&op->fields, node_fields[i]);
	for (size_t i = 0; i < op->nfetches; i++) {
		struct node_record *record = &nodes[i / NODE_PARTS];

		if (record->id[0] && part_send(op, &op->fetches[i], record, (enum node_part)(i % NODE_PARTS)) == 0)
			continue;
		if (!in_cluster(op))
			return -ERR_STORE_UNAVAILABLE;
		record_unread(op, record);
		op->waiting--;
	}
	if (op->waiting)
		return WAIT;
	slice_settle(op);
	return NEXT;
}

static void node_ids_told(struct redis_call *call, const struct redisReply *reply)
{
	struct fleet_op *op = container_of(call, struct fleet_op, ids);
	struct nodes_all *all = &op->found_nodes;
	size_t count = reply_count(reply);
	int err;

	if (!reply_is_list(reply)) {
		fleet_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	all->nodes = arena_alloc(op->arena, (count ? count : 1) * sizeof *all->nodes);
	all->unread = arena_alloc(op->arena, (count ? count : 1) * sizeof *all->unread);
	for (size_t i = 0; i < count; i++) {
		struct str id = reply_str(reply_at(reply, i));

		if (id.at && node_valid(id.at, id.len))
			memcpy(all->nodes[all->length++].id, id.at, id.len);
	}
	all->left = all->length;
	all->connections = redis_store_connections(op->store);
	err = slice_ask(op);
	if (err != WAIT)
		fleet_finish(op, err);
}

/* -- routers --------------------------------------------------------------------------------------------------------------------- */

static void router_read(struct fleet_op *op, struct str id, struct str text) /* "heard_ms json" */
{
	struct router_record *r = &op->found_routers.routers[op->found_routers.count];
	struct str heard;

	if (!id.at || id.len == 0 || id.len > NODE_MAX || !text.at || !str_cut(&text, ' ', &heard) ||
	    !parse_u64(heard, &r->heard_ms))
		return;
	memcpy(r->id, id.at, id.len);
	r->info = (struct str){ arena_copy(op->arena, text.at, text.len), text.len };
	op->found_routers.count++;
}

static void routers_listed(struct redis_call *call, const struct redisReply *reply)
{
	struct fleet_op *op = container_of(call, struct fleet_op, ids);
	size_t count = reply_count(reply) / 2;

	if (!reply_is_list(reply)) {
		fleet_finish(op, -ERR_STORE_UNAVAILABLE);
		return;
	}
	op->found_routers.routers = arena_alloc(op->arena, (count ? count : 1) * sizeof *op->found_routers.routers);
	for (size_t i = 0; i < count; i++)
		router_read(op, reply_str(reply_at(reply, 2 * i)), reply_str(reply_at(reply, 2 * i + 1)));
	fleet_finish(op, 0);
}

int redis_routers_announce(struct redis_store *store, const char *id, struct str info, uint64_t due_ms, struct wait *w)
{
	struct redis_op *op = op_new(store, sizeof *op, false);

	op_script(op, SCRIPT_ANNOUNCE, 1, 3);
	command_key(&op->call.text, store, "routers");
	command_z(&op->call.text, id);
	command_str(&op->call.text, info);
	command_u64(&op->call.text, SILENT_MS);
	return op_start(op, due_ms, w);
}

int redis_routers_leave(struct redis_store *store, const char *id, uint64_t due_ms, struct wait *w)
{
	struct redis_op *op = op_new(store, sizeof *op, false);

	command_start(&op->call.text, 3);
	command_z(&op->call.text, "HDEL");
	command_key(&op->call.text, store, "routers");
	command_z(&op->call.text, id);
	return op_start(op, due_ms, w);
}

/* -- both ------------------------------------------------------------------------------------------------------------------------- */

static void time_told(struct redis_call *call, const struct redisReply *reply)
{
	struct fleet_op *op = container_of(call, struct fleet_op, time);

	op->store_ms = reply_time_ms(reply);
	if (op->store_ms == 0)
		fleet_finish(op, -ERR_STORE_UNAVAILABLE);
}

static int simple_send(struct fleet_op *op, struct redis_call *call, const char *verb, const char *key,
                       void (*done)(struct redis_call *, const struct redisReply *))
{
	command_start(&call->text, key ? 2 : 1);
	command_z(&call->text, verb);
	if (key)
		command_key(&call->text, op->store, key);
	call->script = SCRIPT_COUNT;
	call->patient = true;
	call->due_ms = op->due_ms;
	call->done = done;
	return key ? shard_send(op->store, call) : shard_send_to(op->store, op->shard, call);
}

/* The time is asked of the server that has the key, so that its answer comes first. */
static size_t shard_of_key(const struct redis_store *store, const char *name)
{
	struct buf key = { 0 };
	size_t shard;

	buf_printf(&key, "%s%s", store->shared->prefix, name);
	shard = redis_shard_of(store->shared, (struct str){ key.at, key.len });
	buf_free(&key);
	return shard;
}

static int fleet_start_reading(struct fleet_op *op, const char *verb, const char *key,
                               void (*done)(struct redis_call *, const struct redisReply *), struct wait *w)
{
	op->shard = shard_of_key(op->store, key);
	if (simple_send(op, &op->time, "TIME", NULL, time_told) != 0 || simple_send(op, &op->ids, verb, key, done) != 0) {
		fleet_op_free(op);
		return -ERR_STORE_UNAVAILABLE;
	}
	op_attach(&op->op, w);
	return WAIT;
}

static struct fleet_op *fleet_op_new(struct redis_store *store, struct arena *arena, uint64_t due_ms)
{
	struct fleet_op *op = calloc(1, sizeof *op);

	if (!op)
		abort();
	op->op.dropped = fleet_dropped;
	op->store = store;
	op->arena = arena;
	op->due_ms = due_ms;
	return op;
}

/* Of a cluster each record lies at one shard, whatever becomes of the others. */
static bool is_same_store(const struct fleet_op *op)
{
	return in_cluster(op) || redis_store_connections(op->store) == op->nodes->connections;
}

static int nodes_go_on(struct fleet_op *op, struct wait *w)
{
	int err;

	op->found_nodes = *op->nodes;
	op->store_ms = op->found_nodes.store_ms;
	err = is_same_store(op) ? slice_ask(op) : -ERR_STORE_UNAVAILABLE;
	if (err == WAIT) {
		op_attach(&op->op, w);
		return WAIT;
	}
	if (!err)
		*op->nodes = op->found_nodes;
	fleet_op_free(op);
	return err;
}

int redis_nodes_all(struct redis_store *store, struct arena *arena, uint64_t due_ms, struct nodes_all *out, struct wait *w)
{
	struct fleet_op *op = fleet_op_new(store, arena, due_ms);

	op->nodes = out;
	if (out->left)
		return nodes_go_on(op, w);
	return fleet_start_reading(op, "SMEMBERS", "nodes", node_ids_told, w);
}

int redis_routers_all(struct redis_store *store, struct arena *arena, uint64_t due_ms, struct routers_all *out, struct wait *w)
{
	struct fleet_op *op = fleet_op_new(store, arena, due_ms);

	op->routers = out;
	return fleet_start_reading(op, "HGETALL", "routers", routers_listed, w);
}
