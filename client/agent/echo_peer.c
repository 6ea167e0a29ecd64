/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An end is polite: what is owed goes out, then FIN, then the peer's FIN is awaited for LINGER_MS, so that no RST destroys a
 * Close frame on its way.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/loop.h"
#include "base/wait.h"
#include "base/ws.h"
#include "client/agent/echo_frames.h"
#include "client/agent/echo_peer.h"

#define LINGER_MS 2000

struct echo_peer {
	struct echo_peers *set;
	struct echo_peer *next, **at;
	int fd;
	struct watch *watch;
	struct echo_frames frames;
	struct buf out;
	size_t sent;
	struct timer linger;
	bool finishing; /* nothing more is echoed */
	bool shut;
	void *arg;
};
struct echo_peers {
	struct loop *loop;
	void (*ended)(void *arg);
	struct echo_peer *all;
	char *block;
};

static void drop(struct echo_peer *peer)
{
	struct echo_peers *set = peer->set;

	*peer->at = peer->next;
	if (peer->next)
		peer->next->at = peer->at;
	timer_clear(set->loop, &peer->linger);
	watch_free(peer->watch);
	close(peer->fd);
	buf_free(&peer->out);
	set->ended(peer->arg);
	free(peer);
}

static void overdue(struct timer *timer)
{
	drop(container_of(timer, struct echo_peer, linger));
}

static void finish(struct echo_peer *peer)
{
	if (peer->finishing)
		return;
	peer->finishing = true;
	timer_set(peer->set->loop, &peer->linger, LINGER_MS, overdue);
}

/* False: the peer is gone, and freed. */
static bool flush(struct echo_peer *peer)
{
	while (peer->sent < peer->out.len) {
		ssize_t n = send(peer->fd, peer->out.at + peer->sent, peer->out.len - peer->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return drop(peer), false;
		if (n < 0)
			break;
		peer->sent += (size_t)n;
	}
	if (peer->sent == peer->out.len)
		peer->sent = peer->out.len = 0;
	if (peer->finishing && !peer->out.len && !peer->shut) {
		peer->shut = true;
		shutdown(peer->fd, SHUT_WR);
	}
	watch_set(peer->watch, peer->out.len ? LOOP_WRITE : LOOP_READ);
	return true;
}

static void take(struct echo_peer *peer, char *bytes, size_t len)
{
	if (!peer->finishing && (!echo_frames(&peer->frames, bytes, len, &peer->out) || peer->frames.closed))
		finish(peer);
}

/* False: freed. */
static bool receive(struct echo_peer *peer)
{
	ssize_t n = recv(peer->fd, peer->set->block, PEER_BLOCK, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0)
		return drop(peer), false;
	take(peer, peer->set->block, (size_t)n);
	return true;
}

static void moved(void *arg, int events)
{
	struct echo_peer *peer = arg;

	if ((events & LOOP_READ) && !peer->out.len && !receive(peer))
		return;
	flush(peer);
}

struct echo_peers *echo_peers_new(struct loop *loop, void (*ended)(void *arg))
{
	struct echo_peers *set = calloc(1, sizeof(*set));

	if (!set || !(set->block = malloc(PEER_BLOCK)))
		abort();
	set->loop = loop;
	set->ended = ended;
	return set;
}

void echo_peers_free(struct echo_peers *set)
{
	if (!set)
		return;
	while (set->all)
		drop(set->all);
	free(set->block);
	free(set);
}

void echo_peers_add(struct echo_peers *set, int fd, struct str extra, void *arg)
{
	struct echo_peer *peer = calloc(1, sizeof(*peer));
	struct buf early = { 0 };

	if (!peer)
		abort();
	*peer = (struct echo_peer){ .set = set, .next = set->all, .at = &set->all, .fd = fd, .arg = arg };
	if (peer->next)
		peer->next->at = &peer->next;
	set->all = peer;
	peer->watch = watch_new(set->loop, fd, LOOP_READ, moved, peer);
	if (!peer->watch) {
		drop(peer);
		return;
	}
	buf_add(&early, extra.at, extra.len);
	if (extra.len)
		take(peer, early.at, early.len);
	buf_free(&early);
	flush(peer);
}

void echo_peers_close(struct echo_peers *set, bool (*fn)(void *ctx, void *arg), void *ctx)
{
	char frame[WS_CLOSE_MAX];

	for (struct echo_peer *peer = set->all, *next; peer; peer = next) {
		next = peer->next;
		if (peer->finishing || !fn(ctx, peer->arg))
			continue;
		if (echo_at_boundary(&peer->frames) && !peer->frames.closed)
			buf_add(&peer->out, frame, ws_close_frame(frame, 1000, "room_closed", false));
		finish(peer);
		flush(peer);
	}
}
