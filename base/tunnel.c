/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sockets, bytes passed on as they come. All of a loop's tunnels share one epoll set, seen by the loop as one descriptor,
 * and one read buffer: an idle tunnel costs its struct and nothing else. What a side does not take at once is kept, and the
 * other side is not read until it is gone. A descriptor that neither reads nor writes leaves the set, so that every event that
 * comes leads to something. The dead are freed after the batch, as events of theirs may be in it.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/tunnel_private.h"
#include "base/wait.h"

#define READ_BLOCK 65536
#define BATCH 64

/* -- ends ---------------------------------------------------------------------------------------------------------- */
static void free_tunnel(struct tunnel *t)
{
	struct tunnel_end end = { t->why, NULL, NULL, t->bytes_up, t->bytes_down, loop_now_ms(t->set->loop) - t->since_ms };
	void (*ended)(void *, const struct tunnel_end *) = t->ended;
	void *arg = t->arg;

	if (t->fault) {
		end.offender = t->offender == TUNNEL_CLIENT ? "client" : "server";
		end.fault = t->fault == WS_TOO_BIG ? "too_big" : "protocol";
	}
	tunnel_forget(t);
	free(t->reason);
	free(t);
	ended(arg, &end);
}

static void reap(struct later *later)
{
	struct tunnels *set = container_of(later, struct tunnels, reap);

	for (struct tunnel *t = set->newest, *older; t; t = older) {
		older = t->older;
		if (t->dead)
			free_tunnel(t);
	}
}

static void close_side(struct tunnel *t, struct side *s)
{
	if (s->events)
		epoll_ctl(t->set->epoll, EPOLL_CTL_DEL, s->link.fd, NULL);
	s->events = 0;
	if (!s->shut && !s->lost)
		link_finish(&s->link);
	link_close(&s->link);
}

void tunnel_die(struct tunnel *t, const char *why)
{
	if (t->dead)
		return;
	t->dead = true;
	if (!t->why)
		t->why = why;
	timer_clear(t->set->loop, &t->deadline);
	close_side(t, &t->sides[TUNNEL_CLIENT]);
	close_side(t, &t->sides[TUNNEL_SERVER]);
	t->set->ntunnels--;
	loop_later(t->set->loop, &t->set->reap, reap);
}

/* -- bytes --------------------------------------------------------------------------------------------------------- */
static void lose(struct tunnel *t, struct side *s)
{
	s->lost = s->ended = s->shut = true;
	link_drop(&s->link);
	if (!t->why)
		t->why = "reset";
	tunnel_linger(t);
}

static void flush(struct tunnel *t, struct side *s)
{
	if (!link_flush(&s->link))
		lose(t, s);
}

void side_put(struct tunnel *t, struct side *s, const char *bytes, size_t len)
{
	if (!s->lost && !s->shut && !s->finishing && !link_put(&s->link, bytes, len))
		lose(t, s);
}

/* Bytes for a side that takes no more are read too, and dropped: unread, they would turn its end into a RST. */
static bool may_read(struct tunnel *t, const struct side *s)
{
	const struct side *to = side_other(t, s);

	return !s->ended && (to->sealed || to->lost || !link_stuck(&to->link));
}

static void read_side(struct tunnel *t, struct side *s)
{
	struct tunnels *set = t->set;
	size_t max = s->link.ssl && set->block_size < LINK_READ_MIN ? LINK_READ_MIN : set->block_size;
	ssize_t n = link_read(&s->link, set->block, max);

	if (n == LINK_AGAIN || n == LINK_AGAIN_WRITE)
		return;
	if (n == LINK_BROKEN) {
		lose(t, s);
		return;
	}
	if (n == LINK_END) {
		s->ended = true;
		if (!t->why)
			t->why = s->client ? "client_closed" : "server_closed";
		return;
	}
	*(s->client ? &t->bytes_up : &t->bytes_down) += (uint64_t)n;
	tunnel_moved(t);
	tunnel_relay(t, side_other(t, s), set->block, (size_t)n);
}

/* -- what next ----------------------------------------------------------------------------------------------------- */
static void await(struct tunnel *t, struct side *s)
{
	uint32_t events = link_events(&s->link, may_read(t, s), link_stuck(&s->link) || (s->finishing && !s->shut));
	struct epoll_event event = { .events = events, .data.ptr = s };

	if (events == s->events)
		return;
	int op = !events ? EPOLL_CTL_DEL : s->events ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	s->events = (uint16_t)events;
	if (epoll_ctl(t->set->epoll, op, s->link.fd, &event) < 0)
		tunnel_die(t, "not_watched");
}

static void pass_fin(struct tunnel *t, struct side *s)
{
	if (s->shut || link_stuck(&s->link) || !(side_other(t, s)->ended || s->sealed))
		return;
	s->finishing = true;
	s->shut = link_finish(&s->link);
}

