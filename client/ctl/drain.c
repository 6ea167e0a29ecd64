/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drain, undrain, move. `drain --wait` only watches: a router that goes away meanwhile, or this program, changes nothing of the
 * drain. Its exit code is the node's: 0 when it may be stopped without harm.
 */
#include <inttypes.h>
#include <string.h>

#include "base/loop.h"
#include "client/ctl/ctl.h"
#include "client/ctl/shapes.h"

#define LOOK_MS 200
#define SILENT_MAX 50     /* looks in a row without an answer: then there is nobody to ask */
#define OVERDUE_MS 30000  /* past the deadline: what is left by then has a node that does not let go, or nowhere to go */
#define UNKNOWN_MAX_MS 5000 /* a router behind a balancer that has not read the drain yet */

static int read_node(struct ctl *ctl, struct node_view *node, struct str *answer)
{
	struct buf target = ctl_path("/v1/nodes/", ctl->name, "");
	int code = ctl_call_at(ctl, "GET", &target, STR(""), answer);

	*node = (struct node_view){ 0 };
	return code == CTL_DONE ? ctl_read(ctl, *answer, &node_shape, node) : code;
}

/* -- following ----------------------------------------------------------------------------------------------------------- */
struct following {
	uint64_t begun_ms, rooms, participants, moved; /* the last three: as they were told last */
	unsigned silent;
	bool seen, told;
};

static void tell(struct ctl *ctl, struct following *f, const struct drain_view *drain)
{
	if (ctl->json || (f->told && f->rooms == drain->rooms_left && f->moved == drain->moved))
		return;
	fprintf(ctl->out, "%" PRIu64 " rooms left", drain->rooms_left);
	if (drain->has_participants)
		fprintf(ctl->out, " with %" PRIu64 " participants", drain->participants_left);
	fprintf(ctl->out, ", %" PRIu64 " moved\n", drain->moved);
	fflush(ctl->out);
	f->told = true;
	f->rooms = drain->rooms_left;
	f->moved = drain->moved;
}

static int give_up(struct ctl *ctl, const char *why)
{
	fprintf(ctl->err, "usherctl: %s\n", why);
	return CTL_FAILED;
}

static bool is_done(const struct node_view *node)
{
	return node->state && (!strcmp(node->state, "drained") || (!strcmp(node->state, "lost") && !node->rooms));
}

/* -1: go on; else the exit code. */
static int judge(struct ctl *ctl, struct following *f, const struct node_view *node, struct str answer)
{
	uint64_t elapsed = loop_now_ms(ctl->loop) - f->begun_ms;

	if (!node->drain.policy)
		return f->seen || elapsed > UNKNOWN_MAX_MS ? give_up(ctl, "the drain was undone") : -1;
	f->seen = true;
	tell(ctl, f, &node->drain);
	if (!is_done(node))
		return ctl->deadline_ms && elapsed > ctl->deadline_ms + OVERDUE_MS ? give_up(ctl, "the deadline has passed") : -1;
	if (ctl->json)
		ctl_show_raw(ctl, answer);
	else
		fprintf(ctl->out, "%s is drained\n", ctl->name);
	return CTL_DONE;
}

static int follow(struct ctl *ctl)
{
	struct following f = { .begun_ms = loop_now_ms(ctl->loop) };

	for (;;) {
		struct node_view node;
		struct str answer;
		arena_reset(&ctl->arena);
		int code = read_node(ctl, &node, &answer);
		f.silent = code == CTL_DONE ? 0 : f.silent + 1;
		if (code == CTL_NOT_FOUND || f.silent > SILENT_MAX)
			return code;
		int end = code == CTL_DONE ? judge(ctl, &f, &node, answer) : -1;
		if (end >= 0)
			return end;
		ctl_pause(ctl, LOOK_MS);
	}
}

/* -- drain, undrain ------------------------------------------------------------------------------------------------------ */
static void write_drain(const struct ctl *ctl, const char *incarnation, struct buf *body)
{
	struct json_out json = { .to = body };

	json_open(&json, NULL, '{');
	if (ctl->policy)
		json_str(&json, "policy", ctl->policy);
	if (ctl->deadline_ms)
		json_u64(&json, "deadline_ms", ctl->deadline_ms);
	if (incarnation)
		json_str(&json, "incarnation", incarnation);
	json_close(&json, '}');
}

int run_drain(struct ctl *ctl)
{
	struct node_view node = { 0 };
	struct str answer;
	struct buf body = { 0 };
	int code = ctl->own ? read_node(ctl, &node, &answer) : CTL_DONE;
	bool raw = ctl->json;

	if (code != CTL_DONE)
		return code;
	if (ctl->own && (!node.incarnation || !*node.incarnation))
		return give_up(ctl, "nobody is this node at present");
	write_drain(ctl, node.incarnation, &body);
	ctl->json = raw && !ctl->wait;
	code = ctl_change(ctl, "PUT", ctl_path("/v1/nodes/", ctl->name, "/drain"), (struct str){ body.at, body.len }, "is draining");
	ctl->json = raw;
	buf_free(&body);
	return code == CTL_DONE && ctl->wait ? follow(ctl) : code;
}

int run_undrain(struct ctl *ctl)
{
	return ctl_change(ctl, "DELETE", ctl_path("/v1/nodes/", ctl->name, "/drain"), STR(""), "drains no more");
}

/* -- move ---------------------------------------------------------------------------------------------------------------- */
int run_move(struct ctl *ctl)
{
	struct buf body = { 0 };
	struct json_out json = { .to = &body };

	json_open(&json, NULL, '{');
	if (ctl->node)
		json_str(&json, "node", ctl->node);
	if (ctl->epoch)
		json_u64(&json, "epoch", ctl->epoch);
	json_close(&json, '}');
	int code = ctl_change(ctl, "POST", ctl_path("/v1/rooms/", ctl->name, "/move"), (struct str){ body.at, body.len }, "is moving");
	buf_free(&body);
	return code;
}
