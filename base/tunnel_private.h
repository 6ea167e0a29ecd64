/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the tunnels: tunnel.c (the set, carrying), tunnel_close.c (polite ends, idleness), tunnel_dial.c (the far side),
 * tunnel_answer.c (its answer).
 */
#pragma once

#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "base/link.h"
#include "base/loop.h"
#include "base/str.h"
#include "base/tunnel.h"
#include "base/ws.h"

#define SILENT EPOLLHUP /* registered for nothing, not even that: its one event has come (EPOLLONESHOT) */
#define OF_DIAL 1       /* added to the address of what an event is about: it is a dial and not a side */

struct farewell { /* static */
	unsigned code; /* of a Close frame */
	const char *reason;
};
/* There may be many tunnels, most of them idle: what is there only at times is not part of these two (struct stuck). */
struct side {
	struct link link;
	struct ws_track track; /* of what goes towards it */
	const struct farewell *farewell; /* NULL: the tunnel's */
	uint16_t events; /* registered, or SILENT; 0: not in the set */
	bool client;
	bool ended;  /* its FIN was read */
	bool sealed; /* nothing of the other side goes there any more */
	bool finishing; /* our FIN is due, */
	bool shut;      /* and was sent */
	bool lost;   /* broken: neither reads nor writes */
};
struct tunnel {
	struct tunnels *set;
	struct tunnel *newer, *older; /* by moved_ms */
	struct side sides[2];         /* enum tunnel_side */
	uint64_t moved_ms, since_ms, bytes_up, bytes_down;
	const char *why; /* the first cause of its end */
	char *reason;    /* of the Close frame, */
	uint16_t code;   /* and its code */
	uint8_t fault, offender; /* enum ws_fault, enum tunnel_side: which rule was broken, by whom */
	bool extended; /* an extension was agreed on */
	bool closing, dead;
	struct timer deadline;
	void (*ended)(void *arg, const struct tunnel_end *);
	void *arg;
};
_Static_assert(sizeof(struct tunnel) <= 280, "an idle tunnel is as small as docs/internals/performance.md says");
struct tunnels {
	struct loop *loop;
	struct tunnels_conf conf;
	int epoll;
	struct watch *watch;
	struct tunnel *newest, *oldest;
	size_t ntunnels, npeers; /* carried; dials under way and open far sides */
	struct timer idle;
	struct later reap, reap_dials;
	struct dial *dials, *dead_dials;
	SSL_CTX *tls; /* NULL until a wss was dialed */
	char *block;  /* what is read at once, shared */
	size_t block_size;
};
struct dialed {
	struct tunnels *set;
	struct link link; /* in the set, and SILENT there */
	struct buf extra; /* came behind the answer's head */
	bool extended;
};

/* tunnel.c */
void tunnel_settle(struct tunnel *); /* after any change: FINs, ends, what to wait for */
void tunnel_die(struct tunnel *, const char *why);
void side_put(struct tunnel *, struct side *, const char *bytes, size_t len);
static inline struct side *side_other(struct tunnel *t, const struct side *s)
{
	return &t->sides[s->client ? TUNNEL_SERVER : TUNNEL_CLIENT];
}

/* tunnel_close.c */
void tunnel_end(struct tunnel *, unsigned code, const char *reason, const char *why);
void tunnel_relay(struct tunnel *, struct side *to, const char *bytes, size_t len); /* up to where it is sealed */
void tunnel_linger(struct tunnel *);                                                /* what is left has close_ms */
void tunnel_moved(struct tunnel *);
void tunnel_forget(struct tunnel *); /* out of the list */
void tunnel_list(struct tunnel *);

/* tunnel_dial.c */
void dials_cancel(struct tunnels *); /* at the end of the set */
void dial_event(struct dial *, uint32_t events);

/* tunnel_answer.c */
struct offer { /* what the far side may agree to */
	struct str key, protocols, extensions; /* the latter two: comma-separated lists */
};
/* 0: more bytes are needed; 1: whole, `used` bytes of them; -1: garbage */
int dial_answer_read(struct str bytes, bool ended, const struct offer *, struct arena *, struct dial_answer *out, size_t *used);
