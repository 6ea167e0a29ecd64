/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"
#include "registry/hash.h"
#include "router/grants.h"
#include "router/renewals.h"

#define SPREAD UINT64_C(0x9e3779b97f4a7c15) /* 2^64 by the golden ratio, odd */

struct node_told *renewals_of(struct renewals *renewals, const char *node, uint64_t registration)
{
	uint64_t hash = hash_name((struct hash_key){ 0 }, str_of(node));
	struct node_told *told = &renewals->nodes[hash % NODES_TOLD];

	if (told->node != hash || told->registration != registration)
		*told = (struct node_told){ .node = hash, .registration = registration };
	return told;
}

uint64_t renewals_mark(struct request *rq, struct str name, const struct room *room, uint64_t registration)
{
	uint64_t mark = hash_name((struct hash_key){ 0 }, grants_of_request(rq, name, room)) ^ registration * SPREAD;

	return mark ? mark : 1;
}

/* Where another mark has the place, neither waits for the other. */
bool renewals_begin(struct renewals *renewals, uint64_t mark)
{
	uint64_t *place = &renewals->under_way[mark % GRANTS_UNDER_WAY];

	if (*place == mark)
		return false;
	*place = *place ? *place : mark;
	return true;
}

void renewals_end(struct renewals *renewals, uint64_t mark, bool brought)
{
	uint64_t *place = &renewals->under_way[mark % GRANTS_UNDER_WAY];

	if (*place == mark)
		*place = 0;
	if (brought)
		renewals->brought[mark % GRANTS_BROUGHT] = mark;
}

bool renewals_brought(const struct renewals *renewals, uint64_t mark)
{
	return renewals->brought[mark % GRANTS_BROUGHT] == mark;
}
