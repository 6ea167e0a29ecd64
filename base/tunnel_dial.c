/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the far side: name, address, TLS, handshake, answer, each a state of one small machine with an own non-blocking
 * socket. Each address is asked whether it is allowed after it was resolved, so that no name leads elsewhere in between; they
 * share the time for connecting, so that a dead first one does not use it up.
 *
 * The socket is in the tunnels' epoll set from the first wait on, for one event at a time: after the last of them it is silent
 * there until the tunnel takes it over. A dial that is over is freed after the batch, as an event of its may be in it.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/http_line.h"
#include "base/log.h"
#include "base/trust.h"
#include "base/tunnel_private.h"
#include "base/url.h"
#include "base/wait.h"

#define READ_MAX 16384
#define KEY_LEN 24 /* 16 bytes in base64 (RFC 6455, 4.1) */

struct dial {
	struct dial *next, **at;
	struct tunnels *set;
	struct op op;           /* ours */
	struct wait resolved;   /* of the name */
	struct later begin;
	struct timer timer;
	struct link link;
	struct addresses addresses;
	size_t next_address;
	uint64_t connect_by_ms, answer_timeout_ms;
	bool tls, sending;
	bool listed, dead; /* in the set; over */
	bool starved; /* we had no descriptor for it: not the far side's fault */
	enum http_outcome verdict; /* found before anything was begun */
	char host[256];
	uint16_t port;
	char key[64];
	size_t key_len;
	struct buf request, in, protocols, extensions; /* the latter two as offered */
	size_t sent;
	struct arena *arena;
	struct dial_answer *out;
};

/* -- ends ---------------------------------------------------------------------------------------------------------- */
static void drop_link(struct dial *d)
{
	if (d->listed) /* closing is not enough while a child that is just being started has it, too */
		epoll_ctl(d->set->epoll, EPOLL_CTL_DEL, d->link.fd, NULL);
	d->listed = false;
	link_close(&d->link);
}

static void free_dead(struct tunnels *set)
{
	while (set->dead_dials) {
		struct dial *d = set->dead_dials;
		set->dead_dials = d->next;
		free(d);
	}
}

static void reap(struct later *later)
{
	free_dead(container_of(later, struct tunnels, reap_dials));
}

static void end_dial(struct dial *d)
{
	struct tunnels *set = d->set;

	wait_drop(&d->resolved);
	timer_clear(set->loop, &d->timer);
	loop_later_drop(set->loop, &d->begin);
	drop_link(d);
	*d->at = d->next;
	if (d->next)
		d->next->at = d->at;
	buf_free(&d->request);
	buf_free(&d->in);
	buf_free(&d->protocols);
	buf_free(&d->extensions);
	d->dead = true;
	d->next = set->dead_dials;
	set->dead_dials = d;
	loop_later(set->loop, &set->reap_dials, reap);
}

static void dropped(struct op *op)
{
	struct dial *d = container_of(op, struct dial, op);

	d->set->npeers--;
	end_dial(d);
}

static void fail(struct dial *d, enum http_outcome outcome, const char *why)
{
	struct wait *waiter = op_detach(&d->op);

	log_debug("dial_failed", "host", LOG_S(d->host), "port", LOG_U(d->port), "outcome", LOG_S(http_outcome_name(outcome)), "why",
	          LOG_S(why));
	*d->out = (struct dial_answer){ .outcome = outcome };
	d->set->npeers--;
	end_dial(d);
	wait_wake(waiter, 0);
}

void dials_cancel(struct tunnels *set)
{
	while (set->dials)
		fail(set->dials, HTTP_CANCELLED, "stopping");
	loop_later_drop(set->loop, &set->reap_dials);
	free_dead(set);
}

/* The peer takes over the link, what came behind the head, and the place in the count. */
static struct dialed *make_peer(struct dial *d, size_t used)
{
	struct dialed *peer = calloc(1, sizeof(*peer));

	if (!peer)
		abort();
	peer->set = d->set;
	peer->link = d->link;
	d->link = (struct link){ .fd = -1 };
	d->listed = false;
	if (used < d->in.len)
		buf_add(&peer->extra, d->in.at + used, d->in.len - used);
	return peer;
}

