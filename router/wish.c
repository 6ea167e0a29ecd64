/* SPDX-License-Identifier: Apache-2.0 */
/* `region` and `prefer` are wishes; `require` (labels, and the words region and pool) are conditions; pool is always one. */
#include <string.h>

#include "base/arena.h"
#include "router/request.h"
#include "router/router.h"
#include "router/routes.h"
#include "router/wish.h"
#include "router/worker.h"

static const char *const mode_words[] = { "proxy", "direct", NULL };

static bool is_room(const char *s, const char **why)
{
	*why = "must be a room name";
	return room_name_valid(str_of(s));
}

static const struct json_member members[] = {
	{ "participant", JSON_STRING, offsetof(struct join_body, participant), JSON_NO_HAS, 1, 256, .help = "for logs" },
	{ "region", JSON_STRING, offsetof(struct join_body, region), JSON_NO_HAS, 0, LABEL_MAX, .help = "wish" },
	{ "pool", JSON_STRING, offsetof(struct join_body, pool), JSON_NO_HAS, 0, LABEL_MAX, .help = "default: default" },
	{ "expected_participants", JSON_U64, offsetof(struct join_body, expected_participants), JSON_NO_HAS, 0, 1e6 },
	{ "require", JSON_MAP, offsetof(struct join_body, require), JSON_NO_HAS, 0, LABELS_MAX, .help = "labels, region, pool" },
	{ "prefer", JSON_MAP, offsetof(struct join_body, prefer), JSON_NO_HAS, 0, LABELS_MAX, .help = "labels" },
	{ "colocate_with", JSON_STRING, offsetof(struct join_body, colocate_with), JSON_NO_HAS, 1, ROOM_MAX, .check = is_room },
	{ "exclusive", JSON_BOOL, offsetof(struct join_body, exclusive), JSON_NO_HAS },
	{ "mode", JSON_WORD, offsetof(struct join_body, mode), JSON_NO_HAS, .words = mode_words },
};
const struct json_shape join_shape = { members, sizeof(members) / sizeof(*members), sizeof(struct join_body) };

/* `require` may name region and pool beside labels: they are taken out of the list of labels. */
static void split_require(struct place_wish *wish, struct json_pair *pairs, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		if (!strcmp(pairs[i].key, "region"))
			wish->require_region = pairs[i].value;
		else if (!strcmp(pairs[i].key, "pool"))
			wish->require_pool = pairs[i].value;
		else
			pairs[kept++] = pairs[i];
	}
	wish->require = pairs;
	wish->nrequire = kept;
}

struct place_wish *wish_read(struct request *rq, const struct join_body *body)
{
	struct place_wish *wish = arena_alloc(request_arena(rq), sizeof(*wish));

	wish->region = rq->worker->router->conf.server.region;
	if (!body)
		return wish;
	if (body->region && *body->region)
		wish->region = body->region;
	wish->pool = body->pool;
	wish->expected_participants = body->expected_participants;
	wish->exclusive = body->exclusive;
	wish->prefer = body->prefer.items;
	wish->nprefer = body->prefer.count;
	split_require(wish, body->require.items, body->require.count);
	return wish;
}

const char *node_label(const struct node *node, const char *key)
{
	const struct json_pair *labels = node->info.labels.items;

	for (size_t i = 0; i < node->info.labels.count; i++)
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	return "";
}

const char *wish_broken(const struct place_wish *wish, const struct node *node)
{
	if (wish->require_region && strcmp(wish->require_region, node->info.region ? node->info.region : ""))
		return "region";
	if (wish->require_pool && strcmp(wish->require_pool, node->info.pool && *node->info.pool ? node->info.pool : "default"))
		return "pool";
	for (size_t i = 0; i < wish->nrequire; i++)
		if (strcmp(wish->require[i].value, node_label(node, wish->require[i].key)))
			return wish->require[i].key;
	return NULL;
}
