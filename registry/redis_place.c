/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/retire.h"
#include "base/wait.h"
#include "registry/redis_place.h"

#define LOGIN_EVERY_MS 1000

struct redis_spot { /* never changes once it is published */
	struct retired retired;
	struct redis_endpoint at;
};

bool redis_endpoint_is(const struct redis_endpoint *a, const struct redis_endpoint *b)
{
	return a->port == b->port && strcmp(a->host, b->host) == 0;
}

static void spot_free(struct retired *retired)
{
	free(container_of(retired, struct redis_spot, retired));
}

static struct redis_spot *spot_new(const struct redis_endpoint *at)
{
	struct redis_spot *spot = calloc(1, sizeof *spot);

	if (!spot)
		abort();
	spot->at = *at;
	return spot;
}

bool redis_place_set(struct redis_place *place, struct retire *retire, const struct redis_endpoint *to)
{
	struct redis_spot *old = atomic_load(&place->spot);

	if (old && to ? redis_endpoint_is(&old->at, to) : !old && !to)
		return false;
	atomic_store(&place->spot, to ? spot_new(to) : NULL);
	atomic_fetch_add(&place->version, 1);
	if (old && retire)
		retire_later(retire, &old->retired, spot_free);
	else if (old)
		spot_free(&old->retired);
	return true;
}

void redis_place_clear(struct redis_place *place)
{
	free(atomic_exchange(&place->spot, NULL));
}

bool redis_place_read(const struct redis_place *place, struct redis_endpoint *out, uint64_t *version)
{
	const struct redis_spot *spot;

	*version = atomic_load(&place->version);
	spot = atomic_load(&place->spot);
	if (spot)
		*out = spot->at;
	return spot;
}

uint64_t redis_place_version(const struct redis_place *place)
{
	return atomic_load(&place->version);
}

void redis_place_doubt(struct redis_place *place)
{
	atomic_store(&place->doubted, true);
}

void redis_place_leave(struct redis_place *place, uint64_t version)
{
	atomic_compare_exchange_strong(&place->version, &version, version + 1); /* else it has changed already */
}

bool redis_place_doubted(struct redis_place *place)
{
	return atomic_exchange(&place->doubted, false);
}

/* -- logging in ------------------------------------------------------------------------------------------------------------------- */

bool redis_login_waits(const struct redis_login *login, uint64_t now_ms)
{
	return !atomic_load(&login->good) && now_ms < atomic_load(&login->next_ms);
}

bool redis_login_take(struct redis_login *login, uint64_t now_ms)
{
	uint64_t next = atomic_load(&login->next_ms);

	if (atomic_load(&login->good))
		return true;
	return now_ms >= next && atomic_compare_exchange_strong(&login->next_ms, &next, now_ms + LOGIN_EVERY_MS);
}

void redis_login_told(struct redis_login *login, bool accepted, uint64_t now_ms)
{
	atomic_store(&login->next_ms, accepted ? 0 : now_ms + LOGIN_EVERY_MS);
	atomic_store(&login->refused, !accepted);
	atomic_store(&login->good, accepted);
}

void redis_login_doubt(struct redis_login *login)
{
	atomic_store(&login->good, false);
}
