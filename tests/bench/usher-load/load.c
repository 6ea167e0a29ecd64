/* SPDX-License-Identifier: Apache-2.0 */
/* The loop, the schedule and the account of it. It sleeps between two due times: Redis may be on the same core. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define EVENTS 256
#define DRAIN_NS (2 * SECOND) /* after the end, for what is still to come */

struct load load;

void fail(const char *what)
{
	fprintf(stderr, "usher-load: %s (%s)\n", what, strerror(errno));
	exit(1);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

struct conn *conn_add(int fd, void (*ready)(struct conn *))
{
	struct conn *c = calloc(1, sizeof(*c));
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int on = 1;

	if (!c)
		fail("no memory");
	c->fd = fd;
	c->ready = ready;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(load.poller, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");
	return c;
}

/* On loopback the kernel shakes hands for the listener at once, so this does not wait. */
struct conn *conn_connect(void (*ready)(struct conn *))
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&load.to, sizeof(load.to)))
		fail("connect");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return conn_add(fd, ready);
}

/* A connection has one message under way, which the socket's buffer holds: what does not fit is a fault of the run. */
void conn_send(struct conn *c, const void *bytes, size_t len)
{
	if (send(c->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
		fail("a connection did not take what was sent");
}

static void ask(struct conn *c, uint64_t due)
{
	c->busy = true;
	c->due = due;
	c->got = c->whole = 0;
	c->number = load.next++;
	load.tally->asked++;
	load.ask(&load, c);
}

void conn_idle(struct conn *c)
{
	c->busy = false;
	load.idle[load.nidle++] = c;
}

void conn_answered(struct conn *c, bool right)
{
	uint64_t now = now_ns(), took = now - c->due;
	struct tally *t = load.tally;

	t->answered++;
	t->wrong += !right;
	t->times[histogram_step(took)]++;
	if (took > t->worst_ns)
		t->worst_ns = took;
	if (load.closed && (!load.most || t->asked < load.most))
		ask(c, now);
	else
		conn_idle(c);
}

void load_turn(uint64_t until_ns)
{
	struct epoll_event events[EVENTS];
	uint64_t now = now_ns(), wait = until_ns > now ? until_ns - now : 0;
	struct timespec limit = { (time_t)(wait / SECOND), (long)(wait % SECOND) };
	int n = epoll_pwait2(load.poller, events, EVENTS, &limit, NULL);

	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;
		c->ready(c);
	}
}

static void drain(struct tally *t)
{
	uint64_t until = now_ns() + DRAIN_NS;

	while (t->answered < t->asked && now_ns() < until)
		load_turn(until);
}

static void run_closed(struct tally *t, double seconds)
{
	uint64_t begin = now_ns(), end = begin + (uint64_t)(seconds * 1e9);

	load.closed = true;
	while (load.nidle && (!load.most || t->asked < load.most))
		ask(load.idle[--load.nidle], now_ns());
	while (now_ns() < end && (!load.most || t->answered < load.most))
		load_turn(end);
	load.closed = false;
	t->seconds = (double)(now_ns() - begin) / 1e9;
}

static void run_open(struct tally *t, double rate, double seconds)
{
	uint64_t begin = now_ns(), total = (uint64_t)(rate * seconds), end = begin + (uint64_t)(seconds * 1e9);
	double step = 1e9 / rate;
	uint64_t due = begin;

	while (t->asked < total && now_ns() < end + DRAIN_NS) {
		uint64_t now = now_ns();
		for (; due <= now && load.nidle && t->asked < total; due = begin + (uint64_t)((double)t->asked * step)) {
			if (now - due > t->late_ns)
				t->late_ns = now - due;
			ask(load.idle[--load.nidle], due);
		}
		load_turn(load.nidle ? due : end + DRAIN_NS); /* none free: an answer comes first */
	}
	t->unasked = total - t->asked;
	t->seconds = seconds;
}

/* Answers that come after a closed loop's end are waited for and not counted as done in its time. */
void load_run(struct tally *t, double rate, double seconds)
{
	struct tally rest = { 0 };

	load.tally = t;
	if (rate > 0) {
		run_open(t, rate, seconds);
		drain(t);
		return;
	}
	run_closed(t, seconds);
	rest.asked = t->asked - t->answered;
	load.tally = &rest;
	drain(&rest);
	t->asked = t->answered + (rest.asked - rest.answered);
	t->wrong += rest.wrong;
}

static double quantile(const struct tally *t, double share)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < HISTOGRAM_STEPS; i++)
		if ((sum += t->times[i]) >= share * (double)t->answered)
			return histogram_ms(i);
	return 0;
}

void tally_print(const struct tally *t)
{
	printf("{\"answered\":%llu,\"lost\":%llu,\"wrong\":%llu,\"unasked\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
	       "\"worst_ms\":%.3f,\"late_ms\":%.3f,\"next\":%llu}\n", (unsigned long long)t->answered, (unsigned long long)(t->asked - t->answered),
	       (unsigned long long)t->wrong, (unsigned long long)t->unasked, t->seconds, (double)t->answered / t->seconds, quantile(t, 0.5),
	       quantile(t, 0.99), (double)t->worst_ns / 1e6, (double)t->late_ns / 1e6, (unsigned long long)load.next);
	fflush(stdout);
}
