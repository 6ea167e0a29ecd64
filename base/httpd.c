/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One libmicrohttpd daemon on our loop, without threads and without a listening socket. It wakes nobody by itself:
 * whoever resumes a connection marks the daemon dirty, and it is run before the loop sleeps. Running is bounded per
 * turn.
 *
 * MHD does not notice that a suspended connection's client has left, so each socket is also in an epoll set of our own
 * for that alone. A client that shuts down its sending side counts as having left. A connection comes here by httpd_early.c.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/httpd_mhd.h"
#include "base/listen.h"
#include "base/log.h"
#include "base/wait.h"

#define RUNS_PER_TURN 100
#define PUMP_MS 2 /* then others first: with many clients there is always one more that is ready */
#define POOL_EXTRA 16384 /* beside the head: MHD's own records of the lines, and the answer's head; all is zeroed after each request */

/* -- running MHD --------------------------------------------------------------------------------------------------- */
/* A socket that comes back into MHD's set, once its answer is out, is ready to be written: heard now, or it wakes the loop for nothing.
 * It comes back some rounds after it was resumed, so that `resumed` stays until MHD has nothing else. */
static bool has_work(struct httpd *h)
{
	MHD_UNSIGNED_LONG_LONG timeout;
	bool resumed = h->resumed;

	if (MHD_get_timeout(h->daemon, &timeout) == MHD_YES && !timeout)
		return true;
	h->resumed = false;
	return resumed;
}

static void pump(struct later *later)
{
	struct httpd *h = container_of(later, struct httpd, pump);
	uint64_t begun_ms = loop_fresh_ms(h->loop);

	for (int n = 0; n < RUNS_PER_TURN && loop_fresh_ms(h->loop) <= begun_ms + PUMP_MS; n++) {
		MHD_run(h->daemon);
		if (h->pump.queued)
			loop_later_drop(h->loop, &h->pump);
		else if (!has_work(h))
			return;
	}
	httpd_dirty(h); /* unfinished: others first, then on */
}

void httpd_dirty(struct httpd *h)
{
	loop_later(h->loop, &h->pump, pump);
}

static void mhd_readable(void *arg, int events)
{
	(void)events;
	httpd_dirty(arg);
}

/* -- who has left -------------------------------------------------------------------------------------------------- */
void conn_left(struct conn *c)
{
	c->gone = true;
	if (!c->x || !c->x->queued)
		conn_cut(c); /* MHD misses a FIN that came with the last bytes it read */
	else
		exchange_resume(c->x);
}

static void someone_left(void *arg, int events)
{
	struct httpd *h = arg;
	struct epoll_event seen[64];

	(void)events;
	int n = epoll_wait(h->gone_set, seen, 64, 0);
	for (int i = 0; i < n; i++)
		conn_left(seen[i].data.ptr); /* still there: MHD, which lets go of it, does not run here */
}

/* -- connections --------------------------------------------------------------------------------------------------- */
static bool remember_fd(struct httpd *h, struct conn *c, int fd)
{
	if ((size_t)fd >= h->fds) {
		size_t more = ((size_t)fd + 1) * 2;
		struct conn **by_fd = realloc(h->by_fd, more * sizeof(*by_fd));
		if (!by_fd)
			return false;
		memset(by_fd + h->fds, 0, (more - h->fds) * sizeof(*by_fd));
		h->by_fd = by_fd;
		h->fds = more;
	}
	h->by_fd[fd] = c;
	c->fd = fd;
	return true;
}

static struct conn *conn_new(struct httpd *h, const struct accepted *accepted)
{
	struct conn *c = h->nconns < h->conf.connections ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	*c = (struct conn){ .httpd = h, .fd = -1, .tag = accepted->tag, .peer = accepted->peer, .peer_len = accepted->peer_len };
	c->next = h->conns;
	c->at = &h->conns;
	if (c->next)
		c->next->at = &c->next;
	h->conns = c;
	h->nconns++;
	return c;
}

void conn_forget(struct conn *c)
{
	struct httpd *h = c->httpd;
	struct sockaddr_storage peer = c->peer;
	bool given = c->given;

	conn_deadline(c, 0);
	*c->at = c->next;
	if (c->next)
		c->next->at = c->at;
	h->nconns--;
	free(c->shown);
	free(c);
	h->ops->closed(h->arg, &peer, given);
}

/* MHD has let go of it. A front still has to bring out what MHD said last, as the kernel does for a socket. */
static void conn_over(struct conn *c)
{
	struct httpd *h = c->httpd;

	if (c->x) { /* it was early, and MHD has lost the connection before it saw it */
		c->x->end = EXCHANGE_GONE;
		exchange_free(c->x);
	}
	if (c->fd >= 0 && (size_t)c->fd < h->fds && h->by_fd[c->fd] == c)
		h->by_fd[c->fd] = NULL;
	c->fd = -1;
	c->over = true;
	if (c->front)
		conn_deadline(c, h->conf.write_stall_ms);
	else
		conn_forget(c);
}

void conn_serve(struct conn *c, int fd)
{
	struct httpd *h = c->httpd;

	if (!remember_fd(h, c, fd)) {
		if (!c->front)
			epoll_ctl(h->gone_set, EPOLL_CTL_DEL, fd, NULL);
		close(fd);
		conn_over(c);
		return;
	}
	if (MHD_add_connection(h->daemon, fd, (const struct sockaddr *)&c->peer, c->peer_len) == MHD_YES)
		httpd_dirty(h);
	else if (h->by_fd[fd] == c)
		conn_over(c); /* MHD has closed the socket, and told nobody if it had not started it yet */
}

