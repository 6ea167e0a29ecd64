/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first look at a connection. A WebSocket handshake that is there, whole, is read here, so that libmicrohttpd never sees a
 * connection that becomes a tunnel: its way to one takes ten system calls and a zeroed pool more
 * (docs/internals/performance.md).
 *
 * The bytes are looked at and left where they are. So all that would need a judgement of its own is libmicrohttpd's, as if
 * nobody had looked: heads that come in pieces, are long or unusual, or announce a body. And so is an answer that is no upgrade:
 * it reads the head once more, finds the exchange there, and sends what was answered.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/http_line.h"
#include "base/httpd_mhd.h"
#include "base/link.h"
#include "base/wait.h"

#define HEAD_MAX 4096
#define LINES_MAX 64
#define COOKIES_MAX 32 /* libmicrohttpd makes a record of each, for which its pool may be too small */

struct head { /* views into what was looked at */
	struct str target;
	struct header lines[LINES_MAX];
	size_t n, len;
};

/* -- reading ------------------------------------------------------------------------------------------------------- */
/* Without its CR LF. */
static bool take_line(struct str *rest, struct str *line)
{
	const char *end = memchr(rest->at, '\n', rest->len);

	if (!end || !line_ends(rest->at, (size_t)(end - rest->at) + 1))
		return false;
	*line = (struct str){ rest->at, (size_t)(end - rest->at) - 1 };
	rest->len -= line->len + 2;
	rest->at += line->len + 2;
	return true;
}

static bool read_target(struct str line, struct str *target)
{
	const struct str method = STR("GET "), version = STR(" HTTP/1.1");

	if (line.len <= method.len + version.len || memcmp(line.at, method.at, method.len) ||
	    memcmp(line.at + line.len - version.len, version.at, version.len))
		return false;
	*target = (struct str){ line.at + method.len, line.len - method.len - version.len };
	for (size_t i = 0; i < target->len; i++)
		if (target->at[i] <= ' ' || target->at[i] >= 0x7f)
			return false;
	return true;
}

static bool announces_a_body(const struct header *line)
{
	return str_is_nocase(line->name, "Content-Length") || str_is_nocase(line->name, "Transfer-Encoding") ||
	       str_is_nocase(line->name, "Expect");
}

static size_t cookies(const struct header *line)
{
	size_t n = 0;

	for (size_t i = 0; i < line->value.len && str_is_nocase(line->name, "Cookie"); i++)
		n += line->value.at[i] == ';' || line->value.at[i] == ',';
	return n;
}

static bool is_plain(const struct head *head)
{
	size_t n = 0;

	for (size_t i = 0; i < head->n; i++) {
		if (announces_a_body(&head->lines[i]))
			return false;
		n += cookies(&head->lines[i]);
	}
	return n < COOKIES_MAX;
}

/* Only a whole one that no two readers could see differently. */
static bool read_handshake(struct str bytes, struct head *head)
{
	struct str rest = bytes, line;

	if (!take_line(&rest, &line) || !read_target(line, &head->target))
		return false;
	for (head->n = 0; take_line(&rest, &line); head->n++) {
		if (!line.len) {
			head->len = bytes.len - rest.len;
			return headers_ask_websocket(head->lines, head->n) && is_plain(head);
		}
		if (head->n == LINES_MAX || !header_line(line.at, line.len + 2, &head->lines[head->n]))
			return false;
	}
	return false;
}

/* -- the exchange -------------------------------------------------------------------------------------------------- */
/* A view of the same in the copy, with a NUL as libmicrohttpd's have: behind it is a colon, a blank or a line's end. */
static struct str copied(struct str s, const char *from, char *to)
{
	to[s.at - from + (ptrdiff_t)s.len] = 0;
	return (struct str){ to + (s.at - from), s.len };
}

static void begin(struct conn *c, const struct head *head, const char *bytes)
{
	struct exchange *x = exchange_new(c, NULL, head->target);
	struct header *headers = arena_alloc(&x->arena, (head->n + 1) * sizeof(*headers));
	char *copy = arena_copy(&x->arena, bytes, head->len);

	for (size_t i = 0; i < head->n; i++)
		headers[i] = (struct header){ copied(head->lines[i].name, bytes, copy), copied(head->lines[i].value, bytes, copy) };
	x->early_bytes = head->len;
	exchange_early(x, headers, head->n);
}

