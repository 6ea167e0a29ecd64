/* SPDX-License-Identifier: Apache-2.0 */
/* The router's settings: one struct, filled from the table in conf.c. Read-only once the workers run. */
#pragma once

#include <stdint.h>

#include "base/conf.h"

enum auth_mode { AUTH_NONE, AUTH_TOKEN, AUTH_JWT };

struct router_conf {
	struct {
		const char *listen, *admin_listen, *public_url, *advertise_url, *peer_ca, *region, *trusted_proxies, *origins, *hosts;
		uint64_t workers, lame_duck_ms, drain_ms, park_ms;
		bool core_dumps;
	} server;
	struct {
		const char *url, *sentinel_user, *sentinel_password, *prefix;
		uint64_t timeout_ms, wait_replicas, wait_ms;
		bool allow_memory;
	} registry;
	struct {
		uint64_t heartbeat_ms, lease_ms, grace_ms, unfenced_ms, unasked_ms, unreachable_ms;
		bool unreachable_drain;
		const char *allow_cidr;
	} nodes;
	struct {
		uint64_t table_max, trust_ms, idle_ttl_ms, unreported_ttl_ms;
	} rooms;
	struct {
		int policy;
		double max_load;
		const char *room_cost;
		uint64_t ramp_ms, slow_start_ms, opens_per_node, explained, max_participants_per_room;
	} placement;
	struct {
		double moves_per_second;
	} drain;
	struct {
		uint64_t failures, window_ms, min_calls, open_ms, max_open_ms;
		double failure_rate, backoff, jitter, max_ejected;
	} breaker;
	struct {
		uint64_t interval_ms, timeout_ms;
	} probe;
	struct {
		uint64_t connect_timeout_ms, call_timeout_ms, response_timeout_ms, stream_idle_ms;
		const char *tls_ca, *tls_pins;
	} sfu;
	struct {
		uint64_t idle_ms;
	} tunnel;
	struct {
		uint64_t body_bytes, heartbeat_bytes, header_bytes, headers, connections, connections_per_address, reserved;
		uint64_t tunnel_buffer_bytes, frame_bytes, message_bytes, parked;
		double address_rate, credential_rate, room_rate;
	} limits;
	struct {
		uint64_t target_ms, interval_ms, hold_ms;
	} overload;
	struct {
		int level, format;
		double event_rate;
	} log;
	struct {
		const char *cert, *key, *client_ca;
		int min_version; /* enum tls_version */
	} tls;
	struct {
		int mode;
		bool allow_insecure, admin_once, demand_grants;
		const char *keys, *ticket_keys, *grant_keys, *audience, *issuer;
		uint64_t session_ms, max_skew_ms, wrong_per_minute;
	} auth;
	struct {
		const char *at;
	} fault;
};

extern const struct conf_key router_conf_keys[];
extern const size_t router_conf_count;

/* What the table cannot say: settings that contradict each other. All faults to `err`; returns their number. */
int router_conf_check(struct router_conf *, FILE *err);
double router_conf_room_cost(const struct router_conf *); /* negative: learned */
