/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a client may take: to send a head, to send a body, to come back, to read. libmicrohttpd knows inactivity
 * only, which a byte now and then defeats. It does not tell when a request's first byte has come or how far an answer
 * has got, so the kernel is asked, once when a deadline passes and once at the end of a request.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/httpd_mhd.h"
#include "base/wait.h"

#define GRAINS 128         /* of header_ms: looks at silent connections come together, up to one early, as each time wakes the loop */
#define BODY_MS_A_BYTE 2   /* bought by each byte of a stream: 500 bytes a second may go on for ever (Apache: MinRate) */

/* Offsets in the kernel's struct tcp_info, which is longer than the C library's. */
enum { TCPI_BYTES_ACKED = 120, TCPI_BYTES_RECEIVED = 128 };

static const char too_late[] = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/* Of the socket itself: a front's pair counts nothing. */
static uint64_t tcp_count(const struct conn *c, size_t offset)
{
	int fd = c->front ? front_socket(c->front) : c->fd;
	unsigned char info[256] = { 0 };
	socklen_t len = sizeof(info);
	uint64_t bytes = 0;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) == 0 && len >= offset + sizeof(bytes))
		memcpy(&bytes, info + offset, sizeof(bytes));
	return bytes;
}

void conn_say(const struct conn *c, const char *answer)
{
	(void)!send(c->fd, answer, strlen(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void conn_cut(struct conn *c)
{
	if (c->given)
		return;
	c->gone = true;
	if (c->fd < 0) {
		front_close(c->front);
		return;
	}
	shutdown(c->fd, SHUT_RDWR);
	if (c->x)
		exchange_resume(c->x);
	httpd_dirty(c->httpd);
}

void conn_abort(struct conn *c)
{
	if (c->fd >= 0)
		conn_cut(c);
	if (c->front)
		front_close(c->front); /* which may be the end of c */
}

static uint64_t until_look(const struct httpd *h)
{
	uint64_t after_ms = h->conf.header_ms / 2, step_ms = h->conf.header_ms / GRAINS;

	return step_ms ? after_ms - (loop_now_ms(h->loop) + after_ms) % step_ms : after_ms;
}

/*
 * Silence may last idle_ms, a head header_ms from its first byte on. Twice in that time it is looked whether one has begun;
 * from then on it has the other half, so that none has more than the whole.
 */
static void head_late(struct conn *c)
{
	uint64_t now = loop_now_ms(c->httpd->loop), header_ms = c->httpd->conf.header_ms;
	bool begun = c->x || tcp_count(c, TCPI_BYTES_RECEIVED) != c->bytes_before;

	if (begun && !c->head_begun) {
		c->head_begun = true;
		conn_deadline(c, header_ms / 2);
	} else if (!begun && now < c->idle_until_ms) {
		uint64_t left_ms = c->idle_until_ms - now, look_ms = until_look(c->httpd);
		conn_deadline(c, left_ms < look_ms ? left_ms : look_ms);
	} else {
		if (begun)
			conn_say(c, too_late);
		conn_cut(c);
	}
}

/* Slow is fine as long as the client's side takes something. */
static void answer_late(struct conn *c)
{
	uint64_t acked = tcp_count(c, TCPI_BYTES_ACKED);

	if (acked == c->acked) {
		conn_abort(c);
		return;
	}
	c->acked = acked;
	conn_deadline(c, c->httpd->conf.write_stall_ms);
}

static void deadline_passed(struct timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);

	if (c->over) {
		answer_late(c);
	} else if (c->fd < 0) {
		front_late(c->front);
	} else if (!c->x || !c->x->first_done) {
		head_late(c);
	} else if (c->x->queued) {
		answer_late(c);
	} else {
		conn_say(c, too_late); /* the body, or a head that was seen early and that MHD does not find */
		conn_cut(c);
	}
}

void conn_deadline(struct conn *c, uint64_t after_ms)
{
	if (after_ms)
		timer_set(c->httpd->loop, &c->timer, after_ms, deadline_passed);
	else
		timer_clear(c->httpd->loop, &c->timer);
}

void conn_counts(struct conn *c)
{
	c->bytes_before = tcp_count(c, TCPI_BYTES_RECEIVED);
}

/* Who has just connected has something to say: silence counts as a head that does not come. */
void conn_await_request(struct conn *c, bool first)
{
	const struct httpd *h = c->httpd;
	uint64_t header_ms = h->conf.header_ms, idle_ms = h->closing ? header_ms / 10 + 1 : h->conf.idle_ms;

	if (c->given) {
		conn_deadline(c, 0);
		return;
	}
	if (first)
		idle_ms = header_ms;
	c->head_begun = first;
	c->bytes_before = first ? 0 : tcp_count(c, TCPI_BYTES_RECEIVED);
	c->idle_until_ms = loop_now_ms(h->loop) + idle_ms;
	uint64_t look_ms = until_look(h);
	conn_deadline(c, first || idle_ms < look_ms ? idle_ms : look_ms);
}

void body_time_runs(struct exchange *x)
{
	x->body_since_ms = loop_now_ms(x->conn->httpd->loop);
	conn_deadline(x->conn, x->body_left_ms);
}

/* Who sends steadily may go on; a byte now and then buys too little. A slow sink is not the client's fault. */
void body_time_bought(struct exchange *x, size_t taken, bool sink_waits)
{
	uint64_t most = x->conn->httpd->conf.body_ms, now = loop_now_ms(x->conn->httpd->loop);
	uint64_t spent = x->body_since_ms ? now - x->body_since_ms : 0;

	x->body_left_ms = (x->body_left_ms > spent ? x->body_left_ms - spent : 1) + taken * BODY_MS_A_BYTE;
	if (x->body_left_ms > most)
		x->body_left_ms = most;
	if (!sink_waits) {
		body_time_runs(x);
		return;
	}
	x->body_since_ms = 0;
	conn_deadline(x->conn, 0);
}