static bool has_extensions(const struct dial_answer *answer)
{
	for (size_t i = 0; i < answer->nheaders; i++)
		if (str_is_nocase(answer->headers[i].name, "Sec-WebSocket-Extensions") && answer->headers[i].value.len)
			return true;
	return false;
}

static void succeed(struct dial *d, struct dial_answer *answer, size_t used)
{
	struct wait *waiter = op_detach(&d->op);

	if (answer->status == 101) {
		answer->peer = make_peer(d, used);
		answer->peer->extended = has_extensions(answer);
	} else {
		d->set->npeers--;
	}
	*d->out = *answer;
	end_dial(d);
	wait_wake(waiter, 0);
}

/* The last thing that is done to a dial which goes on. */
static void await(struct dial *d, uint32_t events)
{
	struct epoll_event event = { .events = events | EPOLLONESHOT, .data.ptr = (void *)((uintptr_t)d | OF_DIAL) };
	int op = d->listed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	d->listed = true;
	if (epoll_ctl(d->set->epoll, op, d->link.fd, &event) < 0)
		fail(d, HTTP_CANCELLED, "cannot be watched");
}

/* -- the answer ---------------------------------------------------------------------------------------------------- */
static void await_answer(struct dial *d)
{
	await(d, link_events(&d->link, true, d->sent < d->request.len));
}

static void read_answer(struct dial *d)
{
	char bytes[READ_MAX];
	struct dial_answer answer = { 0 };
	size_t used = 0;
	ssize_t n = link_read(&d->link, bytes, sizeof(bytes));

	if (n == LINK_AGAIN || n == LINK_AGAIN_WRITE) {
		await_answer(d);
		return;
	}
	if (n > 0)
		buf_add(&d->in, bytes, (size_t)n);
	struct str in = { d->in.at, d->in.len };
	struct offer offer = { { d->key, d->key_len }, { d->protocols.at, d->protocols.len }, { d->extensions.at, d->extensions.len } };
	int got = in.len ? dial_answer_read(in, n <= 0, &offer, d->arena, &answer, &used) : 0;
	if (got > 0)
		succeed(d, &answer, used);
	else if (got < 0)
		fail(d, HTTP_GARBAGE, "not an answer to a WebSocket handshake");
	else if (n <= 0)
		fail(d, HTTP_RESET, "closed before its answer was whole");
	else
		await_answer(d);
}

static void no_answer(struct timer *timer)
{
	fail(container_of(timer, struct dial, timer), HTTP_TIMEOUT, "no answer in time");
}

static void send_request(struct dial *d)
{
	while (d->sent < d->request.len) {
		ssize_t n = link_write(&d->link, d->request.at + d->sent, d->request.len - d->sent);
		if (n == LINK_BROKEN || n == LINK_END) {
			fail(d, HTTP_RESET, "closed while it was asked");
			return;
		}
		if (n < 0)
			break;
		d->sent += (size_t)n;
	}
	await_answer(d);
}

static void connected(struct dial *d)
{
	d->sending = true;
	timer_set(d->set->loop, &d->timer, d->answer_timeout_ms, no_answer);
	send_request(d);
}

/* -- connecting ---------------------------------------------------------------------------------------------------- */
static void try_next(struct dial *d);

static void distrust(struct dial *d, const char *why)
{
	log_warn("dial_tls_failed", "host", LOG_S(d->host), "port", LOG_U(d->port), "why", LOG_S(why));
	fail(d, HTTP_REFUSED, why);
}

static void shake(struct dial *d)
{
	const char *why = NULL;
	int outcome = link_shake(&d->link, &why);

	if (outcome == LINK_BROKEN) {
		const char *fault = trust_fault(d->link.ssl);
		distrust(d, fault ? fault : why);
		return;
	}
	if (outcome)
		await(d, outcome == LINK_AGAIN_WRITE ? EPOLLOUT : EPOLLIN);
	else if (trust_pinned(d->set->conf.trust, d->link.ssl))
		connected(d);
	else
		distrust(d, "its key is not one of the pins");
}

