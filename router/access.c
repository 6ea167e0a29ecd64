/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A credential is judged before the body is read. What it says of itself decides nothing: a static token is found by its hash, a
 * JWT is checked by the key that its kid names. A worker remembers verified tokens by their hash until they end or the rules change;
 * a slot holds one, so its memory is bounded and a flood of tokens costs signatures, not memory.
 */
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/jwt.h"
#include "base/log.h"
#include "base/tls.h"
#include "base/wait.h"
#include "base/wire/offer.h"
#include "router/access.h"
#include "router/access_rules.h"
#include "router/limits.h"
#include "router/metrics.h"
#include "router/once.h"
#include "router/peer_room.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/session.h"
#include "router/site.h"
#include "router/worker.h"

#define ROUTER_TICKET_MS 30000 /* far over what an answer takes, and the skew of clocks that /readyz allows */
#define REMEMBERED 1024 /* tokens of one worker: about half a megabyte */

struct access {
	_Atomic(const struct access_rules *) rules;
	uint64_t version;
};
struct access_memory {
	struct remembered {
		uint64_t version; /* of the rules that it was judged by; 0: empty */
		unsigned char hash[MAC_BYTES];
		struct rights rights;
	} slots[REMEMBERED];
};

/* -- the rules -------------------------------------------------------------------------------------------------------------- */
struct access *access_new(const struct router_conf *conf, FILE *err)
{
	struct access_rules *rules = access_rules_read(conf, err);
	struct access *access = rules ? calloc(1, sizeof(*access)) : NULL;

	if (!rules)
		return NULL;
	if (!access)
		abort();
	rules->version = access->version = 1;
	atomic_store(&access->rules, rules);
	return access;
}

void access_free(struct access *access)
{
	if (access)
		access_rules_free((struct access_rules *)(uintptr_t)atomic_load(&access->rules));
	free(access);
}

static void free_retired(struct retired *retired)
{
	access_rules_free(container_of(retired, struct access_rules, retired));
}

int access_reload(struct router *router, FILE *err)
{
	struct access *access = router->access;
	struct access_rules *rules = access_rules_read(&router->conf, err);
	struct access_rules *old = (struct access_rules *)(uintptr_t)atomic_load(&access->rules);

	if (!rules)
		return 1;
	if (!*router->conf.auth.ticket_keys)
		rules->tickets = old->tickets;
	rules->version = ++access->version;
	atomic_store(&access->rules, rules);
	retire_later(router->retire, &old->retired, free_retired);
	return 0;
}

static const struct access_rules *rules_of(const struct router *router)
{
	return atomic_load(&router->access->rules);
}

const struct secret_keys *access_grant_keys(const struct router *router)
{
	const struct secret_keys *keys = &rules_of(router)->grants;

	return keys->count ? keys : NULL;
}

/* -- what was verified lately ------------------------------------------------------------------------------------------------- */
struct access_memory *access_memory_new(void)
{
	struct access_memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		abort();
	return memory;
}

void access_memory_free(struct access_memory *memory)
{
	free(memory);
}

static struct remembered *slot_of(struct access_memory *memory, const unsigned char hash[static MAC_BYTES])
{
	return &memory->slots[(hash[0] | (unsigned)hash[1] << 8) % REMEMBERED];
}

static const struct rights *remembered(struct worker *worker, const unsigned char hash[static MAC_BYTES], uint64_t version, uint64_t now_ms)
{
	const struct remembered *slot = slot_of(worker->access, hash);

	return slot->version == version && secret_eq(slot->hash, hash, MAC_BYTES) && slot->rights.ends_ms > now_ms ? &slot->rights : NULL;
}

static void remember(struct worker *worker, const unsigned char hash[static MAC_BYTES], uint64_t version, const struct rights *rights)
{
	struct remembered *slot = slot_of(worker->access, hash);

	slot->version = version;
	memcpy(slot->hash, hash, MAC_BYTES);
	slot->rights = *rights;
}

/* -- a bearer token ----------------------------------------------------------------------------------------------------------- */
static bool read_jwt(struct request *rq, struct str token, const struct access_rules *rules, struct rights *out, const char **why)
{
	const struct router_conf *conf = &rq->worker->router->conf;
	struct jwt_rules by = { rules->keys, rules->nkeys, conf->auth.audience, conf->auth.issuer, wall_ms(), conf->auth.max_skew_ms };
	struct jwt jwt;

	if (!jwt_read(token, &by, request_arena(rq), &jwt, why) || !rights_fill(out, jwt.scope, jwt.room, jwt.node, jwt.subject, why))
		return false;
	out->ends_ms = jwt.expires_ms;
	*why = "the token is for another request (method, target)";
	return token_fits(rq, jwt.method, jwt.target);
}