void httpd_add(struct httpd *h, const struct accepted *accepted)
{
	struct conn *c = conn_new(h, accepted);

	if (c) {
		early_look_later(c, accepted->fd);
		return;
	}
	close(accepted->fd);
	h->ops->closed(h->arg, &accepted->peer, false);
}

static void notify_connection(void *arg, struct MHD_Connection *mhd, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
	struct httpd *h = arg;
	int fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		struct conn *c = h->by_fd[fd];
		*context = c;
		if (!c->front) /* else its time runs since it was accepted */
			conn_await_request(c, true);
		return;
	}
	struct conn *c = *context;
	if (!c->tls && !c->given)
		epoll_ctl(h->gone_set, EPOLL_CTL_DEL, c->fd, NULL);
	if (c->unread && !c->gone && !h->freeing && !c->tls)
		httpd_linger(h, c->fd);
	conn_over(c);
}

static struct conn *conn_of(struct MHD_Connection *mhd)
{
	return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* -- requests ------------------------------------------------------------------------------------------------------ */
/* MHD would now make a record of each of its parameters. Nobody reads those, and where they do not fit it answers nothing at all. */
static void hide_query(char *target)
{
	char *query = strchr(target, '?');

	if (query)
		query[1] = 0;
}

static void *on_target(void *arg, const char *target, struct MHD_Connection *mhd)
{
	struct conn *c = conn_of(mhd);
	struct exchange *x = c->x;

	(void)arg;
	if (x)
		x->mhd = mhd;
	else
		x = exchange_new(c, mhd, str_of(target));
	hide_query((char *)(uintptr_t)target); /* in its read buffer */
	return x;
}

static size_t leave_escaped(void *arg, struct MHD_Connection *mhd, char *text)
{
	(void)arg, (void)mhd;
	return strlen(text);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *len, void **context)
{
	struct exchange *x = *context;

	(void)arg, (void)mhd, (void)url;
	if (x->conn->gone)
		return MHD_NO;
	if (x->again) { /* the same head; the answer is for the last call */
		x->again = false;
		return MHD_YES;
	}
	if (!x->first_done)
		return exchange_first(x, method, version);
	if (*len)
		return exchange_data(x, data, len);
	return exchange_last(x);
}

static void on_completed(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
	struct exchange *x = *context;

	(void)arg, (void)mhd;
	if (!x)
		return;
	struct conn *c = x->conn;
	bool sent = code == MHD_REQUEST_TERMINATED_COMPLETED_OK && x->queued;
	if (x->end != EXCHANGE_GIVEN)
		x->end = sent ? EXCHANGE_SENT : EXCHANGE_GONE;
	*context = NULL;
	exchange_free(x);
	conn_await_request(c, false);
}

/* -- the server ---------------------------------------------------------------------------------------------------- */
static bool start(struct httpd *h)
{
	unsigned flags = MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_UPGRADE | MHD_ALLOW_SUSPEND_RESUME;

	h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, h,
	                             MHD_OPTION_CONNECTION_LIMIT, (unsigned)h->conf.connections + 1, /* ours is lower */
	                             MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)h->conf.header_bytes + POOL_EXTRA,
	                             MHD_OPTION_URI_LOG_CALLBACK, on_target, h,
	                             MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, h,
	                             MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
	                             MHD_OPTION_NOTIFY_CONNECTION, notify_connection, h, MHD_OPTION_END);
	if (!h->daemon)
		return false;
	int fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
	h->watch = watch_new(h->loop, fd, LOOP_READ, mhd_readable, h);
	return h->watch;
}

struct httpd *httpd_new(struct loop *loop, const struct httpd_conf *conf, const struct httpd_ops *ops, void *arg)
{
	struct httpd *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->loop = loop;
	h->conf = *conf;
	h->ops = ops;
	h->arg = arg;
	h->gone_set = epoll_create1(EPOLL_CLOEXEC);
	h->gone_watch = h->gone_set < 0 ? NULL : watch_new(loop, h->gone_set, LOOP_READ, someone_left, h);
	bool tls = ops->tls && ops->tls(arg);
	h->fronts = tls ? fronts_new(h) : NULL;
	if (h->gone_watch && (h->fronts || !tls) && start(h))
		return h;
	httpd_free(h);
	return NULL;
}

void httpd_close_idle(struct httpd *h)
{
	h->closing = true;
	for (struct conn *c = h->conns; c; c = c->next)
		if (!c->x && c->fd >= 0)
			conn_await_request(c, false);
}

size_t httpd_connections(const struct httpd *h)
{
	return h->nconns;
}

void httpd_free(struct httpd *h)
{
	h->freeing = true;
	for (struct conn *c = h->conns, *next; c; c = next) {
		next = c->next;
		if (c->is_early)
			early_end(c, EXCHANGE_GONE);
		else
			conn_cut(c);
	}
	if (h->daemon) {
		/*
		 * Suspended connections must be resumed and seen by MHD before it stops: it aborts on any that is left.
		 */
		MHD_run(h->daemon);
		MHD_run(h->daemon);
		watch_free(h->watch);
		MHD_stop_daemon(h->daemon);
	}
	while (h->conns)
		front_close(h->conns->front);
	fronts_free(h->fronts);
	httpd_linger_free(h);
	loop_later_drop(h->loop, &h->pump);
	watch_free(h->gone_watch);
	if (h->gone_set >= 0)
		close(h->gone_set);
	arena_spares_free(&h->spares);
	free(h->by_fd);
	free(h);
}
