/* SPDX-License-Identifier: Apache-2.0 */
/* A black hole is a listener whose queue is full: the kernel then drops what asks for a connection, and says nothing. */
#include "tests/unit/health/node_play.h"

#define FILLERS 8

struct node_play play;
static int hole = -1, fillers[FILLERS];

static size_t request_len(const struct peer_conn *c)
{
	const char *end = c->in.at ? strstr(c->in.at, "\r\n\r\n") : NULL, *length;

	if (!end)
		return 0;
	length = strcasestr(c->in.at, "\r\nContent-Length:");
	return (size_t)(end + 4 - c->in.at) + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
}

static void play_got(struct peer_conn *c)
{
	size_t len = request_len(c);

	if (!len || c->in.len < len)
		return;
	play.requests++;
	snprintf(play.last, sizeof(play.last), "%.*s", (int)len, c->in.at);
	c->in.len = 0;
	c->in.at[0] = '\0';
	if (play.drop) {
		play.drop--;
		peer_close(c);
		return;
	}
	if (!play.answer || (play.answers_max && play.requests > play.answers_max))
		return;
	peer_says(c, play.answer);
	if (play.hang_up)
		peer_finish(c);
}

void play_open(struct loop *loop)
{
	play = (struct node_play){ .answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" };
	peer_open(&play.peer, loop, play_got);
}

void play_close(void)
{
	peer_free(&play.peer);
}

uint16_t black_hole_open(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint16_t port;

	hole = listen_anywhere(&port);
	ck_assert_int_eq(listen(hole, 0), 0);
	at.sin_port = htons(port);
	for (int i = 0; i < FILLERS; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)!connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
	}
	return port;
}

void black_hole_close(void)
{
	for (int i = 0; i < FILLERS; i++)
		close(fillers[i]);
	close(hole);
}
