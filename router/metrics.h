/* SPDX-License-Identifier: Apache-2.0 */
/* The router's metrics: one table gives the enum, the exposition, and docs/reference/metrics.md. */
#pragma once

#include "base/metric.h"

/* clang-format off */
#define METRIC_TABLE(X) \
	X(REQUESTS, "usher_requests_total", COUNTER, "route", "code", "requests answered, by route pattern and HTTP status") \
	X(REQUEST_SECONDS, "usher_request_seconds", HISTOGRAM, "route", NULL, "time from a whole request to its answer, of those that were let in") \
	X(STEP_SECONDS, "usher_step_seconds", HISTOGRAM, "step", NULL, "time a request spent in a step that waited") \
	X(JOINS, "usher_joins_total", COUNTER, "outcome", NULL, "joins: known, placed, left (the client did), or the code of the refusal") \
	X(PLACEMENTS, "usher_placements_total", COUNTER, "reason", NULL, "choices of a node: chosen, or the code of the refusal") \
	X(NODES, "usher_nodes", GAUGE, "state", NULL, "nodes as this router sees them") \
	X(ROOMS, "usher_rooms", GAUGE, NULL, NULL, "rooms this process remembers") \
	X(TUNNELS, "usher_tunnels", GAUGE, NULL, NULL, "open tunnels") \
	X(TUNNEL_BYTES, "usher_tunnel_bytes_total", COUNTER, "direction", NULL, "bytes carried by tunnels that have ended") \
	X(TUNNEL_FAULTS, "usher_tunnel_faults_total", COUNTER, "offender", "fault", "tunnels ended because a side (client, server) sent a frame or message over the limit (too_big) or broke the protocol") \
	X(CONNECTIONS, "usher_connections", GAUGE, NULL, NULL, "HTTP connections held; tunnels are not among them") \
	X(BALANCE, "usher_balance_max_over_mean", GAUGE, NULL, NULL, "fullest ready node's score over the mean score") \
	X(LOAD_AGE, "usher_load_age_seconds", GAUGE, NULL, NULL, "age of the oldest load report of a ready node") \
	X(EPOCH_CONFLICTS, "usher_epoch_conflicts_total", COUNTER, NULL, NULL, "claims, publishes and closes that met another epoch") \
	X(BREAKER_STATE, "usher_breaker_state", GAUGE, "node", "class", "0 closed, 1 open, 2 half-open") \
	X(SFU_CALLS, "usher_sfu_calls_total", COUNTER, "op", "outcome", "calls to SFUs") \
	X(RETRIES, "usher_sfu_retries_total", COUNTER, "what", "outcome", "calls to SFUs that would be a request's second (open, refused by the gate): allowed, or held_back as there were too many") \
	X(STORE_UP, "usher_store_up", GAUGE, NULL, NULL, "1 while the store answers the keeper") \
	X(STORE_SECONDS, "usher_store_seconds", HISTOGRAM, NULL, NULL, "time a request waited for the store") \
	X(LOOP_STALL, "usher_loop_stall_seconds", GAUGE, "thread", NULL, "longest turn of a loop in the last second") \
	X(OVERLOAD_DELAY, "usher_overload_delay_seconds", GAUGE, "thread", NULL, "how long ready work waited for its turn, at the best moment of the last overload.interval_ms") \
	X(OVERLOAD_PRESSURE, "usher_overload_pressure", GAUGE, "thread", NULL, "what is shed: 0 nothing, 1 all new rooms, 2.3 all joins, too, and 30 % of signaling, up to 5") \
	X(SHED, "usher_shed_total", COUNTER, "what", NULL, "requests refused as overloaded: rooms (new ones), joins, signal, nodes, admin") \
	X(EVENTS, "usher_events_total", COUNTER, "type", NULL, "what GET /v1/events tells, by type") \
	X(RECONCILED, "usher_reconciled_total", COUNTER, "what", NULL, "reported rooms: restored, evicted, foreign, ungranted (no right grant: neither restored nor touched), renewed (the grant); ghost: opened again") \
	X(CREDENTIALS, "usher_credentials_total", COUNTER, "outcome", NULL, "credentials judged: good, missing, invalid, limited (too many wrong ones), forbidden (without the scope, or bound to another room or node)") \
	X(TLS_HANDSHAKES, "usher_tls_handshakes_total", COUNTER, "outcome", NULL, "handshakes on the listeners: done, failed, late (not done in 10 s), plain (somebody spoke HTTP)") \
	X(TLS_EXPIRY, "usher_tls_certificate_expiry_seconds", GAUGE, NULL, NULL, "unix time at which the first certificate of tls.cert ends") \
	X(PARKED, "usher_parked", GAUGE, NULL, NULL, "requests that wait for time") \
	X(LOG_SUPPRESSED, "usher_log_suppressed_total", GAUGE, NULL, NULL, "log lines over log.event_rate, which log_suppressed tells of") \
	X(LOG_DROPPED, "usher_log_dropped_total", GAUGE, NULL, NULL, "log lines dropped because the log could not be written")
/* clang-format on */

enum router_metric {
#define X(id, name, kind, l0, l1, help) M_##id,
	METRIC_TABLE(X)
#undef X
		M_COUNT
};
extern const struct metric_def router_metrics[];
