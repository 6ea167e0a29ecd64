/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker remembers of nodes' grants, so that none is brought without end: what each node told, which rooms are being brought
 * theirs, and which have it. All three are tables of marks: what collides is told, or brought, once more.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct request;
struct room;
struct str;

struct node_told { /* by one registration of a node */
	uint64_t node, registration;
	uint64_t foreign, ungranted; /* rooms, as last told of */
	uint64_t unechoed;           /* grants brought since it told one */
};
#define NODES_TOLD 256
#define GRANTS_BROUGHT 4096
#define GRANTS_UNDER_WAY 256
struct renewals { /* zeroed: nothing */
	struct node_told nodes[NODES_TOLD];
	uint64_t under_way[GRANTS_UNDER_WAY];
	uint64_t brought[GRANTS_BROUGHT];
};
struct node_told *renewals_of(struct renewals *, const char *node, uint64_t registration);

/* Of the grants that the request would show, at the node's present registration: another agent knows nothing of them. */
uint64_t renewals_mark(struct request *, struct str name, const struct room *, uint64_t registration);
bool renewals_begin(struct renewals *, uint64_t mark); /* false: another one is bringing it */
void renewals_end(struct renewals *, uint64_t mark, bool brought);
bool renewals_brought(const struct renewals *, uint64_t mark);
