/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private to the adapter of libmicrohttpd: httpd.c (daemon, connections), httpd_deadline.c, httpd_exchange.c,
 * httpd_check.c, httpd_linger.c; and httpd_tls.c and httpd_early.c, which stand before it.
 */
#pragma once

#include <microhttpd.h>
#include <time.h>

#include "base/arena.h"
#include "base/httpd.h"
#include "base/loop.h"

#define HEADERS_OUT_MAX 40

struct conn { /* one accepted socket; MHD's socket context */
	struct conn *next, **at;
	struct httpd *httpd;
	struct exchange *x; /* the request under way, from its target to its completion */
	int fd, tag;        /* what MHD has: the socket, or its end of the pair; the socket while early; -1: nothing (yet, or any more) */
	struct front *front;    /* between the socket and MHD; NULL: none, or it has ended */
	struct tls_peer *shown; /* the client's certificate; NULL: none */
	struct sockaddr_storage peer;
	socklen_t peer_len;
	struct timer timer;      /* the one deadline that runs now */
	struct later early;      /* the first look, and how it goes on with what was early */
	uint64_t idle_until_ms, bytes_before, acked;
	bool tls;
	bool is_early;           /* it is httpd_early.c's: not looked at yet, or x is a handshake that MHD has not seen */
	bool over;               /* MHD has let go of it: what it said last is still on its way through the front */
	bool head_begun;         /* and has been given its time */
	bool given;              /* upgraded: the socket lives on elsewhere and must not be shut down */
	bool gone;               /* FIN or RST was seen, or a deadline passed: nothing more can be answered */
	bool unread;             /* it was refused before its body was read */
};

enum answer_kind { ANSWER_NONE, ANSWER_BYTES, ANSWER_STREAM, ANSWER_UPGRADE, ANSWER_CUT };
struct header_out {
	struct header_out *next;
	const char *name;
	char value[];
};
struct exchange { /* small enough for malloc to have one at hand (see arena.c) */
	struct conn *conn;
	struct MHD_Connection *mhd; /* NULL: it has not seen this one (yet) */
	struct arena arena;
	char method[16];
	struct str target, path, query;
	struct header *headers;
	size_t nheaders;
	bool http10, chunked;
	int64_t length; /* of the body; -1 chunked, 0 none */
	void *state;
	bool begun, first_done, ready_told, suspended, inside, close_after, queued, more;
	bool again;         /* it was early, and libmicrohttpd is about to see it, too */
	size_t early_bytes; /* of its head, still in the socket */
	int late_refusal; /* ERR_X found while the body came: told once it is swallowed */
	/* the body */
	struct sink *sink;
	struct buf body;
	uint64_t swallowed;
	uint64_t body_left_ms, body_since_ms; /* its time, and since when it runs; 0: it does not */
	/* the answer */
	enum answer_kind kind;
	struct header_out *out, **last_out; /* at most HEADERS_OUT_MAX */
	size_t nout;
	int status;
	struct str bytes;
	int64_t stream_length;
	struct source *source;
	given_fn *given;
	void *given_arg;
	enum exchange_end end;
};

struct httpd {
	struct loop *loop;
	struct httpd_conf conf;
	const struct httpd_ops *ops;
	void *arg;
	struct MHD_Daemon *daemon;
	struct watch *watch, *gone_watch;
	int gone_set;          /* our own epoll set: who has left */
	struct later pump;
	bool resumed;          /* somebody, since MHD had nothing to do */
	struct conn *conns, **by_fd;
	size_t nconns, fds;
	bool closing, freeing;
	struct arena_spares spares;
	time_t date_of; /* a second, */
	char date[30];  /* as HTTP writes it (RFC 9110, 5.6.7) */
	struct fronts *fronts; /* NULL: plain HTTP */
	struct lingering *lingering;
	size_t nlingering;
};

void httpd_dirty(struct httpd *);           /* somebody was resumed: run MHD before the loop sleeps */
void conn_serve(struct conn *, int fd);     /* MHD gets it, which may end it at once; who has left is seen already, or by its front */
void conn_left(struct conn *);              /* the client's FIN was seen */
void conn_forget(struct conn *);            /* neither MHD nor a front has it any more */

/* httpd_deadline.c: when a deadline passes, the request under way tells which one it was. */
void conn_deadline(struct conn *, uint64_t after_ms); /* 0: none */
void conn_await_request(struct conn *, bool first);
void conn_counts(struct conn *); /* what has come so far is no part of a head */
void conn_say(const struct conn *, const char *answer); /* past MHD, before it has said anything to this request */
void conn_cut(struct conn *);   /* what was said before still goes out; may free it if it is over */
void conn_abort(struct conn *); /* nothing does */
void body_time_runs(struct exchange *);
void body_time_bought(struct exchange *, size_t taken, bool sink_waits);

/* httpd_check.c: 0, or ERR_X with words. */
int httpd_check_head(struct exchange *, const struct httpd_conf *, const char **detail);
bool headers_ask_websocket(const struct header *, size_t n); /* of a GET on HTTP/1.1 */
/* httpd_exchange.c */
struct exchange *exchange_new(struct conn *, struct MHD_Connection *, struct str target);
void exchange_free(struct exchange *);
void exchange_resume(struct exchange *);
enum MHD_Result exchange_first(struct exchange *, const char *method, const char *version);
enum MHD_Result exchange_data(struct exchange *, const char *data, size_t *len);
enum MHD_Result exchange_last(struct exchange *);
void exchange_early(struct exchange *, struct header *, size_t n); /* begins it, without MHD: a GET; the headers are the arena's */
/* httpd_linger.c: reads away what a refused client still sends, so that it gets to read its refusal. */
void httpd_linger(struct httpd *, int fd);
void httpd_linger_free(struct httpd *);
/* httpd_early.c: the first look, and handshakes that MHD need not see. */
void early_look_later(struct conn *, int fd); /* in this turn: not from within the messages that it begins with */
void early_go_on(struct conn *);              /* its exchange was answered, or the client has left */
void early_end(struct conn *, enum exchange_end);
/* httpd_tls.c */
struct fronts *fronts_new(struct httpd *); /* NULL: out of memory or descriptors */
void fronts_free(struct fronts *);         /* once all connections are forgotten */
bool front_begin(struct conn *, int fd); /* takes the socket, also if it fails */
int front_socket(const struct front *);
void front_close(struct front *); /* at once, without a word; forgets the connection if MHD does not have it */
void front_late(struct front *);  /* with its handshake */
/* The pair ends, the link goes on: what MHD said is put into it, what MHD has not read is added to `extra`. */
void front_leave(struct front *, struct link *out, struct buf *extra);
/* A reload since the handshake: false, or what the client has shown is judged by what counts now. */
bool front_judge(struct front *, const struct tls *now);