/* 0, or -ERR_X with *why. A signature costs; a hash does not. */
static int token_rights(struct request *rq, struct str token, struct rights *out, const char **why)
{
	const struct access_rules *rules = rules_of(rq->worker->router);
	unsigned char hash[MAC_BYTES];
	const struct rights *known;

	*why = "the token is over 4096 bytes";
	if (token.len > JWT_MAX)
		return -ERR_UNAUTHORIZED;
	hash_sha256(token, hash);
	rq->credential = (struct str){ arena_copy(request_arena(rq), hash, sizeof(hash)), sizeof(hash) };
	known = access_rules_token(rules, hash);
	if (!known)
		known = remembered(rq->worker, hash, rules->version, wall_ms());
	if (known) {
		*out = *known;
		return 0;
	}
	int err = limits_guess(rq);
	if (err)
		return err;
	*why = "the token is not known";
	if (rq->worker->router->conf.auth.mode != AUTH_JWT || !jwt_looks_so(token) || !read_jwt(rq, token, rules, out, why)) {
		limits_guessed_wrong(rq);
		return -ERR_UNAUTHORIZED;
	}
	if (!rq->once.bound)
		remember(rq->worker, hash, rules->version, out);
	return 0;
}

/* What follows "Bearer " (RFC 6750). False: there is no such header, or more than one. */
static bool bearer_of(struct request *rq, struct str *token)
{
	size_t n, found = 0;
	const struct header *all = exchange_headers(rq->x, &n);

	for (size_t i = 0; i < n; i++) {
		struct str rest = all[i].value, scheme;
		if (!str_is_nocase(all[i].name, "Authorization"))
			continue;
		found++;
		if (!str_cut(&rest, ' ', &scheme) || !str_is_nocase(scheme, "Bearer"))
			return false;
		while (rest.len && *rest.at == ' ')
			rest.at++, rest.len--;
		*token = rest;
	}
	return found == 1 && token->len;
}

/* -- tickets ------------------------------------------------------------------------------------------------------------------ */
static int ticket_rights(struct request *rq, struct str text, enum ticket_kind kind, unsigned scope, struct rights *out, const char **why)
{
	struct ticket ticket;

	if (!ticket_read(text, kind, &rules_of(rq->worker->router)->tickets, wall_ms(), request_arena(rq), &ticket, why))
		return -ERR_UNAUTHORIZED;
	*why = "the ticket is for another room";
	if (!str_eq(ticket.room, rq->names[NAME_ROOM]))
		return -ERR_UNAUTHORIZED;
	rq->let_in_by = (int)kind;
	*out = (struct rights){ .scopes = scope, .ends_ms = ticket.ends_ms };
	snprintf(out->who, sizeof(out->who), "%.*s", STR_ARG(ticket.holder));
	return 0;
}

struct str access_ticket(struct request *rq, enum ticket_kind kind, struct str room, struct str holder, uint64_t valid_ms)
{
	const struct router *router = rq->worker->router;
	struct buf text = { 0 };

	if (router->conf.auth.mode == AUTH_NONE)
		return (struct str){ "", 0 };
	ticket_write(&(struct ticket){ kind, wall_ms() + valid_ms, room, holder }, &rules_of(router)->tickets, &text);
	struct str kept = { arena_copy(request_arena(rq), text.at, text.len), text.len };
	buf_free(&text);
	return kept;
}

void access_router_ticket(const struct router *router, struct str room, struct buf *out)
{
	struct ticket ticket = { TICKET_ROUTER, wall_ms() + ROUTER_TICKET_MS, room, str_of(router->id) };

	if (router->conf.auth.mode != AUTH_NONE)
		ticket_write(&ticket, &rules_of(router)->tickets, out);
}

/* -- judging ------------------------------------------------------------------------------------------------------------------ */
static bool same_or_begins(const char *limit, struct str name)
{
	size_t len = strlen(limit);

	if (len && limit[len - 1] == '*')
		return name.len >= len - 1 && !memcmp(limit, name.at, len - 1);
	return str_is(name, limit);
}

/* Whatever it is bound to must be what the path names; what names neither is for those who are bound to nothing. */
static const char *out_of_bounds(const struct request *rq, const struct rights *rights, unsigned by)
{
	const struct str *room = &rq->names[NAME_ROOM], *node = &rq->names[NAME_NODE];

	if (room->at && *rights->room && !same_or_begins(rights->room, *room))
		return "the credential is for another room";
	if (node->at && *rights->node && !str_is(*node, rights->node))
		return "the credential is for another node";
	if ((by & SCOPE_ADMIN) && ((*rights->room && !room->at) || (*rights->node && !node->at)))
		return "the credential is bound to one room or node, and this path names none";
	return NULL;
}

static int told(struct request *rq, const char *outcome, int err, const char *detail)
{
	metric_add(rq->worker->sheet, M_CREDENTIALS, outcome, NULL, 1);
	if (!err)
		return 0;
	if (err == ERR_UNAUTHORIZED)
		exchange_add(rq->x, "WWW-Authenticate", STR("Bearer realm=\"usher\""));
	return request_fail(rq, err, "%s", detail);
}

