/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies by the shape of each route, and what nodes say of themselves, which the registry keeps and gives back: the first byte
 * says which. A fault names what is wrong in words that can be printed.
 */
#include <math.h>

#include "base/arena.h"
#include "base/json.h"
#include "health/load.h"
#include "router/agree.h"
#include "router/routes.h"
#include "tests/fuzz/json_strict.h"

static struct str text_of(struct arena *arena, struct buf *buf)
{
	struct str text = { arena_copy(arena, buf->at, buf->len), buf->len };

	buf_free(buf);
	return text;
}

static void as_load(struct str text, struct arena *arena)
{
	static const struct capacity capacity = { 100, 10, 1000 };
	struct load load = { 0 }, again = { 0 };
	struct buf out = { 0 };
	struct score score;
	const char *fault;

	if (json_read(text, &load_shape, arena, &load, &fault) < 0)
		return;
	score_of(&load, &capacity, &score);
	MUST(!score.known || (isfinite(score.value) && score.value >= 0));
	load_write(&load, &out);
	MUST(json_read(text_of(arena, &out), &load_shape, arena, &again, &fault) == 0);
	MUST(again.has_cpu == load.has_cpu && again.has_participants == load.has_participants);
	MUST(fabs(again.cpu - load.cpu) <= 1e-6 * fmax(1, load.cpu));
}

static void as_info(struct str text, struct arena *arena)
{
	struct node_info info = { 0 }, again = { 0 };
	struct buf out = { 0 }, twice = { 0 };
	struct strict strict;
	const char *fault;

	if (json_read(text, &node_info_shape, arena, &info, &fault) < 0)
		return;
	node_info_write(&info, &out);
	struct str written = text_of(arena, &out);
	MUST(strict_json(written, &strict));
	MUST(json_read(written, &node_info_shape, arena, &again, &fault) == 0);
	node_info_write(&again, &twice);
	struct str again_written = text_of(arena, &twice);
	MUST(str_eq(written, again_written));
}

static void by_shape(const struct json_shape *shape, struct str text, struct arena *arena)
{
	void *body = arena_alloc(arena, shape->size + 1);
	const char *fault = NULL;

	if (json_read(text, shape, arena, body, &fault) == 0)
		return;
	MUST(fault && *fault && utf8_valid(fault, strlen(fault)));
	for (const unsigned char *c = (const unsigned char *)fault; *c; c++)
		MUST(*c >= ' ' && *c != 0x7f && !(c[0] == 0xc2 && c[1] < 0xa0));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct str in = { (const char *)bytes, len };
	struct arena arena = { 0 };
	size_t which = feed_byte(&in) % (routes_count + 3);
	char *copy = copy_of(in, false);
	struct str text = { copy, in.len };

	if (which == routes_count)
		as_load(text, &arena);
	else if (which == routes_count + 1)
		as_info(text, &arena);
	else if (which == routes_count + 2)
		by_shape(&agree_shape, text, &arena);
	else if (routes[which].verb->shape)
		by_shape(routes[which].verb->shape, text, &arena);
	arena_reset(&arena);
	free(copy);
	return 0;
}
