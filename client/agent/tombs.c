/* SPDX-License-Identifier: Apache-2.0 */
/* In order of their last setting, so that expiry looks at the old end only, at each setting. */
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "client/agent/tombs.h"

struct tomb {
	struct room_link link;
	struct tomb *older, *newer;
	uint64_t epoch, until_ms;
	char name[];
};

static struct tomb *find(const struct tombs *tombs, struct str room)
{
	struct room_link *link = room_map_find(&tombs->map, room);

	return link ? container_of(link, struct tomb, link) : NULL;
}

static void unlink_tomb(struct tombs *tombs, struct tomb *tomb)
{
	*(tomb->older ? &tomb->older->newer : &tombs->oldest) = tomb->newer;
	*(tomb->newer ? &tomb->newer->older : &tombs->newest) = tomb->older;
}

static void append(struct tombs *tombs, struct tomb *tomb)
{
	tomb->newer = NULL;
	tomb->older = tombs->newest;
	*(tombs->newest ? &tombs->newest->newer : &tombs->oldest) = tomb;
	tombs->newest = tomb;
}

static void drop_oldest(struct tombs *tombs)
{
	struct tomb *tomb = tombs->oldest;

	unlink_tomb(tombs, tomb);
	room_map_remove(&tombs->map, &tomb->link);
	free(tomb);
}

static struct tomb *add(struct tombs *tombs, struct str room)
{
	struct tomb *tomb = calloc(1, sizeof(*tomb) + room.len + 1);

	if (!tomb)
		abort();
	memcpy(tomb->name, room.at, room.len);
	tomb->link.name = (struct str){ tomb->name, room.len };
	room_map_add(&tombs->map, &tomb->link);
	append(tombs, tomb);
	return tomb;
}

void tombs_set(struct tombs *tombs, struct str room, uint64_t epoch, uint64_t now_ms)
{
	while (tombs->oldest && tombs->oldest->until_ms <= now_ms)
		drop_oldest(tombs);
	struct tomb *tomb = find(tombs, room);
	if (tomb) {
		unlink_tomb(tombs, tomb);
		append(tombs, tomb);
	} else {
		if (tombs->map.count >= TOMBS_MAX)
			drop_oldest(tombs);
		tomb = add(tombs, room);
	}
	if (tomb->epoch < epoch)
		tomb->epoch = epoch;
	tomb->until_ms = now_ms + TOMB_MS;
}

uint64_t tombs_get(const struct tombs *tombs, struct str room, uint64_t now_ms)
{
	const struct tomb *tomb = find(tombs, room);

	return tomb && tomb->until_ms > now_ms ? tomb->epoch : 0;
}

void tombs_free(struct tombs *tombs)
{
	while (tombs->oldest)
		drop_oldest(tombs);
	room_map_free(&tombs->map);
}
