/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handler that does what a test tells it to, and clients of it as raw sockets on the same loop, whose time stands. What the
 * server said to the handler is counted in `seen`.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/httpd.h"
#include "base/link.h"
#include "base/listen.h"
#include "base/wait.h"
#include "peer.h"

#define GET "GET / HTTP/1.1\r\nHost: r\r\n\r\n"
#define CONNECTIONS_MAX 8
#define HEADER_MS 1000
#define BODY_MS 2000
#define IDLE_MS 5000
#define STALL_MS 3000

enum play {
	PLAY_ECHO,   /* answers at once: method, target, body */
	PLAY_WAIT,   /* the test answers */
	PLAY_BEGIN,  /* answers before the body */
	PLAY_SINK,   /* streams the body into a sink, echoes the number of bytes */
	PLAY_SOURCE, /* answers with a stream */
	PLAY_UPGRADE,
	PLAY_CUT,
	PLAY_CUT_BEGIN,
	PLAY_CUT_SINK
};
extern struct loop *loop;
extern struct httpd *httpd;
extern struct peer clients;
extern struct play_state {
	enum play play;
	unsigned begins, readies, ends, refusals, closed, closed_given, sent, gone, given;
	int err; /* of the last refusal */
	struct exchange *x; /* the one under way */
	char detail[100];
	/* the sink */
	struct sink sink;
	struct buf taken;
	size_t room; /* it takes so much before it waits */
	unsigned sink_ends;
	/* the source */
	struct source source;
	const char *bytes;
	size_t at, available; /* what it may give now */
	long source_end;      /* told when all is given: SOURCE_END, SOURCE_BROKEN, SOURCE_WAIT */
	int64_t length;
	/* the upgrade */
	struct link client;
	char extra[64];
	const char *outcome; /* of the last handshake */
} seen;

void play_setup(void);
void play_teardown(void);
void httpd_start(uint64_t connections);
struct peer_conn *client_new(void);
struct peer_conn *client_with(const char *first); /* its bytes are in the socket; not by TLS */
struct peer_conn *ask(const char *request);         /* after the server has looked at the connection */
struct peer_conn *ask_at_once(const char *request); /* before; not by TLS */
bool has(const struct peer_conn *, const char *text);
size_t count(const struct peer_conn *, const char *text);
const char *body_of(const struct peer_conn *);
const char *pattern(size_t len); /* bytes that are not the same everywhere */
