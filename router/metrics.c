/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of router/metrics.h as data. */
#include "router/metrics.h"

const struct metric_def router_metrics[] = {
#define X(id, name, kind, l0, l1, help) { name, METRIC_##kind, { l0, l1 }, help },
	METRIC_TABLE(X)
#undef X
};
