/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May it pass. Two ways in: a router says room and epoch and shows a grant of the room, or a participant comes by itself with a ticket
 * that is signed with one. What such a participant says in headers of ours counts for nothing.
 */
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/forward.h"
#include "base/log.h"
#include "base/origin.h"
#include "base/url.h"
#include "base/wire/grant.h"
#include "base/wire/limits.h"
#include "base/wire/offer.h"
#include "client/agent/answer.h"
#include "client/agent/conf.h"
#include "client/agent/gate_private.h"
#include "client/agent/rooms.h"

void gate_refuse(struct passage *p, const struct refusal *refusal)
{
	log_debug("gate_refuses", "room", LOG_B(p->room.at, p->room.len), "epoch", LOG_U(p->epoch), "why",
	          LOG_S(refusal->why ? refusal->why : refusal->detail));
	if (refusal->why)
		exchange_add(p->x, "X-Usher-Refused", str_of(refusal->why));
	answer_problem(p->x, refusal->err, refusal->detail);
}

static bool read_path(struct passage *p)
{
	struct str path = exchange_path(p->x);
	size_t len = strlen(GATE_PATH);

	if (path.len < len || memcmp(path.at, GATE_PATH, len) || (path.len > len && path.at[len] != '/'))
		return false;
	p->rest = (struct str){ path.at + len, path.len - len };
	return true;
}

static bool read_room(struct passage *p)
{
	struct str said = exchange_header(p->x, "X-Usher-Room");
	char *name = arena_alloc(exchange_arena(p->x), said.len + 1);
	long len = said.len && said.len <= 3 * ROOM_MAX ? percent_decode(said, name) : -1;

	if (len <= 0 || !room_valid(name, (size_t)len))
		return false;
	p->room = (struct str){ name, (size_t)len };
	p->grant = exchange_header(p->x, "X-Usher-Grant");
	return parse_u64(exchange_header(p->x, "X-Usher-Epoch"), &p->epoch) && p->epoch && p->epoch <= EPOCH_MAX;
}

/* A ticket: room and epoch are what it says, as soon as one of the room's grants vouches for it. */
static bool read_ticket(struct passage *p, struct str text)
{
	if (!direct_ticket_read(text, exchange_arena(p->x), &p->ticket))
		return false;
	p->room = p->ticket.room;
	p->epoch = p->ticket.epoch;
	return true;
}

/* Takes as long for a room that is not here. */
static bool vouched(const struct passage *p)
{
	static const struct known_grants none;
	const struct known_grants *grants = rooms_grants(p->gate->conf.rooms, p->room);
	bool found = false;

	grants = grants ? grants : &none;
	for (size_t i = 0; i < sizeof(grants->texts) / sizeof(*grants->texts); i++)
		found |= direct_ticket_genuine(&p->ticket, str_of(grants->texts[i])) && *grants->texts[i];
	return found;
}

static bool granted(const struct passage *p)
{
	const struct gate_conf *conf = &p->gate->conf;
	const struct known_grants *grants = rooms_grants(conf->rooms, p->room);

	if (p->direct)
		return vouched(p);
	return !conf->demands_grants(conf->arg) || (grants && known_grants_match(grants, p->grant));
}

static bool admitted(const struct passage *p, struct refusal *out)
{
	const struct gate_conf *conf = &p->gate->conf;
	const char *shut = p->gate->closing ? "leaving" : conf->shut(conf->arg);

	if (shut) {
		*out = (struct refusal){ ERR_OWNER_LOST, shut, "this node admits nobody at present" };
		return false;
	}
	switch (rooms_admit(conf->rooms, p->room, p->epoch)) {
	case ROOM_HELD:
		*out = (struct refusal){ ERR_FORBIDDEN, "stale_grant", "X-Usher-Grant: not one of this room's; come through a router" };
		return granted(p);
	case ROOM_UNKNOWN:
		*out = (struct refusal){ ERR_NOT_FOUND, "unknown_room", "this node does not hold the room" };
		return false;
	case ROOM_OTHER_EPOCH:
		break;
	}
	*out = (struct refusal){ ERR_STALE_EPOCH, "stale_epoch", "the room is not held at this epoch" };
	return false;
}

/* Whatever does not fit is one answer, so that nobody learns by guessing which rooms are here. */
bool gate_refuse_ticket(struct refusal *out)
{
	if (out->err != ERR_OWNER_LOST)
		*out = (struct refusal){ ERR_UNAUTHORIZED, NULL, "the ticket is over, not for this node, or its room has left: join again" };
	return false;
}

static bool admitted_by_ticket(struct passage *p, struct str text, struct refusal *out)
{
	return (read_ticket(p, text) && vouched(p) && p->ticket.ends_ms > wall_ms() && admitted(p, out)) || gate_refuse_ticket(out);
}

static bool page_allowed(const struct passage *p)
{
	const struct agent_conf *settings = p->gate->conf.settings;
	struct origin_rules pages = { settings->origins, true, exchange_header(p->x, "Host"), !strncmp(settings->advertise_url, "wss:", 4) };

	return origin_passes(p->x, &pages);
}

static bool judge_direct(struct passage *p, struct str ticket, struct refusal *out)
{
	p->direct = true;
	*out = (struct refusal){ ERR_BAD_REQUEST, NULL, "a ticket of the gate opens a WebSocket and nothing else" };
	if (!p->websocket || !forward_handshake_whole(p->x))
		return false;
	out->detail = "the path must not have . or .. as a name, control characters, or a bad %XX";
	if (!url_path_stays(p->rest, arena_alloc(exchange_arena(p->x), p->rest.len + 1)))
		return false;
	*out = (struct refusal){ ERR_FORBIDDEN, NULL, "Origin: not in agent.origins" };
	if (!page_allowed(p))
		return false;
	*out = (struct refusal){ 0 };
	return admitted_by_ticket(p, ticket, out);
}

bool gate_judge(struct passage *p, struct refusal *out)
{
	const struct gate_conf *conf = &p->gate->conf;
	struct str ticket;

	if (!read_path(p)) {
		*out = (struct refusal){ ERR_NOT_FOUND, NULL, "no such path at the gate" };
		return false;
	}
	if (conf->demands_grants(conf->arg) && offer_ticket(p->x, &ticket))
		return judge_direct(p, ticket, out);
	if (!read_room(p)) {
		*out = (struct refusal){ ERR_BAD_REQUEST, NULL, "X-Usher-Room and X-Usher-Epoch: required; come through a router" };
		return false;
	}
	return admitted(p, out);
}

/* Whoever came with a ticket hears the one answer. */
bool gate_still_admits(struct passage *p, struct refusal *out)
{
	bool good = admitted(p, out);

	return good || !p->direct ? good : gate_refuse_ticket(out);
}
