/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May a participant be let in? The lease runs by CLOCK_BOOTTIME from before the heartbeat was sent, so the node's count ends
 * before any observer's. The one exception: while every listed router says that the store is gone, nobody can have placed
 * the rooms anew. It must follow the lease without a gap: after one, somebody may have.
 */
#include "client/lib/node.h"

#define MARGIN_MIN_MS 100

uint64_t lease_margin_ms(const struct lease *lease)
{
	uint64_t tenth = lease->granted_ms / 10;

	return tenth > MARGIN_MIN_MS ? tenth : MARGIN_MIN_MS;
}

static uint64_t end_of(const struct lease *lease)
{
	return lease->until_ms > lease->covered_ms ? lease->until_ms : lease->covered_ms;
}

bool lease_holds(const struct lease *lease, uint64_t boot_ms)
{
	return boot_ms + lease_margin_ms(lease) < end_of(lease);
}

void lease_renew(struct lease *lease, uint64_t sent_ms, uint64_t granted_ms)
{
	lease->granted_ms = granted_ms;
	lease->until_ms = sent_ms + granted_ms;
	lease->covered_ms = 0;
}

void lease_end(struct lease *lease)
{
	lease->until_ms = lease->covered_ms = 0;
	lease->confirmed = false;
}

void lease_degraded(struct lease *lease, uint64_t boot_ms, const struct router_link *links)
{
	uint64_t first = UINT64_MAX;

	for (const struct router_link *link = links; link; link = link->next)
		if (link->degraded_sent_ms < first)
			first = link->degraded_sent_ms;
	if (!first || first == UINT64_MAX || first + lease->granted_ms <= boot_ms)
		lease->covered_ms = 0;
	else if (lease_holds(lease, boot_ms))
		lease->covered_ms = first + lease->granted_ms;
}