/* Browsers leave Origin out of some requests, and say where those come from. */
static bool comes_from_elsewhere(const struct request *rq)
{
	struct str site = exchange_header(rq->x, "Sec-Fetch-Site");

	return !exchange_header(rq->x, "Origin").at && site.at && !str_is(site, "same-origin") && !str_is(site, "none");
}

/*
 * A certificate says who the connection is of, a credential who asks: so it counts only where no credential came. It lets in with
 * scope node, as the node that it names; *why stays NULL if none was shown.
 */
static int certificate_rights(struct request *rq, struct rights *out, const char **why)
{
	const struct tls_peer *shown = exchange_certificate(rq->x);

	if (!shown)
		return -ERR_UNAUTHORIZED;
	*why = shown->why ? arena_printf(request_arena(rq), "the client certificate is not accepted: %s", shown->why)
	                  : "the client certificate has expired";
	if (shown->why || shown->ends_ms <= wall_ms() || !rights_fill(out, "node", NULL, shown->name, shown->name, why))
		return -ERR_UNAUTHORIZED;
	return 0;
}

/* 0, or -ERR_X with *why: NULL if there was no credential at all. */
static int find_rights(struct request *rq, const struct route *route, struct rights *out, const char **why)
{
	struct str text = { 0 };

	*why = NULL;
	if ((route->scopes & SCOPE_ROUTE) && peer_room_ticket(rq, &text))
		return ticket_rights(rq, text, TICKET_ROUTER, SCOPE_ROUTE, out, why);
	if (exchange_header(rq->x, "Authorization").at) {
		*why = "Authorization: must be one 'Bearer' and a token";
		return bearer_of(rq, &text) ? token_rights(rq, text, out, why) : -ERR_UNAUTHORIZED;
	}
	if (route->tickets && offer_ticket(rq->x, &text))
		return ticket_rights(rq, text, TICKET_JOIN, SCOPE_JOIN, out, why);
	if (!route->tickets || !session_cookie(rq, &text))
		return certificate_rights(rq, out, why);
	*why = "Origin, Sec-Fetch-Site: the request comes from another site";
	return site_trusted(rq) && !comes_from_elsewhere(rq) ? ticket_rights(rq, text, TICKET_SESSION, SCOPE_JOIN, out, why) : -ERR_UNAUTHORIZED;
}

static int refuse_credential(struct request *rq, int err, const char *why)
{
	if (err == -ERR_RATE_LIMITED) {
		metric_add(rq->worker->sheet, M_CREDENTIALS, "limited", NULL, 1);
		return err;
	}
	if (!why)
		return told(rq, "missing", ERR_UNAUTHORIZED, "a credential is required: Authorization: Bearer …");
	return told(rq, "invalid", ERR_UNAUTHORIZED, why);
}

/* Operators come with tokens alone. */
static const char *hold_token(struct request *rq, const struct rights *rights)
{
	struct str token = { 0 };

	return bearer_of(rq, &token) ? token_hold(rq, token, rights->ends_ms) : NULL;
}

int access_admit(struct request *rq, const struct route *route)
{
	struct rights rights;
	const char *why;

	rq->may = UINT_MAX;
	rq->who = rq->only_room = "";
	if (!route->scopes || rq->worker->router->conf.auth.mode == AUTH_NONE)
		return 0;
	rq->may = 0;
	int err = find_rights(rq, route, &rights, &why);
	if (err)
		return refuse_credential(rq, err, why);
	unsigned by = rights.scopes & route->scopes;
	why = by ? out_of_bounds(rq, &rights, by) : "the credential lacks the scope of this route";
	if (why)
		return told(rq, "forbidden", ERR_FORBIDDEN, why);
	why = by & SCOPE_ADMIN ? hold_token(rq, &rights) : NULL;
	if (why)
		return told(rq, "invalid", ERR_UNAUTHORIZED, why);
	rq->may = rights.scopes;
	rq->who = arena_copy(request_arena(rq), rights.who, strlen(rights.who));
	rq->only_room = arena_copy(request_arena(rq), rights.room, strlen(rights.room));
	if ((by & SCOPE_ADMIN) && strcmp(exchange_method(rq->x), "GET") != 0)
		log_line(LOG_INFO, "operator", "request", LOG_S(rq->id), "who", LOG_S(rq->who), "method", LOG_S(exchange_method(rq->x)), "route",
		         LOG_S(route->name), "room", LOG_B(rq->names[NAME_ROOM].at, rq->names[NAME_ROOM].len), "node",
		         LOG_B(rq->names[NAME_NODE].at, rq->names[NAME_NODE].len), NULL);
	return told(rq, "good", 0, NULL);
}

bool access_covers(const struct request *rq, struct str room)
{
	return !*rq->only_room || same_or_begins(rq->only_room, room);
}

bool access_is_admin(const struct request *rq)
{
	return (rq->may & SCOPE_ADMIN) != 0;
}
