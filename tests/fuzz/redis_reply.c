/* SPDX-License-Identifier: Apache-2.0 */
/* Replies as hiredis reads them off the wire, through each reader of registry/redis_read.h; URLs of stores. */
#include <hiredis/hiredis.h>

#include "registry/nodes.h"
#include "registry/redis_error.h"
#include "registry/redis_link.h"
#include "registry/redis_read.h"
#include "registry/rooms.h"
#include "tests/fuzz/fuzz.h"

static void as_texts(struct str text)
{
	struct redis_endpoint from = { "10.0.0.1", 7000 }, to;
	struct room_report entry;
	struct charge charge;
	uint64_t uses;

	if (text_charge(text, &charge))
		MUST(charge.cost >= 0 && charge.cost <= LOAD_MAX);
	if (text_entry(text, &entry, &uses))
		MUST(entry.participants >= -1 && entry.participants <= (int64_t)EPOCH_MAX);
	if (redis_endpoint_of_error(text, &from, &to))
		MUST(to.port && strlen(to.host) <= REDIS_HOST_MAX);
}

static void as_all(const redisReply *r)
{
	struct room room;
	char small[8];
	double real = reply_real(r);

	MUST(real >= -LOAD_MAX && real <= LOAD_MAX);
	if (reply_room(r, &room)) {
		MUST(strlen(room.node) <= NODE_MAX && strlen(room.incarnation) <= INCARNATION_MAX && strlen(room.hints) <= HINTS_MAX);
		MUST(room.state != ROOM_NONE || (!room.epoch && !*room.node));
	}
	MUST(!reply_copy(r, small, sizeof(small)) || strlen(small) < sizeof(small));
	reply_is_replica(r);
	MUST(reply_info(r, "run_id").at || reply_run_id(r) == 1);
	reply_time_ms(r);
	reply_u64(r);
	if (reply_failed(r))
		MUST(redis_error_of(reply_str(r).at));
	if (reply_str(r).at)
		as_texts(reply_str(r));
	for (size_t i = 0; i < reply_count(r) && i < 64; i++)
		as_all(reply_at(r, i));
	MUST(!reply_at(r, reply_count(r)));
}

static void as_url(struct str in)
{
	struct redis_target target;
	const char *why = NULL;
	char *z = copy_of(in, true);

	if (redis_target_parse(z, &target, &why)) {
		MUST(target.nseeds && target.nseeds <= REDIS_SEEDS_MAX);
		for (size_t i = 0; i < target.nseeds; i++)
			MUST(target.seeds[i].port && *target.seeds[i].host);
	} else {
		MUST(why && *why);
	}
	free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	redisReader *reader;
	void *reply = NULL;

	if (says_a_long_list((struct str){ (const char *)bytes, len }))
		return 0;
	reader = redisReaderCreate();
	as_url((struct str){ (const char *)bytes, len });
	redisReaderFeed(reader, (const char *)bytes, len);
	while (redisReaderGetReply(reader, &reply) == REDIS_OK && reply) {
		as_all(reply);
		freeReplyObject(reply);
		reply = NULL;
	}
	redisReaderFree(reader);
	return 0;
}
