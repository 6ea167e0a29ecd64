/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rooms and their owners. A room changes by compare-and-set on its epoch only; the store does it in one step. Names are
 * bytes (1 to ROOM_MAX), compared as bytes. All functions here run on the store's loop and may wait.
 */
#pragma once

#include "base/str.h"
#include "base/wire/limits.h"
#include "registry/registry.h"

#define ROOM_REMEMBERED_MS 600000 /* so long a node's late report does not bring a room back that has ended */
#define HINTS_LOST "?" /* in place of hints: the store lost them; the node gives them again when asked to open at this epoch */
#define ROOM_BY_REPORT "report" /* assigned_by, of a room that the store lost: its node's report brought it back */
#define HINTS_MAX 511 /* bytes; a JSON object that the SFU gave when it opened the room, for its participants */

enum room_state { ROOM_NONE, ROOM_OPENING, ROOM_OPEN, ROOM_MOVING, ROOM_CLOSING };
const char *room_state_name(enum room_state); /* "none", "opening", … */
enum room_source { FROM_STORE, FROM_TABLE, FROM_REPORT };
const char *room_source_name(enum room_source);

struct room {
	enum room_state state; /* ROOM_NONE: there is no record; the rest is empty, but for: */
	uint64_t ended_epoch;  /* of ROOM_NONE: at which it ended, for ROOM_REMEMBERED_MS (a tombstone); 0: not known */
	enum room_source source;
	uint64_t epoch, registration;
	char node[NODE_MAX + 1];
	char incarnation[INCARNATION_MAX + 1];
	uint64_t created_ms; /* for people: by the store's clock, or the epoch where that is not more than a second ahead of it */
	char assigned_by[NODE_MAX + 1];
	bool exclusive;
	char hints[HINTS_MAX + 1]; /* "" none; only the bytes up to the NUL are written and copied */
};

/* From the process's table when it is sure (NEXT, no round trip), else from the store. While the store does not answer, or is
 * being rebuilt and has no record, an unsure table entry is used as it is; without one: -ERR_STORE_UNAVAILABLE or
 * -ERR_STORE_REBUILDING. `fresh` skips the table. */
int rooms_find(struct store *, struct str name, bool fresh, uint64_t due_ms, struct room *out, struct wait *);

struct claim {
	uint64_t from_epoch; /* 0: there must be no record; else the record must be at this epoch, and opening … */
	bool released;       /* … or in whatever state, as its owner is lost or has let go of it … */
	uint64_t from_registration; /* … under this registration: an owner that came back since has it again */
	const char *node, *incarnation;
	uint64_t registration;
	bool exclusive;
};
struct claimed {
	bool won;
	struct room room; /* the record after it: ours, or the winner's */
};
/* Makes the room `opening` with a new epoch: max(record's + 1, floor + 1, the store's time in ms). */
int rooms_claim(struct store *, struct str name, const struct claim *, uint64_t due_ms, struct claimed *out, struct wait *);
/* `won`: the record is still `opening` at this epoch, and enough replicas have it. For who did not claim it: whether its claim was
 * ever confirmed, only its claimer knows. */
int rooms_confirm(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
/* opening -> open at this epoch. `won` false: the record has moved on; `room` says where to. Repeating it is fine: the
 * hints of the first publish stay. Hints over HINTS_MAX are dropped by the caller. */
int rooms_publish(struct store *, struct str name, uint64_t epoch, struct str hints, uint64_t due_ms, struct claimed *out, struct wait *);
/* open -> moving at this epoch: its node is to let go of it, then it is claimed anew. Repeating it is fine. */
int rooms_move(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
/* A record that the store lost comes back as a node's report has it: open, at its epoch. `won`: it is there now. Never against
 * a tombstone of this epoch or a higher one; over a lower epoch of the same process; over a lower one of another node only
 * while the store is being rebuilt, when the highest epoch wins. The same process at the same epoch has registered again: its
 * record takes that registration, if later, and no other change. */
struct restoring {
	struct str name;
	uint64_t epoch, registration;
	const char *node, *incarnation;
	struct str hints; /* as somebody still knows them; else HINTS_LOST */
	bool rebuilding;
};
struct restored {
	bool won, anew; /* anew: it was not there before */
	struct room room;
};
/* All of them, sent at once; -ERR_STORE_UNAVAILABLE if one was not answered. `out` has one for each. */
int rooms_restore(struct store *, const struct restoring *, size_t n, uint64_t due_ms, struct restored *out, struct wait *);
/* What the table or the store says of each, sent at once; like rooms_find(), but what is not there is just not there, also while
 * the store is being rebuilt. */
int rooms_find_all(struct store *, const struct str *names, size_t n, bool fresh, uint64_t due_ms, struct room *out, struct wait *);
/* -> closing, at this epoch. */
int rooms_shut(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
/* Deletes the record if it is at this epoch (`won`); its epoch is remembered. One that is moving stays: its node has let go of it,
 * and it is on its way. */
int rooms_forget(struct store *, struct str name, uint64_t epoch, uint64_t due_ms, struct claimed *out, struct wait *);
/* All of them, sent at once; -ERR_STORE_UNAVAILABLE if one was not answered. `out` has one for each, zeroed where that is so. */
int rooms_forget_all(struct store *, const struct str *names, const uint64_t *epochs, size_t n, uint64_t due_ms, struct claimed *out,
                     struct wait *);

#define ROOMS_PAGE_MAX 1000
struct rooms_page {
	size_t count;
	struct rooms_row {
		struct str name; /* in the arena */
		struct room room;
		int64_t participants; /* as the node last reported; -1: unknown, and always when not asked by node; or ROOM_LET_GO */
		uint64_t uses;        /* grows with each touch and each reported change; for the idle rule */
	} *rows; /* in the arena; room for the limit asked */
	char next[96]; /* cursor; "" at the end */
	const char **missing; /* parts of the store that were away, in words; NULL-terminated, in the arena; NULL: none */
};
struct arena;
struct rooms_query {
	const char *node;   /* NULL: all; else from the node's index: rows whose record names this node */
	struct str prefix;  /* empty: all */
	const char *cursor; /* "" or NULL: from the start */
	size_t limit;       /* 1 to ROOMS_PAGE_MAX */
	bool partial;       /* what lies at a shard that is away is left out, and named as missing; else the list fails */
};
/* -ERR_BAD_REQUEST: not a cursor of ours. At most `limit` rows; may give none and still a cursor. */
int rooms_list(struct store *, const struct rooms_query *, struct arena *, uint64_t due_ms, struct rooms_page *out, struct wait *);

/* -- use, for the idle rule and the table: cheap, no waiting, any worker ------------------------------------------------- */
/* Somebody joined or talks to it: counts `uses` in its node's index; at most one write a second, process and room. */
void rooms_touch(struct store *, struct str name, const struct room *);
void rooms_distrust(struct store *, struct str name); /* a node refused this record's epoch: ask the store before the next use */