void tunnel_settle(struct tunnel *t)
{
	struct side *client = &t->sides[TUNNEL_CLIENT], *server = &t->sides[TUNNEL_SERVER];

	if (t->dead)
		return;
	pass_fin(t, client);
	pass_fin(t, server);
	if (client->ended && client->shut && server->ended && server->shut) {
		tunnel_die(t, "closed");
		return;
	}
	await(t, client);
	if (!t->dead)
		await(t, server);
}

static void side_event(struct side *s, uint32_t events)
{
	struct tunnel *t = container_of(s - (s->client ? TUNNEL_CLIENT : TUNNEL_SERVER), struct tunnel, sides);

	if (t->dead)
		return;
	/* What TLS waits for is not what is done with it: both are tried. */
	if (s->link.ssl || events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		flush(t, s);
	if ((s->link.ssl || events & (EPOLLIN | EPOLLERR | EPOLLHUP)) && may_read(t, s))
		read_side(t, s);
	tunnel_settle(t);
}

static void set_ready(void *arg, int events)
{
	struct tunnels *set = arg;
	struct epoll_event seen[BATCH];
	int n = epoll_wait(set->epoll, seen, BATCH, 0);

	(void)events;
	for (int i = 0; i < n; i++) {
		uintptr_t of = (uintptr_t)seen[i].data.ptr;
		if (of & OF_DIAL)
			dial_event((struct dial *)(of - OF_DIAL), seen[i].events);
		else
			side_event((struct side *)of, seen[i].events);
	}
}

/* -- opening ------------------------------------------------------------------------------------------------------- */
struct tunnel *tunnel_join(struct tunnels *set, struct dialed *peer, struct link *from, struct str extra,
                           void (*ended)(void *arg, const struct tunnel_end *), void *arg)
{
	struct tunnel *t = calloc(1, sizeof(*t));
	struct side *client, *server;

	if (!t)
		abort();
	client = &t->sides[TUNNEL_CLIENT];
	server = &t->sides[TUNNEL_SERVER];
	*t = (struct tunnel){ .set = set, .ended = ended, .arg = arg, .since_ms = loop_now_ms(set->loop), .extended = peer->extended };
	*client = (struct side){ .link = *from, .client = true };
	*from = (struct link){ .fd = -1 };
	*server = (struct side){ .link = peer->link, .events = SILENT };
	struct buf early = peer->extra;
	set->npeers--;
	free(peer);
	set->ntunnels++;
	tunnel_list(t);
	t->bytes_up = extra.len;
	t->bytes_down = early.len;
	tunnel_relay(t, server, extra.at, extra.len);
	tunnel_relay(t, client, early.at, early.len);
	buf_free(&early);
	tunnel_settle(t);
	return t;
}

void dialed_free(struct dialed *peer)
{
	if (!peer)
		return;
	peer->set->npeers--;
	link_close(&peer->link);
	buf_free(&peer->extra);
	free(peer);
}

void *tunnel_arg(const struct tunnel *t)
{
	return t->arg;
}

/* -- the set ------------------------------------------------------------------------------------------------------- */
struct tunnels *tunnels_new(struct loop *loop, const struct tunnels_conf *conf)
{
	struct tunnels *set = calloc(1, sizeof(*set));

	if (!set)
		return NULL;
	set->loop = loop;
	set->conf = *conf;
	/* What is stuck is at most one read. */
	set->block_size = conf->buffer_bytes < READ_BLOCK ? (size_t)conf->buffer_bytes : READ_BLOCK;
	set->block = malloc(READ_BLOCK);
	set->epoll = epoll_create1(EPOLL_CLOEXEC);
	set->watch = set->epoll < 0 ? NULL : watch_new(loop, set->epoll, LOOP_READ, set_ready, set);
	if (set->watch && set->block)
		return set;
	tunnels_free(set);
	return NULL;
}

void tunnels_free(struct tunnels *set)
{
	if (!set)
		return;
	dials_cancel(set);
	while (set->newest) {
		tunnel_die(set->newest, "stopped");
		free_tunnel(set->newest);
	}
	timer_clear(set->loop, &set->idle);
	loop_later_drop(set->loop, &set->reap);
	watch_free(set->watch);
	if (set->epoll >= 0)
		close(set->epoll);
	SSL_CTX_free(set->tls);
	free(set->block);
	free(set);
}

void tunnels_drop_trust(struct tunnels *set)
{
	SSL_CTX_free(set->tls); /* open links hold it, too */
	set->tls = NULL;
}

size_t tunnels_count(const struct tunnels *set)
{
	return set->ntunnels;
}

void tunnels_each(struct tunnels *set, void (*fn)(void *ctx, struct tunnel *, void *arg), void *ctx)
{
	for (struct tunnel *t = set->newest, *older; t; t = older) {
		older = t->older;
		if (!t->dead)
			fn(ctx, t, t->arg);
	}
}
