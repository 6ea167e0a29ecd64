/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes, on the keeper: GET health_url of each node every interval (spread, jittered), and while a breaker is open its own
 * probe: `signal` a TCP connection to signal_url, `control` health_url. A probe has a deadline and a trial's place.
 */
#pragma once

#include "health/fleet.h"

struct http;
struct probes;
struct probes_conf {
	uint64_t interval_ms, timeout_ms;
	const char *allow_cidr;
};
struct probes *probes_new(struct loop *, struct fleet *, struct http *, const struct probes_conf *);
void probes_free(struct probes *);
/* Its breaker is not closed any more: it does not wait for its usual turn. Whoever is told of breakers says so (fleet_conf.breaker_changed). */
void probes_hurry(struct probes *, const char *node, enum breaker_class);
