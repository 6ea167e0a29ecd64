/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection closed with unread bytes sends RST, which can destroy the answer before the client has read it. So a
 * refused connection is read empty for a short time after its FIN (nginx: lingering_close): bounded in time, bytes and
 * number.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/httpd_mhd.h"
#include "base/wait.h"

#define LINGER_MS 2000
#define LINGER_BYTES (64 << 20)
#define LINGERING_MAX 256

struct lingering {
	struct lingering *next, **at;
	struct httpd *httpd;
	struct watch *watch;
	struct timer timer;
	int fd;
	size_t bytes;
};

static void linger_end(struct lingering *l)
{
	timer_clear(l->httpd->loop, &l->timer);
	watch_free(l->watch);
	close(l->fd);
	*l->at = l->next;
	if (l->next)
		l->next->at = l->at;
	l->httpd->nlingering--;
	free(l);
}

static void linger_over(struct timer *t)
{
	linger_end(container_of(t, struct lingering, timer));
}

static void read_away(void *arg, int events)
{
	struct lingering *l = arg;
	static _Thread_local char bytes[65536];

	(void)events;
	ssize_t n = recv(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n > 0)
		l->bytes += (size_t)n;
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) || l->bytes > LINGER_BYTES)
		linger_end(l);
}

void httpd_linger(struct httpd *h, int fd)
{
	struct lingering *l = h->nlingering < LINGERING_MAX ? calloc(1, sizeof(*l)) : NULL;

	if (!l)
		return;
	l->httpd = h;
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	l->watch = l->fd < 0 ? NULL : watch_new(h->loop, l->fd, LOOP_READ, read_away, l);
	if (!l->watch) {
		if (l->fd >= 0)
			close(l->fd);
		free(l);
		return;
	}
	shutdown(l->fd, SHUT_WR);
	l->next = h->lingering;
	l->at = &h->lingering;
	if (l->next)
		l->next->at = &l->next;
	h->lingering = l;
	h->nlingering++;
	timer_set(h->loop, &l->timer, LINGER_MS, linger_over);
}

void httpd_linger_free(struct httpd *h)
{
	while (h->lingering)
		linger_end(h->lingering);
}
