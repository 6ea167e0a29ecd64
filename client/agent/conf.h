/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of usher-agent. One struct for the process, filled from the table in conf.c, read-only afterwards. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/conf.h"

enum agent_at_lease_end { LEASE_END_REFUSE, LEASE_END_DROP };
enum agent_on_store_loss { STORE_LOSS_GO_ON, STORE_LOSS_FENCE };

struct agent_conf {
	const char *node, *routers; /* routers: URLs, comma-separated */
	int adapter;                /* index into agent_adapters[] */
	const char *sfu_url, *sfu_http_url, *sfu_admin_url;
	const char *listen, *control_listen;
	const char *advertise_host; /* "": the host of the listener */
	const char *advertise_url;  /* public_signal_url, "": none */
	const char *origins;        /* of pages that may come there */
	bool gate;
	const char *token_file;
	const char *tls_ca, *tls_cert, *tls_key, *sfu_ca;
	const char *pool, *region, *zone;
	struct conf_map labels;
	uint64_t capacity_rooms, capacity_participants, capacity_bandwidth_mbps; /* 0: not said */
	int at_lease_end, on_store_loss;
	uint64_t sick_ms;
	const char *command;
	bool core_dumps;
	const char *admin_secret, *admin_secret_file, *admin_key, *admin_key_file; /* of the SFU; agent_conf_check() reads the files */
	double echo_load; /* negative: measured */
	uint64_t connect_timeout_ms, call_timeout_ms, response_timeout_ms, stream_idle_ms, tunnel_idle_ms;
	uint64_t connections, tunnel_buffer_bytes, frame_bytes, message_bytes, drain_ms;
	int log_level, log_format;
};
extern const struct conf_key agent_conf_keys[];
extern const size_t agent_conf_count;
extern const struct adapter_ops *const agent_adapters[];

/* What no single key can say. Reads the files of secrets into their values. Faults go to `err`, one line each; their number. */
int agent_conf_check(struct agent_conf *, FILE *err);
/* The first line of a file of secrets, without blanks around it; to be freed. NULL: cannot be read, or it is empty. */
char *agent_conf_read_secret(const char *path);
