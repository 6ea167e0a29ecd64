/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hiredis context on base/loop.h. The adapter that comes with hiredis drops errors of the socket, and then a refused
 * connection is never reported: here an error is "readable and writable", and hiredis finds out itself. The socket
 * struct belongs to the context: hiredis frees it by `cleanup`, possibly while it runs inside one of the functions here.
 */
#include <stdlib.h>
#include <sys/ioctl.h>

#include "registry/redis_private.h"

#define READS_MAX 32 /* a turn, of 16 KiB each, which is hiredis's block */

struct socket { /* between hiredis and the loop; lives as long as the context */
	struct redisAsyncContext *context;
	struct loop *loop;
	struct watch *watch;
	struct later flush; /* what was asked for in this turn goes out together, at its end */
	int events;
	bool busy;     /* hiredis runs inside one of ours: the struct outlives it */
	bool flushing; /* what is not taken now is waited for */
	bool gone;     /* hiredis has freed the context meanwhile */
};

bool redis_socket_unread(const struct redisAsyncContext *context)
{
	int bytes = 0;

	return context && ioctl(context->c.fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static bool expects_more(const struct redisAsyncContext *context)
{
	return context->replies.head || (context->c.flags & REDIS_SUBSCRIBED);
}

/* hiredis reads one block. A turn of a busy loop may have sent a thousand commands: with a block of answers for each turn, those of the
 * next would wait behind them, longer each time, until all come too late. */
static void read_all(struct socket *s)
{
	for (int reads = 0; reads < READS_MAX; reads++) {
		redisAsyncHandleRead(s->context);
		if (s->gone || !expects_more(s->context) || !redis_socket_unread(s->context))
			return;
	}
}

static void socket_ready(void *arg, int events)
{
	struct socket *s = arg;

	s->busy = true;
	if (events & (LOOP_READ | LOOP_GONE))
		read_all(s);
	if (!s->gone && (events & (LOOP_WRITE | LOOP_GONE)))
		redisAsyncHandleWrite(s->context);
	s->busy = false;
	if (s->gone)
		free(s);
}

static void socket_flush(struct later *flush)
{
	struct socket *s = container_of(flush, struct socket, flush);

	s->busy = s->flushing = true;
	redisAsyncHandleWrite(s->context);
	s->busy = s->flushing = false;
	if (s->gone)
		free(s);
}

static void socket_want(struct socket *s, int events)
{
	s->events = events;
	watch_set(s->watch, events);
}

static void socket_add_read(void *arg)
{
	struct socket *s = arg;

	socket_want(s, s->events | LOOP_READ);
}

static void socket_del_read(void *arg)
{
	struct socket *s = arg;

	socket_want(s, s->events & ~LOOP_READ);
}

static void socket_add_write(void *arg)
{
	struct socket *s = arg;

	if ((s->context->c.flags & REDIS_CONNECTED) && !s->flushing && !(s->events & LOOP_WRITE))
		loop_later(s->loop, &s->flush, socket_flush);
	else
		socket_want(s, s->events | LOOP_WRITE);
}

static void socket_del_write(void *arg)
{
	struct socket *s = arg;

	socket_want(s, s->events & ~LOOP_WRITE);
}

static void socket_cleanup(void *arg)
{
	struct socket *s = arg;

	watch_free(s->watch);
	loop_later_drop(s->loop, &s->flush);
	s->gone = true;
	if (!s->busy)
		free(s);
}

bool redis_socket_attach(struct loop *loop, struct redisAsyncContext *context)
{
	struct socket *s = calloc(1, sizeof *s);

	if (!s)
		return false;
	s->context = context;
	s->loop = loop;
	s->watch = watch_new(loop, context->c.fd, 0, socket_ready, s);
	if (!s->watch) {
		free(s);
		return false;
	}
	context->ev.data = s;
	context->ev.addRead = socket_add_read;
	context->ev.delRead = socket_del_read;
	context->ev.addWrite = socket_add_write;
	context->ev.delWrite = socket_del_write;
	context->ev.cleanup = socket_cleanup;
	return true;
}