void early_end(struct conn *c, enum exchange_end end)
{
	struct httpd *h = c->httpd;

	loop_later_drop(h->loop, &c->early);
	if (c->x) {
		c->x->end = end;
		exchange_free(c->x);
	}
	if (c->fd >= 0) {
		epoll_ctl(h->gone_set, EPOLL_CTL_DEL, c->fd, NULL);
		link_close(&(struct link){ .fd = c->fd });
	}
	conn_forget(c);
}

static void leave_to_mhd(struct conn *c)
{
	c->is_early = false;
	conn_serve(c, c->fd);
}

/* -- the first look ------------------------------------------------------------------------------------------------ */
/* Before anybody reads it: a FIN that comes at once is not missed. */
static void watch_for_its_end(struct conn *c)
{
	struct epoll_event event = { .events = EPOLLRDHUP | EPOLLET, .data.ptr = c };

	epoll_ctl(c->httpd->gone_set, EPOLL_CTL_ADD, c->fd, &event);
}

/* A front watches for itself. */
static void leave_to_front(struct conn *c)
{
	int fd = c->fd;

	c->is_early = false;
	c->fd = -1;
	if (!front_begin(c, fd))
		conn_forget(c);
}

static void look(struct later *later)
{
	struct conn *c = container_of(later, struct conn, early);
	char bytes[HEAD_MAX];
	struct head head;
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_PEEK | MSG_DONTWAIT);

	/* After a stall there are many who have given up, and each would cost as much as a request. */
	if (n == 0 || (n < 0 && errno != EAGAIN)) {
		early_end(c, EXCHANGE_GONE);
		return;
	}
	if (c->httpd->fronts) {
		leave_to_front(c);
		return;
	}
	watch_for_its_end(c);
	if (n > 0 && read_handshake((struct str){ bytes, (size_t)n }, &head))
		begin(c, &head, bytes);
	else
		leave_to_mhd(c);
}

void early_look_later(struct conn *c, int fd)
{
	c->is_early = true;
	c->fd = fd;
	loop_later(c->httpd->loop, &c->early, look);
}

/* -- what it comes to ---------------------------------------------------------------------------------------------- */
/* What the client has sent behind its head is still in the socket. */
static bool take_head(const struct conn *c)
{
	char away[HEAD_MAX];

	return recv(c->fd, away, c->x->early_bytes, MSG_DONTWAIT) == (ssize_t)c->x->early_bytes;
}

static const char *date(struct httpd *h)
{
	time_t now = (time_t)(wall_ms() / 1000);
	struct tm tm;

	if (h->date_of != now && strftime(h->date, sizeof(h->date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm)))
		h->date_of = now;
	return h->date;
}

static bool say_upgraded(struct exchange *x, struct link *client)
{
	struct buf head = { 0 };

	buf_adds(&head, "HTTP/1.1 101 Switching Protocols\r\nDate: ");
	buf_adds(&head, date(x->conn->httpd));
	buf_adds(&head, "\r\nConnection: Upgrade\r\n");
	for (const struct header_out *out = x->out; out; out = out->next) {
		if (!*out->value || strpbrk(out->value, "\r\n")) /* libmicrohttpd would not either */
			continue;
		buf_adds(&head, out->name);
		buf_adds(&head, ": ");
		buf_adds(&head, out->value);
		buf_adds(&head, "\r\n");
	}
	buf_adds(&head, "\r\n");
	bool said = link_put(client, head.at, head.len);
	buf_free(&head);
	return said;
}

static void upgrade(struct conn *c)
{
	struct exchange *x = c->x;
	struct link client = { .fd = c->fd };

	if (!take_head(c) || !say_upgraded(x, &client)) {
		early_end(c, EXCHANGE_GONE);
		return;
	}
	epoll_ctl(c->httpd->gone_set, EPOLL_CTL_DEL, c->fd, NULL);
	c->fd = -1;
	c->given = true;
	x->given(x->given_arg, &client, (struct str){ 0 });
	early_end(c, EXCHANGE_GIVEN);
}

static void say_otherwise(struct conn *c)
{
	c->x->again = true;
	leave_to_mhd(c);
}

static void go_on(struct later *later)
{
	struct conn *c = container_of(later, struct conn, early);

	if (c->gone || c->x->kind == ANSWER_CUT)
		early_end(c, EXCHANGE_GONE);
	else if (c->x->kind == ANSWER_UPGRADE)
		upgrade(c);
	else
		say_otherwise(c);
}

void early_go_on(struct conn *c)
{
	loop_later(c->httpd->loop, &c->early, go_on);
}
