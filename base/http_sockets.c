/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl's sockets on our loop. Those in use curl has watched; those it keeps for a next request we watch ourselves: nobody was
 * asked on them, so what comes is the end, or an answer that the next request would take for its own, and curl before 8.1 looks
 * for the end only (what lies there in the moment a request takes the connection up it still believes). A next request may be on
 * one without a word to us: curl takes it up, sends, reads and pauses in one call. One that was kept once has the same watch until
 * it is closed, as beginning and ending one takes six system calls.
 */
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/http_curl.h"
#include "base/url.h"

struct curl_socket {
	struct pool *pool;
	struct watch *watch;
	curl_socket_t fd;
	/* LEFT: curl waits for nothing on it; paused, or about to be kept or closed. KEPT: nobody is on it, or one of whom we have not
	 * heard, which is asked when something comes. */
	enum { IN_USE, LEFT, KEPT } state;
	bool closes_by_us; /* kept once, so it is connected: socket_close() is its end */
};

static struct curl_socket *find(const struct pool *pool, curl_socket_t fd)
{
	return fd >= 0 && (size_t)fd < pool->fds ? pool->sockets[fd] : NULL;
}

static bool remember(struct pool *pool, struct curl_socket *s)
{
	if ((size_t)s->fd >= pool->fds) {
		size_t more = ((size_t)s->fd + 1) * 2;
		struct curl_socket **sockets = realloc(pool->sockets, more * sizeof(struct curl_socket *));
		if (!sockets)
			return false;
		memset(sockets + pool->fds, 0, (more - pool->fds) * sizeof(struct curl_socket *));
		pool->sockets = sockets;
		pool->fds = more;
	}
	pool->sockets[s->fd] = s;
	return true;
}

static void forget(struct curl_socket *s)
{
	s->pool->sockets[s->fd] = NULL;
	watch_free(s->watch);
	free(s);
}

static bool is_end(const struct sockaddr_storage *address, const struct transfer *t, CURLINFO ip_info, CURLINFO port_info)
{
	char text[ADDRESS_TEXT_MAX], *ip = NULL;
	long port = 0;

	curl_easy_getinfo(t->easy, port_info, &port);
	if (ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port) != port) /* in the same place of both families */
		return false;
	curl_easy_getinfo(t->easy, ip_info, &ip);
	address_text(address, text);
	return ip && !strcmp(text, ip);
}

/* By the addresses of both ends: curl before 8.2 tells nothing else of a transfer's connection while it is under way. One that was reset
 * has lost its far end, though not what came before. O(transfers), but asked only when something has come on one that is kept. */
static bool is_taken(const struct curl_socket *s)
{
	struct sockaddr_storage here = { 0 }, there = { 0 };
	socklen_t here_len = sizeof(here), there_len = sizeof(there);
	bool reset = getpeername(s->fd, (struct sockaddr *)&there, &there_len) < 0;

	if (getsockname(s->fd, (struct sockaddr *)&here, &here_len) < 0)
		return false;
	for (const struct transfer *t = s->pool->transfers; t; t = t->next)
		if (t->sent && is_end(&here, t, CURLINFO_LOCAL_IP, CURLINFO_LOCAL_PORT) &&
		    (reset || is_end(&there, t, CURLINFO_PRIMARY_IP, CURLINFO_PRIMARY_PORT)))
			return true;
	return false;
}

/* An event may be older than the keeping, in the same turn: then nothing is there. Not by recv(), which would take an error away that
 * is curl's to see. */
static bool has_come(const struct curl_socket *s)
{
	struct pollfd there = { .fd = s->fd, .events = POLLIN };

	return poll(&there, 1, 0) > 0;
}

/* What has come is dropped: it would stand before the end that curl looks for. After the shutdown nothing more comes. */
static void unasked(struct curl_socket *s)
{
	shutdown(s->fd, SHUT_RDWR);
	while (recv(s->fd, NULL, INT_MAX, MSG_DONTWAIT | MSG_TRUNC) > 0)
		;
	watch_set(s->watch, 0);
}

static void event(void *arg, int events)
{
	struct curl_socket *s = arg;

	if (s->state == KEPT && !has_come(s))
		return;
	if (s->state == KEPT && is_taken(s))
		s->state = LEFT;
	if (s->state == LEFT)
		watch_set(s->watch, 0);
	else if (s->state == KEPT)
		unasked(s);
	else
		pool_act(s->pool, s->fd, (events & LOOP_READ ? CURL_CSELECT_IN : 0) | (events & LOOP_WRITE ? CURL_CSELECT_OUT : 0) |
		                                 (events & LOOP_GONE ? CURL_CSELECT_ERR : 0));
}

static struct curl_socket *new(struct pool *pool, curl_socket_t fd)
{
	struct curl_socket *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->pool = pool;
	s->fd = fd;
	s->watch = watch_new(pool->http->loop, fd, 0, event, s);
	if (s->watch && remember(pool, s))
		return s;
	watch_free(s->watch);
	free(s);
	return NULL;
}

int socket_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *of_socket)
{
	struct pool *pool = arg;
	struct curl_socket *s = of_socket ? of_socket : find(pool, fd);

	(void)easy;
	if (what == CURL_POLL_REMOVE) { /* over, paused, or about to be closed */
		if (s && s->closes_by_us)
			s->state = LEFT;
		else if (s)
			forget(s);
		curl_multi_assign(pool->multi, fd, NULL);
		return 0;
	}
	if (!s)
		s = new(pool, fd);
	if (!s)
		return 0; /* -1 would end all transfers, also future ones: this one runs into its deadline */
	s->state = IN_USE;
	curl_multi_assign(pool->multi, fd, s);
	watch_set(s->watch, (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0));
	return 0;
}

void socket_kept(struct transfer *t)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(t->easy, CURLINFO_ACTIVESOCKET, &fd);
	struct curl_socket *s = find(t->pool, fd);
	if (fd == CURL_SOCKET_BAD || (s && s->state != LEFT)) /* closed; or another has taken it over already */
		return;
	if (!s)
		s = new(t->pool, fd);
	if (!s)
		return;
	s->state = KEPT;
	s->closes_by_us = true;
	watch_set(s->watch, LOOP_READ);
}

/* Of one that was ever kept: others curl takes out first while they are in use, and those that never connected it closes without a word. */
int socket_close(void *arg, curl_socket_t fd)
{
	struct curl_socket *s = find(arg, fd);

	if (s)
		forget(s);
	return close(fd);
}
