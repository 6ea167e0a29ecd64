/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a primary is, and who may log in there. The keeper writes a place (or nobody does, where the URL names the server);
 * connections of all threads read it when they connect, and leave when its version has changed. A connection that was
 * refused or lost says so by doubting the place, and whoever finds primaries looks anew at once.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define REDIS_HOST_MAX 255

struct retire;
struct redis_spot;

struct redis_endpoint {
	char host[REDIS_HOST_MAX + 1];
	uint16_t port;
};
bool redis_endpoint_is(const struct redis_endpoint *, const struct redis_endpoint *);

struct redis_place {
	_Atomic(struct redis_spot *) spot; /* NULL: nowhere */
	_Atomic uint64_t version;          /* read before `spot`, so that it is never newer than what was read with it */
	_Atomic bool doubted;
};
/* Keeper, or before anybody reads. `retire` NULL: nobody reads yet. `to` NULL: nowhere. Unchanged: nothing happens, false. */
bool redis_place_set(struct redis_place *, struct retire *, const struct redis_endpoint *to);
void redis_place_clear(struct redis_place *); /* nobody reads any more */

/* -- any thread ---------------------------------------------------------------------------------------------------------------- */
bool redis_place_read(const struct redis_place *, struct redis_endpoint *out, uint64_t *version); /* false: nowhere */
uint64_t redis_place_version(const struct redis_place *);
void redis_place_doubt(struct redis_place *);
/* What a connection of this version found there is no primary any more: all others must look themselves. */
void redis_place_leave(struct redis_place *, uint64_t version);
bool redis_place_doubted(struct redis_place *); /* since it was last asked */

/* One login for the whole process: as long as none has succeeded, one connection a second tries, and the others wait for
 * what becomes of it. Servers lock out, or count as attacks, what tries a wrong password from each thread. */
struct redis_login {
	_Atomic bool good, refused;
	_Atomic uint64_t next_ms;
};
bool redis_login_waits(const struct redis_login *, uint64_t now_ms); /* somebody else tries, or was refused just now */
bool redis_login_take(struct redis_login *, uint64_t now_ms);        /* true: go on and say the password */
void redis_login_told(struct redis_login *, bool accepted, uint64_t now_ms);
void redis_login_doubt(struct redis_login *); /* a connection was lost: the password may be another by now */
