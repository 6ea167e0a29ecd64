/* SPDX-License-Identifier: Apache-2.0 */
/* Each connection is a pair of a near and a far one; a pair ends when either side does. */
#include "tests/unit/base/peer.h"

#include "tests/unit/registry/relay.h"

#define PAIRS 64

struct pair {
	struct peer_conn *near, *far;
	bool link;
};
struct relay {
	struct peer near, far; /* far listens to nobody: it holds what we opened */
	uint16_t to_port;
	struct pair pairs[PAIRS];
	unsigned npairs;
	bool black_hole, hold;
	const char *answer;
};

static struct pair *pair_of(struct relay *r, const struct peer_conn *c)
{
	for (unsigned i = 0; i < r->npairs; i++)
		if (r->pairs[i].near == c || r->pairs[i].far == c)
			return &r->pairs[i];
	return NULL;
}

static void pass(struct peer_conn *from, struct peer_conn *to)
{
	if (from->in.len && to->fd >= 0)
		peer_send(to, from->in.at, from->in.len);
	from->in.len = 0;
}

static void pair_end(struct pair *p)
{
	peer_close(p->near);
	if (p->far)
		peer_close(p->far);
}

static void near_got(struct peer_conn *c)
{
	struct relay *r = c->peer->arg;
	struct pair *p = pair_of(r, c);

	if (!p) {
		ck_assert_uint_lt(r->npairs, PAIRS);
		p = &r->pairs[r->npairs++];
		*p = (struct pair){ .near = c };
	}
	if (c->eof) {
		pair_end(p);
		return;
	}
	if (r->answer) {
		c->in.len = 0;
		peer_says(c, r->answer);
		return;
	}
	if (!p->far)
		p->far = peer_adopt(&r->far, connect_to(r->to_port));
	p->link = p->link || (c->in.len && memmem(c->in.at, c->in.len, "SUBSCRIBE", 9));
	if (!(p->link && r->black_hole))
		pass(c, p->far);
}

static void far_got(struct peer_conn *c)
{
	struct relay *r = c->peer->arg;
	struct pair *p = pair_of(r, c);

	if (c->eof)
		pair_end(p);
	else if (!(p->link ? r->black_hole : r->hold))
		pass(c, p->near);
}

struct relay *relay_new(struct loop *loop, uint16_t to_port)
{
	struct relay *r = calloc(1, sizeof *r);

	ck_assert_ptr_nonnull(r);
	peer_open(&r->near, loop, near_got);
	r->near.arg = r;
	r->far = (struct peer){ .loop = loop, .got = far_got, .arg = r };
	r->to_port = to_port;
	return r;
}

void relay_free(struct relay *r)
{
	peer_free(&r->near);
	peer_free(&r->far);
	free(r);
}

uint16_t relay_port(const struct relay *r)
{
	return r->near.port;
}

unsigned relay_accepted(const struct relay *r)
{
	return r->near.accepted;
}

void relay_black_hole_link(struct relay *r, bool on)
{
	r->black_hole = on;
}

void relay_hold_replies(struct relay *r, bool on)
{
	r->hold = on;
	for (unsigned i = 0; !on && i < r->npairs; i++)
		if (r->pairs[i].far && !r->pairs[i].link)
			pass(r->pairs[i].far, r->pairs[i].near);
}

void relay_answer_all(struct relay *r, const char *reply)
{
	r->answer = reply;
}
