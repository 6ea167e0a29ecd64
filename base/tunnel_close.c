/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a tunnel ends by our will: each side gets a Close frame as soon as what went towards it stands on a frame boundary, then
 * FIN, and both are read until their FIN comes, so that no RST destroys the frame on its way. A side whose boundary does not
 * come within close_ms gets the FIN alone.
 *
 * Idleness: a list in order of the last move, kept coarsely (a move within the same grain changes nothing), and one timer.
 */
#include <stdlib.h>
#include <string.h>

#include "base/tunnel_private.h"
#include "base/wait.h"

#define GRAINS 16 /* of the idle limit; a tunnel may live one longer */

/* -- the list of idleness ------------------------------------------------------------------------------------------ */
static uint64_t grain(const struct tunnels *set)
{
	return set->conf.idle_ms / GRAINS;
}

static void check_idle(struct timer *timer)
{
	struct tunnels *set = container_of(timer, struct tunnels, idle);
	uint64_t now = loop_now_ms(set->loop), limit = set->conf.idle_ms + grain(set), next = limit;

	for (struct tunnel *t = set->oldest, *newer; t; t = newer) {
		newer = t->newer;
		if (t->moved_ms + limit > now) {
			next = t->moved_ms + limit - now;
			break;
		}
		if (!t->dead && !t->closing)
			tunnel_end(t, 1001, "idle", "idle");
	}
	if (set->newest)
		timer_set(set->loop, &set->idle, next, check_idle);
}

void tunnel_list(struct tunnel *t)
{
	struct tunnels *set = t->set;

	t->moved_ms = loop_now_ms(set->loop);
	t->newer = NULL;
	t->older = set->newest;
	if (t->older)
		t->older->newer = t;
	else
		set->oldest = t;
	set->newest = t;
	if (!set->idle.slot && set->conf.idle_ms)
		timer_set(set->loop, &set->idle, set->conf.idle_ms + grain(set), check_idle);
}

void tunnel_forget(struct tunnel *t)
{
	struct tunnels *set = t->set;

	*(t->newer ? &t->newer->older : &set->newest) = t->older;
	*(t->older ? &t->older->newer : &set->oldest) = t->newer;
	t->newer = t->older = NULL;
}

void tunnel_moved(struct tunnel *t)
{
	if (loop_now_ms(t->set->loop) - t->moved_ms < grain(t->set))
		return;
	tunnel_forget(t);
	tunnel_list(t);
}

/* -- the polite end ------------------------------------------------------------------------------------------------ */
static void seal(struct tunnel *t, struct side *s)
{
	char frame[WS_CLOSE_MAX];

	if (s->sealed)
		return;
	s->sealed = true;
	if (s->track.close_seen)
		return;
	struct farewell says = s->farewell ? *s->farewell : (struct farewell){ t->code, t->reason };
	side_put(t, s, frame, ws_close_frame(frame, says.code, says.reason, !s->client));
}

/* Its frames do not pass, and it hears why; the other side only learns that it is over. */
static void offend(struct tunnel *t, struct side *offender, enum ws_fault fault)
{
	static const struct farewell too_big = { 1009, "message_too_big" }, protocol = { 1002, "protocol_error" };
	static const struct farewell to_client = { 1011, "peer_broke_rules" }, to_server = { 1001, "peer_broke_rules" };
	struct side *other = side_other(t, offender);

	t->offender = offender->client ? TUNNEL_CLIENT : TUNNEL_SERVER;
	t->fault = (uint8_t)fault;
	offender->farewell = fault == WS_TOO_BIG ? &too_big : &protocol;
	other->farewell = other->client ? &to_client : &to_server;
	tunnel_end(t, other->farewell->code, NULL, "broke_rules");
}

/* The beginning of a head has waited for the rest of it, and goes first. */
static size_t track_rest(struct tunnel *t, struct side *to, const struct ws_rules *rules, const char *bytes, size_t len)
{
	char waited[sizeof(to->track.head)];
	size_t nwaited = to->track.have;

	memcpy(waited, to->track.head, nwaited);
	size_t pass = ws_track(&to->track, rules, bytes, len);
	if (pass)
		side_put(t, to, waited, nwaited);
	return pass;
}

void tunnel_relay(struct tunnel *t, struct side *to, const char *bytes, size_t len)
{
	const struct ws_rules rules = { t->set->conf.frame_bytes, t->set->conf.message_bytes, !to->client, t->extended };

	if (to->sealed || to->lost || !len)
		return;
	if (t->closing)
		len = ws_to_boundary(&to->track, len);
	size_t pass = to->track.have ? track_rest(t, to, &rules, bytes, len) : ws_track(&to->track, &rules, bytes, len);
	side_put(t, to, bytes, pass);
	if (to->track.fault && !t->closing)
		offend(t, side_other(t, to), to->track.fault);
	if (t->closing && ws_at_boundary(&to->track))
		seal(t, to);
}

static void too_late(struct timer *timer)
{
	tunnel_die(container_of(timer, struct tunnel, deadline), "closed");
}

void tunnel_linger(struct tunnel *t)
{
	struct tunnels *set = t->set;

	for (int i = 0; i < 2; i++)
		if (t->sides[i].lost)
			side_other(t, &t->sides[i])->sealed = true; /* nothing more will come for it */
	if (!t->deadline.slot)
		timer_set(set->loop, &t->deadline, set->conf.close_ms, too_late);
}

void tunnel_end(struct tunnel *t, unsigned code, const char *reason, const char *why)
{
	if (t->closing || t->dead)
		return;
	t->closing = true;
	t->code = (uint16_t)code;
	t->reason = strdup(reason ? reason : "");
	if (!t->reason)
		abort();
	if (!t->why)
		t->why = why;
	if (!t->deadline.slot)
		timer_set(t->set->loop, &t->deadline, t->set->conf.close_ms, too_late);
	for (int i = 0; i < 2; i++)
		if (ws_at_boundary(&t->sides[i].track) && !t->sides[i].lost)
			seal(t, &t->sides[i]);
	tunnel_settle(t);
}

void tunnel_close(struct tunnel *t, unsigned code, const char *reason)
{
	tunnel_end(t, code, reason, "closed_by_us");
}
