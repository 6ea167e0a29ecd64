/* SPDX-License-Identifier: Apache-2.0 */
/* Every change moves the room to the young end, so that a heartbeat costs what has changed and not what is held. */
#include <stdlib.h>
#include <string.h>

#include "base/wait.h"
#include "base/wire/limits.h"
#include "client/lib/node_rooms.h"

static void unlink_room(struct node_rooms *rooms, struct held_room *room)
{
	*(room->older ? &room->older->newer : &rooms->oldest) = room->newer;
	*(room->newer ? &room->newer->older : &rooms->newest) = room->older;
}

static void append_room(struct node_rooms *rooms, struct held_room *room)
{
	room->change = ++rooms->change;
	room->newer = NULL;
	room->older = rooms->newest;
	*(rooms->newest ? &rooms->newest->newer : &rooms->oldest) = room;
	rooms->newest = room;
}

static struct held_room *find(const struct node_rooms *rooms, struct str name)
{
	struct room_link *link = room_map_find(&rooms->map, name);

	return link ? container_of(link, struct held_room, link) : NULL;
}

static struct held_room *add(struct node_rooms *rooms, struct str name)
{
	struct held_room *room = calloc(1, sizeof(*room) + name.len + 1);

	if (!room)
		abort();
	memcpy(room->name, name.at, name.len);
	room->link.name = (struct str){ room->name, name.len };
	room_map_add(&rooms->map, &room->link);
	append_room(rooms, room);
	return room;
}

static void toggle(struct node_rooms *rooms, const struct held_room *room, bool in)
{
	digest_toggle(&rooms->digest, room->name, room->link.name.len, room->epoch, in);
}

bool node_rooms_set(struct node_rooms *rooms, struct str name, uint64_t epoch, uint64_t participants)
{
	if (!room_valid(name.at, name.len) || !epoch || epoch > EPOCH_MAX)
		return false;
	struct held_room *room = find(rooms, name);

	if (epoch > rooms->max_epoch)
		rooms->max_epoch = epoch;
	if (room && (epoch < room->epoch || (epoch == room->epoch && participants == room->participants)))
		return true;
	if (room) {
		toggle(rooms, room, false);
		unlink_room(rooms, room);
		append_room(rooms, room);
	} else {
		room = add(rooms, name);
	}
	if (room->epoch != epoch)
		*room->grant = '\0';
	room->epoch = epoch;
	room->participants = participants;
	toggle(rooms, room, true);
	return true;
}

bool node_rooms_grant(struct node_rooms *rooms, struct str name, uint64_t epoch, struct str grant)
{
	struct held_room *room = find(rooms, name);

	if (!room || room->epoch != epoch || !grant_valid(grant))
		return false;
	if (!strncmp(room->grant, grant.at, GRANT_LEN))
		return true;
	memcpy(room->grant, grant.at, GRANT_LEN);
	unlink_room(rooms, room);
	append_room(rooms, room);
	return true;
}

static void drop_closed(struct node_rooms *rooms)
{
	struct closed_room *closed = rooms->closed;

	rooms->closed = closed->next;
	if (!rooms->closed)
		rooms->closed_end = NULL;
	rooms->nclosed--;
	free(closed);
}

static void remember_closed(struct node_rooms *rooms, const struct held_room *room)
{
	struct str name = room->link.name;
	struct closed_room *closed = malloc(sizeof(*closed) + name.len + 1);

	if (!closed)
		abort();
	*closed = (struct closed_room){ .epoch = room->epoch, .change = ++rooms->change, .name = { closed->bytes, name.len } };
	memcpy(closed->bytes, room->name, name.len + 1);
	if (rooms->nclosed == CLOSED_MAX) {
		rooms->overflow = rooms->closed->change;
		drop_closed(rooms);
	}
	if (!rooms->closed_end)
		rooms->closed_end = &rooms->closed;
	*rooms->closed_end = closed;
	rooms->closed_end = &closed->next;
	rooms->nclosed++;
}

static void free_room(struct node_rooms *rooms, struct held_room *room)
{
	toggle(rooms, room, false);
	unlink_room(rooms, room);
	room_map_remove(&rooms->map, &room->link);
	free(room);
}

void node_rooms_remove(struct node_rooms *rooms, struct str name, uint64_t epoch)
{
	struct held_room *room = find(rooms, name);

	if (!room || room->epoch > epoch)
		return;
	remember_closed(rooms, room);
	free_room(rooms, room);
}

void node_rooms_clear(struct node_rooms *rooms)
{
	while (rooms->oldest)
		free_room(rooms, rooms->oldest);
	while (rooms->closed)
		drop_closed(rooms);
	room_map_free(&rooms->map);
	rooms->overflow = ++rooms->change;
}

void node_rooms_refresh(struct node_rooms *rooms, size_t n)
{
	for (n = n < rooms->map.count ? n : rooms->map.count; n; n--) {
		struct held_room *room = rooms->oldest;
		unlink_room(rooms, room);
		append_room(rooms, room);
	}
}

size_t node_rooms_changed(const struct node_rooms *rooms, uint64_t since, size_t enough)
{
	size_t n = 0;

	for (const struct held_room *room = rooms->newest; room && room->change > since && n < enough; room = room->older)
		n++;
	return n;
}

void node_rooms_heard(struct node_rooms *rooms, uint64_t upto)
{
	while (rooms->closed && rooms->closed->change <= upto)
		drop_closed(rooms);
}