/* A socket that is not connected yet takes nothing, and says why if it will not be; one to the same machine is at once. */
static void ask_if_connected(struct dial *d)
{
	ssize_t n = link_write(&d->link, d->request.at, d->request.len);

	if (n == LINK_AGAIN) {
		await(d, EPOLLOUT);
	} else if (n < 0) {
		try_next(d);
	} else {
		d->sent = (size_t)n;
		connected(d);
	}
}

static void shake_if_connected(struct dial *d)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(d->link.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error) {
		try_next(d);
		return;
	}
	const char *why = "out of memory";
	if (!d->set->tls)
		d->set->tls = trust_context(d->set->conf.trust, &why);
	if (d->set->tls)
		d->link.ssl = trust_connect(d->set->tls, d->link.fd, d->host);
	if (d->link.ssl)
		shake(d);
	else
		distrust(d, why);
}

void dial_event(struct dial *d, uint32_t events)
{
	if (d->dead)
		return;
	if (!d->sending && d->link.ssl)
		shake(d);
	else if (!d->sending && d->tls)
		shake_if_connected(d);
	else if (!d->sending)
		ask_if_connected(d);
	else if (d->sent < d->request.len && (d->link.ssl || events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) /* TLS may read to write */
		send_request(d);
	else
		read_answer(d);
}

static void not_connected(struct timer *timer)
{
	struct dial *d = container_of(timer, struct dial, timer);

	if (d->addresses.count > d->next_address && !d->link.ssl)
		try_next(d);
	else
		fail(d, HTTP_REFUSED, "not connected in time");
}

static bool start_connect(struct dial *d, const struct sockaddr_storage *to, socklen_t len)
{
	int on = 1;

	d->link.fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	d->starved = d->starved || (d->link.fd < 0 && errno != EAFNOSUPPORT);
	if (d->link.fd < 0)
		return false;
	setsockopt(d->link.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return connect(d->link.fd, (const struct sockaddr *)to, len) == 0 || errno == EINPROGRESS;
}

/* The next allowed address, with its share of the time that is left. */
static void try_next(struct dial *d)
{
	struct tunnels *set = d->set;
	uint64_t now = loop_now_ms(set->loop);

	drop_link(d);
	while (d->next_address < d->addresses.count) {
		size_t i = d->next_address++;
		if (set->conf.allowed && !set->conf.allowed(set->conf.arg, &d->addresses.at[i]))
			continue;
		if (start_connect(d, &d->addresses.at[i], d->addresses.len[i])) {
			uint64_t left = d->connect_by_ms > now ? d->connect_by_ms - now : 0;
			timer_set(set->loop, &d->timer, left / (d->addresses.count - i), not_connected);
			if (d->tls)
				await(d, EPOLLOUT);
			else
				ask_if_connected(d);
			return;
		}
		drop_link(d);
	}
	if (d->starved)
		fail(d, HTTP_CANCELLED, "out of descriptors");
	else
		fail(d, HTTP_REFUSED, "no address that is allowed and accepts");
}

static void name_resolved(struct wait *w, int err)
{
	struct dial *d = container_of(w, struct dial, resolved);

	if (err)
		fail(d, HTTP_REFUSED, "no such name");
	else
		try_next(d);
}

static void begin(struct later *later)
{
	struct dial *d = container_of(later, struct dial, begin);

	if (d->verdict != HTTP_ANSWERED) {
		fail(d, d->verdict, "not a ws or wss URL");
		return;
	}
	int got = loop_resolve(d->set->loop, d->host, d->port, &d->addresses, &d->resolved);
	if (got == WAIT)
		timer_set(d->set->loop, &d->timer, d->connect_by_ms - loop_now_ms(d->set->loop), not_connected);
	else
		name_resolved(&d->resolved, got);
}

/* -- the request --------------------------------------------------------------------------------------------------- */
static void add(struct buf *to, struct str text)
{
	buf_add(to, text.at, text.len);
}

static void add_header(struct buf *to, struct str name, struct str value)
{
	add(to, name);
	add(to, STR(": "));
	add(to, value);
	add(to, STR("\r\n"));
}

static void add_offer(struct buf *to, struct str value)
{
	add(to, value);
	add(to, STR(","));
}

static void add_target(struct buf *to, const struct url *url)
{
	add(to, url->path.len ? url->path : STR("/"));
	if (url->query.len)
		add(to, STR("?"));
	add(to, url->query);
}

static void add_key(struct dial *d)
{
	unsigned char nonce[16];

	random_bytes(nonce, sizeof(nonce));
	d->key_len = (size_t)EVP_EncodeBlock((unsigned char *)d->key, nonce, sizeof(nonce));
	add_header(&d->request, STR("Sec-WebSocket-Version"), STR("13"));
	add_header(&d->request, STR("Sec-WebSocket-Key"), (struct str){ d->key, d->key_len });
}

static void write_request(struct dial *d, const struct dial_plan *plan, const struct url *url)
{
	add(&d->request, STR("GET "));
	add_target(&d->request, url);
	add(&d->request, STR(" HTTP/1.1\r\nHost: "));
	add(&d->request, url->authority);
	add(&d->request, STR("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"));
	for (size_t i = 0; i < plan->nheaders; i++) {
		const struct header *h = &plan->headers[i];
		add_header(&d->request, h->name, h->value);
		if (str_is_nocase(h->name, "Sec-WebSocket-Protocol"))
			add_offer(&d->protocols, h->value);
		if (str_is_nocase(h->name, "Sec-WebSocket-Extensions"))
			add_offer(&d->extensions, h->value);
		if (!str_is_nocase(h->name, "Sec-WebSocket-Key"))
			continue;
		memcpy(d->key, h->value.at, KEY_LEN); /* keys_clear */
		d->key_len = KEY_LEN;
	}
	if (!d->key_len)
		add_key(d);
	add(&d->request, STR("\r\n"));
}

static void read_plan(struct dial *d, const struct dial_plan *plan)
{
	struct url url;

	d->verdict = HTTP_REFUSED;
	if (!url_parse(plan->url, &url, NULL) || !url.websocket)
		return;
	d->verdict = HTTP_ANSWERED;
	memcpy(d->host, url.host.at, url.host.len); /* url_parse: shorter than 254 */
	d->port = url.port;
	d->tls = url.tls;
	write_request(d, plan, &url);
}

static bool is_key(struct str s)
{
	unsigned char bytes[KEY_LEN];

	return s.len == KEY_LEN && s.at[KEY_LEN - 3] != '=' && !memcmp(s.at + KEY_LEN - 2, "==", 2) &&
	       EVP_DecodeBlock(bytes, (const unsigned char *)s.at, KEY_LEN) > 0;
}

/* One key, or none. A client's bad one would make the far side's proof fail, and that would be held against the far side. */
static bool keys_clear(const struct dial_plan *plan)
{
	size_t keys = 0;

	for (size_t i = 0; i < plan->nheaders; i++) {
		if (!str_is_nocase(plan->headers[i].name, "Sec-WebSocket-Key"))
			continue;
		if (++keys > 1 || !is_key(plan->headers[i].value))
			return false;
	}
	return true;
}

int tunnel_dial(struct tunnels *set, const struct dial_plan *plan, struct arena *arena, struct dial_answer *out, struct wait *w)
{
	if (!keys_clear(plan))
		return -ERR_BAD_REQUEST;
	if (set->ntunnels + set->npeers >= set->conf.max)
		return -ERR_NO_CAPACITY;
	struct dial *d = calloc(1, sizeof(*d));
	if (!d)
		abort();
	d->set = set;
	d->link.fd = -1;
	d->arena = arena;
	d->out = out;
	d->op.dropped = dropped;
	d->resolved.wake = name_resolved;
	d->connect_by_ms = loop_now_ms(set->loop) + plan->connect_timeout_ms;
	d->answer_timeout_ms = plan->answer_timeout_ms;
	set->npeers++;
	d->next = set->dials;
	d->at = &set->dials;
	if (d->next)
		d->next->at = &d->next;
	set->dials = d;
	read_plan(d, plan);
	op_attach(&d->op, w);
	loop_later(set->loop, &d->begin, begin);
	return WAIT;
}
